//! Which records are causes of abort, and whom each one breaks (PROTOCOL section 1, "Causes").

use std::collections::BTreeSet;

use super::{Admission, Decision, Here, Judged, MAX_REQUESTS, Request, RunFold, Void, cause};
use crate::{
    id::{BarrierId, Epoch, Sequence, WorkflowName},
    record::{Cause, CauseSort, Deadline, Record},
};

/// Whom a cause breaks under `each-own`; under `rollback-all` it is always everybody.
pub(super) enum Scope {
    Run,
    Barrier(BarrierId),
    Workflow(WorkflowName),
    Workflows(BTreeSet<WorkflowName>),
}

impl RunFold {
    pub(super) fn deadline_passed(&mut self, here: Here, deadline: &Deadline) -> Judged {
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

    pub(super) fn agent_lost(
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

    pub(super) fn requested(&mut self, here: Here, record: &Record) -> Judged {
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
    pub(super) fn blame(&mut self, scope: Scope, cause: Cause) -> Judged {
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
}
