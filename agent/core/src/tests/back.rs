//! The way back: who undoes, when, in which order, and what is said of it.

use lockstep_shared::{record::Record, subject::Family, time::Span};

use super::{
    plans::{alone, barrier, reference, workflow},
    world::World,
};
use crate::{Ending, Event, Report, Standing};

fn abort(world: &mut World) {
    let (by, reason) = ("eve".to_owned(), "no".to_owned());
    world.write(Family::Request, Record::AbortRequested { by, reason });
    world.coordinate();
}

#[test]
fn the_last_step_is_undone_first_and_the_residue_is_listed() {
    let mut world = World::running(alone("one two verify three"));
    for step in 0..3 {
        world.finish(step, 1);
    }
    world.lines();
    abort(&mut world);
    world.expect(&["act Unwatch", "act Stop"]);
    world.break_down(3, 1);
    world.expect(&["send workflow.backend.9 RollingBack", "act Undo 3"]);
    for step in [3, 1, 0] {
        world.report(Report::Undone {
            step,
            residue: vec![format!("pvc {step}")],
            output: String::new(),
        });
    }
    world.expect(&[
        "act Undo 1",
        "act Undo 0",
        "send workflow.backend.10 RolledBack",
        "save Settled",
    ]);
    let residue = vec!["pvc 3".to_owned(), "pvc 1".to_owned(), "pvc 0".to_owned()];
    assert_eq!(world.standing(), Standing::Over(Ending::RolledBack { residue, accepted: false }));
}

#[test]
fn parity_04_who_has_started_nothing_settles_and_writes_nothing() {
    let lines = [("backend", "@BE deploy"), ("frontend", "deploy @BE")];
    let plan = super::plans::plan(lockstep_shared::plan::OnFailure::RollbackAll, &lines);
    let mut world = World::ready(plan);
    world.lines();
    let (step, error, output) = (Some(0), "boom".to_owned(), String::new());
    world.others_write("frontend", Record::Failed { epoch: 1, step, error, output });
    world.coordinate();
    world.expect(&["save Settled"]);
    assert_eq!(world.standing(), Standing::Over(Ending::NotStarted));
}

#[test]
fn a_step_started_above_the_verdict_is_never_acted_on() {
    let lines = [("backend", "@BE deploy"), ("frontend", "@BE deploy")];
    let plan = super::plans::plan(lockstep_shared::plan::OnFailure::RollbackAll, &lines);
    let mut world = World::ready(plan);
    world.others_arrive("BE", "frontend");
    world.hold_appends = true;
    world.coordinate();
    world.lines();
    let (by, reason) = ("eve".to_owned(), "no".to_owned());
    world.write(Family::Request, Record::AbortRequested { by, reason });
    let (slot, verdict) = world.fold.due().remove(0);
    world.store(slot, verdict);
    world.deliver_held();
    world.expect(&["save Settled"]);
    assert_eq!(world.standing(), Standing::Over(Ending::NotStarted));
}

#[test]
fn a_step_started_below_the_verdict_is_undone_even_if_it_never_acted() {
    let lines = [("backend", "@BE deploy"), ("frontend", "@BE deploy")];
    let plan = super::plans::plan(lockstep_shared::plan::OnFailure::RollbackAll, &lines);
    let mut world = World::ready(plan);
    world.others_arrive("BE", "frontend");
    world.hold_appends = true;
    world.coordinate();
    world.lines();
    let append = world.held.pop_front().unwrap();
    let stored = world.deliver(append);
    let (by, reason) = ("eve".to_owned(), "no".to_owned());
    world.write(Family::Request, Record::AbortRequested { by, reason });
    let (slot, verdict) = world.fold.due().remove(0);
    world.store(slot, verdict);
    world.call(stored);
    // Never acted on, but the undo writes: from here on it is a debt.
    world.expect(&["save Started", "act Undo 1"]);
}

#[test]
fn an_aborted_barrier_alone_undoes_nothing() {
    let mut world = World::running(reference());
    world.finish(0, 1);
    world.lines();
    let cause = lockstep_shared::record::Cause {
        at: 3,
        sort: lockstep_shared::record::CauseSort::Requested,
        workflow: None,
        party: None,
        step: None,
        barrier: None,
        text: "no".to_owned(),
        output: String::new(),
    };
    let family = Family::BarrierVerdict(barrier("BE"));
    world.write(family, Record::Aborted { at: 3, cause });
    world.let_pass(Span::minutes(1));
    world.expect(&[]);
}

#[test]
fn an_own_failure_behind_the_own_arrival_at_commit_waits_for_the_verdict() {
    let lines = [("backend", "verify"), ("frontend", "deploy")];
    let plan = super::plans::plan(lockstep_shared::plan::OnFailure::RollbackAll, &lines);
    let mut world = World::running(plan);
    world.finish(0, 1);
    world.lines();
    world.call(Event::Degraded { step: 0, error: "503".to_owned(), output: String::new() });
    world.expect(&["send workflow.backend.4 Failed 0"]);
    world.let_pass(Span::minutes(1));
    world.expect(&[]);
    world.coordinate();
    world.expect(&[
        "send workflow.backend.5 RollingBack",
        "act Unwatch",
        "send workflow.backend.6 RolledBack",
        "save Settled",
    ]);
}

