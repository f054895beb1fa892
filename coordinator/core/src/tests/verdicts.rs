//! Verdicts, outcomes and Closed: written at once, in the order that the protocol asks for.

use lockstep_shared::{
    codec::Rubbish,
    plan::OnFailure,
    record::{Record, RunResult},
    subject::Family,
};

use super::support::*;
use crate::{Appended, Coordinator, Event, Level};

#[test]
fn nothing_is_decided_before_the_log_is_read_to_its_end() {
    let mut bench = Bench::starting(Log::new());
    bench.plan("r1", reference());
    assert_eq!(bench.sent(), [""; 0]);
    assert_eq!(bench.decisions.wake, None);
    bench.tell(Event::CaughtUp);
    assert_eq!(bench.sent(), ["r1 admission.1 Admitted"]);
}

#[test]
fn parity_01_the_last_arrival_itself_brings_the_release_and_the_commit() {
    let mut bench = Bench::prepared(reference());
    bench.arrive("r1", "BE", "backend");
    assert_eq!(bench.sent(), [""; 0]);
    bench.arrive("r1", "BE", "frontend");
    assert_eq!(bench.settle(), ["r1 barrier.BE.verdict.1 Released at #9"]);
    bench.arrive("r1", "_commit", "backend");
    bench.arrive("r1", "_commit", "frontend");
    assert_eq!(bench.settle(), ["r1 verdict.1 Committed at #12"]);
    bench.finalized("r1", "backend");
    assert_eq!(bench.sent(), [""; 0]);
    bench.finalized("r1", "frontend");
    assert_eq!(bench.settle(), ["r1 closed.1 Closed Succeeded"]);
}

#[test]
fn parity_03_an_abort_comes_alone_then_its_barriers_then_the_end() {
    let mut bench = Bench::prepared(reference());
    bench.start_step("r1", "backend", 0);
    bench.arrive("r1", "BE", "frontend");
    bench.fail("r1", "backend");
    let text = "at #10: backend failed in step \"deploy\": exit status 1";
    let verdict = format!("r1 verdict.1 Aborted {text}");
    let barrier = format!("r1 barrier.BE.verdict.1 Aborted {text}");
    assert_eq!(bench.settle(), [verdict, barrier]);
    bench.rolled_back("r1", "backend");
    assert_eq!(bench.settle(), ["r1 closed.1 Closed RolledBack"]);
}

#[test]
fn barriers_that_complete_together_are_released_beside_each_other() {
    let mut bench = Bench::prepared(plan(&[("a", "@X"), ("b", "@X @Y"), ("c", "@Y")]));
    bench.arrive("r1", "X", "a");
    bench.arrive("r1", "X", "b");
    bench.arrive("r1", "Y", "b");
    bench.arrive("r1", "Y", "c");
    assert_eq!(bench.sent().len(), 2, "the second waits for the first one's answer");
}

#[test]
fn an_append_is_not_repeated_until_its_outcome_is_known() {
    let mut bench = Bench::prepared(reference());
    bench.fail("r1", "backend");
    let first = bench.decisions.send.pop().expect("the verdict is due");
    bench.pass(lockstep_shared::time::Span::seconds(20));
    bench.tell(Event::CaughtUp);
    bench.tell(Event::Connected);
    assert_eq!(bench.sent(), [""; 0]);
    let (run, slot) = (first.key.clone(), first.slot.clone());
    bench.tell(Event::Appended {
        key: run.clone(),
        slot: slot.clone(),
        outcome: Appended::InDoubt,
    });
    assert_eq!(bench.sent(), [""; 0]);
    bench.pass(crate::RETRY_AFTER);
    assert_eq!(bench.sent(), [shown(&first)], "what is in doubt is sent again, to the same slot");
    bench.tell(Event::Appended { key: run, slot, outcome: Appended::Stored(99) });
    bench.pass(lockstep_shared::time::Span::seconds(20));
    assert_eq!(bench.sent(), [""; 0], "it waits until the fold shows what stands there");
}

#[test]
fn a_slot_that_rubbish_took_costs_a_number_and_nothing_else() {
    let mut bench = Bench::prepared(reference());
    bench.fail("r1", "backend");
    let first = bench.decisions.send.pop().expect("the verdict is due");
    bench.said(Level::Debug);
    let rubbish = Err(Rubbish::Body("PubAck".to_owned()));
    let entry = bench.log.store(&first.key, first.slot.clone(), rubbish).unwrap();
    bench.carry_out(first);
    assert_eq!(bench.sent(), [""; 0], "taken; the fold does not show by what");
    bench.tell(Event::Entry(Box::new(entry)));
    assert!(bench.sent()[0].starts_with("r1 verdict.2 Aborted"));
    assert!(bench.said(Level::Warn)[0].contains("rubbish #9 in verdict.1 changes nothing"));
}

