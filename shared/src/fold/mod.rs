//! What the log of one run means: the outcome is a pure function of its ordered records.
//!
//! Decides, for everybody alike, what is released, aborted and committed, which record was the
//! first cause, which records are void and why, which clocks run, and what remains to be written
//! down (PROTOCOL sections 1, 3, 7, 8 and 9). Deliberately knows no clock of its own, no
//! coordinator and no target: a reader that is behind computes less, never something different.

mod cause;
mod clocks;
mod deadlock;
mod due;
mod each_own;
mod state;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

pub use cause::{cut, listed, tail};
pub use clocks::{Clock, Watch};
pub use state::*;

use crate::{
    codec::{Entry, Rubbish},
    id::{BarrierId, Epoch, PartyName, RunKey, Sequence, WorkflowName},
    plan::{OnFailure, Plan},
    record::{CauseSort, Deadline, Record},
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
            self.requested_after_end(here, &stated.record)
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

    /// After Closed only a debt's requests still mean something, to the agent that has the debt.
    fn requested_after_end(&mut self, here: Here, record: &Record) -> Judged {
        match record {
            Record::ResumeRequested { .. } | Record::AcceptRequested { .. } => {
                self.requested(here, record)
            }
            _ => Err("the run is closed".into()),
        }
    }

    /// Remembers a workflow's last valid record, for the watch over its agent.
    fn touch(&mut self, family: &Family, here: Here) {
        let name = match family {
            Family::Workflow(workflow) => workflow.as_str(),
            Family::Party(_, party) => party.as_str(),
            _ => return,
        };
        let state = self.workflows.iter_mut().find(|(workflow, _)| workflow.as_str() == name);
        if let Some((_, state)) = state {
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
            (_, Record::Refused { reason, cancelled }) => self.refused(here, reason, *cancelled),
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
        match self.admission {
            Admission::Pending => {
                self.admission = Admission::Admitted(here.moment);
                Ok(())
            }
            Admission::Admitted(moment) => Err(format!("admitted at #{}", moment.seq).into()),
            Admission::Refused { seq, .. } => Err(format!("refused at #{seq}").into()),
        }
    }

    fn refused(&mut self, here: Here, reason: &str, cancelled: bool) -> Judged {
        match self.admission {
            Admission::Pending => {
                self.admission = Admission::Refused {
                    seq: here.moment.seq,
                    reason: reason.to_owned(),
                    cancelled,
                };
                Ok(())
            }
            Admission::Admitted(moment) => Err(format!("admitted at #{}", moment.seq).into()),
            Admission::Refused { seq, .. } => Err(format!("refused at #{seq}").into()),
        }
    }

    /// A record in a workflow's own slots.
    fn reported(&mut self, here: Here, workflow: &WorkflowName, record: &Record) -> Judged {
        if !matches!(self.admission, Admission::Admitted(_)) {
            return Err("the run is not admitted".into());
        }
        let has_verdict = self.has_verdict(workflow);
        let went_back = self.is_going_back(workflow);
        let committed = self.is_committed(workflow);
        let Some(state) = self.workflows.get_mut(workflow) else {
            return Err(format!("{workflow} takes no part in this run").into());
        };
        let moment = here.moment;
        if let Record::Joined { instance, version } = record {
            if here.number <= state.epoch {
                return Err(format!("epoch {} has joined since", state.epoch).into());
            }
            state.epoch = here.number;
            state.instance = instance.clone();
            state.version = version.clone();
            state.joined = Some(moment);
            state.left = None;
            state.failed = state.failed.take().filter(|_| has_verdict || went_back);
            self.notice_all_joined(moment);
            return Ok(());
        }
        check_epoch(record, state.epoch)?;
        match record {
            Record::StepStarted { step, attempt, .. } => {
                if has_verdict {
                    return Err("it stands above the verdict and is never acted on".into());
                }
                state.first_started.get_or_insert(moment.seq);
                state.steps.insert(
                    *step,
                    StepState { started: moment, attempt: *attempt, finished: None, ignored: None },
                );
                Ok(())
            }
            Record::StepFinished { step, ignored, .. } => {
                let Some(running) = state.steps.get_mut(step) else {
                    return Err("that step never started".into());
                };
                running.finished = Some(moment);
                running.ignored = ignored.as_deref().map(|error| cut(error, MAX_IGNORED_BYTES));
                self.notice_last_step(moment.seq, workflow, *step);
                Ok(())
            }
            Record::Failed { step, error, output, .. } => {
                state.failed = Some(FailedState { moment, step: *step, error: error.clone() });
                let cause = self.failed_cause(moment.seq, workflow, *step, error, output);
                self.blame(Scope::Workflow(workflow.clone()), cause)
            }
            Record::RollingBack { .. } if went_back => {
                state.rolling_back = Some(moment);
                Ok(())
            }
            Record::RolledBack { .. } | Record::RollbackFailed { .. } if went_back => {
                state.ended = Some(Ended { moment, record: record.clone() });
                Ok(())
            }
            Record::Finalized { .. } if committed => {
                state.ended = Some(Ended { moment, record: record.clone() });
                Ok(())
            }
            Record::Left { .. } => {
                state.left = Some(moment);
                Ok(())
            }
            other => Err(format!("{} does not fit what is decided", other.kind()).into()),
        }
    }

    fn notice_all_joined(&mut self, moment: Moment) {
        if self.all_joined.is_none() && self.workflows.values().all(|state| state.epoch > 0) {
            self.all_joined = Some(moment);
        }
    }

    /// A party's Arrived. The first one counts, by whatever incarnation it was written.
    fn arrived(
        &mut self,
        here: Here,
        barrier: &BarrierId,
        party: &PartyName,
        record: &Record,
    ) -> Judged {
        let workflows: BTreeSet<PartyName> = self.workflows.keys().map(PartyName::from).collect();
        let is_workflow = workflows.contains(party);
        let Some(state) = self.barriers.get_mut(barrier) else {
            return Err(format!("the plan has no barrier {barrier}").into());
        };
        if !state.parties.contains(party) {
            return Err(format!("{party} is no party of {barrier}").into());
        }
        if let Some(earlier) = state.arrivals.get(party) {
            return Err(format!("it arrived at #{}", earlier.moment.seq).into());
        }
        let Record::Arrived { view, by, message, link, .. } = record else {
            return Err("it is no arrival".into());
        };
        let arrival = Arrival {
            moment: here.moment,
            by: by.clone(),
            message: message.clone(),
            link: link.clone(),
            view: view.clone(),
        };
        state.arrivals.insert(party.clone(), arrival);
        if is_workflow && state.clock.is_none() {
            state.clock = Some(here.moment);
        }
        if !state.is_open() || self.decision != Decision::Open {
            return Err("the barrier is not open any more".into());
        }
        if state.missing().next().is_none() {
            state.fate = BarrierFate::Complete { at: here.moment.seq };
            self.completed(here.moment.seq, barrier);
        } else if is_workflow {
            self.notice_deadlock(here.moment.seq, &workflows, party);
        }
        Ok(())
    }

    /// What follows from a complete barrier.
    fn completed(&mut self, at: Sequence, barrier: &BarrierId) {
        let plan_only = self.plan().is_some_and(|plan| plan.plan_only);
        if barrier.is_commit() {
            self.decision = Decision::Committed { at };
        } else if barrier.is_prepare() && plan_only {
            self.decision = Decision::Planned { at };
        } else {
            self.notice_last_barrier(at, barrier);
        }
    }

    fn notice_deadlock(
        &mut self,
        at: Sequence,
        workflows: &BTreeSet<PartyName>,
        party: &PartyName,
    ) {
        let Some(circle) = deadlock::circle(&self.barriers, workflows, party) else { return };
        let waiting: BTreeSet<&PartyName> = circle.iter().map(|wait| &wait.waiter).collect();
        let members = self
            .workflows
            .keys()
            .filter(|name| waiting.contains(&PartyName::from(*name)))
            .cloned()
            .collect();
        let text = deadlock::describe(&circle);
        let cause = cause::new(at, CauseSort::Deadlock, &text, "");
        // An arrival at an open barrier of an undecided run: there is somebody to blame it on.
        let _ = self.blame(Scope::Workflows(members), cause);
    }

    fn party_failed(
        &mut self,
        here: Here,
        barrier: &BarrierId,
        party: &PartyName,
        by: &str,
        message: &str,
    ) -> Judged {
        let declared = self.plan().and_then(|plan| plan.barriers.get(barrier));
        if !declared.is_some_and(|declared| declared.foreign.contains(party)) {
            return Err(format!("{party} is no foreign party of {barrier}").into());
        }
        match self.barriers.get(barrier).map(|state| &state.fate) {
            Some(BarrierFate::Open) => {
                let cause = self.party_failed_cause(here.moment.seq, barrier, party, by, message);
                self.blame(Scope::Barrier(barrier.clone()), cause)
            }
            Some(BarrierFate::Complete { .. }) => {
                Err("already released; use `lockstep abort`".into())
            }
            _ => Err("the barrier is aborted already".into()),
        }
    }

    fn deadline_passed(&mut self, here: Here, deadline: &Deadline) -> Judged {
        let Some(due) = self.clock(deadline) else {
            return Err("that clock does not run".into());
        };
        if here.moment.time < due {
            return Err(Void::Early(deadline.clone(), due.since(here.moment.time)));
        }
        let scope = match deadline {
            Deadline::Ending => {
                self.ending_passed = Some(here.moment.seq);
                return Ok(());
            }
            Deadline::Barrier(barrier) => Scope::Barrier(barrier.clone()),
            Deadline::Join | Deadline::Prepare | Deadline::Run => Scope::Run,
        };
        let cause = self.deadline_cause(here.moment.seq, deadline);
        self.blame(scope, cause)
    }

    fn agent_lost(
        &mut self,
        here: Here,
        workflow: &WorkflowName,
        epoch: Epoch,
        last: Sequence,
    ) -> Judged {
        let Some(state) = self.workflows.get(workflow) else {
            return Err(format!("{workflow} takes no part in this run").into());
        };
        if state.epoch != epoch || epoch == 0 {
            return Err(format!("epoch {epoch} is not the current one ({})", state.epoch).into());
        }
        if state.last > last {
            return Err(format!("it wrote #{} in between", state.last).into());
        }
        if state.ended.is_some() {
            return Err("it has written its last record".into());
        }
        let cause = self.lost_cause(here.moment.seq, workflow, epoch);
        self.blame(Scope::Workflow(workflow.clone()), cause)
    }

    fn requested(&mut self, here: Here, record: &Record) -> Judged {
        if self.requests.len() == MAX_REQUESTS {
            return Err("there are too many requests".into());
        }
        self.requests.push(Request {
            moment: here.moment,
            number: here.number,
            record: record.clone(),
        });
        match record {
            Record::AbortRequested { by, reason } => {
                let text = format!("abort requested by {by}: {reason}");
                let cause = cause::new(here.moment.seq, CauseSort::Requested, &text, "");
                self.blame(Scope::Run, cause)
            }
            _ => Ok(()),
        }
    }

    /// A cause of abort: whom it breaks, if it still can.
    fn blame(&mut self, scope: Scope, cause: crate::record::Cause) -> Judged {
        if let Admission::Refused { seq, .. } = self.admission {
            return Err(format!("the run was refused at #{seq}").into());
        }
        if self.is_each_own() {
            return self.break_own(scope, cause);
        }
        match &self.decision {
            Decision::Open => {
                self.decision = Decision::Aborted(cause);
                Ok(())
            }
            Decision::Committed { at } => Err(format!("too late: committed at #{at}").into()),
            Decision::Planned { at } => Err(format!("too late: planned at #{at}").into()),
            Decision::Aborted(first) => Err(format!("already aborted at #{}", first.at).into()),
        }
    }

    /// Whether the verdict that this workflow obeys is recorded.
    fn has_verdict(&self, workflow: &WorkflowName) -> bool {
        self.recorded.is_some()
            || self.workflows.get(workflow).is_some_and(|state| state.outcome.is_some())
    }

    fn is_going_back(&self, workflow: &WorkflowName) -> bool {
        matches!(self.decision, Decision::Aborted(_))
            || self
                .workflows
                .get(workflow)
                .is_some_and(|state| matches!(state.own, OwnDecision::Broken(_)))
    }

    fn is_committed(&self, workflow: &WorkflowName) -> bool {
        matches!(self.decision, Decision::Committed { .. })
            || self
                .workflows
                .get(workflow)
                .is_some_and(|state| matches!(state.own, OwnDecision::Done { .. }))
    }
}

/// Whom a cause breaks under `each-own`; under `rollback-all` it is always everybody.
enum Scope {
    Run,
    Barrier(BarrierId),
    Workflow(WorkflowName),
    Workflows(BTreeSet<WorkflowName>),
}

fn check_epoch(record: &Record, current: Epoch) -> Judged {
    match record.epoch() {
        Some(epoch) if epoch == current && current > 0 => Ok(()),
        Some(epoch) => Err(format!("it is of epoch {epoch}; the current one is {current}").into()),
        None => Err("it names no epoch".into()),
    }
}
