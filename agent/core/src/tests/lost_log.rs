//! A log that lost records: no step forward, no arrival, and only Aborted is obeyed.

use lockstep_shared::{record::Record, subject::Family, time::Span};

use super::{
    plans::{alone, reference},
    world::World,
};
use crate::{Appended, Event, Report, Standing};

/// The log is as it was after its first `kept` records.
fn restore(world: &mut World, kept: usize) {
    world.log.truncate(kept);
    let mut fold = lockstep_shared::fold::RunFold::new(world.key.clone());
    world.slots.clear();
    for (at, entry) in world.log.iter().enumerate() {
        fold.apply(entry);
        world.slots.insert(entry.slot.clone(), at);
    }
    world.fold = fold;
    world.seq = world.log.last().unwrap().seq;
}

fn abort(world: &mut World) {
    let (by, reason) = ("eve".to_owned(), "no".to_owned());
    world.write(Family::Request, Record::AbortRequested { by, reason });
    world.coordinate();
}

#[test]
fn it_goes_no_step_forward_arrives_nowhere_and_obeys_aborted() {
    let mut world = World::running(reference());
    let kept = world.log.len();
    world.finish(0, 1);
    restore(&mut world, kept);
    world.lines();
    world.call(Event::WentBack("#9 is gone".to_owned()));
    world.ring();
    world.let_pass(Span::minutes(5));
    world.expect(&[]);
    assert!(matches!(world.standing(), Standing::Holding(why) if why.contains("lost records")));
    abort(&mut world);
    world.expect(&["send workflow.backend.3 RollingBack", "act Undo 0"]);
}

#[test]
fn every_step_is_undone_where_the_log_cannot_tell_which_were_started() {
    let mut world = World::running(alone("one two"));
    let kept = world.log.len();
    world.finish(0, 1);
    world.orders.clear();
    restore(&mut world, kept);
    world.restart();
    world.call(Event::WentBack("#9 is gone".to_owned()));
    world.lines();
    abort(&mut world);
    assert_eq!(world.lines().last().unwrap(), "act Undo 1");
}

#[test]
fn a_mark_without_its_start_in_the_log_shows_that_it_lost_records() {
    let mut world = World::running(alone("deploy"));
    let start = world.log.len() - 1;
    restore(&mut world, start);
    world.restart();
    world.ring();
    world.expect(&["send workflow.backend.2 Joined", "act Stop"]);
    assert!(world.has_note("no StepStarted is there"));
    world.let_pass(Span::minutes(5));
    world.expect(&[]);
    abort(&mut world);
    world.expect(&["send workflow.backend.3 RollingBack", "act Undo 0"]);
}

#[test]
fn an_own_record_that_a_reading_does_not_show_is_noticed() {
    let mut world = World::running(reference());
    world.readable = false;
    world.finish(0, 1);
    let lost = world.log.iter().position(|entry| entry.slot.to_string() == "workflow.backend.3");
    let lost = lost.unwrap();
    let filter = world.agent.filter();
    let mut reading = world.reading_up_to(world.seq, filter);
    let gone = world.log[lost].seq;
    reading.entries.retain(|entry| entry.seq != gone);
    world.call(Event::Reading(reading));
    assert!(world.has_note("our own record"));
    assert!(matches!(world.standing(), Standing::Waiting(_) | Standing::Holding(_)));
}

#[test]
fn a_verdict_that_a_reading_does_not_show_any_more_is_noticed() {
    let mut world = World::running(alone("deploy"));
    world.finish(0, 1);
    world.coordinate();
    world.readable = false;
    let mut reading = world.reading();
    reading.entries.retain(|entry| entry.slot.family != Family::Verdict);
    world.call(Event::Reading(reading));
    assert!(world.has_note("is gone"));
}

#[test]
fn who_had_read_committed_keeps_the_new_state_and_says_so() {
    let mut world = World::running(alone("deploy"));
    world.finish(0, 1);
    let kept = world.log.len() - 1;
    world.coordinate();
    assert_eq!(world.lines().last().unwrap(), "act Finalize");
    restore(&mut world, kept);
    world.call(Event::WentBack("#9 is gone".to_owned()));
    abort(&mut world);
    world.report(Report::FinalizeFailed { error: "stopped".to_owned() });
    let lines = world.lines();
    assert!(!lines.iter().any(|line| line.contains("Undo")), "{lines:?}");
    assert_eq!(lines.last().unwrap(), "send workflow.backend.4 RollbackFailed");
    assert!(
        matches!(world.standing(), Standing::Owing(why) if why.contains("keeps the new state"))
    );
}

