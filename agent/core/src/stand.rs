//! Where a workflow stands on its way forward, as its own records tell it.

use lockstep_shared::{
    id::{BarrierId, StepIndex},
    plan::{Action, OnFailure, Plan, Step},
};

use crate::{
    agent::Agent,
    setup::PlanFound,
    view::{StepSeen, View},
};

/// A place on the way forward.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Stand {
    /// At `_prepare`.
    Prepare { arrived: bool },
    /// Before or in a step that acts.
    Step { index: StepIndex, seen: Option<StepSeen> },
    /// At a barrier of the user's.
    Barrier { id: BarrierId, arrived: bool },
    /// Behind the last step: at `_commit`, if there is one.
    Through { arrived: bool },
}

impl Agent {
    /// The plan, if the log holds one that this build understands.
    pub(crate) fn plan(&self) -> Option<&Plan> {
        match &self.setup.plan {
            PlanFound::Planned { plan, .. } => Some(plan),
            _ => None,
        }
    }

    /// The workflow's steps, from the plan or else from the undo record.
    pub(crate) fn steps(&self) -> &[Step] {
        match &self.setup.plan {
            PlanFound::Planned { plan, .. } => plan
                .workflows
                .get(&self.setup.workflow)
                .map_or(&[], |workflow| workflow.steps.as_slice()),
            PlanFound::Missing { workflow: Some(workflow) } => &workflow.steps,
            _ => &[],
        }
    }

    pub(crate) fn step_name(&self, index: StepIndex) -> String {
        match self.steps().get(index) {
            Some(step) => format!("step {:?}", step.name),
            None => format!("step {}", index + 1),
        }
    }

    /// Whether the run has a commit barrier.
    pub(crate) fn has_commit(&self) -> bool {
        self.plan().is_some_and(|plan| plan.on_failure == OnFailure::RollbackAll)
    }

    /// Where the workflow stands.
    pub(crate) fn stand(&self, log: &View) -> Stand {
        let last_started = log.own.steps.last_key_value().map(|(index, _)| *index);
        // A step was started only after everything before it was over.
        let prepare = BarrierId::prepare();
        if last_started.is_none() && !log.is_released(&prepare) {
            return Stand::Prepare { arrived: log.has_arrived(&prepare) };
        }
        let first = last_started.unwrap_or(0);
        for (index, step) in self.steps().iter().enumerate().skip(first) {
            if let Action::Barrier(id) = &step.action {
                if !log.is_released(id) {
                    return Stand::Barrier { id: id.clone(), arrived: log.has_arrived(id) };
                }
            } else {
                let seen = log.own.steps.get(&index);
                if !seen.is_some_and(|seen| seen.finished) {
                    return Stand::Step { index, seen: seen.cloned() };
                }
            }
        }
        Stand::Through { arrived: log.has_arrived(&BarrierId::commit()) }
    }

    /// The barrier that the workflow stands at or reaches next.
    pub(crate) fn next_barrier(&self, log: &View) -> Option<BarrierId> {
        let from = match self.stand(log) {
            Stand::Barrier { id, .. } => return Some(id),
            Stand::Prepare { .. } => 0,
            Stand::Step { index, .. } => index,
            Stand::Through { .. } => return None,
        };
        self.steps().iter().skip(from).find_map(|step| match &step.action {
            Action::Barrier(id) => Some(id.clone()),
            _ => None,
        })
    }
}
