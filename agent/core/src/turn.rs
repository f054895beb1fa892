//! One call of the core: the instant, and the decisions as they gather.

use lockstep_shared::time::Timestamp;

use crate::decision::{Act, Decisions, Level, Note};

/// One call of the core.
pub(crate) struct Turn {
    pub(crate) now: Timestamp,
    pub(crate) out: Decisions,
}

impl Turn {
    pub(crate) fn at(now: Timestamp) -> Self {
        Self { now, out: Decisions::default() }
    }

    pub(crate) fn act(&mut self, act: Act) {
        self.out.act.push(act);
    }

    /// Whether `instant` has come; if not, the agent is called again then.
    pub(crate) fn is_past(&mut self, instant: Timestamp) -> bool {
        if self.now >= instant {
            return true;
        }
        self.wake_at(instant);
        false
    }

    pub(crate) fn wake_at(&mut self, instant: Timestamp) {
        let earliest = self.out.wake.map_or(instant, |wake| wake.min(instant));
        self.out.wake = Some(earliest);
    }

    pub(crate) fn ignore(&mut self, reason: impl Into<String>) {
        self.note(Level::Debug, reason);
    }

    pub(crate) fn info(&mut self, text: impl Into<String>) {
        self.note(Level::Info, text);
    }

    pub(crate) fn warn(&mut self, text: impl Into<String>) {
        self.note(Level::Warn, text);
    }

    pub(crate) fn error(&mut self, text: impl Into<String>) {
        self.note(Level::Error, text);
    }

    fn note(&mut self, level: Level, text: impl Into<String>) {
        self.out.notes.push(Note { level, text: text.into() });
    }
}
