//! Debts: what Closed does not end, what an operator settles, and which run comes first.

use lockstep_shared::{
    record::{Deadline, Record, RunResult},
    subject::Family,
    time::{Span, Timestamp},
};

use super::{
    plans::{alone, key, reference, steps, workflow},
    world::World,
};
use crate::{
    Ending, Event, Lock, PlanFound, Report, Standing, UndoMark,
    debt::{self, Debt, Known},
};

fn known(run: &str, mark: UndoMark, at: u64) -> Known {
    Known { run: key(run), mark, prepared_at: Timestamp(at) }
}

fn resume_request() -> Record {
    Record::ResumeRequested { by: "ada".into(), reason: "space freed".into(), workflow: None }
}

fn accept_request() -> Record {
    Record::AcceptRequested { by: "ada".into(), reason: "kept".into(), workflow: None }
}

/// A rollback that failed, in a run that is closed.
fn owing() -> World {
    let mut world = World::running(alone("deploy"));
    world.break_down(0, 1);
    for _ in 0..3 {
        let (error, left) = ("timed out".to_owned(), vec!["folder".to_owned()]);
        world.report(Report::UndoFailed { step: 0, error, left, output: String::new() });
        world.let_pass(Span::seconds(2));
    }
    world.coordinate();
    assert_eq!(world.fold.closed().unwrap().result, RunResult::RollbackIncomplete);
    world.lines();
    world
}

/// A run that was closed as unknown while its agent was away.
fn unknown() -> World {
    let mut world = World::running(alone("deploy"));
    world.restart();
    let (by, reason) = ("eve".to_owned(), "no".to_owned());
    world.write(Family::Request, Record::AbortRequested { by, reason });
    world.readable = false;
    world.coordinate();
    world.now = world.now.after(Span::minutes(15));
    world.write(Family::Clock, Record::DeadlinePassed { deadline: Deadline::Ending });
    world.coordinate();
    world.readable = true;
    assert!(world.fold.closed().is_some());
    world.restart();
    world
}

#[test]
fn the_oldest_started_record_of_another_run_comes_first() {
    use UndoMark::{Prepared, Settled, Started};
    let records = [
        known("r1", Settled, 1),
        known("r2", Started, 2),
        known("r3", Started, 3),
        known("r4", Prepared, 4),
    ];
    assert_eq!(debt::first(&records, &key("r9")), Some(&key("r2")));
    assert_eq!(debt::first(&records, &key("r3")), Some(&key("r2")));
    assert_eq!(debt::first(&records, &key("r2")), None);
    assert_eq!(debt::first(&records[3..], &key("r9")), None);
}

#[test]
fn what_the_earlier_runs_agent_stands_at_decides_for_the_newer_run() {
    let run = key("r1");
    let of = |standing: &Standing| debt::of(&run, standing);
    assert_eq!(of(&Standing::Working), Debt::Settling(run.clone()));
    assert_eq!(of(&Standing::StandingBy("x".into())), Debt::Settling(run.clone()));
    assert_eq!(of(&Standing::Over(Ending::Finalized { degraded: None })), Debt::None);
    let stuck = of(&Standing::Owing("folder".into()));
    assert_eq!(stuck, Debt::Stuck { run: run.clone(), why: "folder".into() });
    assert!(matches!(of(&Standing::Over(Ending::Superseded { by: 3 })), Debt::Stuck { .. }));
}

#[test]
fn a_newer_run_joins_and_prepares_only_once_the_older_debt_is_settled() {
    let mut world = World::new(reference());
    let plan = PlanFound::Planned { seq: 1, plan: world.plan.clone().into() };
    world.restart_with(plan, Debt::Settling(key("r0")));
    world.ring();
    world.let_pass(Span::minutes(1));
    world.expect(&["send workflow.backend.1 Joined"]);
    let beat = world.agent.beat().unwrap();
    assert_eq!(beat.progress, "settling the earlier run r0 first");
    world.call(Event::Debt(Debt::None));
    world.expect(&["act Prepare"]);
}

