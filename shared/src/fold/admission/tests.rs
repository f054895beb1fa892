//! Transcripts of one pipeline: plans, requests and Closed in, who may begin out.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::{
    codec::{Rubbish, Stated},
    id::RunKey,
    plan::{Action, OnFailure, Plan, Step, Target, Timeouts, Workflow},
    source::Source,
    subject::Slot,
};

const DAY: Span = Span::minutes(24 * 60);

/// A pipeline's log as a test writes it: every line is one record at the next sequence.
struct Log {
    fold: PipelineFold,
    seq: Sequence,
    now: Timestamp,
    entries: Vec<Entry>,
}

fn run(name: &str) -> RunId {
    name.parse().unwrap()
}

fn plan(concurrency: Concurrency) -> Plan {
    Plan {
        protocol: 1,
        pipeline: "shop".parse().unwrap(),
        params: BTreeMap::new(),
        on_failure: OnFailure::RollbackAll,
        concurrency,
        plan_only: false,
        narrowed: false,
        timeouts: Timeouts::default(),
        barriers: BTreeMap::new(),
        workflows: BTreeMap::new(),
        skipped_checks: BTreeSet::new(),
        from_run: None,
    }
}

impl Log {
    fn new() -> Self {
        let fold = PipelineFold::new(Span(DAY.0 * 30));
        Self { fold, seq: 0, now: Timestamp(1_000_000), entries: Vec::new() }
    }

    fn store(&mut self, name: &str, slot: Slot, content: Result<Record, Rubbish>) -> Sequence {
        self.seq += 1;
        self.now = self.now.after(Span::seconds(1));
        let source = Source::Operator("test".to_owned());
        let event = format!("e{}", self.seq);
        let entry = Entry {
            seq: self.seq,
            time: self.now,
            key: RunKey { pipeline: "shop".parse().unwrap(), run: run(name) },
            slot,
            content: content.map(|record| Stated { event, source, record }),
        };
        self.fold.apply(&entry);
        self.entries.push(entry);
        self.seq
    }

    fn plan(&mut self, name: &str, concurrency: Concurrency) -> Sequence {
        let plan = Box::new(plan(concurrency));
        let record = Record::Plan { plan, submitted_by: "ada".to_owned() };
        self.store(name, Family::Plan.slot(1), Ok(record))
    }

    fn abort(&mut self, name: &str) -> Sequence {
        let record = Record::AbortRequested { by: "ada".to_owned(), reason: "no".to_owned() };
        self.store(name, Family::Request.slot(1), Ok(record))
    }

    fn admitted(&mut self, name: &str) -> Sequence {
        self.store(name, Family::Admission.slot(1), Ok(Record::Admitted {}))
    }

    /// Records what follows from where the run stands, as a coordinator does.
    fn refused(&mut self, name: &str) -> Sequence {
        let record = self.standing(name).record().expect("it is decided");
        assert!(matches!(record, Record::Refused { .. }), "{record:?}");
        self.store(name, Family::Admission.slot(1), Ok(record))
    }

    fn closed(&mut self, name: &str, result: RunResult) -> Sequence {
        let at = match self.fold.standing(&run(name)) {
            Some(Standing::Refused { at, .. }) => at,
            _ => self.seq,
        };
        let record = Record::Closed { at, result, outcomes: BTreeMap::new(), cause: None };
        self.store(name, Family::Closed.slot(1), Ok(record))
    }

    fn succeeded(&mut self, name: &str) -> Sequence {
        self.closed(name, RunResult::Succeeded)
    }

    fn standing(&self, name: &str) -> Standing {
        self.fold.standing(&run(name)).expect("the run is open")
    }

    /// What one sees who starts now: of closed runs only where they begin and end.
    fn started_late(&self) -> PipelineFold {
        let mut fold = PipelineFold::new(self.fold.max_age);
        for entry in &self.entries {
            let at = Moment { seq: entry.seq, time: entry.time };
            if entry.slot.family == Family::Plan {
                fold.heading(&entry.key.run, at);
            }
        }
        let closed = |entry: &&Entry| entry.slot.family == Family::Closed;
        self.entries.iter().filter(closed).for_each(|entry| fold.apply(entry));
        let open: BTreeSet<RunId> = fold.open().map(|(run, _)| run.clone()).collect();
        let read = |entry: &&Entry| open.contains(&entry.key.run);
        self.entries.iter().filter(read).for_each(|entry| fold.apply(entry));
        fold.settle();
        fold
    }
}