#[test]
fn an_incarnation_whose_joined_is_lost_joins_again_before_it_reports() {
    let mut world = World::running(alone("deploy"));
    restore(&mut world, 2);
    world.lines();
    world.call(Event::WentBack("#5 is gone".to_owned()));
    world.ring();
    world.expect(&["send workflow.backend.1 Joined"]);
    abort(&mut world);
    world.expect(&["act Stop"]);
    world.break_down(0, 1);
    world.expect(&["send workflow.backend.2 RollingBack", "act Undo 0"]);
}

#[test]
fn a_failure_that_the_log_lost_is_not_appended_again() {
    let mut world = World::running(reference());
    let kept = world.log.len();
    world.break_down(0, 1);
    world.report(Report::UndoFailed {
        step: 0,
        error: "x".into(),
        left: Vec::new(),
        output: String::new(),
    });
    restore(&mut world, kept);
    world.lines();
    world.call(Event::WentBack("#9 is gone".to_owned()));
    world.ring();
    world.let_pass(Span::minutes(5));
    world.expect(&[]);
}

fn lose(world: &mut World) {
    world.call(Event::WentBack("#9 is gone".to_owned()));
}

#[test]
fn what_is_under_way_is_recalled_and_its_late_answer_is_not_believed() {
    let mut world = World::running(reference());
    world.hold_appends = true;
    world.finish(0, 1);
    world.lines();
    let slot = world.held.pop_front().unwrap().slot;
    lose(&mut world);
    assert!(world.lines().contains(&"recall".to_owned()));
    world.call(Event::Appended { slot, outcome: Appended::Stored(999) });
    assert!(world.agent.floor() < 999, "a position of the log that was lost");
    world.ring();
    world.let_pass(Span::minutes(5));
    world.expect(&[]);
    assert!(matches!(world.standing(), Standing::Holding(why) if why.contains("lost records")));
}

#[test]
fn an_arrival_under_way_is_recalled_and_never_sent_again() {
    let mut world = World::running(alone("deploy"));
    world.hold_appends = true;
    world.finish(0, 1);
    world.deliver_held();
    assert_eq!(world.lines().last().unwrap(), "send barrier._commit.party.backend.1 Arrived");
    lose(&mut world);
    world.hold_appends = false;
    world.ring();
    world.let_pass(Span::minutes(5));
    world.expect(&["recall"]);
}

#[test]
fn a_failure_under_way_is_recalled_and_said_in_the_log_as_it_is_now() {
    let mut world = World::running(reference());
    world.hold_appends = true;
    world.break_down(0, 1);
    assert_eq!(world.lines().last().unwrap(), "send workflow.backend.3 Failed 0");
    let start = world.log.iter().position(|entry| entry.slot.to_string() == "workflow.backend.2");
    restore(&mut world, start.unwrap());
    lose(&mut world);
    world.hold_appends = false;
    world.ring();
    world.let_pass(Span::seconds(2));
    world.expect(&["recall", "send workflow.backend.2 Failed 0"]);
}

#[test]
fn a_failure_that_was_stored_and_not_read_back_is_not_said_again() {
    let mut world = World::running(reference());
    let kept = world.log.len();
    world.readable = false;
    world.break_down(0, 1);
    world.expect(&["send workflow.backend.3 Failed 0"]);
    restore(&mut world, kept);
    lose(&mut world);
    world.readable = true;
    world.ring();
    world.let_pass(Span::minutes(5));
    world.expect(&[]);
}

#[test]
fn an_incarnation_whose_joined_is_lost_before_it_was_read_back_joins_again() {
    let mut world = World::new(alone("deploy"));
    let kept = world.log.len();
    world.hold_appends = true;
    world.call(Event::Woke);
    world.readable = false;
    world.deliver_held();
    world.hold_appends = false;
    restore(&mut world, kept);
    world.lines();
    lose(&mut world);
    world.readable = true;
    world.ring();
    world.expect(&["send workflow.backend.1 Joined"]);
}

#[test]
fn who_finds_anothers_joined_where_its_own_stood_is_not_the_incarnation() {
    let mut world = World::running(alone("deploy"));
    restore(&mut world, 2);
    world.now = world.now.after(Span::seconds(1));
    world.others_join("backend", "elsewhere");
    world.lines();
    lose(&mut world);
    world.ring();
    world.expect(&["act Stop"]);
    assert_eq!(world.agent.epoch(), None);
    assert!(matches!(world.standing(), Standing::StandingBy(whom) if whom.contains("elsewhere")));
}
