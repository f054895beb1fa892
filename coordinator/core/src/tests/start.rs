//! Starting, and starting again: the log is all there is.

use lockstep_shared::{
    codec::Rubbish,
    id::{PartyName, RunId},
    plan::Plan,
    subject::Family,
    time::Span,
};

use super::support::*;
use crate::{Event, Level};

fn open(bench: &Bench, party: &str) -> Option<Vec<RunId>> {
    let party: PartyName = party.parse().unwrap();
    bench.core.open_runs(&"shop".parse().unwrap(), &party)
}

fn runs(names: &[&str]) -> Option<Vec<RunId>> {
    Some(names.iter().map(|name| name.parse().unwrap()).collect())
}

fn with_approval() -> Plan {
    let mut plan = plan(&[("a", "t @go")]);
    plan.barriers.get_mut(&barrier("go")).unwrap().foreign.insert("qa".parse().unwrap());
    plan
}

#[test]
fn a_cheap_start_reads_only_what_is_open_and_knows_as_much() {
    let mut bench = Bench::new();
    bench.prepare("r1", plan(&[("a", "t")]));
    bench.finish("r1");
    bench.prepare("r2", plan(&[("a", "t")]));
    bench.plan("r3", plan(&[("a", "t")]));
    bench.settle();
    let cheap = Bench::started(bench.log.clone());
    let mut whole = Bench::starting(bench.log.clone());
    for entry in bench.log.entries.clone() {
        whole.tell(Event::Entry(Box::new(entry)));
    }
    whole.tell(Event::CaughtUp);
    assert_eq!(cheap.core, whole.core);
    assert_eq!(cheap.core.runs().count(), 2);
}

#[test]
fn parity_16_a_coordinator_killed_before_its_verdict_writes_it_when_it_starts_again() {
    let mut bench = Bench::prepared(reference());
    bench.fail("r1", "backend");
    let lost = bench.sent();
    let mut next = Bench::started(bench.log.clone());
    assert_eq!(next.sent(), lost, "the same verdict, from the log alone");
}

#[test]
fn parity_16_a_coordinator_killed_after_its_verdict_goes_on_behind_it() {
    let mut bench = Bench::prepared(reference());
    bench.start_step("r1", "backend", 0);
    bench.fail("r1", "backend");
    let verdict = bench.decisions.send.pop().unwrap();
    bench.log.store(&verdict.key, verdict.slot, Ok(verdict.record)).unwrap();
    let mut next = Bench::started(bench.log.clone());
    assert_eq!(next.sent(), [""; 0]);
    next.rolled_back("r1", "backend");
    assert_eq!(next.settle(), ["r1 closed.1 Closed RolledBack"]);
}

#[test]
fn entries_told_twice_change_nothing() {
    let mut bench = Bench::prepared(reference());
    let before = bench.core.clone();
    for entry in bench.log.entries.clone() {
        bench.tell(Event::Entry(Box::new(entry)));
    }
    assert_eq!(bench.core, before);
}

#[test]
fn the_open_runs_of_a_party_are_told_only_when_all_is_read() {
    let mut bench = Bench::starting(Log::new());
    bench.plan("r1", with_approval());
    assert_eq!(open(&bench, "a"), None);
    bench.tell(Event::CaughtUp);
    bench.plan("r2", with_approval());
    bench.plan("r0", plan(&[("b", "t")]));
    assert_eq!(open(&bench, "a"), runs(&["r1", "r2"]));
    assert_eq!(open(&bench, "qa"), runs(&["r1", "r2"]));
    assert_eq!(open(&bench, "b"), runs(&["r0"]));
    assert_eq!(open(&bench, "stranger"), runs(&[]));
    bench.tell(Event::Disconnected);
    assert_eq!(open(&bench, "a"), None, "who does not see the log does not know");
}

#[test]
fn a_log_that_lost_records_is_read_anew_with_an_alarm() {
    let mut bench = Bench::prepared(reference());
    let mut restored = bench.log.clone();
    restored.entries.truncate(2);
    bench.tell(Event::WentBack("it ends at #2".to_owned()));
    assert!(bench.said(Level::Error)[0].contains("the log lost records: it ends at #2"));
    assert!(!bench.core.is_ready());
    for entry in restored.entries.clone() {
        bench.tell(Event::Entry(Box::new(entry)));
    }
    assert_eq!(bench.sent(), [""; 0]);
    bench.tell(Event::CaughtUp);
    assert_eq!(bench.fold("r1").position(), 2);
    assert_eq!(bench.fold("r1").all_joined(), None);
}

#[test]
fn a_run_whose_plan_has_expired_is_ignored() {
    let mut bench = Bench::prepared(plan(&[("a", "t")]));
    bench.plan("r2", plan(&[("a", "t")]));
    let mut log = bench.log.clone();
    log.entries.retain(|entry| entry.seq != 1);
    log.now = log.now.after(Span::seconds(1));
    let mut late = Bench::starting(log);
    let at = lockstep_shared::fold::Moment { seq: 1, time: late.log.now };
    late.tell(Event::Heading { key: key("r1"), at });
    for entry in late.log.entries.clone() {
        late.tell(Event::Entry(Box::new(entry)));
    }
    late.tell(Event::CaughtUp);
    assert_eq!(late.sent(), ["r2 admission.1 Admitted"]);
    assert_eq!(late.core.runs().count(), 1);
}

#[test]
fn an_idle_coordinator_asks_for_no_call() {
    let mut bench = Bench::new();
    assert_eq!(bench.decisions.wake, None);
    bench.prepare("r1", plan(&[("a", "t")]));
    assert!(bench.decisions.wake.is_some());
    bench.finish("r1");
    assert_eq!(bench.decisions.wake, None);
}

#[test]
fn what_was_stored_in_a_slot_before_the_plan_is_stepped_over() {
    let mut log = Log::new();
    let (admission, closed) = (Family::Admission, Family::Closed);
    for slot in [admission.clone().slot(1), admission.slot(2), closed.slot(1)] {
        log.store(&key("r1"), slot, Err(Rubbish::Header("ce-id"))).unwrap();
    }
    let mut bench = Bench::starting(log);
    bench.tell(Event::CaughtUp);
    bench.prepare("r1", plan(&[("a", "t")]));
    bench.finish("r1");
    assert_eq!(bench.core.runs().count(), 0, "the run is closed");
}
