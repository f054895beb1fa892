//! Deadlines and lost agents: never early, never on what this coordinator could not see.

use lockstep_shared::{
    plan::OnFailure,
    record::{Deadline, Record},
    subject::Family,
    time::Span,
};

use super::support::*;
use crate::{Appended, Event, HEARTBEAT, LEFT_FOR, Level, SETTLING, SILENT_FOR};

const BOTH: [&str; 2] = ["backend", "frontend"];

#[test]
fn parity_07_a_deadline_is_recorded_the_moment_it_is_due() {
    let mut bench = Bench::prepared(reference());
    bench.arrive("r1", "BE", "frontend");
    bench.pass_beating("r1", &BOTH, Span(Span::minutes(10).0 - 1));
    assert_eq!(bench.sent(), [""; 0]);
    bench.pass(Span(1));
    let sent = bench.settle();
    assert!(sent[0].starts_with("r1 clock.1 DeadlinePassed Barrier"));
    assert!(sent[1].starts_with("r1 verdict.1 Aborted") && sent[1].contains("missing backend"));
}

#[test]
fn who_waits_for_the_join_is_told_when_nobody_comes() {
    let mut bench = Bench::new();
    bench.plan("r1", reference());
    bench.settle();
    bench.pass(Span::minutes(2));
    let sent = bench.settle();
    assert_eq!(sent[0], "r1 clock.1 DeadlinePassed Join");
    assert_eq!(sent.last().unwrap(), "r1 closed.1 Closed RolledBack");
}

#[test]
fn what_ran_out_while_nobody_looked_waits_until_a_coordinator_has_settled() {
    let mut bench = Bench::prepared(reference());
    bench.arrive("r1", "BE", "frontend");
    let mut log = bench.log;
    log.now = log.now.after(Span::minutes(11));
    let mut late = Bench::started(log);
    assert_eq!(late.sent(), [""; 0]);
    late.pass_beating("r1", &BOTH, Span(SETTLING.0 - 1));
    assert_eq!(late.sent(), [""; 0]);
    late.arrive("r1", "BE", "backend");
    assert_eq!(late.settle().len(), 1, "complete barriers are released after an outage");
    late.pass_beating("r1", &BOTH, Span::seconds(5));
    assert_eq!(late.sent(), [""; 0]);
}

#[test]
fn what_is_still_missing_after_settling_times_out() {
    let mut bench = Bench::prepared(reference());
    bench.arrive("r1", "BE", "frontend");
    let mut log = bench.log;
    log.now = log.now.after(Span::minutes(11));
    let mut late = Bench::started(log);
    late.pass_beating("r1", &BOTH, SETTLING);
    assert!(late.sent()[0].starts_with("r1 clock.1 DeadlinePassed Barrier"));
}

#[test]
fn a_deadline_that_runs_out_before_ones_eyes_needs_no_settling() {
    let mut bench = Bench::prepared(reference());
    bench.arrive("r1", "BE", "frontend");
    let mut log = bench.log;
    log.now = log.now.after(Span(Span::minutes(10).0 - 2000));
    let mut late = Bench::started(log);
    late.pass(Span::seconds(2));
    assert!(late.sent()[0].starts_with("r1 clock.1 DeadlinePassed Barrier"));
}

#[test]
fn who_recorded_too_early_waits_for_the_rest() {
    let mut bench = Bench::prepared(reference());
    bench.arrive("r1", "BE", "frontend");
    bench.pass_beating("r1", &BOTH, Span::minutes(10));
    let append = bench.decisions.send.pop().expect("the deadline is due by our clock");
    bench.said(Level::Debug);
    let mut early = bench.log.store(&append.key, append.slot, Ok(append.record)).unwrap();
    early.time.0 -= 3000;
    bench.tell(Event::Entry(Box::new(early)));
    assert!(bench.said(Level::Info)[0].contains("3s too early"));
    bench.pass(Span(2999));
    assert_eq!(bench.sent(), [""; 0]);
    bench.pass(Span(1));
    assert!(bench.sent()[0].starts_with("r1 clock.2 DeadlinePassed Barrier"));
}

