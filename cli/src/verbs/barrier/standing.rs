//! How a foreign party stands with a barrier: a pure function of one reading.

use lockstep_shared::{
    codec::Entry,
    id::{BarrierId, PartyName, Sequence},
    record::{Cause, Record, RunResult},
    subject::{Family, Slot},
};

/// What became of the barrier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fate {
    /// Nothing yet.
    Open,
    /// Everybody arrived.
    Released { at: Sequence },
    /// Not everybody will.
    Aborted { cause: Cause },
    /// The run was never admitted.
    Refused { reason: String },
    /// The run ended without it.
    Closed { seq: Sequence, result: RunResult },
}

/// What became of the run as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Decided {
    /// Everybody goes forward.
    Committed { at: Sequence },
    /// Everybody goes back.
    Aborted { cause: Cause },
    /// It was never admitted.
    Refused { reason: String },
    /// It ended; where every workflow decides for itself, this is the first that is known.
    Closed { seq: Sequence, result: RunResult },
}

/// What one reading says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Standing {
    /// What became of the barrier.
    pub(super) fate: Fate,
    /// What became of the run, once that is decided.
    pub(super) decided: Option<Decided>,
    /// The party's own arrival.
    pub(super) arrived: Option<Sequence>,
    /// The party's own no.
    pub(super) failed: Option<Sequence>,
    /// The lowest slot that the party may use next.
    pub(super) free: Option<Slot>,
}

/// The families that a party reads.
pub(super) fn families(barrier: &BarrierId, party: Option<&PartyName>) -> Vec<Family> {
    let mut families = vec![Family::Admission, Family::Verdict, Family::Closed];
    if !barrier.is_commit() {
        families.push(Family::BarrierVerdict(barrier.clone()));
    }
    families.extend(party.map(|party| Family::Party(barrier.clone(), party.clone())));
    families
}

/// Judges a reading of those families, in stream order.
pub(super) fn standing(
    entries: &[Entry],
    barrier: &BarrierId,
    party: Option<&PartyName>,
) -> Standing {
    let own = party.map(|party| Family::Party(barrier.clone(), party.clone()));
    let mine = |entry: &&Entry| Some(&entry.slot.family) == own.as_ref();
    let record = |entry: &Entry| entry.content.as_ref().ok().map(|stated| stated.record.clone());
    let mut arrived = None;
    let mut failed = None;
    for entry in entries.iter().filter(mine) {
        match record(entry) {
            Some(Record::Arrived { .. }) => arrived = arrived.or(Some(entry.seq)),
            Some(Record::PartyFailed { .. }) => failed = failed.or(Some(entry.seq)),
            _ => {}
        }
    }
    let taken: Vec<u32> = entries.iter().filter(mine).map(|entry| entry.slot.number).collect();
    let free = own.map(|family| {
        let number = (1..).find(|number| !taken.contains(number)).unwrap_or(u32::MAX);
        family.slot(number)
    });
    Standing { fate: fate(entries, barrier), decided: decided(entries), arrived, failed, free }
}

/// The first record of a family that is valid by itself: the one that counts.
fn first<'a>(entries: &'a [Entry], family: &Family) -> Option<(Sequence, &'a Record)> {
    let mut own = entries.iter().filter(|entry| entry.slot.family == *family);
    own.find_map(|entry| Some((entry.seq, &entry.content.as_ref().ok()?.record)))
}

fn decided(entries: &[Entry]) -> Option<Decided> {
    match first(entries, &Family::Verdict) {
        Some((_, Record::Committed { at })) => return Some(Decided::Committed { at: *at }),
        Some((_, Record::Aborted { cause, .. })) => {
            return Some(Decided::Aborted { cause: cause.clone() });
        }
        _ => {}
    }
    if let Some((_, Record::Refused { reason, .. })) = first(entries, &Family::Admission) {
        return Some(Decided::Refused { reason: reason.clone() });
    }
    match first(entries, &Family::Closed) {
        Some((seq, Record::Closed { result, .. })) => {
            Some(Decided::Closed { seq, result: *result })
        }
        _ => None,
    }
}

