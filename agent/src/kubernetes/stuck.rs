//! Pods that keep a StatefulSet from going back (rule 27).
//!
//! With `OrderedReady` the controller waits for a broken pod to become ready before it replaces any:
//! after a revert it would wait for ever. So pods of a revision that is not wanted any more, and
//! that are not ready, are deleted.

use serde_json::Value;

use super::object::{generation, is_being_deleted, label, uid};

/// The label with a pod's revision.
const REVISION: &str = "controller-revision-hash";

/// The pods that hold the set up; `None` before its controller has seen the revert. Of a partitioned
/// set, the pods below the partition are of another revision on purpose.
pub(crate) fn stuck_pods<'a>(set: &Value, pods: &'a [Value]) -> Option<Vec<&'a Value>> {
    let text = |pointer: &str| set.pointer(pointer).and_then(Value::as_str);
    let number = |pointer: &str| set.pointer(pointer).and_then(Value::as_i64);
    let is_by_hand = text("/spec/updateStrategy/type") == Some("OnDelete");
    if is_by_hand || text("/spec/podManagementPolicy") == Some("Parallel") {
        return Some(Vec::new());
    }
    if number("/status/observedGeneration") < generation(set) {
        return None;
    }
    let wanted = text("/status/updateRevision")?;
    let first = number("/spec/ordinals/start").unwrap_or_default();
    let partition = number("/spec/updateStrategy/rollingUpdate/partition").unwrap_or_default();
    let partition = first.saturating_add(partition);
    let owner = uid(set);
    let is_stuck = |pod: &&Value| {
        is_controlled(pod, owner)
            && !is_being_deleted(pod)
            && label(pod, REVISION) != Some(wanted)
            && ordinal(pod).is_none_or(|ordinal| ordinal >= partition)
            && !is_ready(pod)
    };
    Some(pods.iter().filter(is_stuck).collect())
}

/// The number at the end of a pod's name.
fn ordinal(pod: &Value) -> Option<i64> {
    let name = pod.pointer("/metadata/name").and_then(Value::as_str)?;
    name.rsplit_once('-')?.1.parse().ok()
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
        assert_eq!(stuck_pods(&set("OrderedReady", 3), &pods), Some(vec![&pods[0]]));
    }

    #[test]
    fn nothing_is_in_the_way_before_the_revert_is_seen_or_where_pods_do_not_wait() {
        let pods = [pod("a", "new", "False")];
        assert_eq!(stuck_pods(&set("OrderedReady", 2), &pods), None);
        assert_eq!(stuck_pods(&set("Parallel", 3), &pods), Some(Vec::new()));
        let mut other = pods[0].clone();
        other["metadata"]["ownerReferences"][0]["uid"] = "t".into();
        assert_eq!(stuck_pods(&set("OrderedReady", 3), &[other]), Some(Vec::new()));
    }

    #[test]
    fn below_the_partition_pods_are_of_another_revision_on_purpose() {
        let mut set = set("OrderedReady", 3);
        set["spec"]["updateStrategy"] = json!({ "rollingUpdate": { "partition": 2 } });
        let pods = [pod("a-1", "new", "False"), pod("a-2", "new", "False")];
        assert_eq!(stuck_pods(&set, &pods), Some(vec![&pods[1]]));
    }
}
