//! Where one run acts: the target that its plan names, and where its debts are kept.

use std::time::Duration;

use futures::future::join_all;
use lockstep_agent_core::UndoMark;
use lockstep_shared::{
    id::{RunKey, WorkflowName},
    plan::{KubernetesTarget, Target, Workflow},
};

use super::Post;
use crate::{
    debts, error_text,
    kubernetes::{client::Cluster, undo::UndoSecrets},
    undo::{Owed, StoreError, UndoStore},
};

/// The pause before a record is asked for again that the cluster did not show.
const ASK_AGAIN: Duration = Duration::from_secs(2);

/// A run's place.
#[derive(Debug, Clone)]
pub(super) struct Seat {
    /// Where its undo record is.
    pub(super) undo: UndoStore,
    /// The cluster, if the target is one; or why there is none.
    pub(super) cluster: Result<Option<Cluster>, String>,
}

impl Seat {
    /// The place that a workflow of a plan has, and what it owes there from this run.
    ///
    /// # Errors
    /// [`StoreError`] if a record is there and cannot be read.
    pub(super) async fn take(
        post: &Post,
        key: &RunKey,
        workflow: &Workflow,
    ) -> Result<(Self, Option<Owed>), StoreError> {
        let Target::Kubernetes(target) = &workflow.target else {
            let seat = Self::on_disk(post);
            let owed = seat.undo.owed(key, &post.workflow).await?;
            return Ok((seat, owed));
        };
        match cluster(post, target).await {
            Ok(cluster) => Self::in_clusters(post, key, cluster).await,
            Err(why) => Ok((Self { cluster: Err(why), ..Self::on_disk(post) }, None)),
        }
    }

    /// The place that holds this run's record, where the log does not hold its plan any more.
    ///
    /// # Errors
    /// [`StoreError`] if a record is there and cannot be read.
    pub(super) async fn find(
        post: &Post,
        key: &RunKey,
    ) -> Result<(Self, Option<Owed>), StoreError> {
        let seat = Self::on_disk(post);
        let owed = seat.undo.owed(key, &post.workflow).await?;
        if owed.is_some() {
            return Ok((seat, owed));
        }
        let options = &post.options.kubernetes;
        if options.is_configured() {
            match options.cluster_at_last(None).await {
                Ok(cluster) => return Self::in_clusters(post, key, cluster).await,
                Err(error) => tracing::warn!(run = %key.run, "its cluster is not seen: {error}"),
            }
        }
        Ok(Self::elsewhere(post, key, None).await?.unwrap_or((seat, None)))
    }

    /// The cluster that the plan names, unless an earlier agent kept this run's record in another:
    /// what a context means may have changed since, and what the agent was started with.
    async fn in_clusters(
        post: &Post,
        key: &RunKey,
        cluster: Cluster,
    ) -> Result<(Self, Option<Owed>), StoreError> {
        let found = Self::in_cluster(post, key, cluster.clone()).await?;
        if found.1.is_some() {
            return Ok(found);
        }
        if let Some(found) = Self::elsewhere(post, key, Some(&cluster)).await? {
            if let Ok(Some(kept)) = &found.0.cluster {
                tracing::warn!(
                    run = %key.run, workflow = %post.workflow, kept = kept.url(),
                    planned = cluster.url(),
                    "an earlier agent keeps this run's undo record in another cluster than its \
                     plan leads to now, so the run goes on there"
                );
            }
            return Ok(found);
        }
        if let (Ok(Some(_)), Some(home)) = (&found.0.cluster, cluster.home()) {
            post.state.note_home(&key.pipeline, &post.workflow, &home)?;
        }
        Ok(found)
    }

    /// Where else this run's record is kept, if anywhere.
    async fn elsewhere(
        post: &Post,
        key: &RunKey,
        but: Option<&Cluster>,
    ) -> Result<Option<(Self, Option<Owed>)>, StoreError> {
        let names = (&key.pipeline, &post.workflow);
        let homes = debts::homes(&post.state, &post.options.kubernetes, names, but).await?;
        let looks = homes.into_iter().map(|secrets| async move {
            let undo = UndoStore::secrets(secrets.clone(), post.board.noted());
            let owed = debts::look(&secrets, undo.look(key, &post.workflow)).await??;
            let cluster = Ok(Some(secrets.cluster().clone()));
            Some((Self { undo, cluster }, Some(owed)))
        });
        Ok(join_all(looks).await.into_iter().flatten().next())
    }

    fn on_disk(post: &Post) -> Self {
        Self { undo: UndoStore::Disk(post.state.clone()), cluster: Ok(None) }
    }

    async fn in_cluster(
        post: &Post,
        key: &RunKey,
        cluster: Cluster,
    ) -> Result<(Self, Option<Owed>), StoreError> {
        let undo = UndoStore::secrets(UndoSecrets::new(cluster.clone()), post.board.noted());
        match look(&undo, key, &post.workflow).await {
            Ok(owed) => Ok((Self { undo, cluster: Ok(Some(cluster)) }, owed)),
            Err(error) if is_damaged(&error) => Err(error),
            // Said in prepare, where everybody hears it.
            Err(error) => Ok((Self { undo, cluster: Err(error_text(&error)) }, None)),
        }
    }
}

/// Asks for as long as the cluster does not answer: who does not know what he owes can do nothing,
/// and a record that was not seen is not a lost one.
async fn look(
    undo: &UndoStore,
    key: &RunKey,
    workflow: &WorkflowName,
) -> Result<Option<Owed>, StoreError> {
    loop {
        match undo.look(key, workflow).await {
            Err(error) if error.is_transient() => {
                tracing::error!(
                    run = %key.run, %workflow,
                    "holding: the cluster does not show what this workflow owes ({}); trying again",
                    error_text(&error)
                );
                tokio::time::sleep(ASK_AGAIN).await;
            }
            looked => return looked,
        }
    }
}

/// Looks for this run's record once more; what cannot be read is none.
pub(super) async fn recall(
    undo: UndoStore,
    key: RunKey,
    workflow: WorkflowName,
) -> Option<UndoMark> {
    match look(&undo, &key, &workflow).await {
        Ok(owed) => owed.map(|owed| owed.mark),
        Err(error) => {
            tracing::error!(run = %key.run, %workflow, "{}", error_text(&error));
            None
        }
    }
}

fn is_damaged(error: &StoreError) -> bool {
    use crate::kubernetes::undo::UndoError;
    !matches!(error, StoreError::Secrets(UndoError::Refused(_)))
}

/// The cluster that a target names, if this agent is for it.
async fn cluster(post: &Post, target: &KubernetesTarget) -> Result<Cluster, String> {
    let name = &post.workflow;
    if let Some(wanted) = &target.cluster
        && Some(wanted) != post.options.cluster.as_ref()
    {
        return Err(wrong_cluster(name, wanted, post.options.cluster.as_deref()));
    }
    let context = target.context.as_deref();
    let found = post.options.kubernetes.cluster_at_last(context).await;
    found.map_err(|error| format!("{name} has a Kubernetes target, and {error}"))
}

fn wrong_cluster(workflow: &WorkflowName, wanted: &str, own: Option<&str>) -> String {
    let own = own.unwrap_or("no cluster");
    format!(
        "{workflow} is for cluster {wanted:?}, and this agent was started for {own}; start one \
         there with --cluster {wanted}"
    )
}
