//! Ten thousand plans that nobody thought of: the deadlock rule, the check of barrier order, and
//! who is done or broken under `each-own`, each against the plainest way to work it out.

#![expect(clippy::unwrap_used, reason = "a test: an error here is a failure")]

use std::collections::BTreeSet;

use lockstep_shared::{
    error_code::Code,
    fold::{BarrierFate, Decision, Effect, OwnDecision},
    id::{BarrierId, PartyName, WorkflowName},
    pipeline::{Inputs, Pipeline},
    plan::{Action, OnFailure, Plan},
    record::{CauseSort, Deadline, Record},
    subject::Family,
    time::Span,
};
use lockstep_tests::{
    chance::Chance,
    plans::{Sketch, Ways, barrier_name, sketch_of, ways},
    rendezvous::{Own, Rendezvous},
    script::Script,
};

const PLANS: u64 = 10_000;

fn workflow(index: usize) -> WorkflowName {
    format!("w{index}").parse().unwrap()
}

fn party(index: usize) -> PartyName {
    format!("w{index}").parse().unwrap()
}

fn barrier(index: usize) -> BarrierId {
    barrier_name(index).parse().unwrap()
}

/// The ways as a plan; every third one has a foreign party at some barrier.
fn plan_of(ways: &Ways, on_failure: OnFailure, chance: &mut Chance) -> Plan {
    let mut sketch = Sketch { on_failure, ..sketch_of(ways, chance) };
    let met: Vec<usize> = ways.iter().flatten().copied().collect();
    if chance.percent(33) && !met.is_empty() {
        sketch.foreign.push((barrier_name(*chance.pick(&met)), "qa".to_owned()));
    }
    sketch.plan()
}

/// The foreign parties that have not come, with where they are missing.
fn strangers(script: &Script, plan: &Plan) -> Vec<(BarrierId, PartyName)> {
    let declared = plan.barriers.iter();
    let all = declared.flat_map(|(id, b)| b.foreign.iter().map(|f| (id.clone(), f.clone())));
    all.filter(|(id, party)| !script.fold.barriers()[id].arrivals.contains_key(party)).collect()
}

#[test]
fn the_deadlock_rule_fires_exactly_when_the_run_would_get_stuck() {
    let mut fired = 0;
    for seed in 0..PLANS {
        let chance = &mut Chance::of_seed(seed);
        let ways = ways(chance);
        let plan = plan_of(&ways, OnFailure::RollbackAll, chance);
        let mut script = Script::prepared(plan.clone());
        let mut world = Rendezvous::new(&ways);
        let will_stick = world.gets_stuck();
        loop {
            let strangers = strangers(&script, &plan);
            let walkers = waiting_for_nobody(&script, &world);
            let moves = walkers.len() + strangers.len();
            if moves == 0 || script.fold.decision() != &Decision::Open {
                break;
            }
            let choice = chance.below(moves);
            if let Some(walker) = walkers.get(choice) {
                let next = world.next(*walker).unwrap();
                script.arrive(&barrier(next), &party(*walker));
                world.arrive(*walker);
            } else {
                let (id, stranger) = &strangers[choice - walkers.len()];
                script.arrive(id, stranger);
            }
        }
        match script.fold.decision() {
            Decision::Open => assert!(!will_stick, "seed {seed}: nothing was noticed in {ways:?}"),
            Decision::Aborted(cause) => {
                assert_eq!(cause.sort, CauseSort::Deadlock, "seed {seed}");
                assert_eq!(cause.at, script.end(), "seed {seed}: the last arrival closes it");
                assert!(will_stick, "seed {seed}: it was a guess in {ways:?}");
                fired += 1;
            }
            other => panic!("seed {seed}: {other:?}"),
        }
    }
    assert!((PLANS / 20..PLANS * 19 / 20).contains(&fired), "{fired} of {PLANS} got stuck");
}

/// Who comes to a barrier next. The rendezvous knows no foreign parties: who stands where one is
/// missing has been let through there, and is held back here.
fn waiting_for_nobody(script: &Script, world: &Rendezvous) -> Vec<usize> {
    let held = |walker: &usize| {
        let party = party(*walker);
        script.fold.barriers().iter().any(|(_, state)| {
            state.fate == BarrierFate::Open
                && state.arrivals.contains_key(&party)
                && state.missing().all(|missing| missing.as_str() == "qa")
        })
    };
    world.walkers().into_iter().filter(|walker| !held(walker)).collect()
}

