//! Joining, standing by, taking over, being taken over, leaving.

use lockstep_shared::{
    record::Record,
    subject::Family,
    time::{Span, Timestamp},
};

use super::{
    plans::{alone, reference, workflow},
    world::World,
};
use crate::{Appended, Ending, Event, Lock, Standing, UndoMark};

fn own() -> Family {
    Family::Workflow(workflow("backend"))
}

#[test]
fn without_the_lock_it_stands_by_however_silent_the_other_is() {
    let mut world = World::new(alone("deploy"));
    world.lock_is_free = false;
    world.call(Event::Woke);
    world.let_pass(Span::minutes(5));
    world.expect(&[]);
    assert!(matches!(world.standing(), Standing::StandingBy(whom) if whom.contains("process 7")));
    world.call(Event::Lock(Lock::Held));
    world.expect(&["send workflow.backend.1 Joined", "act Prepare"]);
}

#[test]
fn parity_33_another_instance_is_stood_by_until_its_beat_was_silent_for_15_s() {
    let mut world = World::new(alone("deploy"));
    world.others_join("backend", "host-2");
    world.call(Event::Woke);
    world.let_pass(Span::seconds(10));
    world.call(Event::Beat { epoch: 1 });
    world.let_pass(Span(14_999));
    world.expect(&[]);
    assert!(matches!(world.standing(), Standing::StandingBy(whom) if whom.contains("host-2")));
    world.let_pass(Span(1));
    world.expect(&["send workflow.backend.2 Joined", "act Stop", "act Prepare"]);
}

#[test]
fn who_cannot_hear_beats_takes_nobody_over_and_says_why() {
    let mut world = World::new(alone("deploy"));
    world.others_join("backend", "host-2");
    world.call(Event::Woke);
    for _ in 0..24 {
        world.call(Event::Deaf("not permitted to subscribe to x".to_owned()));
        world.let_pass(Span::seconds(5));
    }
    world.expect(&[]);
    assert!(
        matches!(world.standing(), Standing::StandingBy(whom) if whom.contains("subscribe to x"))
    );
    // Permitted at last: from now on silence is silence.
    world.let_pass(Span(9_999));
    world.expect(&[]);
    assert!(matches!(world.standing(), Standing::StandingBy(_)));
    world.let_pass(Span(1));
    world.expect(&["send workflow.backend.2 Joined", "act Stop", "act Prepare"]);
}

#[test]
fn two_spares_that_take_over_at_once_do_not_duel() {
    let mut world = World::new(alone("deploy"));
    world.others_join("backend", "host-2");
    world.call(Event::Woke);
    world.hold_appends = true;
    world.let_pass(Span::seconds(15));
    world.expect(&["send workflow.backend.2 Joined"]);
    // The other spare was quicker.
    world.others_join("backend", "host-3");
    world.deliver_held();
    world.expect(&[]);
    assert!(matches!(world.standing(), Standing::StandingBy(whom) if whom.contains("host-3")));
    for _ in 0..12 {
        world.let_pass(Span::seconds(5));
        world.call(Event::Beat { epoch: 2 });
    }
    world.expect(&[]);
}

#[test]
fn the_same_instance_and_whoever_follows_a_left_join_at_once() {
    let mut world = World::new(alone("deploy"));
    world.others_join("backend", "host-1");
    world.call(Event::Woke);
    assert_eq!(world.lines()[0], "send workflow.backend.2 Joined");

    let mut world = World::new(alone("deploy"));
    world.others_join("backend", "host-2");
    world.others_write("backend", Record::Left { epoch: 1 });
    world.call(Event::Woke);
    assert_eq!(world.lines()[0], "send workflow.backend.3 Joined");
}

#[test]
fn a_successor_without_proof_writes_only_20_s_after_it_read_its_joined() {
    let mut world = World::new(alone("deploy"));
    world.others_join("backend", "host-2");
    world.call(Event::Woke);
    world.let_pass(Span::seconds(15));
    world.prepared();
    world.lines();
    world.coordinate();
    world.let_pass(Span(19_999));
    world.expect(&[]);
    assert!(world.agent.may_write(world.now).is_err());
    world.let_pass(Span(1));
    world.expect(&["send workflow.backend.3 StepStarted 0/1", "save Started", "act Start 0/1"]);
}

#[test]
fn a_restart_does_not_shorten_the_20_s() {
    let mut world = World::new(alone("deploy"));
    world.others_join("backend", "host-2");
    world.call(Event::Woke);
    world.let_pass(Span::seconds(15));
    world.let_pass(Span::seconds(5));
    world.restart();
    world.call(Event::Woke);
    world.prepared();
    world.coordinate();
    world.lines();
    world.let_pass(Span(14_999));
    world.expect(&[]);
    world.let_pass(Span(1));
    assert_eq!(world.lines().last().unwrap(), "act Start 0/1");
}

