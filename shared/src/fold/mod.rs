//! What the log of one run means: the outcome is a pure function of its ordered records.
//!
//! Decides, for everybody alike, what is released, aborted and committed, which record was the
//! first cause, which records are void and why, which clocks run, and what remains to be written
//! down (PROTOCOL sections 1, 3, 7, 8 and 9). Deliberately knows no clock of its own, no
//! coordinator and no target: a reader that is behind computes less, never something different.

pub mod admission;
mod cause;
mod causes;
mod clocks;
mod deadlock;
mod debts;
mod due;
mod each_own;
mod meeting;
mod reports;
mod state;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

pub use cause::{cut, listed, tail};
pub use clocks::{Clock, Watch};
pub use debts::Settlement;
pub use state::*;

use crate::{
    codec::{Entry, Rubbish},
    id::{BarrierId, RunKey, Sequence, WorkflowName},
    plan::{OnFailure, Plan},
    record::{Deadline, Record},
    subject::{Family, Slot},
    time::{Span, Timestamp},
};

/// How many void records are kept with their reasons; older ones are only counted.
pub const MAX_NOTES: usize = 100;

/// How many requests are kept; further ones are void.
pub const MAX_REQUESTS: usize = 1000;

/// How much of a tolerated failure is kept in memory, in bytes.
const MAX_IGNORED_BYTES: usize = 256;

/// What a record changed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Effect {
    /// It counts.
    Counted,
    /// A deadline was recorded before it was due: void, and by how much it was too early.
    Early(Deadline, Span),
    /// It is kept and shown, and changes nothing, for this reason.
    Void(String),
    /// It is rubbish, a repetition, or above the end, for this reason.
    Skipped(String),
}

/// Why a record is void.
enum Void {
    Early(Deadline, Span),
    Because(String),
}

impl From<String> for Void {
    fn from(reason: String) -> Self {
        Self::Because(reason)
    }
}

impl From<&str> for Void {
    fn from(reason: &str) -> Self {
        Self::Because(reason.to_owned())
    }
}

type Judged = Result<(), Void>;

/// Where a record stands and what time it is there.
#[derive(Clone, Copy)]
struct Here {
    moment: Moment,
    number: u32,
}

/// The plan with where it was stored.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Accepted {
    plan: SharedPlan,
    moment: Moment,
    submitted_by: String,
}

/// One run, folded from its records in stream order.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RunFold {
    key: RunKey,
    position: Sequence,
    time: Timestamp,
    plan: Option<Accepted>,
    foreign_protocol: Option<u32>,
    admission: Admission,
    workflows: BTreeMap<WorkflowName, WorkflowState>,
    barriers: BTreeMap<BarrierId, BarrierState>,
    all_joined: Option<Moment>,
    decision: Decision,
    recorded: Option<RecordedVerdict>,
    ending_passed: Option<Sequence>,
    requests: Vec<Request>,
    closing: Option<Record>,
    closed: Option<ClosedState>,
    taken: TakenSlots,
    notes: Vec<Note>,
    notes_forgotten: u64,
    alarm: Option<String>,
}

impl RunFold {
    /// A run of which nothing has been read.
    pub fn new(key: RunKey) -> Self {
        Self {
            key,
            position: 0,
            time: Timestamp(0),
            plan: None,
            foreign_protocol: None,
            admission: Admission::Pending,
            workflows: BTreeMap::new(),
            barriers: BTreeMap::new(),
            all_joined: None,
            decision: Decision::Open,
            recorded: None,
            ending_passed: None,
            requests: Vec::new(),
            closing: None,
            closed: None,
            taken: TakenSlots::default(),
            notes: Vec::new(),
            notes_forgotten: 0,
            alarm: None,
        }
    }

    /// Which run this is.
    pub fn key(&self) -> &RunKey {
        &self.key
    }

    /// The plan, once it has been read and if its protocol is ours.
    pub fn plan(&self) -> Option<&Plan> {
        self.plan.as_ref().map(|accepted| &*accepted.plan)
    }

    /// Where the plan stands.
    pub fn planned(&self) -> Option<Moment> {
        self.plan.as_ref().map(|accepted| accepted.moment)
    }

    /// Who submitted the plan, as claimed.
    pub fn submitted_by(&self) -> Option<&str> {
        self.plan.as_ref().map(|accepted| accepted.submitted_by.as_str())
    }

