//! One run of a pipeline at a time.

use lockstep_shared::{fold::Admission, plan::Concurrency, time::Span};

use super::support::*;
use crate::{Event, Level};

fn one() -> lockstep_shared::plan::Plan {
    plan(&[("a", "t")])
}

#[test]
fn parity_19_a_queue_of_five_runs_in_plan_order() {
    let mut bench = Bench::new();
    bench.prepare("r1", one());
    for run in ["r2", "r3", "r4", "r5"] {
        bench.plan(run, one());
    }
    assert_eq!(bench.settle(), [""; 0]);
    for (before, after) in [("r1", "r2"), ("r2", "r3"), ("r3", "r4"), ("r4", "r5")] {
        bench.arrive(before, "_commit", "a");
        bench.settle();
        bench.finalized(before, "a");
        let closed = format!("{before} closed.1 Closed Succeeded");
        assert_eq!(bench.settle(), [closed, format!("{after} admission.1 Admitted")]);
        bench.join(after, "a");
        bench.arrive(after, "_prepare", "a");
        bench.settle();
    }
    bench.finish("r5");
    assert_eq!(bench.core.runs().count(), 0);
}

#[test]
fn parity_19_a_second_run_is_refused_and_closed() {
    let mut bench = Bench::prepared(one());
    let mut second = one();
    second.concurrency = Concurrency::Refuse;
    bench.plan("r2", second);
    assert_eq!(bench.settle(), ["r2 admission.1 Refused", "r2 closed.1 Closed Refused"]);
    assert_eq!(bench.core.runs().count(), 1);
}

#[test]
fn a_queued_run_that_is_cancelled_is_refused_at_once_and_the_next_one_moves_up() {
    let mut bench = Bench::prepared(one());
    bench.plan("r2", one());
    bench.plan("r3", one());
    bench.abort("r2");
    assert_eq!(bench.settle(), ["r2 admission.1 Refused cancelled", "r2 closed.1 Closed Refused"]);
    bench.arrive("r1", "_commit", "a");
    bench.settle();
    bench.finalized("r1", "a");
    assert_eq!(bench.settle().last().unwrap(), "r3 admission.1 Admitted");
}

#[test]
fn an_age_limit_that_the_operator_changed_holds_from_then_on() {
    let mut bench = Bench::prepared(one());
    bench.plan("r2", one());
    bench.settle();
    bench.log.now = bench.log.now.after(Span::minutes(15 * 24 * 60));
    bench.tell(Event::MaxAge(Span::minutes(60 * 24 * 60)));
    bench.finish("r1");
    let sent = bench.settle();
    let admission = bench.fold("r2").admission();
    assert!(matches!(admission, Admission::Admitted(_)), "{admission:?} {sent:?}");
}

#[test]
fn a_coordinator_that_starts_into_a_queue_decides_the_same() {
    let mut bench = Bench::prepared(one());
    bench.plan("r2", one());
    bench.plan("r3", one());
    bench.abort("r2");
    bench.arrive("r1", "_commit", "a");
    let due = bench.sent();
    let mut late = Bench::started(bench.log.clone());
    let mut sent = late.sent();
    sent.sort();
    let mut expected = due;
    expected.sort();
    assert_eq!(sent, expected);
    late.core.runs().for_each(|fold| assert!(fold.plan().is_some()));
    assert_eq!(late.said(Level::Error), [""; 0]);
}

#[test]
fn runs_of_different_pipelines_do_not_meet() {
    let mut bench = Bench::prepared(one());
    let mut other = one();
    other.pipeline = "other".parse().unwrap();
    let mut elsewhere = key("r1");
    elsewhere.pipeline = other.pipeline.clone();
    let record = lockstep_shared::record::Record::Plan {
        plan: Box::new(other),
        submitted_by: "ada".to_owned(),
    };
    let slot = lockstep_shared::subject::Family::Plan.slot(1);
    let entry = bench.log.store(&elsewhere, slot, Ok(record)).unwrap();
    bench.tell(crate::Event::Entry(Box::new(entry)));
    assert_eq!(bench.sent(), ["r1 admission.1 Admitted"]);
}
