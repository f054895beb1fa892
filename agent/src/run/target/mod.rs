//! Orders to a run's target, each carried out to its one report.
//!
//! A workflow acts at the place that its plan names: the agent's machine, or a namespace of a
//! cluster. Commands and questions work at both; `deploy` needs a cluster.

mod commands;

use lockstep_agent_core::Report;
use lockstep_shared::{
    fold,
    id::{Epoch, StepIndex},
    plan::{Action, Target as PlannedTarget},
};
use tokio_util::sync::CancellationToken;

pub(super) use self::commands::Commands;
use crate::kubernetes::target::{ClusterTarget, Failure};

/// How much of an error goes into a record, in bytes.
pub(super) const MAX_ERROR_BYTES: usize = 2048;

/// What carries a workflow's steps out.
#[derive(Clone)]
pub(super) struct Target {
    pub(super) commands: Commands,
    /// The cluster, for a workflow that has one; or why there is none.
    pub(super) cluster: Result<Option<ClusterTarget>, String>,
}

impl Target {
    /// Whether every step can be carried out here.
    ///
    /// # Errors
    /// Why not and what to do, for a person.
    pub(super) fn check(&self) -> Result<(), String> {
        let name = &self.commands.setting.workflow;
        let workflow = &self.commands.workflow;
        let cluster = self.cluster.as_ref().map_err(Clone::clone)?;
        match &workflow.target {
            PlannedTarget::Command {} | PlannedTarget::Kubernetes(_) => {}
            PlannedTarget::External {} => {
                return Err(format!(
                    "{name} has an external target, which `lockstep-agent serve` and `run` do not \
                     carry out; give it `target: {{ command: {{}} }}` or a kubernetes target"
                ));
            }
        }
        let deploys = |action: &Action| matches!(action, Action::Deploy(_));
        let deploy = workflow.steps.iter().find(|step| deploys(&step.action));
        if let (Some(step), None) = (deploy, cluster) {
            return Err(format!(
                "step {:?} of {name} deploys to Kubernetes, and its target is the command; give \
                 the workflow a kubernetes target, or use a run step",
                step.name
            ));
        }
        self.commands.check()
    }

    /// The cluster, for a workflow that has one.
    pub(super) fn cluster(&self) -> Option<&ClusterTarget> {
        self.cluster.as_ref().ok()?.as_ref()
    }

    /// One attempt of a step.
    pub(super) async fn start(
        &self,
        step: StepIndex,
        attempt: u32,
        epoch: Epoch,
        stop: CancellationToken,
    ) -> Report {
        let failed = |error: String, output: String| {
            let error = fold::cut(&error, MAX_ERROR_BYTES);
            Report::Failed { step, attempt, error, output }
        };
        let Some(planned) = self.commands.workflow.steps.get(step) else {
            return failed(format!("the plan has no step {}", step + 1), String::new());
        };
        match (&planned.action, self.cluster()) {
            (Action::Deploy(deploy), Some(cluster)) => {
                let limit = planned.timeout.into();
                match cluster.deploy(step, deploy, limit, epoch, &stop).await {
                    Ok(told) => Report::Finished { step, attempt, told },
                    Err(failure) => failed(failure.error, failure.output),
                }
            }
            _ => self.commands.start(step, attempt, stop).await,
        }
    }

    /// Undoes a step, however much of it was done.
    pub(super) async fn undo(
        &self,
        step: StepIndex,
        epoch: Epoch,
        stop: CancellationToken,
    ) -> Report {
        let planned = self.commands.workflow.steps.get(step);
        match (planned.map(|planned| &planned.action), self.cluster()) {
            (Some(Action::Deploy(_)), Some(cluster)) => {
                let limit = planned.map(|planned| planned.timeout.into()).unwrap_or_default();
                match cluster.undo(step, limit, epoch, &stop).await {
                    Ok(undone) => {
                        Report::Undone { step, residue: undone.residue, output: undone.output }
                    }
                    Err(stuck) => Report::UndoFailed {
                        step,
                        error: fold::cut(&stuck.error, MAX_ERROR_BYTES),
                        left: stuck.left,
                        output: String::new(),
                    },
                }
            }
            (Some(Action::Deploy(_)), None) => {
                let why = "its cluster is not known".to_owned();
                let error = self.cluster.as_ref().err().cloned().unwrap_or(why);
                Report::UndoFailed { step, error, left: Vec::new(), output: String::new() }
            }
            _ => self.commands.undo(step, stop).await,
        }
    }

    /// Watches a finished step until it degrades; then this ends.
    pub(super) async fn watch(
        &self,
        step: StepIndex,
        epoch: Epoch,
        stop: CancellationToken,
    ) -> Option<Failure> {
        let planned = self.commands.workflow.steps.get(step)?;
        match (&planned.action, self.cluster()) {
            (Action::Deploy(deploy), Some(cluster)) => {
                cluster.watch(step, deploy, epoch, &stop).await
            }
            _ => self.commands.watch(step, stop).await.map(Failure::from),
        }
    }
}
