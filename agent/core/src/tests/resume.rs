//! Every state that an agent can be killed in (PARITY 15, 33): what the next one does, from the
//! log and the undo mark alone. Each is also left on request; then the next one joins at once,
//! whoever it is.

use lockstep_shared::{
    plan::{OnFailure, Plan},
    record::Record,
    subject::Family,
    time::Span,
};

use super::{
    plans::{alone, plan, reference},
    world::World,
};
use crate::{Ending, Report, Standing};

/// Kills the agent and lets the next one read.
fn resume(world: &mut World) {
    world.restart();
    world.ring();
}

/// Asks the agent to leave, stops what it was running, and lets another instance read.
fn hand_over(world: &mut World) {
    world.call(crate::Event::Terminate);
    if let Some(crate::Act::Start { step, attempt }) = world.orders.front().cloned() {
        world.break_down(step, attempt);
    } else if let Some(crate::Act::Undo { step }) = world.orders.front().cloned() {
        let (error, left) = ("stopped".to_owned(), Vec::new());
        world.report(Report::UndoFailed { step, error, left, output: String::new() });
    } else if !world.orders.is_empty() {
        world.report(Report::FinalizeFailed { error: "stopped".to_owned() });
    }
    let over = world.standing();
    assert_eq!(over, Standing::Over(Ending::Left), "{:?}", world.lines());
    world.instance = "host-1-again";
    resume(world);
}

/// Both ways to end and to come back, with what the next incarnation then decides.
fn both(at: impl Fn() -> World, expected: &[&str]) {
    let mut world = at();
    let epoch = world.slots.keys().filter(|slot| is_own(slot)).count() + 1;
    let joined = format!("send workflow.backend.{epoch} Joined");
    resume(&mut world);
    let mut lines = world.lines();
    assert_eq!(lines.remove(0), joined);
    lines.retain(|line| line != "act Stop");
    assert_eq!(number_free(&lines), expected, "killed");

    let mut world = at();
    hand_over(&mut world);
    let mut lines = world.lines();
    assert!(lines.remove(0).ends_with("Joined"));
    lines.retain(|line| line != "act Stop");
    assert_eq!(number_free(&lines), expected, "left");
}

fn is_own(slot: &lockstep_shared::subject::Slot) -> bool {
    matches!(&slot.family, Family::Workflow(name) if name.as_str() == "backend")
}

/// The lines without the numbers of the workflow's slots, which differ by a Left.
fn number_free(lines: &[String]) -> Vec<String> {
    let strip = |line: &String| match line.strip_prefix("send workflow.backend.") {
        Some(rest) => format!("send {}", rest.split_once(' ').unwrap().1),
        None => line.clone(),
    };
    lines.iter().map(strip).collect()
}

fn parked() -> World {
    let mut world = World::running(reference());
    world.finish(0, 1);
    world.lines();
    world
}

fn others_done() -> Plan {
    plan(OnFailure::RollbackAll, &[("backend", "deploy"), ("frontend", "deploy")])
}

fn abort(world: &mut World) {
    let (by, reason) = ("eve".to_owned(), "no".to_owned());
    world.write(Family::Request, Record::AbortRequested { by, reason });
    world.coordinate();
}

#[test]
fn parity_15_parity_33_in_prepare() {
    let at = || {
        let mut world = World::new(reference());
        world.ring();
        world.orders.clear();
        world
    };
    let mut world = at();
    resume(&mut world);
    world.expect(&["send workflow.backend.2 Joined", "act Stop", "act Prepare"]);
}

#[test]
fn parity_15_parity_33_between_the_undo_record_and_the_arrival() {
    let mut world = World::new(reference());
    world.ring();
    world.hold_appends = true;
    world.prepared();
    world.hold_appends = false;
    resume(&mut world);
    world.lines();
    world.prepared();
    world.expect(&["save Prepared", "send barrier._prepare.party.backend.1 Arrived"]);
}

#[test]
fn parity_15_parity_33_while_waiting_at_prepare() {
    let at = || {
        let mut world = World::new(reference());
        world.ring();
        world.prepared();
        world
    };
    both(at, &[]);
}

