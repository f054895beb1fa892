//! That records which the model takes for unordered are: on real logs, by swapping them.

use std::collections::BTreeMap;

use lockstep_shared::{
    codec::Entry, fold::RunFold, id::Sequence, plan::OnFailure, record::Record, subject::Family,
};

use super::ledger::{commute, record_of};
use crate::sim::judge::Summary;

/// Swaps each two neighbours of one run's log that nobody is to tell apart, and sees that the
/// same is decided, by the same records; how many there were.
///
/// What coordinators wrote down is left out: it names positions, and decides nothing.
///
/// # Errors
/// Two records whose order matters.
pub fn swap_neighbours(log: &[Entry]) -> Result<usize, String> {
    let log: Vec<_> = log.iter().filter(|entry| !is_written_down(entry)).cloned().collect();
    let on_failure = log.iter().filter_map(record_of).find_map(|record| match record {
        Record::Plan { plan, .. } => Some(plan.on_failure),
        _ => None,
    });
    let on_failure = on_failure.unwrap_or(OnFailure::RollbackAll);
    let expected = Summary::of(&folded(&log));
    let mut swapped = 0;
    for at in 1..log.len() {
        let (first, second) = (&log[at - 1], &log[at]);
        if !commute(first, second, on_failure) {
            continue;
        }
        swapped += 1;
        let mut other = log.clone();
        let here = [(first.seq, first.time), (second.seq, second.time)];
        other.swap(at - 1, at);
        for (entry, (seq, time)) in other[at - 1..=at].iter_mut().zip(here) {
            (entry.seq, entry.time) = (seq, time);
        }
        let names = BTreeMap::from([(first.seq, second.seq), (second.seq, first.seq)]);
        let name = |seq: Sequence| names.get(&seq).copied().unwrap_or(seq);
        let found = Summary::of(&folded(&other)).renamed(name);
        if found != expected {
            return Err(format!(
                "{first:?}\n{second:?}\n{expected:?}\nin the other order\n{found:?}"
            ));
        }
    }
    Ok(swapped)
}

fn is_written_down(entry: &Entry) -> bool {
    matches!(
        entry.slot.family,
        Family::Verdict
            | Family::BarrierVerdict(_)
            | Family::Outcome(_)
            | Family::Closed
            | Family::Clock
    )
}

fn folded(log: &[Entry]) -> RunFold {
    let key = log.first().map(|entry| entry.key.clone()).expect("a log has a record");
    let mut fold = RunFold::new(key);
    for entry in log {
        fold.apply(entry);
    }
    fold
}
