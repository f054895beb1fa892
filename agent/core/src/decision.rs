//! What an agent decides: plain comparable data.

use lockstep_shared::{id::StepIndex, record::Record, subject::Slot, time::Timestamp};

/// What to do, in the order in which a shell does it.
///
/// Everything in `save` is on disk before anything in `send` is published or anything in `act` is
/// begun. If a save fails, the rest of these decisions is dropped and [`Event::SaveFailed`]
/// reported.
///
/// [`Event::SaveFailed`]: crate::Event::SaveFailed
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Decisions {
    /// Before anything else: publish none of the appends under way any more, and answer each of
    /// them, as any append, by [`Event::Appended`] with [`Appended::InDoubt`]. The log lost
    /// records, and they were meant for the one that it was.
    ///
    /// [`Event::Appended`]: crate::Event::Appended
    /// [`Appended::InDoubt`]: crate::Appended::InDoubt
    pub recall: bool,
    /// Marks of this run's undo record to store durably.
    pub save: Vec<UndoMark>,
    /// Records to append; at most one to a workflow's slots and one to a party's at a time.
    pub send: Vec<Append>,
    /// Orders to the target and the lock, to be begun in this order: a `Stop` concerns only what
    /// was begun before it. They run beside further calls.
    pub act: Vec<Act>,
    /// Whether to make a reading now, with the filter and the floor as they are after this call.
    /// A wish that comes while a reading is under way means one more after it.
    pub read: bool,
    /// When to call again with [`Event::Woke`] at the latest; it replaces any earlier instant.
    /// `None` only when there is nothing left to wait for.
    ///
    /// [`Event::Woke`]: crate::Event::Woke
    pub wake: Option<Timestamp>,
    /// What to log.
    pub notes: Vec<Note>,
}

/// How far this run's undo record has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum UndoMark {
    /// It is complete, and nothing has been written to the target. Saving this mark is what
    /// creates the record, with what `Prepare` found out.
    Prepared,
    /// Something may have been written: this must be undone or finalized.
    Started,
    /// Nothing is owed any more; kept as history.
    Settled,
}

/// A record to append. The shell encodes it once and answers with [`Event::Appended`].
///
/// [`Event::Appended`]: crate::Event::Appended
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Append {
    /// Where it goes.
    pub slot: Slot,
    /// What it says.
    pub record: Record,
}

/// An order. Never given twice for the same thing unless its report said that it failed, or it
/// was given by an earlier incarnation.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Act {
    /// Take the workflow's lock, and keep trying; answered by [`Event::Lock`].
    ///
    /// [`Event::Lock`]: crate::Event::Lock
    TakeLock,
    /// This run needs the lock no more.
    DropLock,
    /// Look for this run's undo record once more: an earlier incarnation may have made it elsewhere
    /// since this agent began. Answered by [`Event::Recalled`].
    ///
    /// [`Event::Recalled`]: crate::Event::Recalled
    Recall,
    /// Dry-run every step and find out what undoes it. Writes nothing of the release. A plan-only
    /// run stores nothing at all.
    Prepare,
    /// Run one attempt of a step, within the step's timeout. First kills what an earlier
    /// incarnation left of it. Never given for a barrier or a wait.
    Start {
        /// The step.
        step: StepIndex,
        /// The attempt, counted from 1 over all incarnations.
        attempt: u32,
    },
    /// Undo a step that may have been done wholly, half or not at all, and see that it is undone.
    /// First kills what an earlier incarnation left of it.
    Undo {
        /// The step.
        step: StepIndex,
    },
    /// Give up the means to go back: the run is committed.
    Finalize,
    /// End what is running for this run, of this or an earlier incarnation: kill a command's
    /// group, finish the request in hand. What was ordered and is not over still gets its report.
    Stop,
    /// Watch the health of what a finished step brought up, until `Unwatch`; answered by
    /// [`Event::Degraded`], once, if it degrades.
    ///
    /// [`Event::Degraded`]: crate::Event::Degraded
    Watch {
        /// The step.
        step: StepIndex,
    },
    /// End every watch.
    Unwatch,
}

/// Something to log.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Note {
    /// How loudly.
    pub level: Level,
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
    /// A person has to look.
    Error,
}