#[test]
fn who_cannot_read_the_log_holds_however_long() {
    let mut world = World::running(reference());
    world.readable = false;
    world.break_down(0, 1);
    world.expect(&["send workflow.backend.3 Failed 0"]);
    world.let_pass(Span::minutes(30));
    world.expect(&[]);
    assert!(matches!(world.standing(), Standing::Holding(_)));
    world.readable = true;
    world.let_pass(Span::seconds(5));
    world.expect(&["send workflow.backend.4 RollingBack", "act Undo 0"]);
}

#[test]
fn parity_21_an_undo_is_tried_three_times_and_then_what_is_left_is_listed() {
    let mut world = World::running(alone("one two"));
    world.finish(0, 1);
    world.break_down(1, 1);
    world.lines();
    for _ in 0..3 {
        let (error, left) = ("timed out".to_owned(), vec!["folder two".to_owned()]);
        let output = "disk is busy\n".to_owned();
        world.report(Report::UndoFailed { step: 1, error, left, output });
        world.let_pass(Span::seconds(2));
    }
    world.expect(&["act Undo 1", "act Undo 1", "send workflow.backend.7 RollbackFailed"]);
    assert!(matches!(world.standing(), Standing::Owing(why) if why.contains("timed out")));
    assert_eq!(world.disk, Some(crate::UndoMark::Started), "the debt stays");
    world.coordinate();
    let ended = &world.fold.workflows()[&workflow("backend")].ended.as_ref().unwrap().record;
    let Record::RollbackFailed { error, left, output, .. } = ended else { panic!("{ended:?}") };
    assert_eq!(output, "undo of step \"two\":\ndisk is busy\n", "what the last try printed");
    assert_eq!(error, "undoing step \"two\" failed: timed out");
    let rest = ["folder two", "step \"two\" is not undone", "step \"one\" is not undone"];
    assert_eq!(left, &rest);
    assert!(world.wake.is_some(), "it still hears an operator");
}

#[test]
fn what_was_said_in_doubt_is_said_again_until_it_stands() {
    let mut world = World::running(alone("deploy"));
    world.hold_appends = true;
    world.break_down(0, 1);
    for _ in 0..20 {
        world.doubt_held(false);
        world.let_pass(Span::seconds(1));
    }
    assert_eq!(world.lines(), vec!["send workflow.backend.3 Failed 0"; 21]);
    world.deliver_held();
    world.deliver_held();
    world.expect(&["send workflow.backend.4 RollingBack", "act Undo 0"]);
    world.report(Report::Undone { step: 0, residue: Vec::new(), output: String::new() });
    for _ in 0..20 {
        world.doubt_held(false);
        world.let_pass(Span::seconds(1));
    }
    world.deliver_held();
    assert_eq!(world.lines().last().unwrap(), "save Settled");
}

#[test]
fn finalizing_that_fails_ends_with_a_warning_and_a_committed_run() {
    let mut world = World::running(alone("deploy"));
    world.finish(0, 1);
    world.coordinate();
    for _ in 0..3 {
        world.report(Report::FinalizeFailed { error: "disk".to_owned() });
        world.let_pass(Span::seconds(2));
    }
    world.coordinate();
    assert!(matches!(world.standing(), Standing::Over(Ending::Finalized { degraded: None })));
    let ended = &world.fold.workflows()[&workflow("backend")].ended.as_ref().unwrap().record;
    let Record::Finalized { warnings, .. } = ended else { panic!("{ended:?}") };
    assert!(warnings[0].contains("disk"));
}

#[test]
fn a_settled_mark_that_cannot_be_stored_is_tried_again() {
    let mut world = World::running(alone("deploy"));
    world.finish(0, 1);
    world.coordinate();
    world.lines();
    world.saves = false;
    world.report(Report::Finalized { warnings: Vec::new() });
    world.expect(&["send workflow.backend.4 Finalized", "lose Settled"]);
    assert_eq!(world.standing(), Standing::Working);
    world.saves = true;
    world.let_pass(Span::seconds(5));
    world.expect(&["save Settled"]);
    assert!(matches!(world.standing(), Standing::Over(Ending::Finalized { .. })));
}

#[test]
fn a_run_that_is_committed_before_the_workflow_is_through_is_kept_and_told() {
    let mut world = World::running(reference());
    world.write(Family::Verdict, Record::Committed { at: 3 });
    world.ring();
    world.expect(&["act Stop"]);
    world.break_down(0, 1);
    world.report(Report::Finalized { warnings: Vec::new() });
    let Standing::Over(Ending::Finalized { degraded: Some(what) }) = world.standing() else {
        panic!("{:?}", world.standing())
    };
    assert!(what.contains("before this workflow was through"), "{what}");
}
