//! `onFailure: each-own`: the own outcome alone is obeyed (PROTOCOL section 8).

use lockstep_shared::{plan::OnFailure, record::Record, subject::Family, time::Span};

use super::{
    plans::{plan, workflow},
    world::World,
};
use crate::{Ending, Event, Report, Standing};

fn ready(backend: &str, frontend: &str) -> World {
    World::ready(plan(OnFailure::EachOwn, &[("backend", backend), ("frontend", frontend)]))
}

fn frontend_fails(world: &mut World) {
    let (step, error, output) = (Some(0), "boom".to_owned(), String::new());
    world.others_write("frontend", Record::Failed { epoch: 1, step, error, output });
    world.coordinate();
}

#[test]
fn parity_29_a_workflow_that_is_done_finalizes_though_another_one_failed() {
    let mut world = ready("deploy", "deploy");
    world.lines();
    frontend_fails(&mut world);
    world.expect(&[]);
    world.finish(0, 1);
    world.expect(&["send workflow.backend.3 StepFinished 0"]);
    world.coordinate();
    world.expect(&["act Finalize"]);
    world.report(Report::Finalized { warnings: Vec::new() });
    world.expect(&["send workflow.backend.4 Finalized", "save Settled"]);
}

#[test]
fn parity_23_who_fails_waits_for_its_outcome_before_it_undoes() {
    let mut world = ready("deploy", "deploy");
    world.break_down(0, 1);
    world.let_pass(Span::minutes(1));
    assert_eq!(world.lines().last().unwrap(), "send workflow.backend.3 Failed 0");
    world.coordinate();
    world.expect(&["send workflow.backend.4 RollingBack", "act Undo 0"]);
}

#[test]
fn a_barrier_that_cannot_be_met_breaks_its_parties() {
    let mut world = ready("deploy @BE", "deploy @BE");
    world.finish(0, 1);
    world.lines();
    frontend_fails(&mut world);
    world.expect(&["send workflow.backend.4 RollingBack", "act Undo 0"]);
    world.report(Report::Undone { step: 0, residue: Vec::new(), output: String::new() });
    world.coordinate();
    let ending = Ending::RolledBack { residue: Vec::new(), accepted: false };
    assert_eq!(world.standing(), Standing::Over(ending));
}

#[test]
fn before_prepare_is_released_every_cause_breaks_all() {
    let plan = plan(OnFailure::EachOwn, &[("backend", "deploy"), ("frontend", "deploy")]);
    let mut world = World::new(plan);
    world.call(Event::Woke);
    world.prepared();
    world.others_join("frontend", "elsewhere");
    world.lines();
    let (step, error, output) = (None, "boom".to_owned(), String::new());
    world.others_write("frontend", Record::Failed { epoch: 1, step, error, output });
    world.coordinate();
    world.expect(&["save Settled"]);
    assert_eq!(world.standing(), Standing::Over(Ending::NotStarted));
}

#[test]
fn what_degrades_behind_the_last_step_is_too_late_and_told() {
    let mut world = ready("verify", "deploy");
    world.finish(0, 1);
    world.call(Event::Degraded { step: 0, error: "503".into(), output: String::new() });
    world.let_pass(Span::minutes(1));
    world.coordinate();
    world.report(Report::Finalized { warnings: Vec::new() });
    let Standing::Over(Ending::Finalized { degraded: Some(what) }) = world.standing() else {
        panic!("{:?}", world.standing())
    };
    assert!(what.contains("503"), "{what}");
    assert!(world.fold.workflows()[&workflow("backend")].ended.is_some());
}

#[test]
fn a_workflow_whose_last_step_is_a_barrier_is_done_by_the_arrival_that_completes_it() {
    let mut world = ready("deploy @BE", "@BE deploy");
    world.finish(0, 1);
    world.others_arrive("BE", "frontend");
    world.coordinate();
    assert_eq!(world.lines().last().unwrap(), "act Finalize");
    frontend_fails(&mut world);
    world.report(Report::Finalized { warnings: Vec::new() });
    assert_eq!(world.standing(), Standing::Over(Ending::Finalized { degraded: None }));
}

#[test]
fn a_step_started_above_the_own_outcome_is_never_acted_on() {
    let mut world = ready("@BE deploy", "deploy @BE");
    world.others_arrive("BE", "frontend");
    world.hold_appends = true;
    world.coordinate();
    world.lines();
    let (by, reason) = ("eve".to_owned(), "no".to_owned());
    world.write(Family::Request, Record::AbortRequested { by, reason });
    for (slot, record) in world.fold.due() {
        world.store(slot, record);
    }
    world.deliver_held();
    world.expect(&["save Settled"]);
    assert_eq!(world.standing(), Standing::Over(Ending::NotStarted));
}
