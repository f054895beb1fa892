//! What a coordinator decides: plain comparable data.

use lockstep_shared::{
    id::{RunKey, Sequence},
    record::Record,
    subject::Slot,
    time::Timestamp,
};

/// What to do, in the order in which a shell does it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Decisions {
    /// Records to append, beside each other: what must come first comes alone.
    pub send: Vec<Append>,
    /// Runs to read whole.
    pub read: Vec<Unread>,
    /// When to call again with [`Event::Woke`] at the latest; it replaces any earlier instant.
    ///
    /// [`Event::Woke`]: crate::Event::Woke
    pub wake: Option<Timestamp>,
    /// What to log.
    pub notes: Vec<Note>,
}

/// A record to append. The shell encodes it once and answers with [`Event::Appended`].
///
/// [`Event::Appended`]: crate::Event::Appended
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Append {
    /// The run.
    pub key: RunKey,
    /// Where it goes.
    pub slot: Slot,
    /// What it says.
    pub record: Record,
}

/// An open run of which only the plan's place is known.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Unread {
    /// The run.
    pub key: RunKey,
    /// Where its plan stands: nothing of it stands below.
    pub from: Sequence,
}

/// Something to log.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Note {
    /// How loudly.
    pub level: Level,
    /// The run it is about, if it is about one.
    pub run: Option<RunKey>,
    /// What, as a sentence without a full stop.
    pub text: String,
}

/// How loudly something is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// An event that changed nothing, and why.
    Debug,
    /// A change of state.
    Info,
    /// Odd, but it works.
    Warn,
    /// An alarm: a person has to look.
    Error,
}

impl Decisions {
    pub(crate) fn note(&mut self, level: Level, run: &RunKey, text: impl Into<String>) {
        self.notes.push(Note { level, run: Some(run.clone()), text: text.into() });
    }

    pub(crate) fn note_all(&mut self, level: Level, text: impl Into<String>) {
        self.notes.push(Note { level, run: None, text: text.into() });
    }
}
