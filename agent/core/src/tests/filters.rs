//! What is read: the filter, the floor, and readings that do not count.

use lockstep_shared::{id::PartyName, record::Record, subject::Family, time::Span};

use super::{
    plans::{alone, barrier, reference, workflow},
    world::World,
};
use crate::{Ending, Event, Reading, Report, Standing, Watched};

fn families(world: &World) -> Vec<String> {
    let mut names: Vec<String> = world
        .agent
        .filter()
        .iter()
        .filter_map(|item| match item {
            Watched::Family(family) => Some(family.to_string()),
            Watched::Slot(_) => None,
        })
        .collect();
    names.sort();
    names
}

fn slots(world: &World) -> Vec<u32> {
    let number = |item: &Watched| match item {
        Watched::Slot(slot) => Some(slot.number),
        Watched::Family(_) => None,
    };
    world.agent.filter().iter().filter_map(number).collect()
}

#[test]
fn the_filter_names_the_barrier_that_comes_next_and_no_other() {
    let mut world = World::new(reference());
    let at_be = [
        "admission",
        "barrier.BE.party.backend",
        "barrier.BE.verdict",
        "barrier._commit.party.backend",
        "barrier._prepare.party.backend",
        "barrier._prepare.verdict",
        "closed",
        "outcome.backend",
        "verdict",
    ];
    assert_eq!(families(&world), at_be);
    assert_eq!(slots(&world), [1, 2, 3, 4]);
    world.get_ready();
    assert_eq!(families(&world), at_be);
    assert_eq!(slots(&world), [3, 4, 5, 6]);
    world.finish(0, 1);
    world.others_arrive("BE", "frontend");
    world.coordinate();
    assert!(families(&world).contains(&"barrier.FE.verdict".to_owned()));
    assert!(!families(&world).contains(&"barrier.BE.verdict".to_owned()));
    assert!(world.agent.bell().contains(&Family::Workflow(workflow("backend"))));
}

#[test]
fn requests_are_read_only_with_an_open_debt() {
    let mut world = World::running(alone("deploy"));
    assert!(!families(&world).contains(&"request".to_owned()));
    world.break_down(0, 1);
    for _ in 0..3 {
        let (error, left) = ("x".to_owned(), Vec::new());
        world.report(Report::UndoFailed { step: 0, error, left, output: String::new() });
        world.let_pass(Span::seconds(2));
    }
    assert!(families(&world).contains(&"request".to_owned()));
}

#[test]
fn a_reading_below_the_floor_counts_for_nothing() {
    let mut world = World::ready(alone("@BE deploy"));
    world.readable = false;
    world.coordinate();
    let before = world.agent.clone();
    let floor = world.agent.floor();
    let stale = world.reading_up_to(floor - 1, world.agent.filter());
    world.call(Event::Reading(stale));
    assert_eq!(world.agent.floor(), before.floor());
    assert!(world.has_note("is behind"));
    assert_eq!(world.wake, Some(world.now.after(Span(20))), "it asks again soon");
}

#[test]
fn a_reading_that_was_asked_for_too_little_is_no_ground_for_acting() {
    let mut world = World::ready(alone("@BE deploy"));
    world.hold_appends = true;
    world.coordinate();
    world.lines();
    world.readable = false;
    world.deliver_held();
    let mut reading = world.reading();
    let own = PartyName::from(&workflow("backend"));
    let left_out = Family::Party(barrier("_commit"), own);
    reading.asked.retain(|item| *item != Watched::Family(left_out.clone()));
    world.call(Event::Reading(reading));
    world.expect(&[]);
    let whole = world.reading();
    world.call(Event::Reading(whole));
    world.expect(&["save Started", "act Start 1/1"]);
}

#[test]
fn an_empty_reading_of_a_run_without_records_is_one() {
    let mut world = World::submitted(alone("deploy"));
    world.readable = false;
    world.call(Event::Woke);
    assert_eq!(world.agent.floor(), 0);
    let asked = world.agent.filter();
    let asked_at = world.now;
    world.call(Event::Reading(Reading { asked, asked_at, upto: 0, entries: Vec::new() }));
    assert!(matches!(world.standing(), Standing::Waiting(why) if why.contains("admitted")));
}