#[test]
fn a_closed_run_leaves_memory_and_is_decided_no_more() {
    let mut bench = Bench::prepared(reference());
    bench.abort("r1");
    bench.settle();
    assert_eq!(bench.core.runs().count(), 0);
    let mut empty = Coordinator::new(MAX_AGE);
    empty.step(Event::CaughtUp, Log::new().now);
    assert_eq!(bench.core, empty);
    bench.fail("r1", "backend");
    bench.abort("r1");
    bench.beat("r1", "backend", 1);
    assert_eq!(bench.sent(), [""; 0]);
    assert_eq!(bench.core, empty);
}

#[test]
fn a_wrong_verdict_is_followed_and_raises_one_alarm() {
    let mut bench = Bench::prepared(reference());
    bench.store("r1", Family::Verdict, Record::Committed { at: 3 });
    let alarms = bench.said(Level::Error);
    assert_eq!(alarms.len(), 1, "{alarms:?}");
    assert!(alarms[0].contains("not what the log below it implies"));
    bench.finalized("r1", "backend");
    bench.finalized("r1", "frontend");
    assert_eq!(bench.settle(), ["r1 closed.1 Closed Succeeded"]);
    assert_eq!(bench.said(Level::Error), [""; 0]);
}

#[test]
fn parity_23_each_own_gets_an_outcome_for_each_and_no_run_verdict() {
    let mut own = plan(&[("a", "t"), ("b", "t")]);
    own.on_failure = OnFailure::EachOwn;
    let mut bench = Bench::prepared(own);
    bench.start_step("r1", "a", 0);
    bench.fail("r1", "a");
    let broken = "r1 outcome.a.1 Aborted at #9: a failed in step \"t\": exit status 1";
    assert_eq!(bench.settle(), [broken]);
    bench.start_step("r1", "b", 0);
    let (ignored, output) = (None, String::new());
    bench.own(
        "r1",
        "b",
        Record::StepFinished { epoch: 1, step: 0, ignored, output, images: Default::default() },
    );
    assert_eq!(bench.settle(), ["r1 outcome.b.1 Committed at #12"]);
    bench.rolled_back("r1", "a");
    bench.finalized("r1", "b");
    assert_eq!(bench.settle(), ["r1 closed.1 Closed Partial"]);
}

#[test]
fn parity_32_a_run_of_another_protocol_is_left_alone_and_named() {
    let mut bench = Bench::new();
    let rubbish = Err(Rubbish::Protocol(2));
    let entry = bench.log.store(&key("r0"), Family::Plan.slot(1), rubbish).unwrap();
    bench.tell(Event::Entry(Box::new(entry)));
    bench.abort("r0");
    assert_eq!(bench.sent(), [""; 0]);
    assert!(bench.said(Level::Warn)[0].contains("speaks protocol 2 and this build speaks 1"));
    assert_eq!(bench.core.runs().count(), 0);
    bench.plan("r1", reference());
    assert_eq!(bench.sent(), ["r1 admission.1 Admitted"]);
}

#[test]
fn void_records_are_told_with_their_reasons() {
    let mut bench = Bench::prepared(reference());
    bench.arrive("r1", "_commit", "backend");
    bench.arrive("r1", "_commit", "frontend");
    bench.settle();
    bench.said(Level::Debug);
    bench.abort("r1");
    let said = bench.said(Level::Info);
    assert_eq!(said.len(), 1);
    assert!(said[0].contains("AbortRequested #11 in request.1") && said[0].contains("too late"));
}

#[test]
fn a_plan_only_run_ends_planned() {
    let mut only = reference();
    only.plan_only = true;
    let mut bench = Bench::new();
    bench.plan("r1", only);
    bench.settle();
    ["backend", "frontend"].iter().for_each(|name| bench.join("r1", name));
    ["backend", "frontend"].iter().for_each(|name| bench.arrive("r1", "_prepare", name));
    let released = "r1 barrier._prepare.verdict.1 Released at #6";
    assert_eq!(bench.settle(), [released, "r1 closed.1 Closed Planned"]);
    let Ok(stated) = &bench.log.entries.last().unwrap().content else { panic!("rubbish") };
    assert!(matches!(stated.record, Record::Closed { result: RunResult::Planned, .. }));
}
