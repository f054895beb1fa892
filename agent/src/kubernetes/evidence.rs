//! What a failed object leaves to be seen, before a rollback takes it away (rule 23): its warnings,
//! and how its containers ended.

use lockstep_shared::fold::cut;
use serde_json::Value;

use super::{
    client::{Cluster, Refusal, Resource},
    health::{RelatedKind, lookups},
    object::{ObjectKey, uid},
};

/// How many events and pods are told of, the latest first.
const MAX_EVENTS: usize = 8;
const MAX_PODS: usize = 4;

/// How much of a message that somebody else wrote is kept, in bytes.
const MAX_MESSAGE_BYTES: usize = 300;

/// What is to be seen of an object, one line for each thing; what cannot be seen is said.
pub(crate) async fn gather(cluster: &Cluster, key: &ObjectKey, object: Option<&Value>) -> String {
    let Some(object) = object else { return format!("{key} is gone\n") };
    let mut lines = Vec::new();
    let pods = pods(cluster, object).await.unwrap_or_else(|refusal| {
        lines.push(refusal.to_string());
        Vec::new()
    });
    for pod in pods.iter().take(MAX_PODS) {
        lines.extend(endings(pod));
    }
    match events(cluster, std::iter::once(object).chain(&pods)).await {
        Ok(events) => lines.extend(events),
        Err(refusal) => lines.push(refusal.to_string()),
    }
    lines.into_iter().map(|line| line + "\n").collect()
}

async fn pods(cluster: &Cluster, object: &Value) -> Result<Vec<Value>, Refusal> {
    if object.get("kind").and_then(Value::as_str) == Some("Pod") {
        return Ok(vec![object.clone()]);
    }
    let lookups = lookups(object);
    let Some(lookup) = lookups.iter().find(|lookup| lookup.kind == RelatedKind::Pod) else {
        return Ok(Vec::new());
    };
    let found = cluster.list(&Resource::pod(), Some(&lookup.namespace), &lookup.selector).await?;
    let ready = |pod: &Value| {
        let conditions = pod.pointer("/status/conditions").and_then(Value::as_array);
        conditions.into_iter().flatten().any(|it| it["type"] == "Ready" && it["status"] == "True")
    };
    Ok(found.into_iter().filter(|pod| !ready(pod)).collect())
}

/// How the containers of a pod are held up, or ended last.
fn endings(pod: &Value) -> Vec<String> {
    let name = text(pod, "/metadata/name");
    let statuses = ["/status/initContainerStatuses", "/status/containerStatuses"];
    let statuses = statuses.iter().filter_map(|at| pod.pointer(at)?.as_array()).flatten();
    let mut lines = Vec::new();
    for status in statuses {
        let container = text(status, "/name");
        let place = format!("pod {name}, container {container}");
        if let Some(waiting) = status.pointer("/state/waiting") {
            let (reason, message) = (text(waiting, "/reason"), text(waiting, "/message"));
            lines.push(format!("{place} waits: {reason} {}", short(message)));
        }
        let ended = status.pointer("/state/terminated");
        if let Some(ended) = ended.or_else(|| status.pointer("/lastState/terminated")) {
            let code = ended.get("exitCode").and_then(Value::as_i64).unwrap_or_default();
            let (reason, message) = (text(ended, "/reason"), text(ended, "/message"));
            lines.push(format!("{place} ended with {code}: {reason} {}", short(message)));
        }
    }
    lines
}

/// The latest warnings about some objects.
async fn events<'a>(
    cluster: &Cluster,
    objects: impl Iterator<Item = &'a Value>,
) -> Result<Vec<String>, Refusal> {
    let mut found = Vec::new();
    for object in objects.take(MAX_PODS + 1) {
        let namespace = object.pointer("/metadata/namespace").and_then(Value::as_str);
        let Some(id) = uid(object) else { continue };
        let about = format!("involvedObject.uid={id},type=Warning");
        found.extend(cluster.list_events(namespace, &about).await?);
    }
    let time = |event: &Value| {
        let times = ["/lastTimestamp", "/eventTime", "/metadata/creationTimestamp"];
        let time = times.iter().map(|at| text(event, at)).find(|time| !time.is_empty());
        time.unwrap_or_default().to_owned()
    };
    found.sort_by_key(time);
    Ok(found.iter().rev().take(MAX_EVENTS).map(told).collect())
}

fn told(event: &Value) -> String {
    let (kind, name) = (text(event, "/involvedObject/kind"), text(event, "/involvedObject/name"));
    let (reason, message) = (text(event, "/reason"), short(text(event, "/message")));
    let count = event.get("count").and_then(Value::as_i64).unwrap_or(1);
    let times = if count > 1 { format!(" ({count} times)") } else { String::new() };
    format!("{kind} {name}: {reason}: {message}{times}")
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn short(message: &str) -> String {
    cut(&message.split_whitespace().collect::<Vec<_>>().join(" "), MAX_MESSAGE_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_crashed_container_tells_how_it_ended_and_what_it_waits_for() {
        let pod = json!({
            "metadata": { "name": "web-1" },
            "status": { "containerStatuses": [{
                "name": "app",
                "state": { "waiting": { "reason": "CrashLoopBackOff", "message": "back-off\n10s" } },
                "lastState": { "terminated": { "exitCode": 3, "reason": "Error" } },
            }] },
        });
        assert_eq!(
            endings(&pod),
            [
                "pod web-1, container app waits: CrashLoopBackOff back-off 10s",
                "pod web-1, container app ended with 3: Error ",
            ]
        );
    }

    #[test]
    fn a_warning_says_what_it_is_about_and_how_often_it_came() {
        let event = json!({
            "involvedObject": { "kind": "Pod", "name": "web-1" },
            "reason": "Failed", "message": "no such image", "count": 4,
        });
        assert_eq!(told(&event), "Pod web-1: Failed: no such image (4 times)");
    }
}
