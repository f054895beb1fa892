//! Transcripts: records in, what the log means out.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::{
    codec::{Stated, encode},
    id::Epoch,
    plan::{
        Action, Barrier, Command, Concurrency, MAX_WORKFLOWS, RunCommand, Step, Target, Timeouts,
        Workflow,
    },
    record::{Cause, CauseSort, Outcome, RunResult},
    source::Source,
    subject::Subjects,
    time::Span,
};

/// A run's log as a test writes it: every line is one record at the next sequence, a second later.
struct Log {
    fold: RunFold,
    seq: Sequence,
    now: Timestamp,
}

fn workflow_name(name: &str) -> WorkflowName {
    name.parse().unwrap()
}

fn barrier_id(name: &str) -> BarrierId {
    name.parse().unwrap()
}

/// A plan from lines like `("backend", "deploy @BE @FE")`: `@` marks a barrier, all else a command.
fn plan(on_failure: OnFailure, lines: &[(&str, &str)], foreign: &[(&str, &str)]) -> Plan {
    let mut barriers: BTreeMap<BarrierId, Barrier> = BTreeMap::new();
    let mut workflows = BTreeMap::new();
    for (name, steps) in lines {
        let step = |word: &str| {
            let action = match word.strip_prefix('@') {
                Some(id) => Action::Barrier(barrier_id(id)),
                None => Action::Run(RunCommand {
                    command: Command::Shell(word.to_owned()),
                    undo: None,
                    env: BTreeMap::new(),
                    workdir: None,
                    idempotent: false,
                }),
            };
            Step {
                name: word.to_owned(),
                action,
                timeout: Span::minutes(5),
                retries: 0,
                tolerated: false,
            }
        };
        let steps: Vec<Step> = steps.split_whitespace().map(step).collect();
        for step in &steps {
            if let Action::Barrier(id) = &step.action {
                let declared = barriers.entry(id.clone()).or_insert_with(|| Barrier {
                    title: None,
                    timeout: Span::minutes(10),
                    workflows: BTreeSet::new(),
                    foreign: BTreeSet::new(),
                    waived: BTreeSet::new(),
                });
                declared.workflows.insert(workflow_name(name));
            }
        }
        workflows.insert(
            workflow_name(name),
            Workflow {
                target: Target::Command {},
                steps,
                waived: false,
                waived_steps: Vec::new(),
                bundle: None,
            },
        );
    }
    for (barrier, party) in foreign {
        let declared = barriers.get_mut(&barrier_id(barrier)).unwrap();
        declared.foreign.insert(party.parse().unwrap());
    }
    Plan {
        protocol: 1,
        pipeline: "shop".parse().unwrap(),
        params: BTreeMap::new(),
        on_failure,
        concurrency: Concurrency::Refuse,
        plan_only: false,
        narrowed: false,
        timeouts: Timeouts::default(),
        barriers,
        workflows,
        skipped_checks: BTreeSet::new(),
        from_run: None,
    }
}

fn reference() -> Plan {
    let lines = [("backend", "deploy @BE @FE"), ("frontend", "@BE deploy @FE")];
    plan(OnFailure::RollbackAll, &lines, &[])
}

impl Log {
    fn of(plan: Plan) -> Self {
        let key = RunKey { pipeline: "shop".parse().unwrap(), run: "r1".parse().unwrap() };
        let mut log = Self { fold: RunFold::new(key), seq: 0, now: Timestamp(1_000_000) };
        let record = Record::Plan { plan: Box::new(plan), submitted_by: "ada".to_owned() };
        log.write(Family::Plan, record);
        log
    }

    /// A run whose workflows have all joined and are prepared.
    fn prepared(plan: Plan) -> Self {
        let mut log = Self::of(plan);
        log.write(Family::Admission, Record::Admitted {});
        for name in log.names() {
            log.join(&name);
        }
        for name in log.names() {
            log.arrive("_prepare", &name);
        }
        log.settle();
        log
    }

