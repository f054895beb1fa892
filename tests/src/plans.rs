//! Plans for tests: written as lines, or thrown by chance.

use std::collections::{BTreeMap, BTreeSet};

use lockstep_shared::{
    id::{BarrierId, PartyName, WorkflowName},
    plan::{
        Action, Barrier, Command, Concurrency, OnFailure, Plan, RunCommand, Step, Target, Timeouts,
        Undo, Workflow,
    },
    time::Span,
};

use crate::chance::Chance;

/// The pipeline that every plan here is of.
pub const PIPELINE: &str = "shop";

/// A plan in the making: who does what in which order.
///
/// A workflow's line has words: `@BE` is a barrier, `~` a wait of a second, all else a command,
/// `deploy!` an idempotent one, `deploy?` one whose failure is tolerated, `deploy+` one with a
/// further attempt.
#[derive(Debug, Clone)]
pub struct Sketch {
    /// Whose failure undoes whom.
    pub on_failure: OnFailure,
    /// What becomes of the run while another one is open.
    pub concurrency: Concurrency,
    /// Whether it only plans.
    pub plan_only: bool,
    /// Workflows and their lines; an empty line is a waived workflow.
    pub workflows: Vec<(String, String)>,
    /// Barriers and their foreign parties.
    pub foreign: Vec<(String, String)>,
    /// How long every barrier waits.
    pub barrier_timeout: Span,
}

impl Sketch {
    /// A plan of these lines.
    pub fn of(lines: &[(&str, &str)]) -> Self {
        let lines = lines.iter().map(|(name, steps)| ((*name).to_owned(), (*steps).to_owned()));
        Self {
            on_failure: OnFailure::RollbackAll,
            concurrency: Concurrency::Refuse,
            plan_only: false,
            workflows: lines.collect(),
            foreign: Vec::new(),
            barrier_timeout: Span::minutes(10),
        }
    }

    /// The reference story: backend and frontend, BE and FE.
    pub fn reference() -> Self {
        Self::of(&[("backend", "deploy @BE @FE"), ("frontend", "@BE deploy @FE")])
    }

    /// The same where every workflow ends on its own.
    #[must_use]
    pub fn each_own(self) -> Self {
        Self { on_failure: OnFailure::EachOwn, ..self }
    }

    /// The same with a foreign party at a barrier.
    #[must_use]
    pub fn with_foreign(mut self, barrier: &str, party: &str) -> Self {
        self.foreign.push((barrier.to_owned(), party.to_owned()));
        self
    }

    /// The plan, with clocks short enough for a simulated afternoon.
    pub fn plan(&self) -> Plan {
        let mut barriers: BTreeMap<BarrierId, Barrier> = BTreeMap::new();
        let mut workflows = BTreeMap::new();
        for (name, line) in &self.workflows {
            let name: WorkflowName = name.parse().expect("a sketch has valid names");
            let steps: Vec<Step> = line.split_whitespace().enumerate().map(step).collect();
            for step in &steps {
                if let Action::Barrier(id) = &step.action {
                    let declared = barriers.entry(id.clone()).or_insert_with(|| self.barrier());
                    declared.workflows.insert(name.clone());
                }
            }
            let waived = steps.is_empty();
            let target = Target::Command {};
            let (waived_steps, bundle) = (Vec::new(), None);
            workflows.insert(name, Workflow { target, steps, waived, waived_steps, bundle });
        }
        for (barrier, party) in &self.foreign {
            let barrier: BarrierId = barrier.parse().expect("a sketch has valid names");
            let party: PartyName = party.parse().expect("a sketch has valid names");
            if let Some(declared) = barriers.get_mut(&barrier) {
                declared.foreign.insert(party);
            }
        }
        Plan {
            protocol: 1,
            pipeline: PIPELINE.parse().expect("the name is valid"),
            params: BTreeMap::new(),
            on_failure: self.on_failure,
            concurrency: self.concurrency,
            plan_only: self.plan_only,
            narrowed: false,
            timeouts: Timeouts::default(),
            barriers,
            workflows,
            skipped_checks: BTreeSet::new(),
            from_run: None,
        }
    }

    fn barrier(&self) -> Barrier {
        Barrier {
            title: None,
            timeout: self.barrier_timeout,
            workflows: BTreeSet::new(),
            foreign: BTreeSet::new(),
            waived: BTreeSet::new(),
        }
    }
}

