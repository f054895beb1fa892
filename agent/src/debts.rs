//! What earlier runs left that may have to be undone, wherever a plan's workflows act.

use lockstep_shared::{
    id::{RunKey, WorkflowName},
    plan::{Plan, Target},
};

use crate::{
    kubernetes::{
        client::{Access, NoCluster},
        undo::{UndoError, UndoSecrets},
    },
    state::{Mark, StateDirectory, StateError},
};

/// One workflow's debt from one run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Debt {
    /// The run.
    pub key: RunKey,
    /// The workflow.
    pub workflow: WorkflowName,
}

/// Why debts cannot be seen.
#[derive(Debug, thiserror::Error)]
pub enum DebtsError {
    /// A record on disk cannot be read.
    #[error(transparent)]
    State(#[from] StateError),
    /// A record in a cluster cannot be read.
    #[error(transparent)]
    Undo(#[from] UndoError),
    /// There is no cluster to look in.
    #[error(transparent)]
    NoCluster(#[from] NoCluster),
}

/// The debts of a plan's workflows, on this machine and in their clusters.
///
/// # Errors
/// [`DebtsError`] if one of the places cannot be seen: there might be one.
pub async fn open(
    state: &StateDirectory,
    access: &Access,
    plan: &Plan,
) -> Result<Vec<Debt>, DebtsError> {
    let mut debts = Vec::new();
    for (name, workflow) in plan.active() {
        let records = state.undo_records(&plan.pipeline, name)?;
        let started = records.into_iter().filter(|record| record.mark == Mark::Started);
        let mut keys: Vec<RunKey> = started.map(|record| record.key).collect();
        if let Target::Kubernetes(target) = &workflow.target {
            let cluster = access.cluster(target.context.as_deref()).await?;
            let heads = UndoSecrets::new(cluster).heads(&plan.pipeline, name).await?;
            let started = heads.into_iter().filter(|head| head.mark == Mark::Started);
            keys.extend(started.map(|head| head.key));
        }
        debts.extend(keys.into_iter().map(|key| Debt { key, workflow: name.clone() }));
    }
    Ok(debts)
}
