//! What an agent is told.

use lockstep_shared::{
    codec::Entry,
    id::{Epoch, Sequence, StepIndex},
    record::Images,
    subject::{Family, Slot},
    time::Timestamp,
};

use crate::{debt::Debt, decision::UndoMark};

/// What happened since the last call.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Event {
    /// Nothing but time: the first call, and every call at [`Decisions::wake`].
    ///
    /// [`Decisions::wake`]: crate::Decisions::wake
    Woke,
    /// The connection to the log stands (again), or bells may have been missed.
    Connected,
    /// An answer of the log to the whole filter.
    Reading(Reading),
    /// The bell: the republished copy of a stored message of this run.
    Rang(Entry),
    /// A beat of this workflow in this run by an epoch that is not this agent's own. Needed while
    /// standing by; harmless at any other time.
    Beat {
        /// The incarnation that beats.
        epoch: Epoch,
    },
    /// Beats of this workflow cannot be heard: what sounds like silence until now is none. Told
    /// again, more often than another's silence is long, for as long as it is so.
    Deaf(String),
    /// What became of [`Act::TakeLock`]; again whenever it changes.
    ///
    /// [`Act::TakeLock`]: crate::Act::TakeLock
    Lock(Lock),
    /// What became of an append. Every append is answered exactly once.
    Appended {
        /// The slot that [`Append`] named.
        ///
        /// [`Append`]: crate::Append
        slot: Slot,
        /// What became of it.
        outcome: Appended,
    },
    /// What became of an order to the target.
    Reported(Report),
    /// What a watched step brought up is not healthy any more.
    Degraded {
        /// The watched step.
        step: StepIndex,
        /// What is wrong, for a person.
        error: String,
        /// What there is to see, for a person.
        output: String,
    },
    /// An undo mark could not be stored, and nothing else of those decisions was carried out.
    SaveFailed {
        /// The mark.
        mark: UndoMark,
        /// Why, for a person.
        error: String,
    },
    /// What became of [`Act::Recall`]: the mark of this run's undo record, if there is one.
    ///
    /// [`Act::Recall`]: crate::Act::Recall
    Recalled(Option<UndoMark>),
    /// What became of an earlier run's debt at the same target ([`crate::debt`]).
    Debt(Debt),
    /// The log lost records: an older backup was restored, or a server lost power. The text says
    /// how that shows.
    WentBack(String),
    /// The process was asked to end (SIGTERM).
    Terminate,
}

/// Exactly the records of a filter up to one position.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Reading {
    /// What was asked for: an earlier answer of [`Agent::filter`].
    ///
    /// [`Agent::filter`]: crate::Agent::filter
    pub asked: Vec<Watched>,
    /// When it was asked, or any instant before that, by the clock that [`Agent::step`] is given:
    /// what was answered then may have changed since, however late the answer is taken in.
    ///
    /// [`Agent::step`]: crate::Agent::step
    pub asked_at: Timestamp,
    /// The position.
    pub upto: Sequence,
    /// Everything that matched, in stream order, rubbish included.
    pub entries: Vec<Entry>,
}

/// One item of a filter.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Watched {
    /// Every slot of a family.
    Family(Family),
    /// One slot.
    Slot(Slot),
}

/// Whether this process holds the workflow's lock.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Lock {
    /// It does.
    Held,
    /// It does not (yet, or any more): who does, or why not, for a person.
    NotHeld(String),
}

/// What became of an append.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Appended {
    /// It is stored there.
    Stored(Sequence),
    /// The slot holds something else, which stands at this position.
    Taken(Sequence),
    /// It gave up: the record may be stored, now or later, or not.
    InDoubt,
}

/// What a step that succeeded has to tell.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Told {
    /// The end of what it printed.
    pub output: String,
    /// Which images run now of what it deployed.
    pub images: Images,
}

impl From<String> for Told {
    fn from(output: String) -> Self {
        Self { output, ..Self::default() }
    }
}

/// What became of an order to the target. Every order but `Recall`, `Stop`, `Watch`, `Unwatch` and
/// the two of the lock is answered by exactly one report, also if it was stopped.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Report {
    /// Everything was dry-run, and what undoes it is known.
    Prepared {
        /// The digest of this agent's view of the plan, if it stored one.
        view: Option<String>,
    },
    /// It cannot be done like this.
    PrepareFailed {
        /// Why, for a person.
        error: String,
        /// The end of what was printed.
        output: String,
    },
    /// An attempt succeeded.
    Finished {
        /// The step.
        step: StepIndex,
        /// The attempt.
        attempt: u32,
        /// What came of it.
        told: Told,
    },
    /// An attempt failed, timed out, or was stopped.
    Failed {
        /// The step.
        step: StepIndex,
        /// The attempt.
        attempt: u32,
        /// What went wrong, for a person.
        error: String,
        /// The end of what it printed.
        output: String,
    },
    /// A step is undone.
    Undone {
        /// The step.
        step: StepIndex,
        /// What could not be given back, or was kept on purpose; each a sentence.
        residue: Vec<String>,
        /// The end of what its undo printed.
        output: String,
    },
    /// A step could not be undone, or was stopped.
    UndoFailed {
        /// The step.
        step: StepIndex,
        /// What went wrong, for a person.
        error: String,
        /// What is left of it; each a sentence.
        left: Vec<String>,
        /// The end of what its undo printed.
        output: String,
    },
    /// The means to go back are given up.
    Finalized {
        /// What could not be tidied up; each a sentence.
        warnings: Vec<String>,
    },
    /// They could not be given up.
    FinalizeFailed {
        /// What went wrong, for a person.
        error: String,
    },
}
