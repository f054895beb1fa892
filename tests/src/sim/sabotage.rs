//! Things broken on purpose, between a core and the world, to see that the judge notices.

use lockstep_agent_core::{Act, Decisions as Decided, Reading, UndoMark, Watched};
use lockstep_coordinator_core::{Append, Decisions as Coordinated};
use lockstep_shared::{
    codec::{Entry, Stated},
    id::{RunKey, Sequence},
    record::{Cause, CauseSort, Record},
    source::Source,
    subject::Family,
    time::Timestamp,
};

use super::Invariant;

/// One thing broken on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sabotage {
    /// One coordinator also names another record as the decisive one.
    NameAnother,
    /// Coordinators commit a run that is not decided.
    Hurry,
    /// Coordinators abort what is committed.
    Reverse,
    /// One coordinator also aborts what is committed.
    Contradict,
    /// One coordinator is not told of arrivals.
    SkipARecord,
    /// Coordinators admit what should be refused.
    AdmitAll,
    /// A coordinator never looks again by itself.
    Sleep,
    /// An agent never looks again by itself.
    AgentSleeps,
    /// Closed is never written.
    LeaveOpen,
    /// Agents read that every barrier is released.
    PassBarriers,
    /// Marks of undo records are not saved.
    SaveNothing,
    /// Agents undo when they should finalize.
    UndoForFinalize,
    /// Agents finalize when they should undo.
    FinalizeForUndo,
    /// Agents act on a step as soon as they have sent its StepStarted.
    ActOnSending,
    /// Undo orders are not carried out, and reported as done.
    ForgetUndo,
    /// Start orders are not carried out, and reported as done.
    ForgetStart,
    /// Two processes are given one lock, and any permit.
    ShareLock,
    /// An earlier run's debt is not seen.
    ForgetDebts,
    /// A run that only plans finalizes.
    WriteWhilePlanning,
    /// Texts are not cut to their size.
    Ramble,
}

impl Sabotage {
    /// What is broken by it, and must be seen.
    pub fn breaks(self) -> Invariant {
        match self {
            Self::NameAnother => Invariant::OneVerdict,
            Self::Hurry => Invariant::VerdictsFollow,
            Self::Reverse => Invariant::DecisionsStand,
            Self::Contradict => Invariant::NeverBoth,
            Self::SkipARecord => Invariant::EverybodyReadsTheSame,
            Self::AdmitAll => Invariant::OneRunAtATime,
            Self::Sleep | Self::AgentSleeps => Invariant::SomethingIsAwaited,
            Self::LeaveOpen => Invariant::EveryRunCloses,
            Self::PassBarriers => Invariant::NobodyPassesEarly,
            Self::SaveNothing => Invariant::UndoIsStoredFirst,
            Self::UndoForFinalize => Invariant::NobodyUndoesWhatStands,
            Self::FinalizeForUndo => Invariant::NobodyFinalizesWhatGoesBack,
            Self::ActOnSending => Invariant::OnlyWhatWasReadBack,
            Self::ForgetUndo => Invariant::AbortIsUndone,
            Self::ForgetStart => Invariant::CommitIsWhole,
            Self::ShareLock => Invariant::OneWriter,
            Self::ForgetDebts => Invariant::DebtsComeFirst,
            Self::WriteWhilePlanning => Invariant::PlanOnlyWritesNothing,
            Self::Ramble => Invariant::EveryRecordFits,
        }
    }

    /// Changes what an agent decided.
    pub(crate) fn decided(self, decided: &mut Decided) {
        match self {
            Self::SaveNothing => decided.save.clear(),
            Self::AgentSleeps => decided.wake = None,
            Self::UndoForFinalize => {
                replace(decided, |act| matches!(act, Act::Finalize), &Act::Undo { step: 0 });
            }
            Self::FinalizeForUndo => {
                replace(decided, |act| matches!(act, Act::Undo { .. }), &Act::Finalize);
            }
            Self::WriteWhilePlanning => {
                replace(decided, |act| matches!(act, Act::Prepare), &Act::Finalize);
            }
            Self::ActOnSending => {
                let started = decided.send.iter().find_map(|append| match append.record {
                    Record::StepStarted { step, attempt, .. } => Some((step, attempt)),
                    _ => None,
                });
                if let Some((step, attempt)) = started {
                    decided.save.push(UndoMark::Started);
                    decided.act.push(Act::Start { step, attempt });
                }
            }
            Self::Ramble => {
                for append in &mut decided.send {
                    if let Record::StepFinished { output, .. } = &mut append.record {
                        *output = "x".repeat(20_000);
                    }
                }
            }
            _ => {}
        }
    }