fn fate(entries: &[Entry], barrier: &BarrierId) -> Fate {
    let first = |family: &Family| first(entries, family);
    let own = first(&Family::BarrierVerdict(barrier.clone()));
    // Committed means that every barrier was met; aborted reaches those without a verdict too.
    for (_, record) in own.into_iter().chain(first(&Family::Verdict)) {
        match record {
            Record::Released { at } | Record::Committed { at } => {
                return Fate::Released { at: *at };
            }
            Record::Aborted { cause, .. } => return Fate::Aborted { cause: cause.clone() },
            _ => {}
        }
    }
    if let Some((_, Record::Refused { reason, .. })) = first(&Family::Admission) {
        return Fate::Refused { reason: reason.clone() };
    }
    match first(&Family::Closed) {
        Some((seq, Record::Closed { result, .. })) => Fate::Closed { seq, result: *result },
        _ => Fate::Open,
    }
}

#[cfg(test)]
mod tests {
    use lockstep_shared::{
        codec::{Rubbish, Stated},
        id::RunKey,
        record::CauseSort,
        source::Source,
        time::Timestamp,
    };

    use super::*;

    fn barrier() -> BarrierId {
        "go-live".parse().unwrap()
    }

    fn party() -> PartyName {
        "qa".parse().unwrap()
    }

    fn entry(seq: Sequence, slot: Slot, record: Option<Record>) -> Entry {
        let key = RunKey { pipeline: "shop".parse().unwrap(), run: "r1".parse().unwrap() };
        let source = Source::Coordinator("c".to_owned());
        let content = record
            .map(|record| Stated { event: seq.to_string(), source, record })
            .ok_or(Rubbish::Header("ce-id"));
        Entry { seq, time: Timestamp(seq), key, slot, content }
    }

    fn own(number: u32) -> Slot {
        Family::Party(barrier(), party()).slot(number)
    }

    fn arrival() -> Record {
        Record::Arrived { epoch: None, view: None, by: None, message: None, link: None }
    }

    fn aborted() -> Record {
        let cause = Cause {
            at: 3,
            sort: CauseSort::Failed,
            workflow: None,
            party: None,
            step: None,
            barrier: None,
            text: "backend failed".to_owned(),
            output: String::new(),
        };
        Record::Aborted { at: 3, cause }
    }

    fn judged(entries: &[Entry]) -> Standing {
        standing(entries, &barrier(), Some(&party()))
    }

    #[test]
    fn rubbish_in_a_slot_takes_it_and_says_nothing() {
        let now = judged(&[entry(1, own(1), None), entry(2, own(2), Some(arrival()))]);
        assert_eq!(now.arrived, Some(2));
        assert_eq!(now.free, Some(own(3)));
        assert_eq!(now.fate, Fate::Open);
    }

    #[test]
    fn the_barriers_own_verdict_comes_before_the_runs() {
        let verdict = Family::BarrierVerdict(barrier());
        let released = entry(4, verdict.clone().slot(1), Some(Record::Released { at: 2 }));
        let run = entry(6, Family::Verdict.slot(1), Some(aborted()));
        assert_eq!(judged(&[released, run.clone()]).fate, Fate::Released { at: 2 });
        assert!(matches!(judged(&[run]).fate, Fate::Aborted { .. }));
    }

    #[test]
    fn only_the_first_valid_verdict_counts() {
        let verdict = Family::BarrierVerdict(barrier());
        let entries = [
            entry(3, verdict.clone().slot(1), None),
            entry(4, verdict.clone().slot(2), Some(aborted())),
            entry(5, verdict.slot(3), Some(Record::Released { at: 2 })),
        ];
        assert!(matches!(judged(&entries).fate, Fate::Aborted { .. }));
    }

    #[test]
    fn a_barrier_may_be_released_long_before_the_run_is_decided() {
        let verdict = Family::BarrierVerdict(barrier());
        let released = entry(4, verdict.slot(1), Some(Record::Released { at: 2 }));
        assert_eq!(judged(std::slice::from_ref(&released)).decided, None);
        let run = entry(6, Family::Verdict.slot(1), Some(aborted()));
        let now = judged(&[released, run]);
        assert!(matches!(now.decided, Some(Decided::Aborted { .. })), "{now:?}");
        assert_eq!(now.fate, Fate::Released { at: 2 });
        let committed = entry(7, Family::Verdict.slot(1), Some(Record::Committed { at: 5 }));
        assert_eq!(judged(&[committed]).decided, Some(Decided::Committed { at: 5 }));
    }

    #[test]
    fn a_refused_run_has_no_meeting() {
        let refused =
            Record::Refused { reason: "r0 is open".to_owned(), cancelled: false, at: None };
        let entries = [entry(2, Family::Admission.slot(1), Some(refused))];
        assert_eq!(judged(&entries).fate, Fate::Refused { reason: "r0 is open".to_owned() });
    }
}
