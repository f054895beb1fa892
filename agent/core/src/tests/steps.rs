//! Attempts, retries, tolerated failures, watches, and the failure of a step.

use lockstep_shared::{record::Record, time::Span};

use super::{
    plans::{alone, reference},
    world::World,
};
use crate::{Ending, Event, Report, Standing, Told};

#[test]
fn a_failed_attempt_is_tried_again_after_a_pause_and_each_has_its_own_start() {
    let mut world = World::running(alone("deploy+2"));
    world.break_down(0, 1);
    world.expect(&[]);
    world.let_pass(Span::seconds(1));
    world.expect(&["send workflow.backend.3 StepStarted 0/2", "act Start 0/2"]);
    world.break_down(0, 2);
    world.let_pass(Span(1999));
    world.expect(&[]);
    world.let_pass(Span(1));
    world.expect(&["send workflow.backend.4 StepStarted 0/3", "act Start 0/3"]);
    world.break_down(0, 3);
    let lines = world.lines();
    assert_eq!(lines[0], "send workflow.backend.5 Failed 0");
}

#[test]
fn a_tolerated_failure_is_noted_and_the_workflow_goes_on() {
    let mut world = World::running(alone("smoke+1~ deploy"));
    world.break_down(0, 1);
    world.let_pass(Span::seconds(1));
    world.break_down(0, 2);
    world.expect(&[
        "send workflow.backend.3 StepStarted 0/2",
        "act Start 0/2",
        "send workflow.backend.4 StepFinished 0 ignored",
        "send workflow.backend.5 StepStarted 1/1",
        "act Start 1/1",
    ]);
    let state = &world.fold.workflows()[&super::plans::workflow("backend")];
    assert_eq!(state.steps[&0].ignored.as_deref(), Some("boom"));
}

#[test]
fn parity_03_who_failed_says_so_at_once_and_undoes_without_waiting_for_a_coordinator() {
    let mut world = World::running(reference());
    world.break_down(0, 1);
    world.expect(&[
        "send workflow.backend.3 Failed 0",
        "send workflow.backend.4 RollingBack",
        "act Undo 0",
    ]);
    world.report(Report::Undone { step: 0, residue: Vec::new(), output: String::new() });
    world.expect(&["send workflow.backend.5 RolledBack", "save Settled"]);
    world.coordinate();
    let ending = Ending::RolledBack { residue: Vec::new(), accepted: false };
    assert_eq!(world.standing(), Standing::Over(ending));
}

#[test]
fn a_failure_is_sent_even_while_an_arrival_is_without_an_answer() {
    let mut world = World::running(alone("verify"));
    world.hold_appends = true;
    world.finish(0, 1);
    world.deliver_held();
    assert_eq!(world.lines().last().unwrap(), "act Watch 0");
    assert_eq!(world.held.len(), 1, "the arrival at _commit is on its way");
    world.call(Event::Degraded { step: 0, error: "503".to_owned(), output: String::new() });
    world.expect(&["send workflow.backend.4 Failed 0"]);
}

#[test]
fn parity_34_what_degrades_while_it_waits_withdraws_its_workflow() {
    let mut world = World::running(reference_with_verify());
    world.finish(0, 1);
    world.finish(1, 1);
    world.lines();
    world.call(Event::Degraded { step: 1, error: "503".to_owned(), output: String::new() });
    world.expect(&[
        "send workflow.backend.6 Failed 1",
        "send workflow.backend.7 RollingBack",
        "act Unwatch",
        "act Undo 0",
    ]);
    let cause = world.fold.first_cause().unwrap();
    assert!(cause.text.contains("backend failed in step \"verify\""), "{}", cause.text);
    assert!(cause.text.contains("503"), "{}", cause.text);
}

#[test]
fn parity_34_what_degrades_behind_the_last_arrival_is_committed_and_told() {
    let mut world = World::running(alone("deploy verify"));
    world.finish(0, 1);
    world.finish(1, 1);
    world.lines();
    // Everybody has arrived, nobody has recorded it: too late to withdraw.
    world.call(Event::Degraded { step: 1, error: "503".to_owned(), output: String::new() });
    world.expect(&["send workflow.backend.6 Failed 1"]);
    world.let_pass(Span::minutes(1));
    world.expect(&[]);
    world.coordinate();
    world.expect(&["act Finalize"]);
    world.report(Report::Finalized { warnings: Vec::new() });
    world.coordinate();
    world.expect(&["send workflow.backend.7 Finalized", "act Unwatch", "save Settled"]);
    let Standing::Over(Ending::Finalized { degraded: Some(what) }) = world.standing() else {
        panic!("{:?}", world.standing())
    };
    assert!(what.contains("503"), "{what}");
}