    fn names(&self) -> Vec<String> {
        self.fold.workflows().keys().map(ToString::to_string).collect()
    }

    fn write(&mut self, family: Family, record: Record) -> Effect {
        self.write_to(self.fold.next_slot(&family), record)
    }

    fn write_to(&mut self, slot: Slot, record: Record) -> Effect {
        self.seq += 1;
        self.now = self.now.after(Span::seconds(1));
        let stated = Stated {
            event: format!("e{}", self.seq),
            source: Source::Operator("test".to_owned()),
            record,
        };
        self.fold.apply(&Entry {
            seq: self.seq,
            time: self.now,
            key: self.fold.key().clone(),
            slot,
            content: Ok(stated),
        })
    }

    fn own(&mut self, name: &str, record: Record) -> Effect {
        self.write(Family::Workflow(workflow_name(name)), record)
    }

    fn epoch(&self, name: &str) -> Epoch {
        self.fold.workflows()[&workflow_name(name)].epoch
    }

    fn join(&mut self, name: &str) -> Effect {
        self.own(name, Record::Joined { instance: "i".to_owned(), version: "v".to_owned() })
    }

    fn start(&mut self, name: &str, step: usize) -> Effect {
        let epoch = self.epoch(name);
        self.own(name, Record::StepStarted { epoch, step, attempt: 1 })
    }

    fn finish(&mut self, name: &str, step: usize) -> Effect {
        let epoch = self.epoch(name);
        let (ignored, output, images) = (None, String::new(), Default::default());
        self.own(name, Record::StepFinished { epoch, step, ignored, output, images })
    }

    fn fail(&mut self, name: &str) -> Effect {
        let epoch = self.epoch(name);
        let error = "exit status 1".to_owned();
        self.own(name, Record::Failed { epoch, step: Some(1), error, output: "boom".to_owned() })
    }

    fn arrive(&mut self, barrier: &str, party: &str) -> Effect {
        let family = Family::Party(barrier_id(barrier), party.parse().unwrap());
        let epoch = Some(1);
        self.write(
            family,
            Record::Arrived { epoch, view: None, by: None, message: None, link: None },
        )
    }

    fn rolled_back(&mut self, name: &str, residue: &[&str]) -> Effect {
        let epoch = self.epoch(name);
        let residue = residue.iter().map(ToString::to_string).collect();
        self.own(
            name,
            Record::RolledBack { epoch, residue, accepted: false, output: String::new() },
        )
    }

    fn finalized(&mut self, name: &str) -> Effect {
        let epoch = self.epoch(name);
        self.own(name, Record::Finalized { epoch, degraded: None, warnings: Vec::new() })
    }

    fn deadline(&mut self, deadline: Deadline) -> Effect {
        self.write(Family::Clock, Record::DeadlinePassed { deadline })
    }

    fn abort(&mut self) -> Effect {
        let record = Record::AbortRequested { by: "ada".to_owned(), reason: "no".to_owned() };
        self.write(Family::Request, record)
    }

    /// Plays the coordinator: writes down all that is due.
    fn settle(&mut self) {
        for _ in 0..100 {
            let Some((slot, record)) = self.fold.due().into_iter().next() else { return };
            assert_eq!(self.write_to(slot, record), Effect::Counted);
            assert_eq!(self.fold.alarm(), None);
        }
        panic!("the coordinator never has nothing to write");
    }

    fn fate(&self, barrier: &str) -> &BarrierFate {
        &self.fold.barriers()[&barrier_id(barrier)].fate
    }

    fn cause(&self) -> &Cause {
        self.fold.first_cause().expect("something aborted it")
    }

    fn result(&self) -> RunResult {
        self.fold.closed().expect("the run is closed").result
    }
}

fn is_void(effect: &Effect, reason: &str) -> bool {
    matches!(effect, Effect::Void(text) if text.contains(reason))
}

