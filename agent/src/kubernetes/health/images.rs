//! Which images run, by digest (rule 22).

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::{
    apps::v1::{DaemonSet, Deployment, StatefulSet},
    batch::v1::Job,
    core::v1::{ContainerStatus, Pod},
};
use serde::Deserialize;
use serde_json::Value;

use super::{Sight, daemon_set, deployment, kind_of, stateful_set};

/// The digests that run for each image reference of the object's pods, those of its new revision
/// only. More than one for a reference means that a tag was moved, or that nodes differ in
/// platform. An image that a node built itself has the node's own id for a digest.
pub fn images(sight: Sight<'_>) -> BTreeMap<String, BTreeSet<String>> {
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for pod in sight.object.map(|object| pods(object, sight)).unwrap_or_default() {
        for (image, digest) in running(&pod) {
            found.entry(image).or_default().insert(digest);
        }
    }
    found
}

fn pods(object: &Value, sight: Sight<'_>) -> Vec<Pod> {
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

fn running(pod: &Pod) -> Vec<(String, String)> {
    let Some(status) = &pod.status else { return Vec::new() };
    let inits = status.init_container_statuses.iter().flatten();
    let containers = inits.chain(status.container_statuses.iter().flatten());
    // The status may spell the image in full; the spec has the author's words.
    let written = |name: &str| {
        let spec = pod.spec.as_ref()?;
        let inits = spec.init_containers.iter().flatten();
        let found = inits.chain(&spec.containers).find(|container| container.name == name)?;
        found.image.clone()
    };
    let of = |container: &ContainerStatus| {
        let digest = digest(&container.image_id)?;
        Some((written(&container.name).unwrap_or_else(|| container.image.clone()), digest))
    };
    containers.filter_map(of).collect()
}

/// `registry/name@sha256:...` and `sha256:...` alike; empty until the image is there.
fn digest(image_id: &str) -> Option<String> {
    let digest = image_id.rsplit_once('@').map_or(image_id, |(_, digest)| digest);
    let digest = digest.rsplit_once("://").map_or(digest, |(_, digest)| digest);
    (!digest.is_empty()).then(|| digest.to_owned())
}
