//! Small makers of objects, each healthy unless a row says otherwise.

use std::collections::BTreeMap;

use lockstep_shared::{
    plan::HealthRule,
    time::{Span, Timestamp},
};
use serde_json::{Value, json};

use crate::kubernetes::{
    health::{Limits, Pin, Related, RelatedKind, Rules, Sight, StepHealth, StepVerdict},
    object::ObjectKey,
};

/// The server's time of our apply: 2026-03-01T10:00:00.700Z.
pub(super) const APPLIED: Timestamp = Timestamp(1_772_359_200_700);

/// A time of the second before, of the same second, and of the next minute.
pub(super) const BEFORE: &str = "2026-03-01T09:59:59Z";
pub(super) const SAME_SECOND: &str = "2026-03-01T10:00:00Z";
pub(super) const AFTER: &str = "2026-03-01T10:01:00Z";

/// The time between two looks, in seconds.
const PACE: u64 = 5;

/// One state, how long it has been so, and what is to be said of it.
#[derive(Clone)]
pub(super) struct Row {
    name: &'static str,
    object: Option<Value>,
    related: Vec<Value>,
    rule: Option<(&'static str, HealthRule)>,
    seconds: u64,
    want: String,
}

/// A state right after the apply. What is wanted may end in "..." where the rest is advice.
pub(super) fn row(name: &'static str, object: Value, want: &str) -> Row {
    let want = want.to_owned();
    Row { name, object: Some(object), related: Vec::new(), rule: None, seconds: 0, want }
}

impl Row {
    /// An object that was applied, a Job, and is not there any more.
    pub(super) fn gone(name: &'static str, want: &str) -> Self {
        Self { object: None, ..row(name, Value::Null, want) }
    }

    pub(super) fn with(mut self, related: impl IntoIterator<Item = Value>) -> Self {
        self.related.extend(related);
        self
    }

    /// The state has been so for this long.
    pub(super) fn after(mut self, seconds: u64) -> Self {
        self.seconds = seconds;
        self
    }

    pub(super) fn rule(mut self, kind: &'static str, current: &str, failed: &str) -> Self {
        let failed = Some(failed.to_owned()).filter(|text| !text.is_empty());
        self.rule = Some((kind, HealthRule { current: current.to_owned(), failed }));
        self
    }

    /// How the row is wrong, if it is.
    pub(super) fn wrong(&self) -> Option<String> {
        let found = self.verdict();
        let right = match self.want.strip_suffix("...") {
            Some(start) => found.starts_with(start),
            None => found == self.want,
        };
        (!right).then(|| format!("{}\n  want {}\n  have {found}", self.name, self.want))
    }

