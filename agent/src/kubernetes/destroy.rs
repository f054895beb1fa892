//! Taking away all that a workflow ever deployed to a namespace, and what its agents kept there.

use lockstep_shared::id::{PipelineName, WorkflowName};
use serde_json::Value;

use super::{
    client::{Cluster, Delete, Pass, Place, Reason, Refusal, Resource},
    object::{OWNER_LABEL, ObjectKey, owner_label, uid},
    order::sort_for_delete,
    restore::created::is_kept,
    undo::{UndoError, UndoSecrets},
};
use crate::state::Mark;

/// What came of it, for a person: one line for each object.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Destroyed {
    /// What was deleted.
    pub deleted: Vec<String>,
    /// What was kept on purpose.
    pub kept: Vec<String>,
    /// What could not be deleted, and why.
    pub left: Vec<String>,
}

/// Deletes every object of a namespace that bears the workflow's owner label, last installed first;
/// claims on storage are kept. Then the agents' own records go.
///
/// # Errors
/// [`UndoError`] if what is there cannot be seen, or a run may still have to be undone.
pub async fn destroy(
    cluster: &Cluster,
    namespace: &str,
    pipeline: &PipelineName,
    workflow: &WorkflowName,
) -> Result<Destroyed, DestroyError> {
    let secrets = UndoSecrets::new(cluster.clone());
    let heads = secrets.heads(pipeline, workflow).await?;
    if let Some(open) = heads.iter().find(|head| head.mark == Mark::Started) {
        let (workflow, run) = (workflow.clone(), open.key.run.to_string());
        return Err(DestroyError::Owed { workflow, run });
    }
    let owner = owner_label(pipeline, workflow);
    let mut objects = Vec::new();
    for resource in cluster.listable().await? {
        let labels = format!("{OWNER_LABEL}={owner}");
        match cluster.list(&resource, Some(namespace), &labels).await {
            Ok(found) => {
                objects.extend(found.into_iter().filter_map(|object| keyed(&resource, object)))
            }
            // What may not be listed may not have been deployed by the same credentials either.
            Err(refusal) if refusal.reason == Reason::Forbidden => {}
            Err(refusal) => return Err(refusal.into()),
        }
    }
    // One object may be served under several groups.
    objects.sort_by(|a, b| a.uid.cmp(&b.uid));
    objects.dedup_by(|a, b| a.uid == b.uid);
    sort_for_delete(&mut objects, |object| &object.key);
    let mut destroyed = Destroyed::default();
    for Owned { key, place, uid } in objects {
        if is_kept(&key) {
            destroyed.kept.push(key.to_string());
            continue;
        }
        let how = Delete { uid: Some(uid), foreground: true, ..Delete::default() };
        match cluster.delete(Pass::bookkeeping(), &place, how).await {
            Ok(_) => destroyed.deleted.push(key.to_string()),
            Err(refusal) => destroyed.left.push(refusal.to_string()),
        }
    }
    if destroyed.left.is_empty() {
        secrets.forget(pipeline, workflow).await?;
    }
    Ok(destroyed)
}

/// Why nothing was destroyed.
#[derive(Debug, thiserror::Error)]
pub enum DestroyError {
    /// It cannot be seen what is there.
    #[error(transparent)]
    Undo(#[from] UndoError),
    /// A run may still have to be undone.
    #[error(
        "run {run} of {workflow} is not settled; settle it first with `lockstep rollback resume \
         {run}` or `lockstep rollback accept {run} --reason TEXT`"
    )]
    Owed {
        /// Whose.
        workflow: WorkflowName,
        /// Which run.
        run: String,
    },
}

impl From<Refusal> for DestroyError {
    fn from(refusal: Refusal) -> Self {
        Self::Undo(refusal.into())
    }
}

struct Owned {
    key: ObjectKey,
    place: Place,
    uid: String,
}

fn keyed(resource: &Resource, object: Value) -> Option<Owned> {
    let key = ObjectKey::of(&object).ok()?;
    let place = Place::new(resource.clone(), key.namespace.as_deref(), &key.name);
    let uid = uid(&object)?.to_owned();
    Some(Owned { key, place, uid })
}
