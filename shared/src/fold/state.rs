//! What the fold knows of a run: plain data, comparable, ordered.

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{Hash, Hasher},
    ops::Deref,
    sync::Arc,
};

use crate::{
    id::{Epoch, PartyName, Sequence, StepIndex, WorkflowName},
    plan::Plan,
    record::{Cause, Images, Outcome, Record, RunResult},
    subject::{Family, Slot},
    time::Timestamp,
};

/// A plan that many states share; compared by content, hashed cheaply.
#[derive(Debug, Clone)]
pub struct SharedPlan(Arc<Plan>);

impl From<Plan> for SharedPlan {
    fn from(plan: Plan) -> Self {
        Self(Arc::new(plan))
    }
}

impl Deref for SharedPlan {
    type Target = Plan;

    fn deref(&self) -> &Plan {
        &self.0
    }
}

impl PartialEq for SharedPlan {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0 == other.0
    }
}

impl Eq for SharedPlan {}

impl Hash for SharedPlan {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.0.pipeline.hash(hasher);
    }
}

/// A place in the log and its time: the greatest stored time of the run up to there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment {
    /// The sequence.
    pub seq: Sequence,
    /// The time.
    pub time: Timestamp,
}

/// Whether the run may begin.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub enum Admission {
    /// Nobody has said so yet: it is new, or queued.
    #[default]
    Pending,
    /// It may, and its clocks run from here.
    Admitted(Moment),
    /// It may not.
    Refused {
        /// Where that was recorded.
        seq: Sequence,
        /// What decided it, as recorded: its plan, the abort request, or another run's Closed.
        at: Sequence,
        /// Why.
        reason: String,
        /// Whether somebody asked for it to be cancelled while it was queued.
        cancelled: bool,
    },
}

/// What the log has decided of a run as a whole.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub enum Decision {
    /// Nothing yet; with `each-own`, after the release of `_prepare`, nothing ever.
    #[default]
    Open,
    /// Everybody goes forward.
    Committed {
        /// The arrival that completed `_commit`.
        at: Sequence,
    },
    /// A plan-only run is prepared everywhere.
    Planned {
        /// The arrival that completed `_prepare`.
        at: Sequence,
    },
    /// Everybody goes back.
    Aborted(Cause),
}

/// What the log has decided of one workflow (each-own, after the release of `_prepare`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub enum OwnDecision {
    /// Nothing yet.
    #[default]
    Open,
    /// Its last step is over: it stays, for ever.
    Done {
        /// The record that ended its last step.
        at: Sequence,
    },
    /// It goes back.
    Broken(Cause),
}

/// A verdict as somebody recorded it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RecordedVerdict {
    /// Where.
    pub moment: Moment,
    /// The sequence that it names as decisive.
    pub at: Sequence,
    /// Its cause, if it is an abort.
    pub cause: Option<Cause>,
}

/// One workflow of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct WorkflowState {
    /// The current incarnation; 0 before the first Joined.
    pub epoch: Epoch,
    /// Its instance, as it named itself.
    pub instance: String,
    /// Its build, as it named itself.
    pub version: String,
    /// When the current incarnation joined.
    pub joined: Option<Moment>,
    /// The steps that began.
    pub steps: BTreeMap<StepIndex, StepState>,
    /// Which images run of what its finished steps deployed.
    pub images: Images,
    /// The first StepStarted below the recorded verdict: something may have to be undone.
    pub first_started: Option<Sequence>,
    /// How the current incarnation failed.
    pub failed: Option<FailedState>,
    /// When the current incarnation left on request.
    pub left: Option<Moment>,
    /// When it began to roll back.
    pub rolling_back: Option<Moment>,
    /// Its last record below Closed.
    pub ended: Option<Ended>,
    /// What it reported above Closed, if it had something to settle.
    pub after_end: Option<Ended>,
    /// The last valid record in its workflow and party slots.
    pub last: Sequence,
    /// When that was stored.
    pub last_time: Timestamp,
    /// What is decided of it alone (each-own).
    pub own: OwnDecision,
    /// Its outcome record (each-own).
    pub outcome: Option<RecordedVerdict>,
}