    fn verdict(&self) -> String {
        let rules = self.rule.iter().map(|(kind, rule)| ((*kind).to_owned(), rule.clone()));
        let rules = Rules::compile(&rules.collect::<BTreeMap<_, _>>()).unwrap();
        let limits = Limits { settle: Span(0), ..Limits::default() };
        let mut health = StepHealth::new(limits, rules);
        let applied = applied(self.object.as_ref());
        let key = ObjectKey::of(&applied).unwrap();
        health.pin(key.clone(), Pin::of(&applied, APPLIED).unwrap());
        let related = related(self.related.clone());
        let mut looks =
            (0..=self.seconds / PACE).map(|number| APPLIED.after(Span::seconds(number * PACE)));
        let sight = Sight { object: self.object.as_ref(), related: &related };
        looks
            .find_map(|now| {
                let told = told(&health.see(&key, sight, now));
                let over = now.since(APPLIED) >= Span::seconds(self.seconds - self.seconds % PACE);
                (over || !told.starts_with("in progress")).then(|| {
                    let only =
                        if health.existence_only().is_empty() { "" } else { " (existence only)" };
                    format!("{told}{only}")
                })
            })
            .unwrap()
    }
}

/// A verdict as one line.
pub(super) fn told(verdict: &StepVerdict) -> String {
    match verdict {
        StepVerdict::InProgress(line) => format!("in progress: {line}"),
        StepVerdict::Healthy => "healthy".to_owned(),
        StepVerdict::Degraded(line) => format!("degraded: {line}"),
        StepVerdict::Failed { why, .. } => format!("failed: {why}"),
        StepVerdict::Settled => "settled".to_owned(),
    }
}

/// The object as our apply got it back: of the same kind, generation 2, with our own fields.
fn applied(object: Option<&Value>) -> Value {
    let plain = json!({"apiVersion": "v1", "kind": "Job", "metadata": {"name": "gone"}});
    let mut applied = object.cloned().unwrap_or(plain);
    applied["metadata"] = meta(applied["metadata"]["name"].as_str().unwrap());
    applied
}

/// Metadata of an object at the generation that we applied.
pub(super) fn meta(name: &str) -> Value {
    json!({
        "name": name, "namespace": "shop", "uid": format!("uid-{name}"),
        "generation": 2, "resourceVersion": "100",
        "managedFields": [
            owner("lockstep", "Apply", json!({"f:spec": {"f:template": {"f:spec":
                {"f:containers": {"k:{\"name\":\"app\"}": {".": {}, "f:name": {}, "f:image": {}}}}}}})),
            owner("kube-controller-manager", "Update", json!({"f:status": {"f:replicas": {}}})),
        ],
    })
}

/// One entry of managedFields, as old as our apply.
pub(super) fn owner(manager: &str, operation: &str, fields: Value) -> Value {
    json!({"manager": manager, "operation": operation, "apiVersion": "apps/v1",
        "time": SAME_SECOND, "fieldsType": "FieldsV1", "fieldsV1": fields})
}

/// The object with these changes: a null takes away, maps are merged, all else is replaced.
pub(super) fn but(mut object: Value, changes: Value) -> Value {
    merge(&mut object, changes);
    object
}

fn merge(object: &mut Value, changes: Value) {
    let Value::Object(changes) = changes else {
        *object = changes;
        return;
    };
    if !object.is_object() {
        *object = json!({});
    }
    for (key, change) in changes {
        match change {
            Value::Null => drop(object.as_object_mut().unwrap().remove(&key)),
            change => merge(&mut object[key.as_str()], change),
        }
    }
}

/// What was fetched beside an object, sorted by kind.
pub(super) fn related(items: Vec<Value>) -> Related {
    let mut related = Related::default();
    for item in items {
        let kinds = [RelatedKind::ReplicaSet, RelatedKind::ControllerRevision, RelatedKind::Pod];
        let kind = kinds.into_iter().find(|kind| item["kind"] == kind.kind()).unwrap();
        related.add(kind, [item]);
    }
    related
}

/// A condition as a Deployment has it.
pub(super) fn condition(kind: &str, status: &str, reason: &str, time: &str) -> Value {
    json!({"type": kind, "status": status, "reason": reason, "message": "as it is",
        "lastUpdateTime": time, "lastTransitionTime": time})
}

pub(super) fn deployment() -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": but(meta("web"), json!({"annotations": {"deployment.kubernetes.io/revision": "7"}})),
        "spec": {"replicas": 3, "selector": {"matchLabels": {"app": "web"}}, "template": {}},
        "status": {"observedGeneration": 2, "replicas": 3, "updatedReplicas": 3,
            "readyReplicas": 3, "availableReplicas": 3, "conditions": [
                condition("Available", "True", "MinimumReplicasAvailable", BEFORE),
                condition("Progressing", "True", "NewReplicaSetAvailable", AFTER)]},
    })
}

/// A Deployment whose second new pod is missing, with these conditions.
pub(super) fn rolling(conditions: Value) -> Value {
    but(
        deployment(),
        json!({"status": {"replicas": 4, "updatedReplicas": 2,
        "availableReplicas": 3, "conditions": conditions}}),
    )
}

pub(super) fn replica_set(revision: &str) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "ReplicaSet",
        "metadata": {"name": format!("web-{revision}"), "uid": format!("rs-{revision}"),
            "annotations": {"deployment.kubernetes.io/revision": revision},
            "ownerReferences": [controlled_by("uid-web")]},
        "spec": {"selector": {}}})
}

pub(super) fn controlled_by(uid: &str) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Any", "name": "any", "uid": uid, "controller": true})
}

/// A pod made after our apply that runs, controlled by the object of this uid.
pub(super) fn pod(name: &str, controller: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": "shop", "uid": format!("uid-{name}"),
            "creationTimestamp": SAME_SECOND, "ownerReferences": [controlled_by(controller)]},
        "spec": {"containers": [{"name": "app", "image": "shop/web:v2"}]},
        "status": {"phase": "Running", "containerStatuses": [container(0, json!({"running": {}}))]}})
}

/// A pod whose container cannot start.
pub(super) fn failing_pod(name: &str, controller: &str, reason: &str, restarts: i32) -> Value {
    let state = json!({"waiting": {"reason": reason, "message": "back-off"}});
    let mut found = container(restarts, state);
    found["ready"] = json!(false);
    but(
        pod(name, controller),
        json!({"status": {"phase": "Pending", "containerStatuses": [found]}}),
    )
}

pub(super) fn container(restarts: i32, state: Value) -> Value {
    json!({"name": "app", "image": "docker.io/shop/web:v2", "restartCount": restarts, "ready": true,
        "imageID": "docker.io/shop/web@sha256:aaaa", "state": state,
        "lastState": {"terminated": {"exitCode": 1, "reason": "Error"}}})
}