#[test]
fn parity_01_both_arrive_and_both_succeed() {
    let mut log = Log::prepared(reference());
    log.start("backend", 0);
    log.finish("backend", 0);
    log.arrive("BE", "backend");
    assert_eq!(*log.fate("BE"), BarrierFate::Open);
    log.arrive("BE", "frontend");
    assert_eq!(*log.fate("BE"), BarrierFate::Complete { at: log.seq });
    log.settle();
    log.start("frontend", 1);
    log.finish("frontend", 1);
    for barrier in ["FE", "_commit"] {
        log.arrive(barrier, "frontend");
        log.arrive(barrier, "backend");
    }
    assert_eq!(*log.fold.decision(), Decision::Committed { at: log.seq });
    log.settle();
    assert!(log.fold.closed().is_none(), "it closed before anybody finalized");
    log.finalized("backend");
    log.finalized("frontend");
    log.settle();
    assert_eq!(log.result(), RunResult::Succeeded);
}

#[test]
fn parity_03_a_failed_frontend_takes_the_backend_with_it_and_says_why() {
    let mut log = Log::prepared(reference());
    log.start("backend", 0);
    log.finish("backend", 0);
    log.arrive("BE", "backend");
    log.arrive("BE", "frontend");
    log.settle();
    log.arrive("FE", "backend");
    log.start("frontend", 1);
    assert_eq!(log.fail("frontend"), Effect::Counted);
    assert_eq!(log.cause().text, "frontend failed in step \"deploy\": exit status 1");
    assert_eq!(log.cause().output, "boom");
    let due: Vec<Slot> = log.fold.due().into_iter().map(|(slot, _)| slot).collect();
    assert_eq!(due, [Family::Verdict.slot(1)], "the run verdict is written first, alone");
    log.settle();
    let aborted = &log.fold.barriers()[&barrier_id("FE")].recorded;
    assert!(aborted.as_ref().is_some_and(|verdict| verdict.cause.is_some()));
    log.rolled_back("backend", &[]);
    assert!(log.fold.closed().is_none());
    log.rolled_back("frontend", &["kept PVC data"]);
    log.settle();
    assert_eq!(log.result(), RunResult::RolledBack);
    let outcomes = &log.fold.closed().unwrap().outcomes;
    assert_eq!(outcomes[&workflow_name("backend")], Outcome::RolledBack);
    assert!(matches!(outcomes[&workflow_name("frontend")], Outcome::Residue { .. }));
}

#[test]
fn parity_04_who_started_nothing_owes_nothing() {
    let mut log = Log::prepared(reference());
    log.start("backend", 0);
    log.fail("backend");
    log.settle();
    log.rolled_back("backend", &[]);
    log.settle();
    let outcomes = &log.fold.closed().unwrap().outcomes;
    assert_eq!(outcomes[&workflow_name("frontend")], Outcome::NotStarted);
}

#[test]
fn parity_05_crossed_barriers_are_a_deadlock_at_once() {
    let lines = [("a", "@X @Y"), ("b", "@Y @X")];
    let mut log = Log::prepared(plan(OnFailure::RollbackAll, &lines, &[]));
    log.arrive("X", "a");
    assert_eq!(*log.fold.decision(), Decision::Open);
    log.arrive("Y", "b");
    assert_eq!(log.cause().sort, CauseSort::Deadlock);
    assert_eq!(log.cause().at, log.seq);
    assert_eq!(log.cause().text, "circular wait: b waits at Y for a, a waits at X for b");
}

#[test]
fn a_foreign_party_is_never_part_of_a_deadlock() {
    let lines = [("a", "@X @Y"), ("b", "@Y")];
    let mut log = Log::prepared(plan(OnFailure::RollbackAll, &lines, &[("X", "qa"), ("Y", "qa")]));
    log.arrive("Y", "qa");
    log.arrive("Y", "b");
    log.arrive("X", "a");
    assert_eq!(*log.fold.decision(), Decision::Open);
}