    /// The protocol that the plan speaks, if this build does not.
    pub fn foreign_protocol(&self) -> Option<u32> {
        self.foreign_protocol
    }

    /// The last sequence applied; 0 before the first.
    pub fn position(&self) -> Sequence {
        self.position
    }

    /// The greatest stored time so far.
    pub fn time(&self) -> Timestamp {
        self.time
    }

    /// Whether the run may begin.
    pub fn admission(&self) -> &Admission {
        &self.admission
    }

    /// The workflows that take part.
    pub fn workflows(&self) -> &BTreeMap<WorkflowName, WorkflowState> {
        &self.workflows
    }

    /// All barriers, built-in ones included.
    pub fn barriers(&self) -> &BTreeMap<BarrierId, BarrierState> {
        &self.barriers
    }

    /// The Joined that completed the join.
    pub fn all_joined(&self) -> Option<Moment> {
        self.all_joined
    }

    /// What the log has decided of the run as a whole.
    pub fn decision(&self) -> &Decision {
        &self.decision
    }

    /// The run verdict as recorded.
    pub fn recorded(&self) -> Option<&RecordedVerdict> {
        self.recorded.as_ref()
    }

    /// What operators asked for, in order.
    pub fn requests(&self) -> &[Request] {
        &self.requests
    }

    /// How the run ended, if that is recorded.
    pub fn closed(&self) -> Option<&ClosedState> {
        self.closed.as_ref()
    }

    /// Void and rubbish records with their reasons, the latest [`MAX_NOTES`].
    pub fn notes(&self) -> &[Note] {
        &self.notes
    }

    /// How many older notes were forgotten.
    pub fn notes_forgotten(&self) -> u64 {
        self.notes_forgotten
    }

    /// Where a recorded verdict disagreed with what the log implies; the record was followed.
    pub fn alarm(&self) -> Option<&str> {
        self.alarm.as_deref()
    }

    /// The lowest slot of a family that nobody has written.
    pub fn next_slot(&self, family: &Family) -> Slot {
        self.taken.next(family)
    }

    /// Whether every workflow decides for itself from here on: `each-own` after the release of
    /// `_prepare`.
    pub fn is_each_own(&self) -> bool {
        let prepared = self.barriers.get(&BarrierId::prepare());
        self.plan().is_some_and(|plan| plan.on_failure == OnFailure::EachOwn && !plan.plan_only)
            && prepared.is_some_and(|state| matches!(state.fate, BarrierFate::Complete { .. }))
    }

    /// Whether nothing can be a cause of abort any more.
    pub fn is_decided(&self) -> bool {
        if self.is_each_own() {
            self.workflows.values().all(|state| state.own != OwnDecision::Open)
        } else {
            self.decision != Decision::Open
        }
    }

    /// Marks a slot as taken by what was stored before the plan. Nobody is told of that: nothing
    /// of a run stands below its plan but what somebody stored there to be in the way.
    pub fn occupy(&mut self, slot: &Slot) {
        self.taken.take(slot);
    }

    /// Applies the next record. Records at or below [`Self::position`] are skipped.
    pub fn apply(&mut self, entry: &Entry) -> Effect {
        if entry.seq <= self.position {
            return Effect::Skipped("it has been applied before".to_owned());
        }
        self.position = entry.seq;
        self.time = self.time.max(entry.time);
        self.taken.take(&entry.slot);
        let here =
            Here { moment: Moment { seq: entry.seq, time: self.time }, number: entry.slot.number };
        let stated = match &entry.content {
            Ok(stated) => stated,
            Err(rubbish) => {
                if let (Rubbish::Protocol(version), Family::Plan) = (rubbish, &entry.slot.family) {
                    self.foreign_protocol = Some(*version);
                }
                self.note(here, &entry.slot, "rubbish", rubbish.to_string());
                return Effect::Skipped(rubbish.to_string());
            }
        };
        let kind = stated.record.kind();
        let judged = if self.closed.is_some() {
            self.after_end(here, &entry.slot.family, &stated.record)
        } else {
            self.touch(&entry.slot.family, here);
            self.judge(here, &entry.slot.family, &stated.record)
        };
        self.notice_closing(here.moment.seq);
        match judged {
            Ok(()) => Effect::Counted,
            Err(Void::Early(deadline, by)) => {
                self.note(here, &entry.slot, kind, format!("it was recorded {by} too early"));
                Effect::Early(deadline, by)
            }
            Err(Void::Because(reason)) => {
                self.note(here, &entry.slot, kind, reason.clone());
                Effect::Void(reason)
            }
        }
    }