#[test]
fn a_spare_that_began_before_the_undo_record_was_made_finds_it_when_it_takes_over() {
    let mut world = World::new(alone("deploy!"));
    world.others_join("backend", "host-2");
    world.call(Event::Woke);
    world.others_arrive("_prepare", "backend");
    world.coordinate();
    world.others_write("backend", Record::StepStarted { epoch: 1, step: 0, attempt: 1 });
    // Where both keep it, as in a cluster.
    world.disk = Some(UndoMark::Started);
    world.let_pass(Span::seconds(15));
    world.expect(&["send workflow.backend.3 Joined", "act Stop", "act Recall"]);
    world.let_pass(Span::seconds(20));
    world.expect(&["act Start 0/1"]);
}

#[test]
fn a_pause_of_this_process_is_no_silence_of_another() {
    let mut world = World::new(alone("deploy"));
    world.others_join("backend", "host-2");
    world.call(Event::Woke);
    world.now = world.now.after(Span::seconds(40));
    world.call(Event::Woke);
    world.expect(&[]);
    world.let_pass(Span::seconds(15));
    assert_eq!(world.lines()[0], "send workflow.backend.2 Joined");
}

#[test]
fn who_reads_a_newer_joined_drops_the_run_for_good() {
    let mut world = World::running(reference());
    world.others_join("backend", "host-2");
    world.ring();
    world.expect(&["act Stop"]);
    world.break_down(0, 1);
    world.expect(&[]);
    assert_eq!(world.standing(), Standing::Over(Ending::Superseded { by: 3 }));
    assert_eq!(world.wake, None);
    assert_eq!(world.agent.beat(), None);
    world.call(Event::Connected);
    world.expect(&[]);
}

#[test]
fn the_bell_of_a_newer_joined_is_enough_to_hold_still() {
    let mut world = World::running(reference());
    world.readable = false;
    world.others_join("backend", "host-2");
    let copy = world.log.last().unwrap().clone();
    world.call(Event::Rang(copy));
    assert!(world.agent.may_write(world.now).is_err());
    world.finish(0, 1);
    world.expect(&[]);
}

#[test]
fn a_taken_slot_is_read_and_the_next_one_tried() {
    let mut world = World::new(alone("deploy"));
    world.hold_appends = true;
    world.call(Event::Woke);
    world.litter(own().slot(1));
    world.deliver_held();
    world.expect(&["send workflow.backend.1 Joined", "send workflow.backend.2 Joined"]);
    world.deliver_held();
    assert_eq!(world.agent.epoch(), Some(2));

    // A late record of a dead incarnation takes the slot of our StepStarted.
    let mut world = World::new(alone("deploy"));
    world.others_join("backend", "host-1");
    world.call(Event::Woke);
    world.prepared();
    world.hold_appends = true;
    world.coordinate();
    world.lines();
    world.others_write("backend", Record::Left { epoch: 1 });
    world.deliver_held();
    world.expect(&["send workflow.backend.4 StepStarted 0/1"]);
    world.deliver_held();
    world.expect(&["save Started", "act Start 0/1"]);
}

#[test]
fn one_append_to_the_workflows_slots_is_under_way_at_a_time() {
    let mut world = World::ready(alone("wait deploy"));
    world.lines();
    world.hold_appends = true;
    world.let_pass(Span::minutes(1));
    world.let_pass(Span::minutes(1));
    world.expect(&["send workflow.backend.3 StepFinished 0"]);
    let slot = own().slot(9);
    let before = world.agent.clone();
    world.call(Event::Appended { slot, outcome: Appended::Stored(99) });
    assert_eq!(world.agent.floor(), before.floor(), "an answer to nothing counts for nothing");
}

#[test]
fn a_joined_in_doubt_that_was_stored_is_not_taken_for_our_own() {
    let mut world = World::new(alone("deploy"));
    world.hold_appends = true;
    world.call(Event::Woke);
    world.doubt_held(true);
    world.let_pass(Span::seconds(1));
    world.expect(&["send workflow.backend.1 Joined", "send workflow.backend.2 Joined"]);
    world.hold_appends = false;
    world.deliver_held();
    assert_eq!(world.agent.epoch(), Some(2));
}