#[test]
fn parity_07_a_barrier_times_out_by_stored_times_and_names_who_was_missing() {
    let mut log = Log::prepared(reference());
    log.start("frontend", 0);
    log.arrive("BE", "frontend");
    let deadline = Deadline::Barrier(barrier_id("BE"));
    let due = log.fold.clock(&deadline).unwrap();
    assert_eq!(due, log.now.after(Span::minutes(10)));
    assert!(matches!(log.deadline(deadline.clone()), Effect::Early(_, by) if by > Span(0)));
    assert_eq!(*log.fold.decision(), Decision::Open);
    log.now = due;
    assert_eq!(log.deadline(deadline), Effect::Counted);
    assert!(log.cause().text.contains("missing backend"), "{}", log.cause().text);
}

#[test]
fn parity_12_a_waived_workflow_is_party_to_nothing() {
    let mut waived = reference();
    waived.workflows.get_mut(&workflow_name("frontend")).unwrap().waived = true;
    for barrier in waived.barriers.values_mut() {
        barrier.workflows.remove(&workflow_name("frontend"));
        barrier.waived.insert(workflow_name("frontend"));
    }
    let mut log = Log::prepared(waived);
    log.arrive("BE", "backend");
    assert_eq!(*log.fate("BE"), BarrierFate::Complete { at: log.seq });
    assert!(is_void(&log.arrive("FE", "frontend"), "no party"));
    log.arrive("_commit", "backend");
    log.settle();
    log.finalized("backend");
    log.settle();
    let outcomes = &log.fold.closed().unwrap().outcomes;
    assert_eq!(outcomes[&workflow_name("frontend")], Outcome::Waived);
}

#[test]
fn parity_14_an_abort_after_the_commit_is_too_late() {
    let mut log = Log::prepared(reference());
    log.arrive("_commit", "backend");
    log.arrive("_commit", "frontend");
    let at = log.seq;
    assert!(is_void(&log.abort(), &format!("too late: committed at #{at}")));
    assert_eq!(*log.fold.decision(), Decision::Committed { at });
    assert_eq!(log.fold.notes().last().unwrap().kind, "AbortRequested");
}

#[test]
fn an_aborted_run_on_request_is_cancelled() {
    let mut log = Log::prepared(reference());
    assert_eq!(log.abort(), Effect::Counted);
    log.settle();
    assert_eq!(log.result(), RunResult::Cancelled);
    assert!(log.cause().text.contains("ada"));
}

#[test]
fn parity_15_a_silent_agent_is_lost_unless_it_wrote_since() {
    let mut log = Log::prepared(reference());
    log.start("backend", 0);
    let seen = log.seq;
    log.finish("backend", 0);
    let lost = |last| Record::AgentLost { workflow: workflow_name("backend"), epoch: 1, last };
    assert!(is_void(&log.write(Family::Clock, lost(seen)), "in between"));
    let last = log.fold.workflows()[&workflow_name("backend")].last;
    assert_eq!(log.write(Family::Clock, lost(last)), Effect::Counted);
    assert_eq!(log.cause().sort, CauseSort::AgentLost);
    log.settle();
    log.now = log.now.after(Span::minutes(15));
    log.deadline(Deadline::Ending);
    log.settle();
    assert_eq!(log.result(), RunResult::RollbackIncomplete);
    let outcomes = &log.fold.closed().unwrap().outcomes;
    assert_eq!(outcomes[&workflow_name("backend")], Outcome::Unknown);
}

#[test]
fn an_earlier_incarnation_can_neither_fail_nor_finish_but_its_arrival_counts() {
    let mut log = Log::prepared(reference());
    log.join("backend");
    assert_eq!(log.epoch("backend"), 2);
    let failed =
        Record::Failed { epoch: 1, step: None, error: "late".to_owned(), output: String::new() };
    assert!(is_void(&log.own("backend", failed), "epoch 1"));
    assert_eq!(log.arrive("BE", "backend"), Effect::Counted);
    let lost = Record::AgentLost { workflow: workflow_name("backend"), epoch: 1, last: log.seq };
    assert!(is_void(&log.write(Family::Clock, lost), "not the current one"));
}