    fn note(&mut self, here: Here, slot: &Slot, kind: &'static str, reason: String) {
        if self.notes.len() == MAX_NOTES {
            self.notes.remove(0);
            self.notes_forgotten += 1;
        }
        self.notes.push(Note { moment: here.moment, slot: slot.clone(), kind, reason });
    }

    /// The workflow of this name that takes part, if there is one.
    fn workflow_named(&self, name: &str) -> Option<&WorkflowName> {
        let name: WorkflowName = name.parse().ok()?;
        self.workflows.get_key_value(&name).map(|(name, _)| name)
    }

    /// Remembers a workflow's last valid record, for the watch over its agent.
    fn touch(&mut self, family: &Family, here: Here) {
        let name = match family {
            Family::Workflow(workflow) => workflow.as_str(),
            Family::Party(_, party) => party.as_str(),
            _ => return,
        };
        let workflow = self.workflow_named(name).cloned();
        if let Some(state) = workflow.and_then(|workflow| self.workflows.get_mut(&workflow)) {
            state.last = here.moment.seq;
            state.last_time = here.moment.time;
        }
    }

    fn judge(&mut self, here: Here, family: &Family, record: &Record) -> Judged {
        if self.plan.is_none() && *family != Family::Plan {
            return Err("it stands before the plan".into());
        }
        match (family, record) {
            (_, Record::Plan { plan, submitted_by }) => self.planned_by(here, plan, submitted_by),
            (_, Record::Admitted {}) => self.admitted(here),
            (_, Record::Refused { reason, cancelled, at }) => {
                self.refused(here, reason, *cancelled, *at)
            }
            (Family::Workflow(workflow), record) => self.reported(here, workflow, record),
            (Family::Party(barrier, party), Record::Arrived { .. }) => {
                self.arrived(here, barrier, party, record)
            }
            (Family::Party(barrier, party), Record::PartyFailed { by, message, .. }) => {
                self.party_failed(here, barrier, party, by, message)
            }
            (Family::BarrierVerdict(barrier), record) => {
                self.barrier_verdict(here, barrier, record)
            }
            (Family::Verdict, record) => self.run_verdict(here, record),
            (Family::Outcome(workflow), record) => self.own_outcome(here, workflow, record),
            (_, Record::DeadlinePassed { deadline }) => self.deadline_passed(here, deadline),
            (_, Record::AgentLost { workflow, epoch, last }) => {
                self.agent_lost(here, workflow, *epoch, *last)
            }
            (Family::Request, record) => self.requested(here, record),
            (Family::Closed, record) => self.closed_by(here, record),
            (_, record) => Err(format!("a {} means nothing here", record.kind()).into()),
        }
    }

    fn planned_by(&mut self, here: Here, plan: &Plan, submitted_by: &str) -> Judged {
        if self.plan.is_some() {
            return Err("the run has a plan".into());
        }
        for (name, _) in plan.active() {
            self.workflows.insert(name.clone(), WorkflowState::default());
        }
        for barrier in plan.all_barriers() {
            let parties = plan.parties(&barrier).unwrap_or_default();
            self.barriers.insert(barrier, BarrierState { parties, ..BarrierState::default() });
        }
        self.plan = Some(Accepted {
            plan: plan.clone().into(),
            moment: here.moment,
            submitted_by: submitted_by.to_owned(),
        });
        Ok(())
    }

    fn admitted(&mut self, here: Here) -> Judged {
        self.refuse_second_admission()?;
        self.admission = Admission::Admitted(here.moment);
        Ok(())
    }

    fn refused(
        &mut self,
        here: Here,
        reason: &str,
        cancelled: bool,
        at: Option<Sequence>,
    ) -> Judged {
        self.refuse_second_admission()?;
        let (seq, reason) = (here.moment.seq, reason.to_owned());
        let at = at.filter(|at| *at <= seq).unwrap_or(seq);
        self.admission = Admission::Refused { seq, at, reason, cancelled };
        Ok(())
    }

    fn refuse_second_admission(&self) -> Judged {
        match self.admission {
            Admission::Pending => Ok(()),
            Admission::Admitted(moment) => Err(format!("admitted at #{}", moment.seq).into()),
            Admission::Refused { seq, .. } => Err(format!("refused at #{seq}").into()),
        }
    }
}