#[test]
fn barrier_order_is_refused_exactly_where_a_run_can_get_stuck() {
    let mut refused = 0;
    for seed in 0..PLANS {
        let chance = &mut Chance::of_seed(seed);
        let ways = ways(chance);
        let text = pipeline_of(&ways);
        let skip_checks = ["single-party", "unused-barrier"].map(str::to_owned).into();
        let inputs = Inputs { skip_checks, ..Inputs::default() };
        let found = match Pipeline::parse("random.yaml", &text).unwrap().plan(&inputs) {
            Ok(_) => false,
            Err(told) => {
                let order = |code: &Code| *code == Code::BarrierOrder;
                let codes: Vec<Code> =
                    told.findings().iter().filter(|f| f.is_error()).map(|f| f.code).collect();
                assert!(codes.iter().all(order), "seed {seed}: {codes:?} in\n{text}");
                true
            }
        };
        assert_eq!(found, Rendezvous::new(&ways).gets_stuck(), "seed {seed}:\n{text}");
        refused += u64::from(found);
    }
    assert!((PLANS / 20..PLANS * 19 / 20).contains(&refused), "{refused} of {PLANS} were refused");
}

fn pipeline_of(ways: &Ways) -> String {
    let all: BTreeSet<usize> = ways.iter().flatten().copied().collect();
    let declared: Vec<String> = all.iter().map(|b| format!("{}: {{}}", barrier_name(*b))).collect();
    let workflow = |(index, way): (usize, &Vec<usize>)| {
        let meet = |barrier: &usize| format!(", {{ barrier: {} }}", barrier_name(*barrier));
        let meetings: String = way.iter().map(meet).collect();
        format!(
            "    - {{ name: w{index}, target: {{ command: {{}} }}, steps: [{{ run: x }}{meetings}] }}\n"
        )
    };
    let workflows: String = ways.iter().enumerate().map(workflow).collect();
    format!(
        "apiVersion: lockstep.dev/v1alpha1\nkind: Pipeline\nmetadata: {{ name: random }}\nspec:\n  \
         barriers: {{ {} }}\n  workflows:\n{workflows}",
        declared.join(", ")
    )
}

/// A run under `each-own`, told to the fold and to the plain definition alike.
struct Both {
    script: Script,
    plan: Plan,
    ways: Ways,
    own: Own,
    at: Vec<usize>,
}

impl Both {
    fn new(ways: Ways, plan: Plan) -> Self {
        let script = Script::prepared(plan.clone());
        let (own, at) = (Own::new(&ways), vec![0; ways.len()]);
        Self { script, plan, ways, own, at }
    }

    fn open(&self) -> Vec<usize> {
        let open =
            |index: &usize| !self.own.done.contains(index) && !self.own.broken.contains(index);
        (0..self.ways.len()).filter(open).collect()
    }

    fn parties(&self, barrier: usize) -> Vec<usize> {
        (0..self.ways.len()).filter(|index| self.ways[*index].contains(&barrier)).collect()
    }

    /// An open workflow goes one step on, if it can.
    fn walk(&mut self, index: usize, chance: &mut Chance) {
        let name = workflow(index);
        let steps = self.plan.workflows[&name].steps.clone();
        let Some(step) = steps.get(self.at[index]) else { return };
        let Action::Barrier(id) = &step.action else {
            self.script.finish(&name, self.at[index]);
            self.at[index] += 1;
            if self.at[index] == steps.len() {
                self.own.finish(index);
            }
            return;
        };
        let id = id.clone();
        if self.script.fold.barriers()[&id].arrivals.contains_key(&party(index)) {
            return;
        }
        self.script.arrive(&id, &party(index));
        self.met(&id, chance);
    }

    /// An arrival may complete a barrier, or close a circle.
    fn met(&mut self, id: &BarrierId, chance: &mut Chance) {
        let index: usize = id.as_str()[1..].parse().unwrap();
        let state = &self.script.fold.barriers()[id];
        if state.missing().next().is_none() && !self.own.aborted.contains(&index) {
            self.own.complete.insert(index);
            for other in self.parties(index) {
                self.at[other] += 1;
                let steps = self.plan.workflows[&workflow(other)].steps.len();
                if self.at[other] == steps {
                    self.own.finish(other);
                }
            }
            return;
        }
        // Who is in a circle is the deadlock rule's business, and another test's.
        let end = self.script.end();
        let circle: Vec<usize> = (0..self.ways.len())
            .filter(|other| match &self.script.fold.workflows()[&workflow(*other)].own {
                OwnDecision::Broken(cause) => cause.at == end && cause.sort == CauseSort::Deadlock,
                _ => false,
            })
            .collect();
        self.own.break_all(&circle, chance);
    }

