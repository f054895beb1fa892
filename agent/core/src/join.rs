//! Incarnations: who may act for a workflow, and who stands by (PROTOCOL section 6).

use lockstep_shared::{
    id::{Epoch, Sequence},
    time::{Span, Timestamp},
};

use crate::view::Own;

/// For how long another instance's beat must be silent before its place is taken. Half of what
/// makes a coordinator call it lost, so that a spare takes over before the run is aborted.
pub(crate) const SILENT: Span = Span::seconds(15);

/// How long to wait before the first write after taking over from an instance that cannot be
/// proven dead: the log's silence that it allows itself and the longest time-out of a write.
pub(crate) const DOUBT: Span = Span::seconds(20);

/// This agent as an incarnation of its workflow.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) enum Incarnation {
    /// It has not joined.
    #[default]
    Outside,
    /// Its Joined is on its way; or stored, in this slot and at this position, and not read back.
    Joining(Option<(u32, Sequence)>),
    /// Its Joined was read back.
    Active(Term),
    /// A newer one has joined.
    Superseded(Epoch),
}

/// The time for which an incarnation is the current one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Term {
    pub(crate) epoch: Epoch,
    /// When its Joined was stored, by the server's clock.
    stored: Timestamp,
    /// When that was read back, by ours.
    began: Timestamp,
    /// From when on it may write to its target.
    pub(crate) writes_from: Timestamp,
}

impl Term {
    pub(crate) fn begin(epoch: Epoch, stored: Timestamp, own: &Own, now: Timestamp) -> Self {
        let doubt = own
            .usurped
            .map_or(Span(0), |since| Span(DOUBT.0.saturating_sub(stored.since(since).0)));
        Self { epoch, stored, began: now, writes_from: now.after(doubt) }
    }

    /// Whether the log's current incarnation is this one: an older log that was restored, and went
    /// on, may hold another's Joined in the same slot.
    pub(crate) fn is_of(&self, own: &Own) -> bool {
        own.joined.is_some_and(|(_, stored)| stored == self.stored)
    }

    /// When `span` after a stored time will have passed, by this agent's clock. Counted from our
    /// own Joined, which both clocks have seen: they need not agree.
    pub(crate) fn due(&self, stored: Timestamp, span: Span) -> Timestamp {
        let ahead = stored.since(self.stored);
        let behind = self.stored.since(stored);
        let total = self.began.0.saturating_add(ahead.0).saturating_add(span.0);
        Timestamp(total.saturating_sub(behind.0))
    }
}

/// Since when the current incarnation, another one than this agent, has been silent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Quiet {
    silent: Option<(Epoch, Timestamp)>,
    /// When it was last known that no beat could be heard, and why.
    deaf: Option<(Timestamp, String)>,
}

impl Quiet {
    /// It beat, or we could not have heard it.
    pub(crate) fn broken(&mut self, now: Timestamp) {
        if let Some((_, since)) = &mut self.silent {
            *since = now;
        }
    }

    /// No beat can be heard; whether that is news.
    pub(crate) fn deaf(&mut self, why: &str, now: Timestamp) -> bool {
        let known = self.is_deaf(now).is_some_and(|known| known == why);
        self.broken(now);
        self.deaf = Some((now, why.to_owned()));
        !known
    }

    /// Why nothing can be heard, if that was so a moment ago.
    pub(crate) fn is_deaf(&self, now: Timestamp) -> Option<&str> {
        let (at, why) = self.deaf.as_ref()?;
        (now.since(*at) < SILENT).then_some(why)
    }

    /// A beat came.
    pub(crate) fn beat(&mut self, epoch: Epoch, now: Timestamp) {
        if self.silent.is_none_or(|(known, _)| epoch >= known) {
            self.silent = Some((epoch, now));
        }
        self.deaf = None;
    }

    /// When the incarnation's place may be taken if it stays silent.
    pub(crate) fn over_at(&mut self, epoch: Epoch, now: Timestamp) -> Timestamp {
        match self.silent {
            Some((known, since)) if known >= epoch => since.after(SILENT),
            _ => {
                self.silent = Some((epoch, now));
                now.after(SILENT)
            }
        }
    }
}

/// Whether the current incarnation's place is free at once: there is none, it is this instance's
/// own, or it left.
pub(crate) fn is_vacant(own: &Own, instance: &str) -> bool {
    own.epoch == 0 || own.left || own.instance == instance
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_counted_from_what_both_clocks_have_seen() {
        let own = Own::default();
        // Our clock is 1,000 s behind the server's.
        let term = Term::begin(2, Timestamp(1_100_000), &own, Timestamp(100_000));
        assert_eq!(term.due(Timestamp(1_105_000), Span::seconds(10)), Timestamp(115_000));
        assert_eq!(term.due(Timestamp(1_093_000), Span::seconds(10)), Timestamp(103_000));
        assert_eq!(term.due(Timestamp(1_000), Span::seconds(10)), Timestamp(0));
    }

    #[test]
    fn only_a_successor_of_another_instance_waits_before_it_writes() {
        let own = Own { usurped: Some(Timestamp(50_000)), ..Own::default() };
        let at_once = Term::begin(2, Timestamp(50_000), &own, Timestamp(7));
        assert_eq!(at_once.writes_from, Timestamp(20_007));
        let later = Term::begin(3, Timestamp(65_000), &own, Timestamp(7));
        assert_eq!(later.writes_from, Timestamp(5_007));
        let proven = Term::begin(3, Timestamp(65_000), &Own::default(), Timestamp(7));
        assert_eq!(proven.writes_from, Timestamp(7));
    }

    #[test]
    fn a_beat_begins_the_silence_anew_and_an_older_epochs_does_not() {
        let mut quiet = Quiet::default();
        assert_eq!(quiet.over_at(3, Timestamp(0)), Timestamp(15_000));
        quiet.beat(2, Timestamp(5_000));
        assert_eq!(quiet.over_at(3, Timestamp(6_000)), Timestamp(15_000));
        quiet.beat(3, Timestamp(7_000));
        assert_eq!(quiet.over_at(3, Timestamp(8_000)), Timestamp(22_000));
        assert_eq!(quiet.over_at(4, Timestamp(9_000)), Timestamp(24_000));
    }
}
