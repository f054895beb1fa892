//! `onFailure: each-own`: whom a cause breaks, and who is done for ever (PROTOCOL section 8).

use std::collections::BTreeSet;

use super::{BarrierFate, Judged, OwnDecision, RunFold, cause, causes::Scope};
use crate::{
    id::{BarrierId, PartyName, Sequence, StepIndex, WorkflowName},
    plan::Action,
    record::{Cause, CauseSort},
};

impl RunFold {
    /// Breaks those that the cause concerns and, until nothing changes, those that cannot meet
    /// them any more.
    pub(super) fn break_own(&mut self, scope: Scope, cause: Cause) -> Judged {
        let concerned: BTreeSet<WorkflowName> = match &scope {
            Scope::Run => self.workflows.keys().cloned().collect(),
            Scope::Barrier(barrier) => self.workflow_parties(barrier),
            Scope::Workflow(workflow) => [workflow.clone()].into(),
            Scope::Workflows(workflows) => workflows.clone(),
        };
        let open = |name: &WorkflowName| self.workflows[name].own == OwnDecision::Open;
        let hit: Vec<WorkflowName> = concerned.into_iter().filter(open).collect();
        if hit.is_empty() {
            return Err("too late: what it speaks of is decided".into());
        }
        for name in &hit {
            self.break_one(name, cause.clone());
        }
        if let Scope::Barrier(barrier) = &scope {
            self.abort_barrier(barrier, cause.clone());
        }
        self.close_over(&cause);
        Ok(())
    }

    pub(super) fn workflow_parties(&self, barrier: &BarrierId) -> BTreeSet<WorkflowName> {
        let Some(state) = self.barriers.get(barrier) else { return BTreeSet::new() };
        let takes_part = |name: &&WorkflowName| state.parties.contains(&PartyName::from(*name));
        self.workflows.keys().filter(takes_part).cloned().collect()
    }

    fn break_one(&mut self, name: &WorkflowName, cause: Cause) {
        if let Some(state) = self.workflows.get_mut(name)
            && state.own == OwnDecision::Open
        {
            state.own = OwnDecision::Broken(cause);
        }
    }

    fn abort_barrier(&mut self, barrier: &BarrierId, cause: Cause) {
        if let Some(state) = self.barriers.get_mut(barrier)
            && state.is_open()
        {
            state.fate = BarrierFate::Aborted(cause);
        }
    }

    /// An incomplete barrier with a broken party is aborted; an open party of an aborted barrier
    /// is broken.
    fn close_over(&mut self, root: &Cause) {
        loop {
            let broken =
                |name: &WorkflowName| matches!(self.workflows[name].own, OwnDecision::Broken(_));
            let next = self.barriers.iter().find_map(|(id, state)| {
                let parties = self.workflow_parties(id);
                let culprit = parties.iter().find(|name| broken(name))?.clone();
                let open = parties.iter().any(|name| self.workflows[name].own == OwnDecision::Open);
                let unfinished = match state.fate {
                    BarrierFate::Open => true,
                    BarrierFate::Aborted(_) => open,
                    BarrierFate::Complete { .. } => false,
                };
                unfinished.then(|| (id.clone(), culprit, parties))
            });
            let Some((barrier, culprit, parties)) = next else { return };
            let text = format!("barrier {barrier} cannot be met without {culprit}: {}", root.text);
            let cause = Cause {
                workflow: Some(culprit),
                step: root.step.clone(),
                barrier: Some(barrier.clone()),
                ..cause::new(root.at, CauseSort::Broken, &text, &root.output)
            };
            self.abort_barrier(&barrier, cause.clone());
            for name in &parties {
                self.break_one(name, cause.clone());
            }
        }
    }

    /// A workflow is done when its last step is over and it is not broken below.
    pub(super) fn notice_last_step(
        &mut self,
        at: Sequence,
        workflow: &WorkflowName,
        step: StepIndex,
    ) {
        let steps = self.plan().and_then(|plan| plan.workflow(workflow));
        let is_last = steps.is_some_and(|planned| step.checked_add(1) == Some(planned.steps.len()));
        if self.is_each_own() && is_last {
            self.finish_own(at, workflow);
        }
    }

    /// Where the last step is a barrier, the arrival that completes it ends the workflow.
    pub(super) fn notice_last_barrier(&mut self, at: Sequence, barrier: &BarrierId) {
        if !self.is_each_own() {
            return;
        }
        for workflow in self.workflow_parties(barrier) {
            let planned = self.plan().and_then(|plan| plan.workflow(&workflow));
            let last = planned.and_then(|planned| planned.steps.last());
            if last.is_some_and(|step| step.action == Action::Barrier(barrier.clone())) {
                self.finish_own(at, &workflow);
            }
        }
    }

    fn finish_own(&mut self, at: Sequence, workflow: &WorkflowName) {
        if let Some(state) = self.workflows.get_mut(workflow)
            && state.own == OwnDecision::Open
        {
            state.own = OwnDecision::Done { at };
        }
    }
}