fn step((index, word): (usize, &str)) -> Step {
    let bare = word.trim_end_matches(['!', '?', '+']);
    let has = |mark: char| word[bare.len()..].contains(mark);
    let action = match bare.strip_prefix('@') {
        Some(id) => Action::Barrier(id.parse().expect("a sketch has valid names")),
        None if bare == "~" => Action::Wait(Span::seconds(1)),
        None => Action::Run(RunCommand {
            command: Command::Shell(bare.to_owned()),
            undo: Some(Undo::Command(Command::Shell(format!("undo {bare}")))),
            env: BTreeMap::new(),
            workdir: None,
            idempotent: has('!'),
        }),
    };
    let timeout = match action {
        Action::Barrier(_) => Span(0),
        _ => Span::minutes(5),
    };
    let retries = u32::from(has('+'));
    Step { name: format!("{index}-{bare}"), action, timeout, retries, tolerated: has('?') }
}

/// For each workflow the barriers that it meets, in order; none of them twice, but in any order,
/// so that some of these runs get stuck.
pub type Ways = Vec<Vec<usize>>;

/// Ways by chance: two to five workflows, one to six barriers.
pub fn ways(chance: &mut Chance) -> Ways {
    let barriers = chance.between(1, 6) as usize;
    let workflows = chance.between(2, 5) as usize;
    let in_order = chance.percent(40);
    let ways = (0..workflows).map(|_| {
        let mut all: Vec<usize> = (0..barriers).collect();
        if !in_order {
            chance.shuffle(&mut all);
        }
        all.retain(|_| chance.percent(60));
        all
    });
    ways.collect()
}

/// The name of a barrier of [`Ways`].
pub fn barrier_name(index: usize) -> String {
    format!("B{index}")
}

/// A sketch of ways, with commands between the meetings here and there.
pub fn sketch_of(ways: &Ways, chance: &mut Chance) -> Sketch {
    let lines = ways.iter().enumerate().map(|(index, way)| {
        let mut words: Vec<String> = Vec::new();
        for barrier in way {
            words.extend(command(chance, 50));
            words.push(format!("@{}", barrier_name(*barrier)));
        }
        words.extend(command(chance, if way.is_empty() { 100 } else { 50 }));
        (format!("w{index}"), words.join(" "))
    });
    let lines: Vec<(String, String)> = lines.collect();
    Sketch { workflows: lines, ..Sketch::of(&[]) }
}

fn command(chance: &mut Chance, percent: u64) -> Option<String> {
    chance.percent(percent).then(|| {
        let word = *chance.pick(&["deploy", "deploy", "deploy!", "deploy+", "check?", "~"]);
        word.to_owned()
    })
}

/// A plan that can be met in full, of two to four workflows; with foreign parties, each-own,
/// waived workflows, queues and plan-only runs by chance.
pub fn sound(chance: &mut Chance) -> Sketch {
    let barriers = chance.between(1, 3) as usize;
    let workflows = chance.between(2, 4) as usize;
    let mut some = || (0..barriers).filter(|_| chance.percent(70)).collect();
    let ways: Ways = (0..workflows).map(|_| some()).collect();
    let mut sketch = sketch_of(&ways, chance);
    if chance.percent(15) && workflows > 2 {
        sketch.workflows[0].1.clear();
    }
    if chance.percent(35) {
        sketch.on_failure = OnFailure::EachOwn;
    }
    sketch.plan_only = chance.percent(7);
    if chance.percent(30) {
        let barrier = barrier_name(chance.below(barriers));
        sketch.foreign.push((barrier, "qa".to_owned()));
    }
    sketch.barrier_timeout = *chance.pick(&[Span::minutes(2), Span::minutes(10)]);
    sketch
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_becomes_steps_and_its_barriers_get_their_parties() {
        let plan = Sketch::reference().with_foreign("FE", "qa").plan();
        let backend = &plan.workflows[&"backend".parse().unwrap()];
        assert_eq!(backend.steps.len(), 3);
        let parties = plan.parties(&"FE".parse().unwrap()).unwrap();
        assert_eq!(parties.len(), 3);
    }

    #[test]
    fn sound_plans_have_no_active_workflow_without_steps() {
        let mut chance = Chance::of_seed(1);
        for _ in 0..500 {
            let plan = sound(&mut chance).plan();
            assert!(plan.active().count() >= 1);
            assert!(plan.active().all(|(_, workflow)| !workflow.steps.is_empty()));
        }
    }
}