#[test]
fn parity_18_duplicate_and_late_arrivals_change_nothing() {
    let mut log = Log::prepared(reference());
    log.arrive("BE", "backend");
    assert!(is_void(&log.arrive("BE", "backend"), "it arrived at"));
    assert_eq!(*log.fate("BE"), BarrierFate::Open);
    let before = log.fold.clone();
    let repeated = Entry {
        seq: log.seq,
        time: log.now,
        key: log.fold.key().clone(),
        slot: Family::Clock.slot(1),
        content: Err(Rubbish::Header("ce-id")),
    };
    assert!(matches!(log.fold.apply(&repeated), Effect::Skipped(_)));
    assert_eq!(log.fold, before);
}

#[test]
fn parity_21_a_stuck_rollback_is_listed_and_the_others_finish() {
    let mut log = Log::prepared(reference());
    log.start("backend", 0);
    log.start("frontend", 1);
    log.fail("frontend");
    log.settle();
    let left = vec!["service backend still serves v2".to_owned()];
    log.own(
        "backend",
        Record::RollbackFailed {
            epoch: 1,
            error: "undo exited with 1".to_owned(),
            left,
            output: String::new(),
        },
    );
    log.rolled_back("frontend", &[]);
    log.settle();
    assert_eq!(log.result(), RunResult::RollbackIncomplete);
    let outcome = &log.fold.closed().unwrap().outcomes[&workflow_name("backend")];
    assert!(matches!(outcome, Outcome::Failed { error } if error.contains("still serves v2")));
    let resume = Record::ResumeRequested {
        by: "ada".to_owned(),
        reason: "again".to_owned(),
        workflow: None,
    };
    assert_eq!(log.write(Family::Request, resume), Effect::Counted);
    let owing = |log: &Log| log.fold.owing().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(owing(&log), ["backend"]);
    assert!(is_void(&log.rolled_back("frontend", &[]), "closed"), "it has nothing to settle");
    assert_eq!(log.join("backend"), Effect::Counted);
    assert_eq!(log.rolled_back("backend", &[]), Effect::Counted);
    assert_eq!(owing(&log), Vec::<String>::new());
    assert_eq!(log.result(), RunResult::RollbackIncomplete, "Closed never changes");
    let by = log.fold.settlement(&workflow_name("backend")).unwrap().request.unwrap();
    assert!(matches!(&by.record, Record::ResumeRequested { by, .. } if by == "ada"));
    assert!(is_void(&log.rolled_back("backend", &[]), "settled at #"));
}

#[test]
fn a_debt_is_open_until_its_agent_says_that_it_is_settled() {
    let mut log = Log::prepared(reference());
    log.start("backend", 0);
    log.abort();
    log.settle();
    log.now = log.now.after(Span::minutes(15));
    log.deadline(Deadline::Ending);
    log.settle();
    let backend = workflow_name("backend");
    assert!(log.fold.is_unknown(&backend));
    let accept =
        Record::AcceptRequested { by: "ada".to_owned(), reason: "kept".to_owned(), workflow: None };
    assert_eq!(log.write(Family::Request, accept), Effect::Counted);
    assert_eq!(log.fold.owing().count(), 1, "asking settles nothing");
    assert!(log.fold.pending_request(&backend).is_some());
    let residue = Vec::new();
    let accepted = Record::RolledBack { epoch: 1, residue, accepted: true, output: String::new() };
    assert_eq!(log.own("backend", accepted), Effect::Counted);
    assert_eq!((log.fold.owing().count(), log.fold.is_unknown(&backend)), (0, false));
    assert!(log.fold.pending_request(&backend).is_none());
}