#[test]
fn parity_15_an_agent_is_lost_after_thirty_silent_seconds() {
    let mut bench = Bench::prepared(reference());
    bench.pass_beating("r1", &["frontend"], Span(SILENT_FOR.0 - 1));
    assert_eq!(bench.sent(), [""; 0]);
    bench.pass(Span(1));
    let sent = bench.settle();
    assert_eq!(sent[0], "r1 clock.1 AgentLost backend/1");
    assert!(sent[1].starts_with("r1 verdict.1 Aborted at #8"), "{sent:?}");
}

#[test]
fn who_cannot_hear_beats_loses_nobody_and_says_so_once() {
    let mut bench = Bench::prepared(plan(&[("a", "run")]));
    for _ in 0..24 {
        bench.tell(Event::Deaf("not permitted to subscribe to x".to_owned()));
        bench.pass(Span::seconds(5));
    }
    assert_eq!(bench.sent(), Vec::<String>::new());
    let said = bench.said(Level::Error);
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].contains("subscribe to x"), "{said:?}");
    // Once it may hear, silence is silence again.
    bench.pass(Span::seconds(24));
    assert_eq!(bench.sent(), Vec::<String>::new());
    bench.pass(Span::seconds(1));
    assert_eq!(bench.sent().len(), 1);
}

#[test]
fn only_the_current_epochs_beats_count() {
    let mut bench = Bench::prepared(reference());
    bench.join("r1", "backend");
    for _ in 0..5 {
        bench.beat("r1", "backend", 1);
        bench.pass_beating("r1", &["frontend"], Span::seconds(5));
    }
    bench.beat("r1", "backend", 2);
    bench.pass_beating("r1", &["frontend"], Span(SILENT_FOR.0 - 1));
    assert_eq!(bench.sent(), [""; 0]);
    bench.beat("r1", "backend", 1);
    bench.beat("r1", "backend", 3);
    bench.pass(Span(1));
    assert_eq!(bench.sent(), ["r1 clock.1 AgentLost backend/2"]);
}

#[test]
fn a_record_is_as_good_as_a_beat() {
    let mut bench = Bench::prepared(reference());
    bench.pass_beating("r1", &["frontend"], Span::seconds(20));
    bench.start_step("r1", "backend", 0);
    bench.pass_beating("r1", &["frontend"], Span(SILENT_FOR.0 - 1));
    assert_eq!(bench.sent(), [""; 0]);
}

#[test]
fn a_record_between_the_last_seen_one_and_agent_lost_makes_it_void_and_the_watch_starts_anew() {
    let mut bench = Bench::prepared(reference());
    bench.pass_beating("r1", &["frontend"], SILENT_FOR);
    let lost = bench.decisions.send.pop().expect("backend is silent");
    bench.start_step("r1", "backend", 0);
    bench.carry_out(lost);
    assert_eq!(bench.sent(), [""; 0]);
    bench.pass_beating("r1", &["frontend"], Span(SILENT_FOR.0 - 1));
    assert_eq!(bench.sent(), [""; 0]);
    bench.pass(Span(1));
    assert_eq!(bench.sent(), ["r1 clock.2 AgentLost backend/1"]);
}

#[test]
fn a_start_starts_every_watch_anew() {
    let bench = Bench::prepared(reference());
    let mut log = bench.log;
    log.now = log.now.after(Span::minutes(1));
    let mut late = Bench::started(log);
    late.pass(Span(SILENT_FOR.0 - 1));
    assert_eq!(late.sent(), [""; 0]);
    late.pass(Span(1));
    assert_eq!(late.sent(), ["r1 clock.1 AgentLost backend/1"]);
}

#[test]
fn a_reconnect_starts_every_watch_anew_and_nothing_passes_without_a_connection() {
    let mut bench = Bench::prepared(reference());
    bench.pass(Span::seconds(20));
    bench.tell(Event::Disconnected);
    bench.pass(Span::minutes(20));
    assert_eq!(bench.sent(), [""; 0]);
    bench.tell(Event::Connected);
    bench.pass(Span(SILENT_FOR.0 - 1));
    assert_eq!(bench.sent(), [""; 0]);
    bench.pass(Span(1));
    assert_eq!(bench.sent(), ["r1 clock.1 AgentLost backend/1"]);
}

