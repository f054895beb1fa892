//! What a coordinator is told.

use lockstep_shared::{
    codec::Entry,
    fold::Moment,
    id::{Epoch, RunKey, Sequence, WorkflowName},
    subject::Slot,
    time::Span,
};

/// What happened since the last call.
///
/// A start tells every plan's `Heading`, then every Closed as an `Entry`, then `Listed`; then the
/// entries of the runs that the answer names; then everything from the end of the headings on,
/// and `CaughtUp`. Telling every entry from the beginning, and then `CaughtUp`, is as good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Nothing but time: called at [`Decisions::wake`].
    ///
    /// [`Decisions::wake`]: crate::Decisions::wake
    Woke,
    /// A plan stands there; only headings were read.
    Heading {
        /// The run.
        key: RunKey,
        /// Where its plan stands.
        at: Moment,
    },
    /// The next record, rubbish included.
    Entry(Box<Entry>),
    /// Every heading and every Closed has been told.
    Listed,
    /// Everything in the log has been told. Nothing is decided before the first of these.
    CaughtUp,
    /// An agent says that it is alive.
    Beat {
        /// The run.
        key: RunKey,
        /// Whose agent.
        workflow: WorkflowName,
        /// Its incarnation.
        epoch: Epoch,
    },
    /// Beats cannot be heard: what sounds like silence until now is none. Told again, more often
    /// than an agent's silence is long, for as long as it is so.
    Deaf(String),
    /// The connection stands again, or beats may have been missed.
    Connected,
    /// The connection is lost.
    Disconnected,
    /// What became of an append. Every append is answered exactly once.
    Appended {
        /// The run.
        key: RunKey,
        /// The slot that the append named.
        slot: Slot,
        /// What became of it.
        outcome: Appended,
    },
    /// How long the log keeps a record, which its operator may have changed.
    MaxAge(Span),
    /// The log lost records: it is told again from its beginning. The text says how that shows.
    WentBack(String),
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
