//! A Deployment, by its counts, its new ReplicaSet and the pods of that (rule 16).

use k8s_openapi::{
    api::{
        apps::v1::{Deployment, DeploymentSpec, DeploymentStatus, ReplicaSet},
        core::v1::Pod,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use serde_json::Value;

use super::{
    Health,
    condition::Condition,
    look::{Look, Progress, Trouble, counted, read, seconds},
    pin::Pin,
    pods::Counting,
    related::Related,
};

/// The annotation by which a Deployment and its ReplicaSet agree on a revision.
const REVISION: &str = "deployment.kubernetes.io/revision";

/// How a Deployment is.
pub(super) fn judge(object: &Value, related: &Related, pin: &Pin) -> Look {
    let deployment: Deployment = match read(object) {
        Ok(deployment) => deployment,
        Err(why) => return Look::in_progress(why),
    };
    let status = deployment.status.clone().unwrap_or_default();
    if let Some(look) = pin.unobserved(object, status.observed_generation) {
        return look;
    }
    let pods = new_pods(&deployment, related);
    let mut look = counts(object, &deployment.spec, &status);
    look.hold = seconds(deployment.spec.min_ready_seconds);
    look.progress = progress(&deployment, &status);
    note_refused_pods(&mut look, object);
    look.with_pods(&pods, pin, Counting::All).or_failed(overdue(object, pin))
}

/// The pods of the revision that is rolled out.
pub(super) fn new_pods(deployment: &Deployment, related: &Related) -> Vec<Pod> {
    let uid = deployment.metadata.uid.as_deref().unwrap_or_default();
    let Some(current) = revision(&deployment.metadata) else { return Vec::new() };
    let sets: Vec<ReplicaSet> = related.replica_sets(uid);
    let newest = sets.into_iter().filter(|set| revision(&set.metadata) == Some(current));
    newest.filter_map(|set| set.metadata.uid).flat_map(|uid| related.pods(&uid)).collect()
}

fn revision(metadata: &ObjectMeta) -> Option<&str> {
    metadata.annotations.as_ref()?.get(REVISION).map(String::as_str)
}

fn counts(object: &Value, spec: &DeploymentSpec, status: &DeploymentStatus) -> Look {
    let wanted = spec.replicas.unwrap_or(1);
    let updated = status.updated_replicas.unwrap_or(0);
    let all = status.replicas.unwrap_or(0);
    let available = status.available_replicas.unwrap_or(0);
    let old = all.saturating_sub(updated);
    let mut parts = Vec::new();
    if spec.paused == Some(true) {
        parts.push("is paused".to_owned());
    }
    if updated > wanted {
        parts.push(format!("{} too many", counted(updated - wanted, "pod")));
    } else {
        parts.push(format!("{updated}/{wanted} updated"));
    }
    if old > 0 {
        parts.push(format!("{} left", counted(old, "old pod")));
    }
    if updated == wanted && old == 0 && available != wanted {
        parts.push(format!("{available}/{wanted} available"));
    }
    let complete = updated == wanted && all == wanted && available == wanted;
    match Condition::of(object, "Available") {
        _ if !complete => Look::in_progress(parts.join(", ")),
        Some(found) if found.is_true() => Look::healthy(),
        Some(found) => Look::in_progress(format!("not Available yet: {}", found.text())),
        None => Look::in_progress("not Available yet"),
    }
}

fn progress(deployment: &Deployment, status: &DeploymentStatus) -> Progress {
    let updated = status.updated_replicas.unwrap_or(0);
    let old = status.replicas.unwrap_or(0).saturating_sub(updated);
    let goal = deployment.metadata.generation.unwrap_or(0).to_string();
    Progress { goal, done: [updated, -old, status.available_replicas.unwrap_or(0)] }
}

/// Why the rollout is given up, if its controller has done so since our apply.
fn overdue(object: &Value, pin: &Pin) -> Option<String> {
    let found = Condition::of(object, "Progressing")?;
    let given_up = found.is_false()
        && found.reason() == "ProgressDeadlineExceeded"
        && found.written_at().is_some_and(|at| pin.is_fresh(at));
    given_up.then(|| {
        format!(
            "{}; see why its pods do not become ready (`kubectl describe`), or raise \
             progressDeadlineSeconds",
            found.text()
        )
    })
}

/// Notes pods that are refused: under a tight quota this comes and goes during a good rollout.
fn note_refused_pods(look: &mut Look, object: &Value) {
    let found = Condition::of(object, "ReplicaFailure").filter(|found| found.is_true());
    let Some(found) = found.filter(|_| look.health == Health::InProgress) else { return };
    let told = format!("its pods are refused: {}", found.text());
    look.text = format!("{}; {told}", look.text);
    let text = format!("{told}; raise the quota or correct what refuses them");
    look.troubles.push(Trouble { what: "ReplicaFailure", text });
}