#[test]
fn an_own_pause_starts_every_watch_anew() {
    let mut bench = Bench::prepared(reference());
    bench.pass(Span::seconds(20));
    bench.log.now = bench.log.now.after(Span(HEARTBEAT.0 + 6000));
    bench.tell(Event::Woke);
    assert!(bench.said(Level::Warn)[0].contains("was paused for"));
    bench.pass(Span(SILENT_FOR.0 - 1));
    assert_eq!(bench.sent(), [""; 0]);
    bench.pass(Span(1));
    assert_eq!(bench.sent(), ["r1 clock.1 AgentLost backend/1"]);
}

#[test]
fn parity_33_after_left_a_workflow_has_two_minutes_from_its_stored_time() {
    let mut bench = Bench::prepared(reference());
    bench.own("r1", "backend", Record::Left { epoch: 1 });
    bench.pass_beating("r1", &["frontend"], Span(LEFT_FOR.0 - 1));
    assert_eq!(bench.sent(), [""; 0]);
    let mut taken_over = Bench::started(bench.log.clone());
    bench.pass(Span(1));
    assert_eq!(bench.sent(), ["r1 clock.1 AgentLost backend/1"]);
    taken_over.join("r1", "backend");
    taken_over.pass_beating("r1", &["frontend"], Span(SILENT_FOR.0 - 1));
    assert_eq!(taken_over.sent(), [""; 0]);
}

#[test]
fn a_rollback_that_nobody_reports_ends_unknown_at_its_deadline() {
    let mut bench = Bench::prepared(reference());
    bench.start_step("r1", "backend", 0);
    bench.fail("r1", "frontend");
    bench.settle();
    bench.pass(Span::minutes(15));
    let sent = bench.settle();
    assert_eq!(sent, ["r1 clock.1 DeadlinePassed Ending", "r1 closed.1 Closed RollbackIncomplete"]);
}

#[test]
fn one_clock_slot_is_written_at_a_time() {
    let mut bench = Bench::prepared(reference());
    bench.pass(SILENT_FOR);
    assert_eq!(bench.sent(), ["r1 clock.1 AgentLost backend/1"], "both agents are silent");
    bench.pass(Span::seconds(5));
    assert_eq!(bench.sent(), [""; 0]);
    let (key, slot) = (key("r1"), Family::Clock.slot(1));
    bench.tell(Event::Appended { key, slot, outcome: Appended::InDoubt });
    bench.pass(crate::RETRY_AFTER);
    assert_eq!(bench.sent().len(), 1);
}

#[test]
fn a_record_that_lost_its_race_is_decided_anew_from_what_the_fold_shows() {
    let mut bench = Bench::prepared(reference());
    bench.pass(SILENT_FOR);
    let lost = bench.decisions.send.pop().unwrap();
    let early = Record::DeadlinePassed { deadline: Deadline::Run };
    bench.store("r1", Family::Clock, early);
    bench.carry_out(lost);
    assert_eq!(bench.sent()[0], "r1 clock.2 AgentLost backend/1");
}

#[test]
fn a_deadline_that_would_break_nobody_is_not_recorded() {
    let mut plan = plan(&[("a", "x @BE y"), ("b", "z")]);
    plan.on_failure = OnFailure::EachOwn;
    let foreign = &mut plan.barriers.get_mut(&"BE".parse().unwrap()).unwrap().foreign;
    foreign.insert("qa".parse().unwrap());
    let mut bench = Bench::prepared(plan);
    bench.arrive("r1", "BE", "a");
    // An agent that is broken, or worse: it has passed the barrier that nobody released.
    bench.start_step("r1", "a", 2);
    let (ignored, output) = (None, String::new());
    bench.own(
        "r1",
        "a",
        Record::StepFinished { epoch: 1, step: 2, ignored, output, images: Default::default() },
    );
    bench.settle();
    bench.pass_beating("r1", &["a", "b"], Span::minutes(11));
    assert_eq!(bench.sent(), [""; 0]);
}
