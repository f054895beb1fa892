//! What a failed object leaves to be seen, before a rollback takes it away (rule 23): its warnings,
//! how its containers ended and, if that is wanted, what they printed.
//!
//! Best effort: nothing that cannot be seen stands in the way of a rollback.

mod logs;

use std::time::Duration;

use lockstep_shared::fold::cut;
use serde_json::Value;

use super::{
    client::{Cluster, Refusal},
    health::new_pods,
    looks::{Fetched, fetch},
    object::{ObjectKey, uid},
};

/// How many events and pods are told of, the latest first.
const MAX_EVENTS: usize = 8;
const MAX_PODS: usize = 4;

/// How much of a message that somebody else wrote is kept, in bytes.
const MAX_MESSAGE_BYTES: usize = 300;

/// How long looking at everything may take, and reading the logs as long: a rollback waits for it.
pub(crate) const LIMIT: Duration = Duration::from_secs(10);

/// What of failed pods may leave the cluster, into the log of a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Evidence {
    /// Conditions, events and how containers ended
    #[default]
    Events,
    /// Also the ends of their logs
    Logs,
}

/// What is to be seen of failed objects, one line for each thing; what cannot be seen is said.
pub(crate) async fn gather(
    cluster: &Cluster,
    keys: &[ObjectKey],
    evidence: Evidence,
    limit: Duration,
) -> String {
    let (mut lines, mut failed) = (Vec::new(), Vec::new());
    let looking = async {
        for key in keys {
            match fetch(cluster.clone(), key.clone()).await {
                Ok(found) => look(cluster, key, &found, &mut lines, &mut failed).await,
                Err(refusal) => lines.push(refusal.to_string()),
            }
        }
    };
    if tokio::time::timeout(limit, looking).await.is_err() {
        lines.push("what else there is to be seen could not be read in time".to_owned());
    }
    if evidence == Evidence::Logs {
        lines.extend(logs::ends(cluster, &failed, limit).await);
    }
    lines.into_iter().map(|line| line + "\n").collect()
}

/// Looks at one object and the pods of its new revision that are not ready.
async fn look(
    cluster: &Cluster,
    key: &ObjectKey,
    found: &Fetched,
    lines: &mut Vec<String>,
    failed: &mut Vec<Value>,
) {
    let Some(object) = &found.object else { return lines.push(format!("{key} is gone")) };
    let pods = new_pods(found.sight());
    let pods = pods.iter().filter_map(|pod| serde_json::to_value(pod).ok());
    let pods: Vec<Value> = pods.filter(|pod| !is_ready(pod)).take(MAX_PODS).collect();
    lines.extend(pods.iter().flat_map(endings));
    failed.extend(pods.iter().cloned());
    match events(cluster, std::iter::once(object).chain(&pods)).await {
        Ok(events) => lines.extend(events),
        Err(refusal) => lines.push(refusal.to_string()),
    }
}

fn is_ready(pod: &Value) -> bool {
    let conditions = pod.pointer("/status/conditions").and_then(Value::as_array);
    conditions.into_iter().flatten().any(|it| it["type"] == "Ready" && it["status"] == "True")
}

/// How each container of a pod is.
fn statuses(pod: &Value) -> impl Iterator<Item = &Value> {
    let statuses = ["/status/initContainerStatuses", "/status/containerStatuses"];
    statuses.into_iter().filter_map(|at| pod.pointer(at)?.as_array()).flatten()
}

/// How the containers of a pod are held up, or ended last.
fn endings(pod: &Value) -> Vec<String> {
    let name = text(pod, "/metadata/name");
    let mut lines = Vec::new();
    for status in statuses(pod) {
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
