//! Which pods are those of what was applied last.

use k8s_openapi::api::{
    apps::v1::{DaemonSet, Deployment, StatefulSet},
    batch::v1::Job,
    core::v1::Pod,
};
use serde::Deserialize;

use super::{Sight, daemon_set, deployment, kind_of, stateful_set};

/// The pods of an object's new revision; none of a kind that has no pods.
pub fn new_pods(sight: Sight<'_>) -> Vec<Pod> {
    let Some(object) = sight.object else { return Vec::new() };
    let related = sight.related;
    let pods = match kind_of(object) {
        ("apps/v1", "Deployment") => {
            Deployment::deserialize(object).map(|found| deployment::new_pods(&found, related))
        }
        ("apps/v1", "StatefulSet") => {
            StatefulSet::deserialize(object).map(|found| stateful_set::new_pods(&found, related))
        }
        ("apps/v1", "DaemonSet") => {
            DaemonSet::deserialize(object).map(|found| daemon_set::new_pods(&found, related))
        }
        ("batch/v1", "Job") => Job::deserialize(object)
            .map(|found| related.pods(found.metadata.uid.as_deref().unwrap_or_default())),
        ("v1", "Pod") => Pod::deserialize(object).map(|found| vec![found]),
        _ => return Vec::new(),
    };
    pods.unwrap_or_default()
}
