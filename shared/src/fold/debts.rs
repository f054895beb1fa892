//! What becomes of a run after its end: the debts that a rollback or a finalize left, and who
//! settled them (PROTOCOL section 7, "The undo record is the debt").
//!
//! Closed never changes and nothing is decided here: these records only say how things stand now.

use super::{Decision, Ended, Here, Judged, OwnDecision, Request, RunFold, WorkflowState};
use crate::{
    id::WorkflowName,
    record::{Outcome, Record},
    subject::Family,
};

/// How a debt was settled.
#[derive(Debug, Clone, Copy)]
pub struct Settlement<'a> {
    /// The report that settled it: RolledBack or Finalized.
    pub report: &'a Ended,
    /// What an operator asked for before, if that is why.
    pub request: Option<&'a Request>,
}

impl RunFold {
    /// The workflows whose rollback is known not to be finished, or of which nobody knows.
    pub fn owing(&self) -> impl Iterator<Item = &WorkflowName> {
        let owes = |(name, state): &(&WorkflowName, &WorkflowState)| match &self.closed {
            Some(_) => self.left_undone(name, state) && !is_settled(state),
            None => matches!(report(state), Some(Record::RollbackFailed { .. })),
        };
        self.workflows.iter().filter(owes).map(|(name, _)| name)
    }

    /// Whether nobody knew at the end how this workflow ended, and nobody has said since.
    pub fn is_unknown(&self, workflow: &WorkflowName) -> bool {
        let outcome = self.closed.as_ref().and_then(|closed| closed.outcomes.get(workflow));
        let settled = self.workflows.get(workflow).is_some_and(is_settled);
        matches!(outcome, Some(Outcome::Unknown)) && !settled
    }

    /// How a debt of this workflow was settled, if it had one and it was.
    pub fn settlement(&self, workflow: &WorkflowName) -> Option<Settlement<'_>> {
        let state = self.workflows.get(workflow)?;
        let report = match &self.closed {
            Some(_) => state.after_end.as_ref().filter(|_| is_settled(state))?,
            // Before the end only an operator's word makes a rollback a settlement.
            None => state.ended.as_ref()?,
        };
        let accepted = match &report.record {
            Record::RolledBack { accepted, .. } => *accepted,
            Record::Finalized { .. } => false,
            _ => return None,
        };
        let asked = |request: &&Request| {
            let (wanted, about) = match &request.record {
                Record::AcceptRequested { workflow, .. } => (accepted, workflow),
                Record::ResumeRequested { workflow, .. } => (!accepted, workflow),
                _ => return false,
            };
            wanted
                && request.moment.seq < report.moment.seq
                && about.as_ref().is_none_or(|about| about == workflow)
        };
        let request = self.requests.iter().rev().find(asked);
        (self.closed.is_some() || accepted).then_some(Settlement { report, request })
    }

    /// The latest request that a workflow's agent has not answered by a report.
    pub fn pending_request(&self, workflow: &WorkflowName) -> Option<&Request> {
        let state = self.workflows.get(workflow)?;
        let report = state.after_end.as_ref().or(state.ended.as_ref());
        let above = report.map_or(0, |ended| ended.moment.seq);
        self.requests.iter().rev().find(|request| {
            let (Record::AcceptRequested { workflow: about, .. }
            | Record::ResumeRequested { workflow: about, .. }) = &request.record
            else {
                return false;
            };
            request.moment.seq > above && about.as_ref().is_none_or(|about| about == workflow)
        })
    }

    fn left_undone(&self, name: &WorkflowName, state: &WorkflowState) -> bool {
        let back = matches!(self.decision, Decision::Aborted(_))
            || matches!(state.own, OwnDecision::Broken(_));
        back && self.has_debt(name)
    }

    /// Whether the end says of this workflow that something is left, or that nobody knows.
    fn has_debt(&self, name: &WorkflowName) -> bool {
        let outcome = self.closed.as_ref().and_then(|closed| closed.outcomes.get(name));
        matches!(outcome, Some(Outcome::Failed { .. } | Outcome::Unknown))
    }

    /// A record above Closed: requests, and the reports of whoever has a debt, still mean something.
    pub(super) fn after_end(&mut self, here: Here, family: &Family, record: &Record) -> Judged {
        match (family, record) {
            (_, Record::ResumeRequested { .. } | Record::AcceptRequested { .. }) => {
                self.requested(here, record)
            }
            (Family::Workflow(workflow), record) if self.has_debt(workflow) => {
                match self.workflows.get_mut(workflow) {
                    Some(state) => state.settled_by(here, record),
                    None => Err("the run is closed".into()),
                }
            }
            _ => Err("the run is closed".into()),
        }
    }
}

/// The workflow's last report, before or after the end.
fn report(state: &WorkflowState) -> Option<&Record> {
    state.after_end.as_ref().or(state.ended.as_ref()).map(|ended| &ended.record)
}

fn is_settled(state: &WorkflowState) -> bool {
    let record = state.after_end.as_ref().map(|ended| &ended.record);
    matches!(record, Some(Record::RolledBack { .. } | Record::Finalized { .. }))
}

impl WorkflowState {
    /// What the agent of a debt reports after the run's end.
    fn settled_by(&mut self, here: Here, record: &Record) -> Judged {
        if let Record::Joined { instance, version } = record {
            return self.join(here, instance, version);
        }
        self.check_epoch(record)?;
        match record {
            Record::RolledBack { .. }
            | Record::RollbackFailed { .. }
            | Record::Finalized { .. }
                if is_settled(self) =>
            {
                let seq = self.after_end.as_ref().map_or(0, |ended| ended.moment.seq);
                Err(format!("settled at #{seq}").into())
            }
            Record::RolledBack { .. }
            | Record::RollbackFailed { .. }
            | Record::Finalized { .. } => {
                self.after_end = Some(Ended { moment: here.moment, record: record.clone() });
                Ok(())
            }
            Record::RollingBack { .. } => {
                self.rolling_back = Some(here.moment);
                Ok(())
            }
            Record::Left { .. } => {
                self.left = Some(here.moment);
                Ok(())
            }
            _ => Err("the run is closed".into()),
        }
    }
}