#[test]
fn a_bell_raises_the_floor_and_asks_for_a_reading_once() {
    let mut world = World::ready(reference());
    world.readable = false;
    world.others_arrive("BE", "frontend");
    let (slot, record) = (Family::Verdict.slot(1), Record::Committed { at: 1 });
    world.store(slot, record);
    let copy = world.log.last().unwrap().clone();
    world.call(Event::Rang(copy.clone()));
    assert_eq!(world.agent.floor(), copy.seq);
    assert!(world.wants_reading);
    world.readable = true;
    world.ring();
    world.lines();
    world.call(Event::Rang(copy));
    assert!(world.has_note("has been read"));
}

#[test]
fn a_reading_is_made_every_5_s_even_if_none_is_answered() {
    let mut world = World::ready(reference());
    world.readable = false;
    for _ in 0..10 {
        world.wants_reading = false;
        world.let_pass(Span::seconds(5));
        assert!(world.wants_reading);
    }
}

#[test]
fn rubbish_takes_a_slot_and_means_nothing() {
    let mut world = World::ready(reference());
    world.finish(0, 1);
    world.lines();
    for family in [Family::Verdict, Family::BarrierVerdict(barrier("BE")), Family::Closed] {
        world.litter(family.slot(1));
    }
    world.litter(Family::Workflow(workflow("backend")).slot(4));
    world.ring();
    world.expect(&[]);
    world.others_arrive("BE", "frontend");
    world.coordinate();
    world.expect(&["send barrier.FE.party.backend.1 Arrived"]);
}

#[test]
fn only_the_first_valid_verdict_counts() {
    let mut world = World::running(alone("deploy"));
    world.finish(0, 1);
    world.coordinate();
    world.lines();
    let cause = lockstep_shared::record::Cause {
        at: 1,
        sort: lockstep_shared::record::CauseSort::Requested,
        workflow: None,
        party: None,
        step: None,
        barrier: None,
        text: "late".into(),
        output: String::new(),
    };
    let aborted = Record::Aborted { at: 1, cause };
    world.write(Family::Verdict, aborted);
    world.ring();
    world.expect(&[]);
    assert!(!world.has_note("late"));
}

#[test]
fn a_first_reading_that_ends_in_the_middle_of_the_own_slots_decides_nothing() {
    // Settled, with its last word behind the slots that the first reading asks for.
    let mut world = World::running(alone("one two three"));
    for step in 0..3 {
        world.finish(step, 1);
    }
    world.coordinate();
    world.report(Report::Finalized { warnings: Vec::new() });
    world.restart();
    world.readable = false;
    world.call(Event::Woke);
    world.call(Event::Reading(world.reading()));
    assert!(matches!(world.standing(), Standing::Waiting(_)));
    world.call(Event::Reading(world.reading()));
    assert_eq!(world.standing(), Standing::Over(Ending::Finalized { degraded: None }));
}

#[test]
fn a_reading_without_the_own_slots_is_no_proof_that_nothing_was_started() {
    let mut world = World::ready(reference_back_to_front());
    world.others_arrive("BE", "frontend");
    world.hold_appends = true;
    world.coordinate();
    world.lines();
    world.readable = false;
    let append = world.held.pop_front().unwrap();
    let stored = world.deliver(append);
    let (by, reason) = ("eve".to_owned(), "no".to_owned());
    world.write(Family::Request, Record::AbortRequested { by, reason });
    world.coordinate();
    let mut narrow = world.reading();
    narrow.asked.retain(|item| matches!(item, Watched::Family(_)));
    let families = narrow.asked.clone();
    world.call(Event::Reading(world.reading_up_to(world.seq, families)));
    world.expect(&[]);
    world.call(stored);
    world.call(Event::Reading(world.reading()));
    world.expect(&["save Started", "act Undo 1"]);
}

fn reference_back_to_front() -> lockstep_shared::plan::Plan {
    let lines = [("backend", "@BE deploy"), ("frontend", "@BE deploy")];
    super::plans::plan(lockstep_shared::plan::OnFailure::RollbackAll, &lines)
}