#[test]
fn a_newer_run_fails_in_prepare_and_names_the_run_that_an_operator_has_to_settle() {
    let mut world = World::new(reference());
    let plan = PlanFound::Planned { seq: 1, plan: world.plan.clone().into() };
    world.restart_with(plan, Debt::Settling(key("r0")));
    world.ring();
    world.lines();
    world.call(Event::Debt(Debt::Stuck { run: key("r0"), why: "folder is left".into() }));
    world.expect(&["send workflow.backend.2 Failed"]);
    let cause = &world.fold.first_cause().unwrap().text;
    for part in
        ["r0", "folder is left", "lockstep rollback resume r0", "lockstep rollback accept r0"]
    {
        assert!(cause.contains(part), "{cause}");
    }
}

#[test]
fn parity_21_resume_undoes_again_after_closed() {
    let mut world = owing();
    world.write(Family::Request, resume_request());
    world.ring();
    world.expect(&["send workflow.backend.6 RollingBack", "act Undo 0"]);
    world.report(Report::Undone { step: 0, residue: Vec::new(), output: String::new() });
    world.expect(&["send workflow.backend.7 RolledBack", "save Settled"]);
    let ending = Ending::RolledBack { residue: Vec::new(), accepted: false };
    assert_eq!(world.standing(), Standing::Over(ending));
    assert_eq!(world.wake, None);
}

#[test]
fn parity_21_resume_that_fails_again_leaves_the_debt_for_the_next_request() {
    let mut world = owing();
    for round in 0..3 {
        world.write(Family::Request, resume_request());
        world.ring();
        for _ in 0..3 {
            let (error, left) = (format!("round {round}"), Vec::new());
            world.report(Report::UndoFailed { step: 0, error, left, output: String::new() });
            world.let_pass(Span::seconds(2));
        }
        assert!(
            matches!(world.standing(), Standing::Owing(why) if why.contains(&format!("round {round}")))
        );
    }
    assert_eq!(world.disk, Some(UndoMark::Started));
}

#[test]
fn parity_21_accept_keeps_what_is_there_and_settles() {
    let mut world = owing();
    world.write(Family::Request, accept_request());
    world.ring();
    world.expect(&["send workflow.backend.6 RolledBack accepted", "save Settled"]);
    let Standing::Over(Ending::RolledBack { residue, accepted: true }) = world.standing() else {
        panic!("{:?}", world.standing())
    };
    assert_eq!(residue, ["folder", "step \"deploy\" is not undone"]);
}

#[test]
fn a_request_for_another_workflow_is_not_ours() {
    let mut world = owing();
    let other = Some(workflow("frontend"));
    let request = Record::AcceptRequested { by: "ada".into(), reason: "x".into(), workflow: other };
    world.write(Family::Request, request);
    world.ring();
    world.expect(&[]);
    assert!(matches!(world.standing(), Standing::Owing(_)));
}

#[test]
fn a_restarted_agent_that_owes_joins_only_at_an_operators_word() {
    let mut world = owing();
    world.restart();
    world.ring();
    world.let_pass(Span::minutes(10));
    world.expect(&[]);
    assert!(matches!(world.standing(), Standing::Owing(_)));
    world.write(Family::Request, resume_request());
    world.let_pass(Span::seconds(5));
    world.expect(&[
        "send workflow.backend.6 Joined",
        "send workflow.backend.7 RollingBack",
        "act Stop",
        "act Undo 0",
    ]);
}

#[test]
fn an_agent_that_comes_back_after_closed_joins_obeys_and_reports() {
    let mut world = unknown();
    world.ring();
    let lines = world.lines();
    assert_eq!(
        lines,
        [
            "send workflow.backend.3 Joined",
            "send workflow.backend.4 RollingBack",
            "act Stop",
            "act Undo 0",
        ]
    );
    world.report(Report::Undone { step: 0, residue: Vec::new(), output: String::new() });
    world.expect(&["send workflow.backend.5 RolledBack", "save Settled"]);
    assert_eq!(world.wake, None);
}

#[test]
fn an_accept_that_came_while_the_agent_was_away_is_obeyed_instead_of_undoing() {
    let mut world = unknown();
    world.write(Family::Request, accept_request());
    world.ring();
    world.expect(&[
        "send workflow.backend.3 Joined",
        "send workflow.backend.4 RolledBack accepted",
        "act Stop",
        "save Settled",
    ]);
}