fn queued(behind: &str, ahead: usize) -> Standing {
    Standing::Queued { behind: run(behind), ahead }
}

fn refusal(standing: &Standing) -> (Sequence, &str, bool) {
    match standing {
        Standing::Refused { at, reason, cancelled } => (*at, reason, *cancelled),
        other => panic!("it stands as {other:?}"),
    }
}

#[test]
fn parity_19_a_second_run_is_refused_and_told_which_one_is_open() {
    let mut log = Log::new();
    let first = log.plan("r1", Concurrency::Refuse);
    let second = log.plan("r2", Concurrency::Refuse);
    assert_eq!(log.standing("r1"), Standing::Admitted { at: first });
    let standing = log.standing("r2");
    let (at, reason, cancelled) = refusal(&standing);
    assert_eq!((at, cancelled), (second, false));
    assert!(reason.contains("run r1"), "{reason}");
    assert!(matches!(standing.record(), Some(Record::Refused { .. })));
}

#[test]
fn a_refused_run_never_is_in_the_way() {
    let mut log = Log::new();
    log.plan("r1", Concurrency::Refuse);
    log.plan("r2", Concurrency::Refuse);
    log.succeeded("r1");
    let third = log.plan("r3", Concurrency::Refuse);
    assert_eq!(log.standing("r3"), Standing::Admitted { at: third });
    refusal(&log.standing("r2"));
}

#[test]
fn parity_19_a_queue_is_served_in_plan_order_at_the_closed_that_frees_it() {
    let mut log = Log::new();
    for name in ["r1", "r2", "r3", "r4", "r5"] {
        log.plan(name, Concurrency::Queue);
    }
    assert_eq!(log.standing("r2"), queued("r1", 0));
    assert_eq!(log.standing("r5"), queued("r1", 3));
    for (before, after) in [("r1", "r2"), ("r2", "r3"), ("r3", "r4"), ("r4", "r5")] {
        let at = log.succeeded(before);
        assert_eq!(log.standing(after), Standing::Admitted { at });
        assert_eq!(log.started_late().standings(), log.fold.standings());
        log.admitted(after);
        log.fold.settle();
    }
    log.succeeded("r5");
    log.fold.settle();
    assert!(log.fold.is_empty(), "a closed run leaves memory");
}

#[test]
fn a_run_that_does_not_wait_is_refused_behind_a_queue_too() {
    let mut log = Log::new();
    log.plan("r1", Concurrency::Queue);
    log.plan("r2", Concurrency::Queue);
    log.plan("r3", Concurrency::Refuse);
    refusal(&log.standing("r3"));
    let freed = log.succeeded("r1");
    refusal(&log.standing("r3"));
    assert_eq!(log.standing("r2"), Standing::Admitted { at: freed });
}

#[test]
fn at_most_twenty_wait() {
    let mut log = Log::new();
    for number in 0..=MAX_QUEUED {
        log.plan(&format!("r{number}"), Concurrency::Queue);
    }
    assert_eq!(log.standing("r20"), queued("r0", 19));
    log.plan("r21", Concurrency::Queue);
    let standing = log.standing("r21");
    assert!(refusal(&standing).1.contains("20 runs wait already"));
    log.succeeded("r0");
    refusal(&log.standing("r21"));
    log.plan("r22", Concurrency::Queue);
    assert_eq!(log.standing("r22"), queued("r1", 19));
}

