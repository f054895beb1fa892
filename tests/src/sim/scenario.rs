//! What a seed's story is about, before it begins.

use lockstep_shared::{
    id::{RunKey, WorkflowName},
    plan::{Concurrency, Plan},
    time::Span,
};

use super::process::Weather;
use crate::{
    chance::Chance,
    plans::{self, PIPELINE, Sketch},
};

/// A story before it begins.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// Its seed; chance goes on from here.
    pub seed: u64,
    /// The runs, with when they are submitted, in milliseconds.
    pub runs: Vec<(RunKey, Plan, u64)>,
    /// The agents.
    pub agents: Vec<Post>,
    /// How many coordinators there are.
    pub coordinators: usize,
    /// How bad it gets.
    pub storm: Storm,
}

/// Where an agent stands.
#[derive(Debug, Clone)]
pub struct Post {
    /// Whose agent it is.
    pub workflow: WorkflowName,
    /// Its state directory; agents with the same one share lock, instance and undo records.
    pub directory: usize,
    /// Whether it joins runs before they are admitted, as one does that is started for one run.
    pub early: bool,
    /// When it is started, in milliseconds.
    pub starts: u64,
}

/// How bad it gets.
#[derive(Debug, Clone, Copy)]
pub struct Storm {
    /// When it is over, in milliseconds.
    pub until: u64,
    /// The mean pause between two faults, in milliseconds; 0 for none.
    pub pause: u64,
    pub(super) weather: Weather,
    /// Of a hundred attempts at a step so many fail.
    pub failures: u64,
    /// Of a hundred undos so many fail.
    pub bad_undos: u64,
    /// Of a hundred saves of a mark so many fail.
    pub bad_saves: u64,
    /// How far clocks are apart, in milliseconds.
    pub skew: u64,
}

impl Storm {
    /// Nothing goes wrong.
    pub const NONE: Self = Self {
        until: 0,
        pause: 0,
        weather: Weather::CALM,
        failures: 0,
        bad_undos: 0,
        bad_saves: 0,
        skew: 0,
    };
}

impl Scenario {
    /// The story of a seed.
    pub fn of_seed(seed: u64) -> Self {
        let chance = &mut Chance::of_seed(seed);
        let sketch = if chance.percent(25) {
            let sketch = Sketch::reference();
            if chance.percent(30) { sketch.each_own() } else { sketch }
        } else {
            plans::sound(chance)
        };
        let mut scenario = Self::of(&sketch, seed, storm(chance));
        scenario.coordinators = if chance.percent(20) { 3 } else { 2 };
        for run in 1..runs(chance) {
            let mut again = sketch.clone();
            let queue = chance.percent(70);
            again.concurrency = if queue { Concurrency::Queue } else { Concurrency::Refuse };
            let at = chance.between(0, 90_000);
            scenario.runs.push((run_key(run), shortened(again.plan()), at));
        }
        scenario.duplicate(chance);
        for post in &mut scenario.agents {
            post.early = chance.percent(30);
            let latest = if chance.percent(80) { 500 } else { 40_000 };
            post.starts = chance.between(0, latest);
        }
        scenario
    }

    /// One run of one sketch, one agent a workflow, two coordinators.
    pub fn of(sketch: &Sketch, seed: u64, storm: Storm) -> Self {
        let plan = shortened(sketch.plan());
        let workflows = plan.active().map(|(name, _)| name.clone());
        let post = |(directory, workflow)| Post { workflow, directory, early: false, starts: 0 };
        let agents = workflows.enumerate().map(post).collect();
        Self { seed, runs: vec![(run_key(0), plan, 0)], agents, coordinators: 2, storm }
    }

    /// Some workflows get a second agent, on the same state directory or on one of its own.
    fn duplicate(&mut self, chance: &mut Chance) {
        let mut directories = self.agents.len();
        for index in 0..self.agents.len() {
            if !chance.percent(35) {
                continue;
            }
            let mut spare = self.agents[index].clone();
            if chance.percent(50) {
                spare.directory = directories;
                directories += 1;
            }
            self.agents.push(spare);
        }
    }
}

fn runs(chance: &mut Chance) -> usize {
    match chance.between(0, 9) {
        0 => 3,
        1 | 2 => 2,
        _ => 1,
    }
}

fn run_key(index: usize) -> RunKey {
    let run = format!("r{index}").parse().expect("the name is valid");
    RunKey { pipeline: PIPELINE.parse().expect("the name is valid"), run }
}

/// Clocks of minutes rather than of an hour: a story is told until all of them have run out.
fn shortened(mut plan: Plan) -> Plan {
    plan.timeouts.join = Span::seconds(90);
    plan.timeouts.prepare = Span::minutes(2);
    plan.timeouts.run = Span::minutes(8);
    plan.timeouts.ending = Span::minutes(3);
    plan
}

fn storm(chance: &mut Chance) -> Storm {
    if chance.percent(4) {
        return Storm::NONE;
    }
    let weather = Weather {
        loss: *chance.pick(&[0, 2, 10, 25]),
        late: *chance.pick(&[0, 5, 20]),
        twice: *chance.pick(&[0, 5, 20]),
    };
    Storm {
        until: chance.between(20_000, 240_000),
        pause: *chance.pick(&[0, 300, 1_000, 1_000, 3_000, 10_000]),
        weather,
        failures: *chance.pick(&[0, 0, 5, 20]),
        bad_undos: *chance.pick(&[0, 0, 10, 50]),
        bad_saves: *chance.pick(&[0, 0, 3]),
        skew: *chance.pick(&[0, 500, 3_000, 60_000]),
    }
}
