//! The way forward and its two ends, told whole.

use lockstep_shared::{plan::OnFailure, record::Record, subject::Family, time::Span};

use super::{
    plans::{alone, barrier, plan, reference, workflow},
    world::World,
};
use crate::{Ending, Event, Report, Standing};

#[test]
fn parity_01_the_reference_story_from_the_plan_to_closed() {
    let mut world = World::new(reference());
    world.call(Event::Woke);
    world.expect(&["send workflow.backend.1 Joined", "act Prepare"]);
    world.others_join("frontend", "elsewhere");
    world.prepared();
    world.expect(&["save Prepared", "send barrier._prepare.party.backend.1 Arrived"]);
    world.others_arrive("_prepare", "frontend");
    world.coordinate();
    world.expect(&["send workflow.backend.2 StepStarted 0/1", "save Started", "act Start 0/1"]);
    world.finish(0, 1);
    world.expect(&[
        "send workflow.backend.3 StepFinished 0",
        "send barrier.BE.party.backend.1 Arrived",
    ]);
    world.others_arrive("BE", "frontend");
    world.coordinate();
    world.expect(&["send barrier.FE.party.backend.1 Arrived"]);
    world.others_write("frontend", Record::StepStarted { epoch: 1, step: 1, attempt: 1 });
    let output = String::new();
    let finished = Record::StepFinished {
        epoch: 1,
        step: 1,
        ignored: None,
        output,
        images: Default::default(),
    };
    world.others_write("frontend", finished);
    world.others_arrive("FE", "frontend");
    world.coordinate();
    world.expect(&["send barrier._commit.party.backend.1 Arrived"]);
    world.others_arrive("_commit", "frontend");
    world.coordinate();
    world.expect(&["act Finalize"]);
    world.report(Report::Finalized { warnings: Vec::new() });
    world.expect(&["send workflow.backend.4 Finalized", "save Settled"]);
    assert_eq!(world.standing(), Standing::Over(Ending::Finalized { degraded: None }));
    assert!(world.wake.is_some(), "it still waits for Closed");
    let finalized = Record::Finalized { epoch: 1, degraded: None, warnings: Vec::new() };
    world.others_write("frontend", finalized);
    world.coordinate();
    assert_eq!(world.wake, None);
    assert!(world.agent.closed().is_some());
    world.expect(&[]);
}

#[test]
fn nobody_joins_before_the_run_is_admitted() {
    let mut world = World::submitted(alone("deploy"));
    world.call(Event::Woke);
    world.let_pass(Span::minutes(3));
    world.expect(&[]);
    assert!(matches!(world.standing(), Standing::Waiting(_)));
    world.coordinate();
    world.write(Family::Admission, Record::Admitted {});
    world.let_pass(Span::seconds(5));
    world.expect(&["send workflow.backend.1 Joined", "act Prepare"]);
}

#[test]
fn a_refused_run_is_left_alone() {
    let mut world = World::submitted(alone("deploy"));
    let reason = "run r0 is open".to_owned();
    let refused = Record::Refused { reason: reason.clone(), cancelled: false, at: None };
    world.write(Family::Admission, refused);
    world.call(Event::Woke);
    world.expect(&[]);
    assert_eq!(world.standing(), Standing::Over(Ending::Refused(reason)));
    assert_eq!(world.wake, None);
}

#[test]
fn a_plan_only_run_stores_nothing_and_ends_at_the_release_of_prepare() {
    let mut planned = alone("deploy");
    planned.plan_only = true;
    let mut world = World::ready(planned);
    world.expect(&[
        "send workflow.backend.1 Joined",
        "act Prepare",
        "send barrier._prepare.party.backend.1 Arrived",
    ]);
    assert_eq!(world.standing(), Standing::Over(Ending::Planned));
    assert_eq!(world.disk, None);
}

#[test]
fn a_plan_only_run_that_cannot_be_prepared_fails_and_owes_nothing() {
    let mut planned = alone("deploy");
    planned.plan_only = true;
    let mut world = World::new(planned);
    world.call(Event::Woke);
    let error = "no such image".to_owned();
    world.report(Report::PrepareFailed { error, output: String::new() });
    world.coordinate();
    world.expect(&[
        "send workflow.backend.1 Joined",
        "act Prepare",
        "send workflow.backend.2 Failed",
    ]);
    assert_eq!(world.standing(), Standing::Over(Ending::NotStarted));
}

#[test]
fn a_waived_workflow_and_one_that_the_plan_does_not_name_take_no_part() {
    let mut planned = plan(OnFailure::RollbackAll, &[("backend", ""), ("frontend", "deploy")]);
    planned.workflows.get_mut(&workflow("backend")).unwrap().waived = true;
    let mut world = World::new(planned);
    world.call(Event::Woke);
    world.expect(&[]);
    assert!(matches!(world.standing(), Standing::Over(Ending::TakesNoPart(_))));
    let mut world = World::new(plan(OnFailure::RollbackAll, &[("frontend", "deploy")]));
    world.call(Event::Woke);
    world.expect(&[]);
    assert!(matches!(world.standing(), Standing::Over(Ending::TakesNoPart(_))));
}

#[test]
fn parity_32_an_unknown_protocol_is_left_alone_and_named() {
    let mut world = World::new(alone("deploy"));
    world.restart_with(crate::PlanFound::Foreign(2), crate::debt::Debt::None);
    world.call(Event::Woke);
    world.expect(&[]);
    let Standing::Over(Ending::TakesNoPart(why)) = world.standing() else { panic!() };
    assert!(why.contains("protocol 2"), "{why}");
    assert!(world.has_note("protocol 2"));
}

#[test]
fn a_release_below_the_own_arrival_is_not_followed() {
    let mut world = World::running(reference());
    let early = world.seq;
    world.finish(0, 1);
    world.lines();
    world.write(Family::BarrierVerdict(barrier("BE")), Record::Released { at: early });
    world.ring();
    world.expect(&[]);
    assert!(matches!(world.standing(), Standing::Holding(why) if why.contains("BE")));
}

#[test]
fn parity_31_a_wait_goes_by_the_time_since_its_stored_start() {
    let mut world = World::new(alone("wait deploy"));
    world.skew = Span::minutes(90);
    world.get_ready();
    world.let_pass(Span::seconds(59));
    let before = world.lines();
    assert_eq!(before.last().unwrap(), "save Started");
    world.let_pass(Span::seconds(1));
    world.expect(&[
        "send workflow.backend.3 StepFinished 0",
        "send workflow.backend.4 StepStarted 1/1",
        "act Start 1/1",
    ]);
}

#[test]
fn a_copy_that_the_bell_told_counts_for_the_next_append_but_not_for_acting() {
    let mut world = World::ready(reference());
    world.finish(0, 1);
    world.lines();
    world.readable = false;
    world.others_arrive("BE", "frontend");
    let (slot, released) = world.fold.due().remove(0);
    world.store(slot, released);
    let copy = world.log.last().unwrap().clone();
    world.call(Event::Rang(copy));
    world.expect(&["send barrier.FE.party.backend.1 Arrived"]);

    // Behind the bell's Released comes a StepStarted, and no more than that.
    let mut world = World::ready(alone("@BE deploy"));
    world.lines();
    world.readable = false;
    let (slot, released) = world.fold.due().remove(0);
    world.store(slot, released);
    let copy = world.log.last().unwrap().clone();
    world.call(Event::Rang(copy));
    world.expect(&["send workflow.backend.2 StepStarted 1/1"]);
}