#[test]
fn parity_15_parity_33_while_waiting_at_a_barrier() {
    both(parked, &[]);
    let released = || {
        let mut world = parked();
        world.others_arrive("BE", "frontend");
        world.readable = false;
        world.coordinate();
        world.readable = true;
        world
    };
    let mut world = released();
    resume(&mut world);
    world.expect(&[
        "send workflow.backend.4 Joined",
        "send barrier.FE.party.backend.1 Arrived",
        "act Stop",
    ]);
}

#[test]
fn parity_15_parity_33_before_arriving() {
    let mut world = World::running(reference());
    world.hold_appends = true;
    world.finish(0, 1);
    let append = world.held.pop_front().unwrap();
    world.deliver(append);
    world.hold_appends = false;
    resume(&mut world);
    world.expect(&[
        "send workflow.backend.4 Joined",
        "send barrier.BE.party.backend.1 Arrived",
        "act Stop",
    ]);
}

#[test]
fn parity_15_parity_33_in_the_middle_of_a_command() {
    // It counts as failed: at most once per StepStarted.
    both(|| World::running(reference()), &["send Failed 0", "send RollingBack", "act Undo 0"]);
}

#[test]
fn parity_15_parity_33_in_the_middle_of_a_command_with_attempts_left() {
    let at = || World::running(alone("deploy+1"));
    both(at, &["send StepStarted 0/2", "act Start 0/2"]);
}

#[test]
fn parity_15_parity_33_in_the_middle_of_an_idempotent_command() {
    both(|| World::running(alone("deploy!")), &["act Start 0/1"]);
}

#[test]
fn parity_15_parity_33_in_the_middle_of_a_tolerated_command() {
    let at = || World::running(alone("smoke~ @BE"));
    both(at, &["send StepFinished 0 ignored", "send barrier.BE.party.backend.1 Arrived"]);
}

#[test]
fn parity_15_parity_33_in_the_middle_of_a_verify() {
    both(|| World::running(alone("verify")), &["act Start 0/1"]);
}

#[test]
fn parity_15_parity_33_in_a_wait() {
    let at = || {
        let mut world = World::ready(alone("wait"));
        world.let_pass(Span::seconds(40));
        world.lines();
        world
    };
    both(at, &[]);
    let mut world = at();
    resume(&mut world);
    world.lines();
    world.let_pass(Span::seconds(19));
    world.expect(&[]);
    world.let_pass(Span::seconds(1));
    world.expect(&[
        "send workflow.backend.4 StepFinished 0",
        "send barrier._commit.party.backend.1 Arrived",
    ]);
}

#[test]
fn parity_15_parity_33_between_a_step_started_and_its_mark() {
    let mut world = World::new(alone("deploy"));
    world.ring();
    world.prepared();
    world.hold_appends = true;
    world.coordinate();
    let append = world.held.pop_front().unwrap();
    world.deliver(append);
    world.hold_appends = false;
    assert_eq!(world.disk, Some(crate::UndoMark::Prepared));
    resume(&mut world);
    let lines = world.lines_but_stop();
    assert_eq!(lines[1..], ["send workflow.backend.4 Failed 0", "save Started", "act Undo 0"]);
    assert!(!world.has_note("lost records"), "it is a plain crash");
}

#[test]
fn parity_15_parity_33_after_a_release() {
    let at = || {
        let mut world = World::ready(plan(
            OnFailure::RollbackAll,
            &[("backend", "one! @BE two! @FE"), ("frontend", "@BE @FE")],
        ));
        world.finish(0, 1);
        world.others_arrive("BE", "frontend");
        world.coordinate();
        world
    };
    assert_eq!(at().lines().last().unwrap(), "act Start 2/1");
    both(at, &["act Start 2/1"]);
}

#[test]
fn parity_15_parity_33_at_the_commit_barrier() {
    let at = || {
        let mut world = World::running(plan(
            OnFailure::RollbackAll,
            &[("backend", "deploy verify"), ("frontend", "deploy")],
        ));
        world.finish(0, 1);
        world.finish(1, 1);
        world
    };
    // It watches on, holds and may still withdraw.
    both(at, &["act Watch 1"]);
}

