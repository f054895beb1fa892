//! Which clocks run and whose agents are watched (PROTOCOL sections 6 and 7, "Clocks").

use super::{Admission, BarrierFate, Decision, OwnDecision, RunFold};
use crate::{
    id::{BarrierId, Epoch, Sequence, WorkflowName},
    record::Deadline,
    time::Timestamp,
};

/// A clock that runs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Clock {
    /// Which one.
    pub deadline: Deadline,
    /// When it runs out, by stored times.
    pub due: Timestamp,
}

/// An agent whose silence is a cause of abort.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Watch {
    /// Whose agent.
    pub workflow: WorkflowName,
    /// Which incarnation.
    pub epoch: Epoch,
    /// The workflow's last record.
    pub last: Sequence,
    /// When that incarnation left on request, if it did.
    pub left: Option<Timestamp>,
}

impl RunFold {
    /// Every clock that runs, by deadline.
    pub fn clocks(&self) -> Vec<Clock> {
        let barriers = self.barriers.keys().filter(|id| !id.is_built_in()).cloned();
        [Deadline::Join, Deadline::Prepare, Deadline::Run, Deadline::Ending]
            .into_iter()
            .chain(barriers.map(Deadline::Barrier))
            .filter_map(|deadline| {
                let due = self.clock(&deadline)?;
                Some(Clock { deadline, due })
            })
            .collect()
    }

    /// When a clock runs out; `None` if it does not run.
    pub fn clock(&self, deadline: &Deadline) -> Option<Timestamp> {
        let plan = self.plan()?;
        let Admission::Admitted(admitted) = self.admission else { return None };
        if self.closed.is_some() {
            return None;
        }
        if *deadline == Deadline::Ending {
            return self.ending_clock();
        }
        if self.is_decided() {
            return None;
        }
        match deadline {
            Deadline::Join => {
                let running = self.all_joined.is_none();
                running.then(|| admitted.time.after(plan.timeouts.join))
            }
            Deadline::Prepare => {
                let prepare = self.barriers.get(&BarrierId::prepare())?;
                let joined = self.all_joined.filter(|_| prepare.is_open())?;
                Some(joined.time.after(plan.timeouts.prepare))
            }
            Deadline::Barrier(id) => {
                let declared = plan.barriers.get(id)?;
                let state = self.barriers.get(id).filter(|state| state.is_open())?;
                // Where every workflow of it has ended nobody waits, and nobody would be broken.
                let is_open = |name| self.workflows[name].own == OwnDecision::Open;
                let waits = self.workflow_parties(id).iter().any(is_open);
                Some(state.clock.filter(|_| waits)?.time.after(declared.timeout))
            }
            Deadline::Run => Some(admitted.time.after(plan.timeouts.run)),
            Deadline::Ending => None,
        }
    }

    /// From the recorded verdict, or the last outcome record, until everybody has reported.
    fn ending_clock(&self) -> Option<Timestamp> {
        if self.closing.is_some() || self.ending_passed.is_some() {
            return None;
        }
        let plan = self.plan()?;
        let verdict = if self.is_each_own() {
            let outcomes = self.workflows.values().map(|state| state.outcome.as_ref());
            let moments: Option<Vec<_>> =
                outcomes.map(|outcome| outcome.map(|recorded| recorded.moment)).collect();
            moments?.into_iter().max()?
        } else {
            self.recorded.as_ref()?.moment
        };
        Some(verdict.time.after(plan.timeouts.ending))
    }

    /// The agents whose beats are watched: from Joined until their workflow is decided.
    pub fn watches(&self) -> Vec<Watch> {
        let open = self.decision == Decision::Open && self.closed.is_none();
        self.workflows
            .iter()
            .filter(|(_, state)| open && state.epoch > 0 && state.own == OwnDecision::Open)
            .map(|(name, state)| Watch {
                workflow: name.clone(),
                epoch: state.epoch,
                last: state.last,
                left: state.left.map(|moment| moment.time),
            })
            .collect()
    }

    /// Whether a barrier is complete.
    pub fn is_complete(&self, barrier: &BarrierId) -> bool {
        let fate = self.barriers.get(barrier).map(|state| &state.fate);
        matches!(fate, Some(BarrierFate::Complete { .. }))
    }
}