    /// Changes what a coordinator decided.
    pub(crate) fn coordinated(self, decided: &mut Coordinated, index: usize) {
        match self {
            Self::Sleep => decided.wake = None,
            Self::LeaveOpen => {
                decided.send.retain(|append| !matches!(append.record, Record::Closed { .. }));
            }
            Self::AdmitAll => {
                for append in &mut decided.send {
                    if let Record::Refused { .. } = append.record {
                        append.record = Record::Admitted {};
                    }
                }
            }
            Self::Hurry => beside(decided, |append| match append.record {
                Record::Released { at } => {
                    Some(Append { slot: Family::Verdict.slot(1), ..with(append, committed(at)) })
                }
                _ => None,
            }),
            Self::Reverse => {
                for append in &mut decided.send {
                    if let Record::Committed { at } = append.record {
                        append.record = aborted(at);
                    }
                }
            }
            Self::NameAnother if index == 0 => beside(decided, |append| match append.record {
                Record::Released { at } => Some(next(append, Record::Released { at: at - 1 })),
                _ => None,
            }),
            Self::Contradict if index == 0 => beside(decided, |append| match append.record {
                Record::Committed { at } => Some(next(append, aborted(at))),
                _ => None,
            }),
            _ => {}
        }
    }

    /// Changes what an agent reads.
    pub(super) fn read(self, key: &RunKey, reading: &mut Reading) {
        if self != Self::PassBarriers {
            return;
        }
        let upto = reading.upto;
        let verdicts = reading.asked.iter().filter_map(|watched| match watched {
            Watched::Family(family @ Family::BarrierVerdict(_)) => Some(family.clone()),
            _ => None,
        });
        reading.entries.extend(verdicts.map(|family| Entry {
            seq: upto,
            time: Timestamp(0),
            key: key.clone(),
            slot: family.slot(1),
            content: Ok(Stated {
                event: "forged".to_owned(),
                source: Source::Coordinator("nobody".to_owned()),
                record: Record::Released { at: Sequence::MAX },
            }),
        }));
    }

    /// Whether a coordinator is told of a record.
    pub(super) fn tells(self, entry: &Entry, index: usize) -> bool {
        let arrived = entry
            .content
            .as_ref()
            .is_ok_and(|stated| matches!(stated.record, Record::Arrived { .. }));
        self != Self::SkipARecord || index > 0 || !arrived
    }
}

fn replace(decided: &mut Decided, which: impl Fn(&Act) -> bool, with: &Act) {
    for act in &mut decided.act {
        if which(act) {
            *act = with.clone();
        }
    }
}

/// Sends something beside what is sent.
fn beside(decided: &mut Coordinated, what: impl Fn(&Append) -> Option<Append>) {
    let more: Vec<Append> = decided.send.iter().filter_map(what).collect();
    decided.send.extend(more);
}

fn with(append: &Append, record: Record) -> Append {
    Append { key: append.key.clone(), slot: append.slot.clone(), record }
}

/// The same family's next slot.
fn next(append: &Append, record: Record) -> Append {
    let mut next = with(append, record);
    next.slot.number += 1;
    next
}

fn committed(at: Sequence) -> Record {
    Record::Committed { at }
}

fn aborted(at: Sequence) -> Record {
    let cause = Cause {
        at,
        sort: CauseSort::Requested,
        workflow: None,
        party: None,
        step: None,
        barrier: None,
        text: "no reason".to_owned(),
        output: String::new(),
    };
    Record::Aborted { at, cause }
}
