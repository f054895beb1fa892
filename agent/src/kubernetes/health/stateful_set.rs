//! A StatefulSet, by its counts and revisions (rule 17).

use k8s_openapi::api::{
    apps::v1::{StatefulSet, StatefulSetSpec, StatefulSetStatus},
    core::v1::Pod,
};
use serde_json::Value;

use super::{
    look::{Look, Progress, counted, read, seconds},
    pin::Pin,
    pods::Counting,
    related::{Related, label},
};

/// The label by which pods say of which revision they are.
pub(super) const REVISION: &str = "controller-revision-hash";

/// How a StatefulSet is.
pub(super) fn judge(object: &Value, related: &Related, pin: &Pin) -> Look {
    let set: StatefulSet = match read(object) {
        Ok(set) => set,
        Err(why) => return Look::in_progress(why),
    };
    let status = set.status.clone().unwrap_or_default();
    if let Some(look) = pin.unobserved(object, status.observed_generation) {
        return look;
    }
    let pods = new_pods(&set, related);
    let mut look = counts(&set.spec, &status);
    look.hold = seconds(set.spec.min_ready_seconds);
    look.without_deadline = true;
    look.progress = progress(&set, &status);
    look.with_pods(&pods, pin, Counting::All)
}

/// The pods of the revision that is rolled out.
pub(super) fn new_pods(set: &StatefulSet, related: &Related) -> Vec<Pod> {
    let uid = set.metadata.uid.as_deref().unwrap_or_default();
    let status = set.status.as_ref();
    let Some(revision) = status.and_then(|status| status.update_revision.as_ref()) else {
        return Vec::new();
    };
    let mut pods: Vec<Pod> = related.pods(uid);
    pods.retain(|pod| label(&pod.metadata, REVISION) == Some(revision.as_str()));
    pods
}

fn counts(spec: &StatefulSetSpec, status: &StatefulSetStatus) -> Look {
    let wanted = spec.replicas.unwrap_or(1);
    let partition = partition(spec);
    let to_update = wanted.saturating_sub(partition).max(0);
    let updated = status.updated_replicas.unwrap_or(0);
    let ready = status.ready_replicas.unwrap_or(0);
    let available = status.available_replicas.unwrap_or(0);
    let mut parts = Vec::new();
    if updated < to_update {
        parts.push(format!("{updated}/{to_update} updated"));
    }
    if status.replicas > wanted {
        parts.push(format!("{} too many", counted(status.replicas - wanted, "pod")));
    }
    if status.replicas < wanted {
        parts.push(format!("{}/{wanted} made", status.replicas));
    }
    if ready < wanted {
        parts.push(format!("{ready}/{wanted} ready"));
    } else if available < wanted {
        parts.push(format!("{available}/{wanted} available"));
    }
    // Below a partition the old revision stays, so the two never become one.
    let one_revision = status.current_revision == status.update_revision;
    if parts.is_empty() && partition == 0 && !one_revision {
        parts.push("its new revision is not the current one yet".to_owned());
    }
    if parts.is_empty() { Look::healthy() } else { Look::in_progress(parts.join(", ")) }
}

fn partition(spec: &StatefulSetSpec) -> i32 {
    let strategy = spec.update_strategy.as_ref();
    let rolling = strategy.and_then(|strategy| strategy.rolling_update.as_ref());
    rolling.and_then(|rolling| rolling.partition).unwrap_or(0)
}

fn progress(set: &StatefulSet, status: &StatefulSetStatus) -> Progress {
    let generation = set.metadata.generation.unwrap_or(0);
    let revision = status.update_revision.as_deref().unwrap_or_default();
    let one_revision = i32::from(status.current_revision == status.update_revision);
    let available = status.available_replicas.unwrap_or(0);
    Progress {
        goal: format!("{generation} {revision}"),
        done: [status.updated_replicas.unwrap_or(0), available, one_revision],
    }
}
