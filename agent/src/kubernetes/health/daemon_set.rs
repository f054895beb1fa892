//! A DaemonSet, by its counts and the pods of its newest revision (rule 17).

use k8s_openapi::api::{
    apps::v1::{ControllerRevision, DaemonSet, DaemonSetStatus},
    core::v1::Pod,
};
use serde_json::Value;

use super::{
    look::{Look, Progress, read, seconds},
    pin::Pin,
    pods::Counting,
    related::{Related, label},
    stateful_set::REVISION,
};

/// How a DaemonSet is.
pub(super) fn judge(object: &Value, related: &Related, pin: &Pin) -> Look {
    let set: DaemonSet = match read(object) {
        Ok(set) => set,
        Err(why) => return Look::in_progress(why),
    };
    let status = set.status.clone().unwrap_or_default();
    if let Some(look) = pin.unobserved(object, status.observed_generation) {
        return look;
    }
    let pods = new_pods(&set, related);
    let mut look = counts(&status);
    look.hold = seconds(set.spec.min_ready_seconds);
    look.without_deadline = true;
    look.progress = Progress {
        goal: set.metadata.generation.unwrap_or(0).to_string(),
        done: [
            status.updated_number_scheduled.unwrap_or(0),
            status.number_available.unwrap_or(0),
            0,
        ],
    };
    look.with_pods(&pods, pin, Counting::All)
}

/// The pods of the revision that is rolled out: a DaemonSet's status does not name it.
pub(super) fn new_pods(set: &DaemonSet, related: &Related) -> Vec<Pod> {
    let uid = set.metadata.uid.as_deref().unwrap_or_default();
    let revisions: Vec<ControllerRevision> = related.revisions(uid);
    let newest = revisions.iter().max_by_key(|found| found.revision);
    let Some(hash) = newest.and_then(|found| label(&found.metadata, REVISION)) else {
        return Vec::new();
    };
    let mut pods: Vec<Pod> = related.pods(uid);
    pods.retain(|pod| label(&pod.metadata, REVISION) == Some(hash));
    pods
}

fn counts(status: &DaemonSetStatus) -> Look {
    let wanted = status.desired_number_scheduled;
    let updated = status.updated_number_scheduled.unwrap_or(0);
    let available = status.number_available.unwrap_or(0);
    if updated < wanted {
        return Look::in_progress(format!("{updated}/{wanted} nodes updated"));
    }
    if available < wanted {
        return Look::in_progress(format!("available on {available}/{wanted} nodes"));
    }
    Look::healthy()
}