#[test]
fn who_waited_and_was_refused_took_a_place_until_then() {
    let mut log = Log::new();
    for number in 0..=MAX_QUEUED {
        log.plan(&format!("r{number}"), Concurrency::Queue);
    }
    let late = log.plan("late", Concurrency::Queue);
    let request = log.abort("r7");
    log.plan("later", Concurrency::Queue);
    let judged = |log: &Log| {
        for fold in [&log.fold, &log.started_late()] {
            assert_eq!(refusal(&fold.standing(&run("late")).unwrap()).0, late, "#{}", log.seq);
            assert_eq!(fold.standing(&run("later")), Some(queued("r0", 19)), "#{}", log.seq);
        }
    };
    judged(&log);
    log.refused("r7");
    assert_eq!(refusal(&log.standing("r7")).0, request);
    judged(&log);
    log.closed("r7", RunResult::Refused);
    judged(&log);
    log.fold.settle();
    judged(&log);
    log.refused("late");
    log.closed("late", RunResult::Refused);
    log.fold.settle();
    assert_eq!(log.standing("later"), queued("r0", 19));
    assert_eq!(log.standing("r20"), queued("r0", 18));
    for number in (1..=MAX_QUEUED).filter(|number| *number != 7) {
        let name = format!("r{number}");
        log.abort(&name);
        log.refused(&name);
        log.closed(&name, RunResult::Refused);
    }
    log.fold.settle();
    assert!(!log.fold.places.contains_key(&run("r7")), "nobody's judgement needs it any more");
    assert_eq!(log.standing("later"), queued("r0", 0));
}

#[test]
fn a_queued_run_is_cancelled_at_the_request_itself() {
    let mut log = Log::new();
    log.plan("r1", Concurrency::Queue);
    log.plan("r2", Concurrency::Queue);
    log.plan("r3", Concurrency::Queue);
    let request = log.abort("r2");
    let standing = log.standing("r2");
    let (at, reason, cancelled) = refusal(&standing);
    assert_eq!((at, cancelled), (request, true));
    assert!(reason.starts_with("cancelled by ada"), "{reason}");
    assert_eq!(log.started_late().standings(), log.fold.standings());
    log.closed("r2", RunResult::Refused);
    let freed = log.succeeded("r1");
    assert_eq!(log.standing("r3"), Standing::Admitted { at: freed });
    assert_eq!(log.started_late().standings(), log.fold.standings());
}

#[test]
fn a_request_above_the_closed_that_frees_a_run_does_not_hinder_its_admission() {
    let mut log = Log::new();
    log.plan("r1", Concurrency::Queue);
    log.plan("r2", Concurrency::Queue);
    let freed = log.succeeded("r1");
    log.abort("r2");
    assert_eq!(log.standing("r2"), Standing::Admitted { at: freed });
    assert_eq!(log.started_late().standings(), log.fold.standings());
}

#[test]
fn a_run_that_waited_for_longer_than_a_third_of_the_logs_memory_is_refused() {
    let mut log = Log::new();
    log.plan("r1", Concurrency::Queue);
    log.plan("r2", Concurrency::Queue);
    log.now = log.now.after(Span(DAY.0 * 10));
    log.plan("r3", Concurrency::Queue);
    let freed = log.succeeded("r1");
    let standing = log.standing("r2");
    assert_eq!(refusal(&standing).0, freed);
    assert!(refusal(&standing).1.contains("240h"), "{}", refusal(&standing).1);
    assert_eq!(log.standing("r3"), Standing::Admitted { at: freed });
    assert_eq!(log.started_late().standings(), log.fold.standings());
}

#[test]
fn a_plan_too_large_to_be_told_of_is_refused_also_where_nobody_is_in_its_way() {
    let mut log = Log::new();
    let mut large = plan(Concurrency::Queue);
    let workflow = |steps| Workflow {
        target: Target::Command {},
        steps,
        waived: false,
        waived_steps: Vec::new(),
        bundle: None,
    };
    let step = |name: String| Step {
        name,
        action: Action::Wait(Span::seconds(1)),
        timeout: Span::seconds(1),
        retries: 0,
        tolerated: false,
    };
    large.workflows.insert("a".parse().unwrap(), workflow(vec![step("x".repeat(201))]));
    let record = Record::Plan { plan: Box::new(large), submitted_by: "eve".to_owned() };
    let at = log.store("a", Family::Plan.slot(1), Ok(record));
    let standing = log.standing("a");
    let (refused, reason, cancelled) = refusal(&standing);
    assert_eq!((refused, cancelled), (at, false));
    assert!(reason.contains("201 characters"), "{reason}");
    let next = log.plan("b", Concurrency::Refuse);
    assert_eq!(log.standing("b"), Standing::Admitted { at: next });
}

