//! What stands in a workflow's own slots, over all its incarnations.

use std::collections::BTreeMap;

use lockstep_shared::{
    codec::Entry,
    id::{Epoch, Sequence, StepIndex},
    record::Record,
    time::Timestamp,
};

use super::slots::Taken;

/// What a workflow's incarnations reported.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Own {
    /// The current incarnation; 0 before the first Joined.
    pub(crate) epoch: Epoch,
    /// Its instance.
    pub(crate) instance: String,
    /// Where and when it joined.
    pub(crate) joined: Option<(Sequence, Timestamp)>,
    /// Whether it left on request.
    pub(crate) left: bool,
    /// When an instance last took over from another one that had not left; such a predecessor may
    /// still have a request on its way.
    pub(crate) usurped: Option<Timestamp>,
    /// The steps that began.
    pub(crate) steps: BTreeMap<StepIndex, StepSeen>,
    /// The latest Failed that counted.
    pub(crate) failed: Option<FailedSeen>,
    /// The latest incarnation that began to roll back, and where it said so.
    pub(crate) rolling_back: Option<(Epoch, Sequence)>,
    /// The workflow's last word.
    pub(crate) ended: Option<(Sequence, EndedSeen)>,
    pub(crate) taken: Taken,
}

/// A step that began.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct StepSeen {
    /// The incarnation that began the latest attempt.
    pub(crate) epoch: Epoch,
    pub(crate) attempt: u32,
    /// When that attempt's StepStarted was stored.
    pub(crate) time: Timestamp,
    pub(crate) finished: bool,
    /// Whether it failed and that was tolerated.
    pub(crate) ignored: bool,
}

/// A Failed that counted.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct FailedSeen {
    pub(crate) seq: Sequence,
    pub(crate) epoch: Epoch,
    pub(crate) error: String,
}

/// A workflow's last word.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum EndedSeen {
    Finalized { degraded: Option<String> },
    RolledBack { residue: Vec<String>, accepted: bool },
    RollbackFailed { error: String, left: Vec<String> },
}

impl Own {
    /// Takes a record in; `ruled` says whether a verdict stands below it.
    pub(super) fn apply(&mut self, entry: &Entry, record: &Record, ruled: bool) {
        if let Record::Joined { instance, .. } = record {
            self.joined_by(entry, instance);
        } else if record.epoch() == Some(self.epoch) && self.epoch > 0 {
            self.reported(entry, record, ruled);
        }
    }

    fn joined_by(&mut self, entry: &Entry, instance: &str) {
        if entry.slot.number <= self.epoch {
            return;
        }
        if self.epoch > 0 && !self.left && self.instance != instance {
            self.usurped = Some(entry.time);
        }
        self.epoch = entry.slot.number;
        self.instance = instance.to_owned();
        self.joined = Some((entry.seq, entry.time));
        self.left = false;
    }

    fn reported(&mut self, entry: &Entry, record: &Record, ruled: bool) {
        let seq = entry.seq;
        match record {
            Record::StepStarted { epoch, step, attempt } if !ruled => {
                let seen = StepSeen {
                    epoch: *epoch,
                    attempt: *attempt,
                    time: entry.time,
                    finished: false,
                    ignored: false,
                };
                self.steps.insert(*step, seen);
            }
            Record::StepFinished { step, ignored, .. } => {
                if let Some(seen) = self.steps.get_mut(step) {
                    seen.finished = true;
                    seen.ignored = ignored.is_some();
                }
            }
            Record::Failed { epoch, error, .. } => {
                self.failed = Some(FailedSeen { seq, epoch: *epoch, error: error.clone() });
            }
            Record::RollingBack { epoch } => self.rolling_back = Some((*epoch, seq)),
            Record::RolledBack { residue, accepted, .. } => {
                let residue = residue.clone();
                self.ended = Some((seq, EndedSeen::RolledBack { residue, accepted: *accepted }));
            }
            Record::RollbackFailed { error, left, .. } => {
                let (error, left) = (error.clone(), left.clone());
                self.ended = Some((seq, EndedSeen::RollbackFailed { error, left }));
            }
            Record::Finalized { degraded, .. } => {
                self.ended = Some((seq, EndedSeen::Finalized { degraded: degraded.clone() }));
            }
            Record::Left { .. } => self.left = true,
            _ => {}
        }
    }
}
