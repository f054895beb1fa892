//! The lock of a Kubernetes workflow: one Lease, whoever's agent runs where.
//!
//! The lock on the state directory keeps agents of one machine apart; the Lease those of all. It is
//! taken by the first order of a run that acts here, under the epoch that the log gave, and renewed
//! until the run is over for this workflow. [`decide`] says who may take it; `keeper` asks and
//! renews. Deliberately trusts no other clock: a holder is silent when *we* have seen no change
//! for as long as the Lease is said to last.

mod keeper;

use lockstep_shared::{
    id::{Epoch, RunId},
    time::Span,
};

use super::object::RunMark;

pub use keeper::State;
pub(crate) use keeper::{Lease, Wish};

/// How long it lasts after a renewal.
pub const LASTS: Span = Span::seconds(15);

/// The longest that a Lease may say it lasts; what says more is not one of ours.
const LONGEST: Span = Span::seconds(60);

/// A Lease as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Its holder's text; empty if nobody holds it.
    pub holder: String,
    /// The agent that holds it, by instance.
    pub instance: String,
    /// How long it says that it lasts.
    pub lasts: Span,
    /// For how long we have seen it unchanged.
    pub unchanged_for: Span,
}

/// What to do about a Lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Move {
    /// Take it, or renew it.
    Take,
    /// Take it if this run has left nothing here that has to be undone.
    TakeIfSettled(RunId),
    /// Not yet: for whom.
    Wait(String),
    /// Never: a newer incarnation has it.
    Superseded(Epoch),
}

/// Whether `me`, who is `instance` and holds the lock of its state directory, may take the Lease.
pub fn decide(me: &RunMark, instance: &str, seen: Option<&Seen>) -> Move {
    let Some(seen) = seen.filter(|seen| !seen.holder.is_empty()) else { return Move::Take };
    let holder: Option<RunMark> = seen.holder.parse().ok();
    match holder.as_ref().filter(|holder| holder.is_same_work(me)) {
        Some(holder) if holder.epoch == me.epoch => return Move::Take,
        Some(holder) if holder.epoch > me.epoch => return Move::Superseded(holder.epoch),
        _ => {}
    }
    // The same instance is the same state directory, whose lock proves that process dead.
    let is_dead = seen.instance == instance;
    if !is_dead && seen.unchanged_for < seen.lasts.min(LONGEST) {
        return Move::Wait(format!("{} ({})", seen.holder, seen.instance));
    }
    match holder {
        Some(holder) if holder.run != me.run => Move::TakeIfSettled(holder.run),
        _ => Move::Take,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holder(text: &str) -> RunMark {
        text.parse().unwrap()
    }

    fn seen(holder: &str, instance: &str, unchanged: u64) -> Seen {
        Seen {
            holder: holder.to_owned(),
            instance: instance.to_owned(),
            lasts: LASTS,
            unchanged_for: Span::seconds(unchanged),
        }
    }

    #[test]
    fn what_nobody_holds_or_we_hold_is_taken_at_once() {
        let me = holder("r1/backend/2");
        assert_eq!(decide(&me, "here", None), Move::Take);
        assert_eq!(decide(&me, "here", Some(&seen("", "", 0))), Move::Take);
        assert_eq!(decide(&me, "here", Some(&seen("r1/backend/2", "here", 0))), Move::Take);
    }

    #[test]
    fn an_older_incarnation_elsewhere_is_waited_for_until_it_is_silent() {
        let me = holder("r1/backend/2");
        let at = |seconds| decide(&me, "here", Some(&seen("r1/backend/1", "there", seconds)));
        assert_eq!(at(14), Move::Wait("r1/backend/1 (there)".to_owned()));
        assert_eq!(at(15), Move::Take);
    }

    #[test]
    fn our_own_dead_predecessor_is_not_waited_for() {
        let me = holder("r1/backend/2");
        assert_eq!(decide(&me, "here", Some(&seen("r1/backend/1", "here", 0))), Move::Take);
    }

    #[test]
    fn a_newer_incarnation_is_never_robbed() {
        let me = holder("r1/backend/2");
        for unchanged in [0, 3600] {
            let found = decide(&me, "here", Some(&seen("r1/backend/3", "here", unchanged)));
            assert_eq!(found, Move::Superseded(3));
        }
    }

    #[test]
    fn another_runs_is_taken_only_when_silent_and_settled() {
        let me = holder("r2/backend/1");
        let at = |seconds| decide(&me, "here", Some(&seen("r1/backend/9", "there", seconds)));
        assert!(matches!(at(3), Move::Wait(_)));
        assert_eq!(at(15), Move::TakeIfSettled("r1".parse().unwrap()));
    }

    #[test]
    fn what_is_not_ours_is_taken_when_silent_and_no_claim_lasts_for_ever() {
        let me = holder("r1/backend/1");
        let mut foreign = seen("somebody", "", 59);
        foreign.lasts = Span::seconds(100_000);
        assert!(matches!(decide(&me, "here", Some(&foreign)), Move::Wait(_)));
        foreign.unchanged_for = Span::seconds(60);
        assert_eq!(decide(&me, "here", Some(&foreign)), Move::Take);
    }
}