#[test]
fn rubbish_in_plan_means_that_there_is_no_such_run() {
    let mut log = Log::new();
    log.fold.heading(&run("r0"), Moment { seq: 1, time: log.now });
    log.store("r0", Family::Plan.slot(1), Err(Rubbish::Protocol(2)));
    log.plan("r1", Concurrency::Refuse);
    assert_eq!(log.standing("r1"), Standing::Admitted { at: 2 });
    assert_eq!(log.fold.standing(&run("r0")), None);
}

#[test]
fn an_admission_out_of_turn_is_followed_and_raises_an_alarm() {
    let mut log = Log::new();
    log.plan("r1", Concurrency::Queue);
    log.plan("r2", Concurrency::Queue);
    log.plan("r3", Concurrency::Queue);
    assert_eq!(log.fold.alarm(), None);
    let at = log.admitted("r2");
    assert_eq!(log.standing("r2"), Standing::Admitted { at });
    assert!(log.fold.alarm().is_some_and(|alarm| alarm.contains("while run r1 was open")));
    log.succeeded("r1");
    assert_eq!(log.standing("r3"), queued("r2", 0), "r2 is in the way although r1 is closed");
}

#[test]
fn the_order_and_the_number_of_times_in_which_records_are_applied_change_nothing() {
    let mut log = Log::new();
    log.plan("r1", Concurrency::Queue);
    log.admitted("r1");
    log.plan("r2", Concurrency::Queue);
    log.plan("r3", Concurrency::Queue);
    log.abort("r3");
    log.succeeded("r1");
    let mut again = log.fold.clone();
    log.entries.iter().rev().for_each(|entry| again.apply(entry));
    assert_eq!(again, log.fold);
}

#[test]
fn who_starts_late_sees_what_one_sees_who_was_there_all_along() {
    let mut log = Log::new();
    let mut chance = Chance(7);
    let (mut next, mut open) = (0, Vec::new());
    for _ in 0..600 {
        match chance.below(5) {
            0 | 1 => {
                let waits =
                    if chance.below(3) == 0 { Concurrency::Refuse } else { Concurrency::Queue };
                next += 1;
                let name = format!("r{next}");
                log.plan(&name, waits);
                open.push(name);
            }
            2 if !open.is_empty() => {
                let name = open[chance.below(open.len())].clone();
                log.abort(&name);
            }
            _ => write_down_what_is_due(&mut log, &mut open, &mut chance),
        }
        let late = log.started_late();
        let unrecorded = |fold: &PipelineFold| {
            let open = fold.runs.values().filter(|known| known.recorded.is_none());
            let names: BTreeSet<RunId> = open.map(|known| known.run.clone()).collect();
            let mut standings = fold.standings();
            standings.retain(|run, _| names.contains(run));
            standings
        };
        assert_eq!(unrecorded(&late), unrecorded(&log.fold), "at #{}", log.seq);
        assert_eq!(late.alarm(), None);
        log.fold.settle();
        assert!(log.fold.runs.len() <= 4 * MAX_QUEUED, "memory grows: {}", log.fold.runs.len());
        let active = log.fold.standings().into_values();
        let active = active.filter(|standing| matches!(standing, Standing::Admitted { .. }));
        assert!(active.count() <= 1, "two runs at once at #{}", log.seq);
    }
    assert!(next > 60, "the transcript covers too little: {next} runs");
}

/// Plays a coordinator and the run: records admissions, closes what is refused and, at times,
/// what runs.
fn write_down_what_is_due(log: &mut Log, open: &mut Vec<String>, chance: &mut Chance) {
    for (id, standing) in log.fold.standings() {
        let name = id.to_string();
        let recorded = log.fold.runs[&log.fold.places[&id]].recorded.is_some();
        match standing {
            Standing::Refused { .. } if !recorded && chance.below(2) == 0 => {
                log.refused(&name);
            }
            Standing::Refused { .. } => {
                log.closed(&name, RunResult::Refused);
                open.retain(|other| *other != name);
            }
            Standing::Admitted { .. } if !recorded => {
                log.admitted(&name);
            }
            Standing::Admitted { .. } if chance.below(2) == 0 => {
                log.succeeded(&name);
                open.retain(|other| *other != name);
                return;
            }
            _ => {}
        }
    }
}

/// A small deterministic generator.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) % limit as u64) as usize
    }
}
