//! What earlier runs left that may have to be undone, wherever a plan's workflows act.

use std::time::Duration;

use futures::future::join_all;
use lockstep_shared::{
    id::{PipelineName, RunKey, WorkflowName},
    plan::{Plan, Target},
};

use crate::{
    error_text,
    kubernetes::{
        client::{Access, Cluster, NoCluster},
        undo::{Head, UndoError, UndoSecrets},
    },
    state::{Mark, StateDirectory, StateError},
};

/// How long one look into a cluster of an earlier run may take.
const LOOK_LIMIT: Duration = Duration::from_secs(5);

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

/// The debts of a plan's workflows, on this machine and in their clusters, as they are reached from
/// outside of these. Where earlier runs acted in other clusters, these are looked at too.
///
/// # Errors
/// [`DebtsError`] if one of the places cannot be seen: there might be one. An earlier cluster that
/// is away, or gone, is only warned of.
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
        let mut planned = None;
        if let Target::Kubernetes(target) = &workflow.target {
            let cluster = access.from_outside(target).cluster(None).await?;
            let secrets = UndoSecrets::new(cluster.clone());
            keys.extend(started_in(secrets.heads(&plan.pipeline, name).await?));
            planned = Some(cluster);
        }
        let homes = homes(state, access, (&plan.pipeline, name), planned.as_ref()).await?;
        let looks = homes.into_iter().map(|secrets| async move {
            look(&secrets, secrets.heads(&plan.pipeline, name)).await.unwrap_or_default()
        });
        keys.extend(join_all(looks).await.into_iter().flat_map(started_in));
        debts.extend(keys.into_iter().map(|key| Debt { key, workflow: name.clone() }));
    }
    Ok(debts)
}

fn started_in(heads: Vec<Head>) -> impl Iterator<Item = RunKey> {
    heads.into_iter().filter(|head| head.mark == Mark::Started).map(|head| head.key)
}

/// Where a workflow kept its records in earlier runs, `but` for this cluster.
///
/// # Errors
/// [`StateError`] if that is not known.
pub(crate) async fn homes(
    state: &StateDirectory,
    access: &Access,
    (pipeline, workflow): (&PipelineName, &WorkflowName),
    but: Option<&Cluster>,
) -> Result<Vec<UndoSecrets>, StateError> {
    let mut all = Vec::new();
    for home in state.homes(pipeline, workflow)? {
        match access.home(&home).await {
            Ok(cluster) if but.is_some_and(|but| but.is_same_home(&cluster)) => {}
            Ok(cluster) => all.push(UndoSecrets::new(cluster)),
            Err(error) => tracing::warn!(
                %workflow, context = home.context,
                "an earlier run of it was in a cluster that is not known any more: {error}"
            ),
        }
    }
    Ok(all)
}

/// One look into an earlier cluster: one that is away must not hold up a run in another.
pub(crate) async fn look<T, E: std::error::Error>(
    secrets: &UndoSecrets,
    asked: impl Future<Output = Result<T, E>>,
) -> Option<T> {
    let why = match tokio::time::timeout(LOOK_LIMIT, asked).await {
        Ok(Ok(seen)) => return Some(seen),
        Ok(Err(error)) => error_text(&error),
        Err(_) => "it does not answer".to_owned(),
    };
    let url = secrets.cluster().url();
    tracing::warn!("what an earlier run left in the cluster at {url} is not seen: {why}");
    None
}
