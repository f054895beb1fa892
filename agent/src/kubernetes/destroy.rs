//! Taking away all that a workflow ever deployed to a namespace, and what its agents kept there.

mod records;

use lockstep_shared::{
    id::{PipelineName, WorkflowName},
    plan::KubernetesTarget,
};
use serde_json::Value;

use self::records::About;
use super::{
    client::{Cluster, Delete, Pass, Place, Reason, Refusal, Resource},
    fields::{Entry, entries},
    object::{OWNER_LABEL, ObjectKey, owner_label, uid},
    order::sort_for_delete,
    restore::created::{claims_left, is_kept},
    undo::UndoError,
};

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

/// Deletes every object of the target's namespace that bears the workflow's owner label, and those of
/// no namespace if the target may have them, last installed first. Claims on storage are kept, and
/// what is in no namespace if the workflow was run for other namespaces too. Then the agents' own
/// records about that namespace go. `records`: the namespace where these are, if that is known; else
/// they are looked for.
///
/// # Errors
/// [`DestroyError`] if what is there cannot be seen, or a run may still have to be undone.
pub async fn destroy(
    cluster: &Cluster,
    target: &KubernetesTarget,
    pipeline: &PipelineName,
    workflow: &WorkflowName,
    records: Option<&str>,
) -> Result<Destroyed, DestroyError> {
    let namespace = target.namespace.as_str();
    let about = About { namespace, pipeline, workflow };
    let kept = about.find(cluster, records).await?;
    let is_shared = kept.iter().any(|kept| kept.others);
    let owner = owner_label(pipeline, workflow);
    let mut objects = Vec::new();
    let listable = cluster.listable().await?.into_iter();
    for resource in listable.filter(|it| it.namespaced || target.allow_cluster_scoped) {
        let labels = format!("{OWNER_LABEL}={owner}");
        match cluster.list(&resource, Some(namespace), &labels).await {
            Ok(found) => {
                objects.extend(found.into_iter().filter_map(|object| keyed(&resource, object)))
            }
            // Nothing is known to be of a kind that nobody has brought.
            Err(refusal)
                if refusal.reason == Reason::Forbidden
                    && !kept.iter().any(|kept| kept.has(&resource)) => {}
            Err(refusal) => return Err(refusal.into()),
        }
    }
    // One object may be served under several groups.
    objects.sort_by(|a, b| a.uid.cmp(&b.uid));
    objects.dedup_by(|a, b| a.uid == b.uid);
    sort_for_delete(&mut objects, |object| &object.key);
    let mut destroyed = Destroyed::default();
    for Owned { key, place, uid, object } in objects {
        if is_kept(&key) {
            destroyed.kept.push(key.to_string());
            continue;
        }
        if is_shared && key.namespace.is_none() {
            destroyed.kept.push(format!("{key}: the workflow was run for other namespaces too"));
            continue;
        }
        let claims = claims_left(&key, &object);
        let how = Delete { uid: Some(uid), foreground: true, ..Delete::default() };
        match cluster.delete(Pass::bookkeeping(), &place, how).await {
            Ok(_) => {
                destroyed.deleted.push(key.to_string());
                destroyed.kept.extend(claims);
            }
            Err(refusal) => destroyed.left.push(refusal.to_string()),
        }
    }
    if destroyed.left.is_empty() {
        for kept in kept {
            about.forget(kept).await?;
        }
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
        "run {run} of {workflow} is not settled (its undo record is in namespace {place}); settle \
         it first with `lockstep rollback resume {run}` or `lockstep rollback accept {run} --reason \
         TEXT`, or, if it was a run of `lockstep dev`, with its `--settle resume` or `--settle \
         accept`"
    )]
    Owed {
        /// Whose.
        workflow: WorkflowName,
        /// Which run.
        run: String,
        /// The namespace with its undo record.
        place: String,
    },
    /// It cannot be seen what agents kept.
    #[error(
        "it cannot be seen whether agents have kept undo records in namespace {place}; if theirs \
         are elsewhere, name that namespace with --kube-namespace"
    )]
    Place {
        /// The namespace.
        place: String,
        /// Why not.
        source: UndoError,
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
    object: Value,
}

fn keyed(resource: &Resource, object: Value) -> Option<Owned> {
    if is_inherited(&object) {
        return None;
    }
    let key = ObjectKey::of(&object).ok()?;
    let place = Place::new(resource.clone(), key.namespace.as_deref(), &key.name);
    let uid = uid(&object)?.to_owned();
    Some(Owned { key, place, uid, object })
}

/// Whether a controller has made an object, and only copied our label onto it: it goes with what it
/// was made for.
fn is_inherited(object: &Value) -> bool {
    let owners = object.pointer("/metadata/ownerReferences").and_then(Value::as_array);
    let has_controller = owners.into_iter().flatten().any(|owner| owner["controller"] == true);
    let kind = object.get("kind").and_then(Value::as_str);
    let is_of_service = matches!(kind, Some("EndpointSlice" | "Endpoints"));
    // Who cannot be read may be us.
    let is_ours = entries(object).map_or(true, |all| all.iter().any(Entry::is_ours));
    (has_controller || is_of_service) && !is_ours
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubernetes::object::MANAGER;
    use serde_json::json;

    fn object(kind: &str, manager: &str, owners: Value) -> Value {
        json!({ "kind": kind, "metadata": {
            "name": "web", "ownerReferences": owners,
            "managedFields": [{
                "manager": manager, "operation": "Apply", "apiVersion": "v1",
                "fieldsType": "FieldsV1", "fieldsV1": {},
            }],
        } })
    }

    #[test]
    fn what_a_controller_made_goes_with_its_owner_and_is_not_told_of() {
        let controller = json!([{ "uid": "u", "controller": true }]);
        let made_by = "kube-controller-manager";
        assert!(is_inherited(&object("ReplicaSet", made_by, controller.clone())));
        assert!(is_inherited(&object("Endpoints", made_by, json!([]))));
        assert!(!is_inherited(&object("Secret", "somebody", json!([{ "uid": "u" }]))));
        assert!(!is_inherited(&object("Endpoints", MANAGER, json!([]))), "one that we applied");
        assert!(!is_inherited(&object("ReplicaSet", MANAGER, controller)));
    }
}
