//! How well an agent hears the log: which readings count, when the next is due, how long ago the
//! last one was (PROTOCOL section 5).

use lockstep_shared::{
    id::Sequence,
    time::{Span, Timestamp},
};

/// How often a reading is made without any other reason: bells can be lost.
pub(crate) const READ_EVERY: Span = Span::seconds(5);

/// How soon to ask again after an answer that was behind: a follower may lag.
const ASK_AGAIN: Span = Span(20);

/// For how long after the last reading was asked for a target may be written to (PROTOCOL section 6).
pub(crate) const HEARD_WITHIN: Span = Span::seconds(10);

/// A call later than this after the one before means that this process was paused: wakes are at
/// most [`READ_EVERY`] apart.
const PAUSED_AFTER: Span = Span::seconds(10);

/// How many of its own workflow's empty slots a reading asks for at first.
const WINDOW: u32 = 4;

/// How many at most, so that a reading stays below 1,024 subjects.
const MAX_WINDOW: u32 = 512;

/// What was heard of the log, and when.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Contact {
    /// The greatest position of a reading that counted.
    position: Sequence,
    /// The greatest position that an append met.
    stored: Sequence,
    /// The greatest position that the bell told.
    rung: Sequence,
    /// When the last reading that counted was asked for: what an answer says was so no later than
    /// it arrived, and a frozen process may take it in much later than that.
    heard_at: Option<Timestamp>,
    /// Whether the last one answered the whole filter as it is now.
    pub(crate) is_current: bool,
    /// Whether any did.
    has_read: bool,
    /// Whether something asked for a reading at once.
    is_wanted: bool,
    /// When to ask again after an answer that was behind.
    due: Option<Timestamp>,
    /// When the next reading is due if nothing asks for one.
    at_the_latest: Option<Timestamp>,
    /// How many own slots the next one asks for.
    window: u32,
    /// When the agent was last called.
    called_at: Option<Timestamp>,
    /// How it shows that the log lost records, if it did.
    pub(crate) went_back: Option<String>,
}

impl Contact {
    pub(crate) fn none() -> Self {
        Self {
            position: 0,
            stored: 0,
            rung: 0,
            heard_at: None,
            is_current: false,
            has_read: false,
            is_wanted: true,
            due: None,
            at_the_latest: None,
            window: WINDOW,
            called_at: None,
            went_back: None,
        }
    }

    pub(crate) fn floor(&self) -> Sequence {
        self.position.max(self.stored).max(self.rung)
    }

    pub(crate) fn window(&self) -> u32 {
        self.window
    }

    pub(crate) fn met(&mut self, seq: Sequence) {
        self.stored = self.stored.max(seq);
        self.ask_now();
    }

    pub(crate) fn rang(&mut self, seq: Sequence) {
        self.rung = self.rung.max(seq);
        self.ask_now();
    }

    /// Makes the next reading due at once.
    pub(crate) fn ask_now(&mut self) {
        self.is_wanted = true;
        self.due = None;
    }

    /// Notes a reading that counts.
    pub(crate) fn read(&mut self, upto: Sequence, asked_at: Timestamp, now: Timestamp) {
        self.position = self.position.max(upto);
        // Nothing was asked in the future, and an older question makes nothing less heard.
        self.heard_at = self.heard_at.max(Some(asked_at.min(now)));
    }

    /// Notes whether that reading was whole; own slots that go on beyond it are asked for in
    /// larger numbers, so that a long run is read in few steps.
    pub(crate) fn whole(&mut self, whole: bool, slots_went_on: bool) {
        self.is_current = whole;
        self.has_read |= whole;
        if whole {
            self.window = WINDOW;
        } else {
            self.ask_now();
            if slots_went_on {
                self.window = (self.window * 4).min(MAX_WINDOW);
            }
        }
    }

    /// Notes an answer that was behind.
    pub(crate) fn behind(&mut self, now: Timestamp) {
        self.due = Some(now.after(ASK_AGAIN));
    }

    /// Whether a reading is due; if so the next one is due after [`READ_EVERY`]. While an append is
    /// under way, its answer will ask for one anyhow: one reading then shows the bell's and it.
    pub(crate) fn is_due(&mut self, now: Timestamp, appending: bool) -> bool {
        let due = now >= self.next(now, appending);
        if due {
            self.due = None;
            self.at_the_latest = Some(now.after(READ_EVERY));
            self.is_wanted = false;
        }
        due
    }

    /// When the next reading is due.
    pub(crate) fn next(&self, now: Timestamp, appending: bool) -> Timestamp {
        let latest = self.at_the_latest.unwrap_or(now);
        match self.due {
            Some(due) => due.min(latest),
            None if self.is_wanted && !appending => now,
            None => latest,
        }
    }

    /// Whether there was a reading that answered the whole filter.
    pub(crate) fn has_read(&self) -> bool {
        self.has_read
    }

    /// Whether everything up to a position has been read.
    pub(crate) fn has_read_up_to(&self, seq: Sequence) -> bool {
        self.is_current && seq <= self.position
    }

    pub(crate) fn is_fresh(&self, now: Timestamp) -> bool {
        self.heard_at.is_some_and(|heard| now.since(heard) < HEARD_WITHIN)
    }

    /// Notes a call; whether the process was paused before it.
    pub(crate) fn called(&mut self, now: Timestamp) -> bool {
        let before = self.called_at.replace(now);
        before.is_some_and(|before| now.since(before) > PAUSED_AFTER)
    }

    /// The log lost records: positions of before mean nothing in it.
    pub(crate) fn lose(&mut self, how: String) {
        *self = Self { called_at: self.called_at, ..Self::none() };
        self.went_back = Some(how);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_000_000);

    /// After a first reading.
    fn heard() -> Contact {
        let mut contact = Contact::none();
        assert!(contact.is_due(NOW, true), "nothing waits for the first one");
        contact.read(1, NOW, NOW);
        contact.whole(true, false);
        assert!(!contact.is_due(NOW, false));
        contact
    }

    #[test]
    fn a_bell_asks_for_a_reading_at_once_unless_an_appends_answer_will() {
        let mut contact = heard();
        contact.rang(2);
        assert_eq!(contact.next(NOW, false), NOW);
        assert!(!contact.is_due(NOW, true));
        contact.met(3);
        assert!(contact.is_due(NOW, false), "one reading for both");
        assert!(!contact.is_due(NOW, false));
    }

    #[test]
    fn an_append_without_an_answer_delays_no_reading_for_longer_than_usual() {
        let mut contact = heard();
        contact.rang(2);
        let latest = NOW.after(READ_EVERY);
        assert_eq!(contact.next(NOW, true), latest);
        assert!(contact.is_due(latest, true));
    }

    #[test]
    fn an_answer_that_was_behind_is_asked_for_again_although_an_append_is_under_way() {
        let mut contact = heard();
        contact.behind(NOW);
        assert!(contact.is_due(NOW.after(ASK_AGAIN), true));
    }
}