#[test]
fn parity_15_parity_33_after_the_verdict_and_before_finalizing() {
    let at = || {
        let mut world = World::running(alone("deploy"));
        world.finish(0, 1);
        world.readable = false;
        world.coordinate();
        world.readable = true;
        world
    };
    let mut world = at();
    resume(&mut world);
    world.expect(&["send workflow.backend.4 Joined", "act Stop", "act Finalize"]);
}

#[test]
fn parity_15_parity_33_while_finalizing() {
    let at = || {
        let mut world = World::running(alone("deploy"));
        world.finish(0, 1);
        world.coordinate();
        world
    };
    both(at, &["act Finalize"]);
}

#[test]
fn parity_15_parity_33_after_finalized_and_before_the_undo_record_is_settled() {
    let mut world = World::running(alone("deploy"));
    world.finish(0, 1);
    world.coordinate();
    world.saves = false;
    world.report(Report::Finalized { warnings: Vec::new() });
    world.saves = true;
    resume(&mut world);
    world.expect(&["save Settled"]);
    assert!(matches!(world.standing(), Standing::Over(Ending::Finalized { .. })));
}

#[test]
fn parity_15_parity_33_during_rollback() {
    let at = || {
        let mut world = World::running(alone("one two three"));
        world.finish(0, 1);
        world.finish(1, 1);
        world.break_down(2, 1);
        world.report(Report::Undone { step: 2, residue: Vec::new(), output: String::new() });
        world
    };
    // An undo runs at least once: the next one begins with the last step again.
    let mut world = at();
    world.coordinate();
    resume(&mut world);
    let lines = world.lines_but_stop();
    assert_eq!(number_free(&lines[1..]), ["send RollingBack", "act Undo 2"]);
}

#[test]
fn parity_15_parity_33_during_rollback_before_any_verdict_the_next_one_waits_for_it() {
    let mut world = World::running(reference());
    world.break_down(0, 1);
    resume(&mut world);
    world.let_pass(Span::minutes(5));
    world.expect(&["send workflow.backend.5 Joined", "act Stop"]);
    world.coordinate();
    world.expect(&["send workflow.backend.6 RollingBack", "act Undo 0"]);
}

#[test]
fn parity_15_parity_33_after_rolled_back() {
    let mut world = World::running(alone("deploy"));
    world.break_down(0, 1);
    world.saves = false;
    world.report(Report::Undone { step: 0, residue: Vec::new(), output: String::new() });
    world.saves = true;
    world.coordinate();
    resume(&mut world);
    world.expect(&["save Settled"]);
}

#[test]
fn parity_15_parity_33_while_an_abort_was_decided_in_its_absence() {
    let mut world = World::running(others_done());
    world.finish(0, 1);
    world.restart();
    abort(&mut world);
    let lines = world.lines_but_stop();
    assert_eq!(number_free(&lines), ["send Joined", "send RollingBack", "act Undo 0"]);
}

#[test]
fn parity_15_parity_33_aborted_in_its_absence_before_it_started_anything() {
    let mut world = World::new(reference());
    world.ring();
    world.prepared();
    world.restart();
    abort(&mut world);
    world.expect(&["save Settled"]);
    assert_eq!(world.standing(), Standing::Over(Ending::NotStarted));
}

#[test]
fn a_resumed_agent_without_the_undo_record_fails_and_says_so() {
    let mut world = parked();
    world.disk = None;
    resume(&mut world);
    let lines = world.lines_but_stop();
    assert_eq!(
        number_free(&lines[1..]),
        ["act Recall", "send Failed", "send RollingBack", "send RollbackFailed"]
    );
    let cause = world.fold.first_cause().unwrap();
    assert!(cause.text.contains("undo record is lost"), "{}", cause.text);
    assert!(matches!(world.standing(), Standing::Owing(_)));
}

#[test]
fn a_long_history_is_read_in_few_readings() {
    let words = vec!["step!"; 300].join(" ");
    let mut world = World::ready(alone(&words));
    for step in 0..299 {
        world.finish(step, 1);
    }
    world.restart();
    world.readable = false;
    world.ring();
    let mut readings = 0;
    while world.agent.epoch().is_none() {
        readings += 1;
        assert!(readings < 12, "it reads slot by slot");
        let reading = world.reading();
        world.call(crate::Event::Reading(reading));
    }
    world.readable = true;
    world.ring();
    assert_eq!(world.lines().last().unwrap(), "act Start 299/1");
}