    fn strike(&mut self, chance: &mut Chance) {
        let any = chance.below(self.ways.len());
        let barriers: Vec<usize> = self.ways.iter().flatten().copied().collect();
        match chance.between(0, 9) {
            0..=4 => {
                self.script.fail(&workflow(any));
                self.own.break_all(&[any], chance);
            }
            5 => {
                let (by, reason) = ("ada".to_owned(), "no".to_owned());
                self.script.write(Family::Request, Record::AbortRequested { by, reason });
                self.own.break_all(&(0..self.ways.len()).collect::<Vec<_>>(), chance);
            }
            6 => {
                let last = self.script.fold.workflows()[&workflow(any)].last;
                let lost = Record::AgentLost { workflow: workflow(any), epoch: 1, last };
                self.script.write(Family::Clock, lost);
                self.own.break_all(&[any], chance);
            }
            _ if !barriers.is_empty() => {
                let barrier_index = *chance.pick(&barriers);
                self.script.wait(Span::minutes(11));
                let deadline = Deadline::Barrier(barrier(barrier_index));
                let passed = Record::DeadlinePassed { deadline };
                if self.script.write(Family::Clock, passed) == Effect::Counted {
                    let parties = self.parties(barrier_index);
                    self.own.break_all(&parties, chance);
                }
            }
            _ => {}
        }
    }

    fn compare(&self, seed: u64) {
        assert!(self.own.done.is_disjoint(&self.own.broken), "seed {seed}: {:?}", self.own);
        for index in 0..self.ways.len() {
            let folded = &self.script.fold.workflows()[&workflow(index)].own;
            let plain = (self.own.done.contains(&index), self.own.broken.contains(&index));
            let found = match folded {
                OwnDecision::Open => (false, false),
                OwnDecision::Done { .. } => (true, false),
                OwnDecision::Broken(_) => (false, true),
            };
            assert_eq!(found, plain, "seed {seed}: w{index} of {:?}: {folded:?}", self.ways);
        }
        for (id, state) in self.script.fold.barriers().iter().filter(|(id, _)| !id.is_built_in()) {
            let index: usize = id.as_str()[1..].parse().unwrap();
            let aborted = matches!(state.fate, BarrierFate::Aborted(_));
            assert_eq!(aborted, self.own.aborted.contains(&index), "seed {seed}: {id}");
        }
    }
}

#[test]
fn under_each_own_nobody_is_done_and_broken_and_the_order_of_the_rules_changes_nothing() {
    let (mut done, mut broken) = (0, 0);
    for seed in 0..PLANS {
        let chance = &mut Chance::of_seed(seed);
        let ways = ways(chance);
        let plan = plan_of(&ways, OnFailure::EachOwn, chance);
        let mut both = Both::new(ways, plan);
        for _ in 0..60 {
            let open = both.open();
            let strangers = strangers(&both.script, &both.plan);
            if open.is_empty() {
                break;
            }
            if chance.percent(4) {
                both.strike(chance);
            } else if chance.percent(15) && !strangers.is_empty() {
                let (id, stranger) = chance.pick(&strangers).clone();
                both.script.arrive(&id, &stranger);
                both.met(&id, chance);
            } else {
                let walker = *chance.pick(&open);
                both.walk(walker, chance);
            }
            both.compare(seed);
        }
        done += both.own.done.len();
        broken += both.own.broken.len();
    }
    assert!(done > 1_000 && broken > 1_000, "{done} done, {broken} broken");
}

#[test]
fn what_a_prefix_has_decided_of_a_workflow_stands() {
    for seed in 0..PLANS / 10 {
        let chance = &mut Chance::of_seed(seed);
        let ways = ways(chance);
        let plan = plan_of(&ways, OnFailure::EachOwn, chance);
        let mut both = Both::new(ways, plan);
        let mut decided: Vec<(usize, OwnDecision)> = Vec::new();
        for _ in 0..60 {
            // Also those that are done or broken go on, as an agent may that has not read so.
            let walker = chance.below(both.ways.len());
            if chance.percent(8) {
                both.strike(chance)
            } else {
                both.walk(walker, chance)
            }
            let state = |index: usize| &both.script.fold.workflows()[&workflow(index)].own;
            for (index, before) in &decided {
                assert_eq!(state(*index), before, "seed {seed}: w{index}");
            }
            decided = (0..both.ways.len())
                .filter(|index| *state(*index) != OwnDecision::Open)
                .map(|index| (index, state(index).clone()))
                .collect();
        }
    }
}