/// One step that began.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct StepState {
    /// When its latest attempt began.
    pub started: Moment,
    /// That attempt's number.
    pub attempt: u32,
    /// When it was over, if it is.
    pub finished: Option<Moment>,
    /// The failure that `onFailure: continue` tolerated, shortened.
    pub ignored: Option<String>,
}

/// How a workflow failed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FailedState {
    /// When.
    pub moment: Moment,
    /// In which step, if in one.
    pub step: Option<StepIndex>,
    /// What went wrong.
    pub error: String,
}

/// A workflow's last record.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Ended {
    /// When.
    pub moment: Moment,
    /// RolledBack, RollbackFailed or Finalized.
    pub record: Record,
}

/// One barrier of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct BarrierState {
    /// Who has to arrive.
    pub parties: BTreeSet<PartyName>,
    /// Who has.
    pub arrivals: BTreeMap<PartyName, Arrival>,
    /// When its clock began: at the first arrival of a workflow.
    pub clock: Option<Moment>,
    /// What the log has decided of it.
    pub fate: BarrierFate,
    /// Its recorded verdict.
    pub recorded: Option<RecordedVerdict>,
}

impl BarrierState {
    /// Who has not arrived.
    pub fn missing(&self) -> impl Iterator<Item = &PartyName> {
        self.parties.iter().filter(|party| !self.arrivals.contains_key(party))
    }

    /// Whether parties may still meet here.
    pub fn is_open(&self) -> bool {
        self.fate == BarrierFate::Open
    }
}

/// What the log has decided of a barrier.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub enum BarrierFate {
    /// Nothing yet.
    #[default]
    Open,
    /// Everybody arrived.
    Complete {
        /// The last arrival.
        at: Sequence,
    },
    /// Not everybody will.
    Aborted(Cause),
}

/// A party's arrival at a barrier.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Arrival {
    /// When.
    pub moment: Moment,
    /// A foreign party's claimed author.
    pub by: Option<String>,
    /// A foreign party's message.
    pub message: Option<String>,
    /// A foreign party's link.
    pub link: Option<String>,
    /// The digest of the agent's view of the plan, at `_prepare` only.
    pub view: Option<String>,
}

/// What an operator asked for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Request {
    /// When.
    pub moment: Moment,
    /// Its slot's number.
    pub number: u32,
    /// The request itself.
    pub record: Record,
}

/// How the run ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ClosedState {
    /// When that was recorded; the record's own place, not what decided it.
    pub moment: Moment,
    /// The record that made it so.
    pub at: Sequence,
    /// How the run ended.
    pub result: RunResult,
    /// How each workflow ended.
    pub outcomes: BTreeMap<WorkflowName, Outcome>,
    /// The run's first cause, where it has one.
    pub cause: Option<Cause>,
}

/// A record that changed nothing, and why.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Note {
    /// When.
    pub moment: Moment,
    /// Where.
    pub slot: Slot,
    /// What it was: a kind, or "rubbish".
    pub kind: &'static str,
    /// Why it changed nothing.
    pub reason: String,
}

/// Which slots of a run are taken, by records and rubbish alike.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct TakenSlots(BTreeMap<Family, Taken>);

#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
struct Taken {
    /// All slots up to this one.
    through: u32,
    /// Further ones that somebody wrote out of turn.
    beyond: BTreeSet<u32>,
}

impl TakenSlots {
    /// Marks a slot.
    pub fn take(&mut self, slot: &Slot) {
        let taken = self.0.entry(slot.family.clone()).or_default();
        taken.beyond.insert(slot.number);
        while taken.beyond.remove(&(taken.through + 1)) {
            taken.through += 1;
        }
    }

    /// The lowest slot that nobody has written.
    pub fn next(&self, family: &Family) -> Slot {
        let through = self.0.get(family).map_or(0, |taken| taken.through);
        family.clone().slot(through + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_written_out_of_turn_does_not_hide_the_empty_ones_below() {
        let mut taken = TakenSlots::default();
        taken.take(&Family::Clock.slot(3));
        assert_eq!(taken.next(&Family::Clock).number, 1);
        taken.take(&Family::Clock.slot(1));
        taken.take(&Family::Clock.slot(2));
        assert_eq!(taken.next(&Family::Clock).number, 4);
        assert_eq!(taken.next(&Family::Request).number, 1);
    }
}
