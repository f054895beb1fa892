//! The ends of failed containers' logs (rule 23), for who was told that they may leave the cluster.
//!
//! Bounded in number, lines, bytes and time: a rollback waits for this.

use std::time::Duration;

use futures::{StreamExt, stream};
use lockstep_shared::fold::tail;
use serde_json::Value;

use super::{
    super::client::{Cluster, LogOf},
    short, statuses, text,
};

/// How many containers' logs are told.
const MAX_LOGS: usize = 3;

/// How much of one is told: all of them leave room for the rest of a record's output.
const MAX_LINES: u32 = 20;
const MAX_BYTES: usize = 1280;

/// The ends of the logs of these pods' failed containers, one after the other; what cannot be read
/// is said.
pub(super) async fn ends(cluster: &Cluster, pods: &[Value], limit: Duration) -> Vec<String> {
    let mut lines = Vec::new();
    let wanted: Vec<LogOf> = pods.iter().flat_map(wanted).take(MAX_LOGS).collect();
    let asked: Vec<_> =
        wanted.iter().map(|log| async move { (log, cluster.log(log, MAX_LINES).await) }).collect();
    let mut answers = stream::iter(asked).buffered(MAX_LOGS);
    let reading = async {
        while let Some((log, answer)) = answers.next().await {
            let previous = if log.previous { ", before it ended" } else { "" };
            let of = format!("pod {}, container {}{previous}", log.pod, log.container);
            match answer {
                Ok(text) if text.trim().is_empty() => lines.push(format!("log of {of}: empty")),
                Ok(text) => lines.extend(told(&of, &text)),
                Err(refusal) => lines.push(short(&format!("no log of {of}: {refusal}"))),
            }
        }
    };
    let in_time = tokio::time::timeout(limit, reading).await;
    if in_time.is_err() {
        lines.push("no further logs: reading them took too long".to_owned());
    }
    lines
}

fn told(of: &str, text: &str) -> Vec<String> {
    let end = tail(text.trim_end(), MAX_BYTES).lines().map(|line| format!("  {line}"));
    std::iter::once(format!("log of {of}:")).chain(end).collect()
}

/// The logs of a pod that say why it failed: of what crashed, as it was before; of what runs and is
/// not ready, as it is. What never began has none.
fn wanted(pod: &Value) -> Vec<LogOf> {
    let of = |status: &Value| {
        let has = |at: &str| status.pointer(at).is_some();
        let is_fine = status["ready"] == true
            || status.pointer("/state/terminated/exitCode") == Some(&0.into());
        let previous = has("/lastState/terminated") && !has("/state/terminated");
        let has_one = previous || has("/state/terminated") || has("/state/running");
        (has_one && !is_fine).then(|| LogOf {
            namespace: text(pod, "/metadata/namespace").to_owned(),
            pod: text(pod, "/metadata/name").to_owned(),
            container: text(status, "/name").to_owned(),
            previous,
        })
    };
    statuses(pod).filter_map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of(status: Value) -> Option<bool> {
        let pod = json!({
            "metadata": { "namespace": "shop", "name": "web-1" },
            "status": { "containerStatuses": [status] },
        });
        wanted(&pod).first().map(|log| log.previous)
    }

    #[test]
    fn what_crashed_is_told_as_it_was_and_what_is_not_ready_as_it_is() {
        let ended = json!({ "terminated": { "exitCode": 3 } });
        let waits = json!({ "waiting": { "reason": "CrashLoopBackOff" } });
        let runs = json!({ "running": {} });
        assert_eq!(of(json!({ "state": waits, "lastState": ended })), Some(true));
        assert_eq!(of(json!({ "state": runs, "lastState": ended, "ready": false })), Some(true));
        assert_eq!(of(json!({ "state": ended, "lastState": ended })), Some(false));
        assert_eq!(of(json!({ "state": runs, "ready": false })), Some(false));
    }

    #[test]
    fn what_is_fine_or_never_began_has_nothing_to_tell() {
        let waits = json!({ "waiting": { "reason": "ImagePullBackOff" } });
        let done = json!({ "terminated": { "exitCode": 0 } });
        assert_eq!(of(json!({ "state": { "running": {} }, "ready": true })), None);
        assert_eq!(of(json!({ "state": waits })), None);
        assert_eq!(of(json!({ "state": done })), None);
    }

    #[test]
    fn only_the_end_of_a_long_log_is_told() {
        let text = "x".repeat(10 * MAX_BYTES) + "\nthe end\n";
        let lines = told("pod web-1, container app", &text);
        assert_eq!(lines[0], "log of pod web-1, container app:");
        assert_eq!(lines.last().unwrap(), "  the end");
        assert!(lines.iter().map(String::len).sum::<usize>() < MAX_BYTES + 100);
    }
}