#[test]
fn a_step_started_in_doubt_is_acted_on_if_it_is_read_back_and_sent_again_if_not() {
    let mut world = World::new(alone("deploy"));
    world.call(Event::Woke);
    world.prepared();
    world.hold_appends = true;
    world.coordinate();
    world.lines();
    world.doubt_held(false);
    world.let_pass(Span::seconds(1));
    world.expect(&["send workflow.backend.2 StepStarted 0/1"]);
    world.doubt_held(true);
    world.expect(&["save Started", "act Start 0/1"]);
}

#[test]
fn parity_33_leaving_stops_the_command_says_left_and_ends() {
    let mut world = World::running(reference());
    world.call(Event::Terminate);
    world.expect(&["act Stop"]);
    world.break_down(0, 1);
    world.expect(&["send workflow.backend.3 Left"]);
    assert_eq!(world.standing(), Standing::Over(Ending::Left));
    assert_eq!(world.wake, None);
}

#[test]
fn leaving_says_first_what_is_known() {
    let mut world = World::running(reference());
    world.call(Event::Terminate);
    world.finish(0, 1);
    world.expect(&[
        "act Stop",
        "send workflow.backend.3 StepFinished 0",
        "send workflow.backend.4 Left",
    ]);
}

#[test]
fn leaving_does_not_take_longer_than_10_s() {
    let mut world = World::running(reference());
    world.call(Event::Terminate);
    world.let_pass(Span::seconds(10));
    world.expect(&["act Stop"]);
    assert_eq!(world.standing(), Standing::Over(Ending::Left));
}

#[test]
fn who_has_not_joined_leaves_without_a_word() {
    let mut world = World::new(alone("deploy"));
    world.lock_is_free = false;
    world.call(Event::Woke);
    world.call(Event::Terminate);
    world.expect(&[]);
    assert_eq!(world.standing(), Standing::Over(Ending::Left));
}

#[test]
fn nothing_is_written_while_the_log_is_silent_or_the_lock_is_gone() {
    let mut world = World::ready(alone("@BE deploy"));
    world.readable = false;
    world.let_pass(Span::seconds(9));
    assert!(world.agent.may_write(world.now).is_ok());
    world.let_pass(Span::seconds(1));
    assert!(world.agent.may_write(world.now).is_err());
    assert!(matches!(world.standing(), Standing::Holding(why) if why.contains("10 s")));
    assert!(world.has_note("holds: the log has not been heard"));
    world.readable = true;
    world.let_pass(Span::seconds(5));
    assert_eq!(world.standing(), Standing::Working);
    world.call(Event::Lock(Lock::NotHeld("lease taken".to_owned())));
    assert!(world.agent.may_write(world.now).is_err());
    world.lines();
    world.coordinate();
    world.expect(&[]);
    world.call(Event::Lock(Lock::Held));
    world.expect(&["send workflow.backend.2 StepStarted 1/1", "save Started", "act Start 1/1"]);
}

#[test]
fn an_answer_is_as_old_as_its_question_however_late_it_is_taken_in() {
    let mut world = World::ready(alone("@BE deploy"));
    world.readable = false;
    world.lines();
    world.record_due();
    let released = world.reading();
    world.call(Event::Reading(released));
    world.expect(&["send workflow.backend.2 StepStarted 1/1"]);
    // The answer lies there while the process is frozen; a successor may have joined since.
    let answer = world.reading();
    world.now = world.now.after(Span::seconds(10));
    world.call(Event::Reading(answer));
    world.expect(&[]);
    assert!(world.agent.may_write(world.now).is_err());
    assert!(matches!(world.standing(), Standing::Holding(why) if why.contains("10 s")));
    world.readable = true;
    world.call(Event::Woke);
    world.expect(&["save Started", "act Start 1/1"]);
}

#[test]
fn neither_an_older_question_nor_one_from_the_future_moves_when_the_log_was_heard() {
    let mut world = World::ready(alone("@BE deploy"));
    let mut answer = world.reading();
    answer.asked_at = world.now.after(Span::minutes(5));
    world.readable = false;
    world.call(Event::Reading(answer.clone()));
    answer.asked_at = Timestamp(0);
    world.call(Event::Reading(answer));
    world.let_pass(Span::seconds(9));
    assert!(world.agent.may_write(world.now).is_ok());
    world.let_pass(Span::seconds(1));
    assert!(world.agent.may_write(world.now).is_err());
}

#[test]
fn a_bell_and_a_beat_are_no_hearing_from_the_log() {
    let mut world = World::ready(alone("@BE deploy"));
    world.readable = false;
    world.let_pass(Span::seconds(9));
    world.record_due();
    let copy = world.log.last().unwrap().clone();
    world.call(Event::Rang(copy));
    world.call(Event::Beat { epoch: 1 });
    world.let_pass(Span::seconds(1));
    assert!(world.agent.may_write(world.now).is_err());
}