#[test]
fn parity_34_what_degrades_while_it_finalizes_is_told() {
    let mut world = World::running(alone("verify"));
    world.finish(0, 1);
    world.coordinate();
    world.call(Event::Degraded { step: 0, error: "503".to_owned(), output: String::new() });
    world.report(Report::Finalized { warnings: Vec::new() });
    world.coordinate();
    let Standing::Over(Ending::Finalized { degraded: Some(what) }) = world.standing() else {
        panic!("{:?}", world.standing())
    };
    assert!(what.contains("503"), "{what}");
}

#[test]
fn a_tolerated_step_is_not_watched_and_a_stranger_watch_changes_nothing() {
    let mut world = World::running(alone("verify~ deploy"));
    world.finish(0, 1);
    assert!(!world.lines().contains(&"act Watch 0".to_owned()));
    let before = world.agent.clone();
    world.call(Event::Degraded { step: 0, error: "503".to_owned(), output: String::new() });
    assert_eq!(world.agent, before);
}

#[test]
fn a_report_of_something_else_changes_nothing() {
    let mut world = World::running(alone("deploy"));
    let before = world.agent.clone();
    for report in [
        Report::Finished { step: 0, attempt: 2, told: Told::default() },
        Report::Prepared { view: None },
        Report::Undone { step: 0, residue: Vec::new(), output: String::new() },
        Report::Finalized { warnings: Vec::new() },
    ] {
        world.call(Event::Reported(report));
        assert_eq!(world.agent, before);
    }
    assert!(world.has_note("nothing like this was ordered"));
}

#[test]
fn an_undo_record_that_cannot_be_stored_stops_the_workflow_before_it_writes() {
    let mut world = World::new(alone("deploy"));
    world.call(Event::Woke);
    world.saves = false;
    world.prepared();
    world.expect(&[
        "send workflow.backend.1 Joined",
        "act Prepare",
        "lose Prepared",
        "send workflow.backend.2 Failed",
    ]);
    assert_eq!(world.disk, None);

    let mut world = World::new(alone("deploy"));
    world.call(Event::Woke);
    world.prepared();
    world.lines();
    world.saves = false;
    world.coordinate();
    world.expect(&[
        "send workflow.backend.2 StepStarted 0/1",
        "lose Started",
        "send workflow.backend.3 Failed 0",
        "lose Started",
        "send workflow.backend.4 RollingBack",
    ]);
    world.saves = true;
    world.let_pass(Span::seconds(1));
    world.expect(&["save Started", "act Undo 0"]);
}

#[test]
fn prepare_that_fails_ends_the_run_with_its_reason_and_leaves_nothing() {
    let mut world = World::new(reference());
    world.call(Event::Woke);
    world.others_join("frontend", "elsewhere");
    let error = "namespace backend does not exist".to_owned();
    world.report(Report::PrepareFailed { error, output: String::new() });
    world.lines();
    world.coordinate();
    world.expect(&[]);
    assert!(world.fold.first_cause().unwrap().text.contains("does not exist"));
    assert_eq!(world.standing(), Standing::Over(Ending::NotStarted));
}

#[test]
fn parity_28_the_log_names_the_culprit_at_every_workflow() {
    let mut world = World::running(reference());
    let failed = Record::Failed {
        epoch: 1,
        step: Some(1),
        error: "image not found".to_owned(),
        output: String::new(),
    };
    world.others_write("frontend", failed);
    world.coordinate();
    assert!(world.has_note("frontend failed in step \"deploy\": image not found"));
}

fn reference_with_verify() -> lockstep_shared::plan::Plan {
    let lines = [("backend", "deploy verify @BE"), ("frontend", "@BE deploy")];
    super::plans::plan(lockstep_shared::plan::OnFailure::RollbackAll, &lines)
}