#[test]
fn parity_23_each_own_breaks_only_who_cannot_meet_the_broken_one() {
    let lines = [("a", "t @X"), ("b", "@X t @Y"), ("c", "@Y"), ("d", "t")];
    let mut log = Log::prepared(plan(OnFailure::EachOwn, &lines, &[]));
    log.start("d", 0);
    log.finish("d", 0);
    log.start("a", 0);
    log.fail("a");
    let own = |log: &Log, name: &str| log.fold.workflows()[&workflow_name(name)].own.clone();
    assert!(matches!(own(&log, "d"), OwnDecision::Done { .. }));
    for name in ["a", "b", "c"] {
        assert!(matches!(own(&log, name), OwnDecision::Broken(_)), "{name}");
    }
    assert!(is_void(&log.abort(), "too late"));
    log.settle();
    assert!(log.fold.recorded().is_none(), "each-own has no run verdict after _prepare");
    log.rolled_back("a", &[]);
    log.finalized("d");
    log.settle();
    assert_eq!(log.result(), RunResult::Partial);
    assert_eq!(log.cause().workflow, Some(workflow_name("a")));
}

#[test]
fn each_own_done_is_for_ever() {
    let lines = [("a", "t @X"), ("b", "@X t")];
    let mut log = Log::prepared(plan(OnFailure::EachOwn, &lines, &[]));
    log.arrive("X", "b");
    log.arrive("X", "a");
    assert!(is_void(&log.fail("a"), "too late"));
    log.start("b", 1);
    log.fail("b");
    log.settle();
    log.finalized("a");
    log.rolled_back("b", &[]);
    log.settle();
    assert_eq!(log.result(), RunResult::Partial);
}

#[test]
fn parity_26_an_early_approval_starts_no_clock_and_a_late_no_is_void() {
    let lines = [("a", "t @go"), ("b", "t")];
    let mut log = Log::prepared(plan(OnFailure::RollbackAll, &lines, &[("go", "qa")]));
    log.arrive("go", "qa");
    assert_eq!(log.fold.clock(&Deadline::Barrier(barrier_id("go"))), None);
    let family = Family::Party(barrier_id("go"), "qa".parse().unwrap());
    let no = Record::PartyFailed { by: "qa".to_owned(), message: "no".to_owned(), link: None };
    let mut withdrawn = Log { fold: log.fold.clone(), seq: log.seq, now: log.now };
    assert_eq!(withdrawn.write(family.clone(), no.clone()), Effect::Counted);
    assert_eq!(withdrawn.cause().sort, CauseSort::PartyFailed);
    log.arrive("go", "a");
    assert!(is_void(&log.write(family, no), "already released"));
}

#[test]
fn a_plan_only_run_ends_at_the_release_of_prepare() {
    let mut only = reference();
    only.plan_only = true;
    let mut log = Log::prepared(only);
    assert!(log.fold.recorded().is_none());
    assert_eq!(log.result(), RunResult::Planned);
    assert!(is_void(&log.abort(), "closed"));
}

#[test]
fn a_refused_run_closes_as_refused() {
    let mut log = Log::of(reference());
    let reason = "run r0 is open".to_owned();
    log.write(Family::Admission, Record::Refused { reason, cancelled: false, at: Some(1) });
    log.settle();
    assert_eq!(log.result(), RunResult::Refused);
    assert_eq!(log.fold.closed().unwrap().at, 1, "it names what decided it");
}

#[test]
fn nothing_counts_before_admission_but_an_abort_stands() {
    let mut log = Log::of(reference());
    assert!(is_void(&log.join("backend"), "not admitted"));
    log.abort();
    assert!(log.fold.due().is_empty());
    log.write(Family::Admission, Record::Admitted {});
    log.settle();
    assert_eq!(log.result(), RunResult::Cancelled);
}

