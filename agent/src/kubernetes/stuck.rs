//! Pods that keep a StatefulSet from going back (rule 27).
//!
//! With `OrderedReady` the controller waits for a broken pod to become ready before it replaces any:
//! after a revert it would wait for ever. So pods of a revision that is not wanted any more, and
//! that are not ready, are deleted.

use serde_json::Value;

use super::object::{generation, label, uid};

/// The label with a pod's revision.
const REVISION: &str = "controller-revision-hash";

/// The pods that hold the set up; none before its controller has seen the revert.
pub(crate) fn stuck_pods<'a>(set: &Value, pods: &'a [Value]) -> Vec<&'a Value> {
    let text = |pointer: &str| set.pointer(pointer).and_then(Value::as_str);
    let parallel = text("/spec/podManagementPolicy") == Some("Parallel");
    let observed = set.pointer("/status/observedGeneration").and_then(Value::as_i64);
    let Some(wanted) = text("/status/updateRevision") else { return Vec::new() };
    if parallel || observed < generation(set) {
        return Vec::new();
    }
    let owner = uid(set);
    let is_stuck = |pod: &&Value| {
        is_controlled(pod, owner) && label(pod, REVISION) != Some(wanted) && !is_ready(pod)
    };
    pods.iter().filter(is_stuck).collect()
}

fn is_controlled(pod: &Value, owner: Option<&str>) -> bool {
    let owners = pod.pointer("/metadata/ownerReferences").and_then(Value::as_array);
    owners.into_iter().flatten().any(|found| found["uid"].as_str() == owner && owner.is_some())
}

fn is_ready(pod: &Value) -> bool {
    let conditions = pod.pointer("/status/conditions").and_then(Value::as_array);
    conditions.into_iter().flatten().any(|it| it["type"] == "Ready" && it["status"] == "True")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn set(policy: &str, observed: i64) -> Value {
        json!({
            "metadata": { "uid": "s", "generation": 3 },
            "spec": { "podManagementPolicy": policy },
            "status": { "observedGeneration": observed, "updateRevision": "old" },
        })
    }

    fn pod(name: &str, revision: &str, ready: &str) -> Value {
        json!({
            "metadata": {
                "name": name, "uid": format!("uid-{name}"),
                "labels": { REVISION: revision }, "ownerReferences": [{ "uid": "s" }],
            },
            "status": { "conditions": [{ "type": "Ready", "status": ready }] },
        })
    }

    #[test]
    fn only_broken_pods_of_another_revision_are_in_the_way() {
        let pods = [pod("a", "new", "False"), pod("b", "new", "True"), pod("c", "old", "False")];
        assert_eq!(stuck_pods(&set("OrderedReady", 3), &pods), [&pods[0]]);
    }

    #[test]
    fn nothing_is_in_the_way_before_the_revert_is_seen_or_where_pods_do_not_wait() {
        let pods = [pod("a", "new", "False")];
        assert!(stuck_pods(&set("OrderedReady", 2), &pods).is_empty());
        assert!(stuck_pods(&set("Parallel", 3), &pods).is_empty());
        let mut other = pods[0].clone();
        other["metadata"]["ownerReferences"][0]["uid"] = "t".into();
        assert!(stuck_pods(&set("OrderedReady", 3), &[other]).is_empty());
    }
}
