//! Where one run acts: the target that its plan names, and where its debts are kept.

use std::time::Duration;

use lockstep_shared::{
    id::{RunKey, WorkflowName},
    plan::{KubernetesTarget, Target, Workflow},
};

use super::Post;
use crate::{
    error_text,
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
            Ok(cluster) => Self::in_cluster(post, key, cluster).await,
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
        if owed.is_some() || !post.options.kubernetes.is_configured() {
            return Ok((seat, owed));
        }
        match post.options.kubernetes.cluster(None).await {
            Ok(cluster) => Self::in_cluster(post, key, cluster).await,
            Err(error) => Ok((Self { cluster: Err(error.to_string()), ..seat }, None)),
        }
    }

    fn on_disk(post: &Post) -> Self {
        Self { undo: UndoStore::Disk(post.state.clone()), cluster: Ok(None) }
    }

    /// Asks for as long as the cluster does not answer: who does not know what he owes can do
    /// nothing, and a record that was not seen is not a lost one.
    async fn in_cluster(
        post: &Post,
        key: &RunKey,
        cluster: Cluster,
    ) -> Result<(Self, Option<Owed>), StoreError> {
        let undo = UndoStore::secrets(UndoSecrets::new(cluster.clone()), post.board.noted());
        loop {
            match undo.look(key, &post.workflow).await {
                Ok(owed) => return Ok((Self { undo, cluster: Ok(Some(cluster)) }, owed)),
                Err(error) if error.is_transient() => {
                    tracing::error!(
                        run = %key.run, workflow = %post.workflow,
                        "holding: the cluster does not show what this workflow owes ({}); trying \
                         again", error_text(&error)
                    );
                    tokio::time::sleep(ASK_AGAIN).await;
                }
                Err(error) if is_damaged(&error) => return Err(error),
                // Said in prepare, where everybody hears it.
                Err(error) => {
                    let cluster = Err(error_text(&error));
                    return Ok((Self { undo, cluster }, None));
                }
            }
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
    let found = post.options.kubernetes.cluster(context).await;
    found.map_err(|error| format!("{name} has a Kubernetes target, and {error}"))
}

fn wrong_cluster(workflow: &WorkflowName, wanted: &str, own: Option<&str>) -> String {
    let own = own.unwrap_or("no cluster");
    format!(
        "{workflow} is for cluster {wanted:?}, and this agent was started for {own}; start one \
         there with --cluster {wanted}"
    )
}
