//! Which images run, by digest (rule 22).

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};

use super::{Sight, revision::new_pods};

/// The digests that run for each image reference of the object's pods, those of its new revision
/// only. More than one for a reference means that a tag was moved, or that nodes differ in
/// platform. An image that a node built itself has the node's own id for a digest.
pub fn images(sight: Sight<'_>) -> BTreeMap<String, BTreeSet<String>> {
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for pod in new_pods(sight) {
        for (image, digest) in running(&pod) {
            found.entry(image).or_default().insert(digest);
        }
    }
    found
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
