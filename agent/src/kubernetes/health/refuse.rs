//! What cannot be waited for, and is therefore refused in prepare (rules 16 and 17).

use serde_json::Value;

use super::kind_of;

/// Why a step with this object can never finish.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A paused Deployment rolls nothing out.
    #[error(
        "Deployment {name} is paused, so its change would never be rolled out; take \
         spec.paused out of the manifest, or resume it (`kubectl rollout resume deployment {name}`)"
    )]
    Paused {
        /// The Deployment's name.
        name: String,
    },
    /// A workload whose pods somebody has to delete by hand.
    #[error(
        "{kind} {name} has updateStrategy OnDelete, so its pods are not replaced by themselves; \
         use RollingUpdate, or give the step `wait: false`"
    )]
    OnDelete {
        /// `StatefulSet` or `DaemonSet`.
        kind: String,
        /// Its name.
        name: String,
    },
}

/// Why the object cannot be deployed by a step that does or does not `wait`, if so.
///
/// `object` is what the apply would make of it (the answer of its dry run): somebody else may have
/// paused what the manifest does not speak of.
pub fn refusal(object: &Value, wait: bool) -> Option<Refusal> {
    let (api_version, kind) = kind_of(object);
    let name = object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
    let name = name.to_owned();
    match (api_version, kind) {
        ("apps/v1", "Deployment") => {
            let paused = object.pointer("/spec/paused").and_then(Value::as_bool) == Some(true);
            paused.then_some(Refusal::Paused { name })
        }
        ("apps/v1", "StatefulSet" | "DaemonSet") => {
            let strategy = object.pointer("/spec/updateStrategy/type").and_then(Value::as_str);
            let by_hand = strategy == Some("OnDelete") && wait;
            by_hand.then(|| Refusal::OnDelete { kind: kind.to_owned(), name })
        }
        _ => None,
    }
}