#[test]
fn a_finalize_that_was_cut_off_is_a_debt_that_needs_no_operator() {
    let mut world = World::running(alone("deploy"));
    world.finish(0, 1);
    world.coordinate();
    world.restart();
    world.now = world.now.after(Span::minutes(15));
    world.write(Family::Clock, Record::DeadlinePassed { deadline: Deadline::Ending });
    world.readable = false;
    world.coordinate();
    world.readable = true;
    assert_eq!(world.fold.closed().unwrap().result, RunResult::Succeeded);
    world.restart();
    world.ring();
    world.expect(&["send workflow.backend.4 Joined", "act Stop", "act Finalize"]);
    world.report(Report::Finalized { warnings: Vec::new() });
    world.expect(&["send workflow.backend.5 Finalized", "save Settled"]);
}

#[test]
fn after_closed_an_agent_that_owes_nothing_does_nothing() {
    let mut world = unknown();
    world.disk = Some(UndoMark::Prepared);
    world.restart();
    world.ring();
    world.expect(&["save Settled"]);
    assert_eq!(world.standing(), Standing::Over(Ending::Closed));
    world.restart();
    world.ring();
    world.expect(&[]);
    assert!(matches!(world.standing(), Standing::Over(_)));
    assert_eq!(world.wake, None);
}

/// A run whose plan, with all its early records, the log no longer holds.
fn planless() -> World {
    let mut world = World::running(alone("one two"));
    world.log.clear();
    world.slots.clear();
    world.fold = lockstep_shared::fold::RunFold::new(world.key.clone());
    let workflow = Some(Box::new(steps("one @BE two verify")));
    world.restart_with(PlanFound::Missing { workflow }, Debt::None);
    world
}

#[test]
fn without_the_plan_nothing_is_done_but_at_an_operators_word() {
    let mut world = planless();
    world.ring();
    world.let_pass(Span::minutes(10));
    world.expect(&[]);
    assert!(matches!(world.standing(), Standing::Owing(why) if why.contains("plan")));
    world.write(Family::Request, resume_request());
    world.let_pass(Span::seconds(5));
    world.expect(&[
        "send workflow.backend.1 Joined",
        "send workflow.backend.2 RollingBack",
        "act Undo 2",
    ]);
    world.report(Report::Undone { step: 2, residue: Vec::new(), output: String::new() });
    world.report(Report::Undone { step: 0, residue: Vec::new(), output: String::new() });
    world.expect(&["act Undo 0", "send workflow.backend.3 RolledBack", "save Settled"]);
}

#[test]
fn without_the_plan_an_accept_settles() {
    let mut world = planless();
    world.write(Family::Request, accept_request());
    world.ring();
    world.expect(&[
        "send workflow.backend.1 Joined",
        "send workflow.backend.2 RolledBack accepted",
        "save Settled",
    ]);
}

#[test]
fn without_the_plan_and_without_a_debt_there_is_no_such_run() {
    let mut world = planless();
    world.disk = Some(UndoMark::Prepared);
    world.restart_with(PlanFound::Missing { workflow: None }, Debt::None);
    world.ring();
    world.expect(&[]);
    assert!(matches!(world.standing(), Standing::Over(Ending::TakesNoPart(_))));
}

#[test]
fn what_closed_opens_to_operators_is_read_before_anything_is_undone() {
    let mut world = World::running(alone("deploy"));
    world.call(Event::Lock(Lock::NotHeld("lease".into())));
    let (by, reason) = ("eve".to_owned(), "no".to_owned());
    world.write(Family::Request, Record::AbortRequested { by, reason });
    world.coordinate();
    world.break_down(0, 1);
    let narrow = world.agent.filter();
    world.readable = false;
    world.now = world.now.after(Span::minutes(15));
    world.write(Family::Clock, Record::DeadlinePassed { deadline: Deadline::Ending });
    world.coordinate();
    world.write(Family::Request, accept_request());
    world.lines();
    world.call(Event::Reading(world.reading_up_to(world.seq, narrow)));
    world.call(Event::Lock(Lock::Held));
    world.expect(&[]);
    world.call(Event::Reading(world.reading()));
    world.expect(&["send workflow.backend.3 RolledBack accepted"]);
}