#[test]
fn a_wrong_verdict_is_followed_and_raises_an_alarm() {
    let mut log = Log::prepared(reference());
    log.write(Family::Verdict, Record::Committed { at: 3 });
    assert_eq!(*log.fold.decision(), Decision::Committed { at: 3 });
    assert!(log.fold.alarm().is_some());
}

#[test]
fn a_start_above_the_verdict_obliges_nobody() {
    let mut log = Log::prepared(reference());
    log.abort();
    log.settle();
    assert_eq!(log.result(), RunResult::Cancelled);
    let mut open = Log::prepared(reference());
    open.start("backend", 0);
    open.abort();
    open.start("frontend", 1);
    open.settle();
    let owing = |name: &str| open.fold.workflows()[&workflow_name(name)].first_started.is_some();
    assert!(owing("backend") && owing("frontend"), "both starts lie below the recorded verdict");
    assert!(is_void(&open.start("frontend", 1), "above the verdict"));
}

#[test]
fn rubbish_takes_its_slot_and_changes_nothing_else() {
    let mut log = Log::prepared(reference());
    log.seq += 1;
    let entry = Entry {
        seq: log.seq,
        time: log.now,
        key: log.fold.key().clone(),
        slot: Family::Verdict.slot(1),
        content: Err(Rubbish::Body("PubAck".to_owned())),
    };
    assert!(matches!(log.fold.apply(&entry), Effect::Skipped(_)));
    assert_eq!(log.fold.next_slot(&Family::Verdict).number, 2);
    assert_eq!(log.fold.notes().last().unwrap().kind, "rubbish");
    log.abort();
    log.settle();
    assert_eq!(log.result(), RunResult::Cancelled);
}

#[test]
fn a_step_number_beyond_every_plan_is_borne() {
    let mut log = Log::prepared(plan(OnFailure::EachOwn, &[("a", "x"), ("b", "y")], &[]));
    let own = || Family::Workflow(workflow_name("a"));
    let (step, output) = (usize::MAX, String::new());
    log.write(own(), Record::StepStarted { epoch: 1, step, attempt: 1 });
    let (ignored, images) = (None, Default::default());
    let finished = Record::StepFinished { epoch: 1, step, ignored, output: output.clone(), images };
    log.write(own(), finished);
    log.write(own(), Record::Failed { epoch: 1, step: Some(step), error: "no".into(), output });
    assert!(matches!(log.fold.workflows()[&workflow_name("a")].own, OwnDecision::Broken(_)));
}

#[test]
fn the_largest_closed_fits_into_its_record() {
    let names: Vec<String> = (0..MAX_WORKFLOWS).map(|n| format!("{n:0>63}")).collect();
    let lines: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "x")).collect();
    let mut log = Log::prepared(plan(OnFailure::RollbackAll, &lines, &[]));
    let own = |name: &str| Family::Workflow(workflow_name(name));
    for name in &names {
        log.write(own(name), Record::StepStarted { epoch: 1, step: 0, attempt: 1 });
    }
    let (error, output) = ("e".repeat(3000), "o".repeat(8000));
    log.write(own(&names[0]), Record::Failed { epoch: 1, step: Some(0), error, output });
    let residue: Vec<String> = (0..10)
        .map(|n| format!("pvc number {n} of the namespace could not be given back"))
        .chain(["and 90 more".to_owned()])
        .collect();
    let (slot, verdict) = log.fold.due().remove(0);
    log.write(slot.family, verdict);
    for name in &names {
        let (residue, output) = (residue.clone(), String::new());
        log.write(own(name), Record::RolledBack { epoch: 1, residue, accepted: false, output });
    }
    let (slot, closed) = log.fold.due().remove(0);
    assert_eq!(slot.family, Family::Closed);
    let source = Source::Coordinator("c".into());
    let key = log.fold.key();
    let encoded = encode(&Subjects::default(), key, &slot, &closed, &source, Timestamp(1), None);
    assert!(encoded.is_ok(), "{:?}", encoded.err());
}
