//! What must never happen, by name.

/// An invariant of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Invariant {
    /// Every verdict that is ever written for a barrier, a workflow or a run says the same.
    OneVerdict,
    /// What a prefix of the log has decided, every longer one has decided alike.
    DecisionsStand,
    /// No run, and no workflow, is both committed and aborted.
    NeverBoth,
    /// A recorded verdict is what the log below it implies.
    VerdictsFollow,
    /// Who has read up to a position knows what everybody knows who has.
    EverybodyReadsTheSame,
    /// No party acts behind a barrier before everybody arrived or was waived.
    NobodyPassesEarly,
    /// Nobody acts on what was not read back.
    OnlyWhatWasReadBack,
    /// Nobody undoes what is committed, or not decided.
    NobodyUndoesWhatStands,
    /// Nobody finalizes what is aborted, or not decided.
    NobodyFinalizesWhatGoesBack,
    /// What is needed to undo is stored before the first write.
    UndoIsStoredFirst,
    /// After an abort every step that started is undone, or reported.
    AbortIsUndone,
    /// After a commit every step is done.
    CommitIsWhole,
    /// A target has one writer at a time.
    OneWriter,
    /// What an earlier run owes a target is settled before a newer one writes to it.
    DebtsComeFirst,
    /// A run that only plans saves nothing and writes nothing.
    PlanOnlyWritesNothing,
    /// One run of a pipeline at a time is admitted and open.
    OneRunAtATime,
    /// An open run has a deadline, a record that is due, or a place in the queue; and whoever has
    /// not finished has an instant at which it looks again.
    SomethingIsAwaited,
    /// Once faults stop, every run closes and every debt is settled.
    EveryRunCloses,
    /// Every record that a core decides on can be stored.
    EveryRecordFits,
}

impl Invariant {
    /// All of them.
    pub const ALL: [Self; 19] = [
        Self::OneVerdict,
        Self::DecisionsStand,
        Self::NeverBoth,
        Self::VerdictsFollow,
        Self::EverybodyReadsTheSame,
        Self::NobodyPassesEarly,
        Self::OnlyWhatWasReadBack,
        Self::NobodyUndoesWhatStands,
        Self::NobodyFinalizesWhatGoesBack,
        Self::UndoIsStoredFirst,
        Self::AbortIsUndone,
        Self::CommitIsWhole,
        Self::OneWriter,
        Self::DebtsComeFirst,
        Self::PlanOnlyWritesNothing,
        Self::OneRunAtATime,
        Self::SomethingIsAwaited,
        Self::EveryRunCloses,
        Self::EveryRecordFits,
    ];
}

/// An invariant that was broken.
#[derive(Debug, Clone)]
pub struct Violation {
    /// Which one.
    pub invariant: Invariant,
    /// How.
    pub text: String,
}

impl Violation {
    pub(crate) fn of(invariant: Invariant, text: impl Into<String>) -> Self {
        Self { invariant, text: text.into() }
    }
}
