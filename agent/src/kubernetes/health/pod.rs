//! A Pod of its own: ready, or at its end (rule 19).

use k8s_openapi::api::core::v1::Pod;
use serde_json::Value;

use super::{
    condition::Condition,
    look::{Look, read, short},
    pin::Pin,
    pods::Counting,
};

/// How a Pod is.
pub(super) fn judge(object: &Value, pin: &Pin) -> Look {
    let pod: Pod = match read(object) {
        Ok(pod) => pod,
        Err(why) => return Look::in_progress(why),
    };
    let status = pod.status.clone().unwrap_or_default();
    let phase = status.phase.as_deref().unwrap_or("Pending");
    match phase {
        "Succeeded" => return Look::settled("has succeeded"),
        "Failed" => {
            let words = [status.reason.as_deref(), status.message.as_deref()];
            let words: Vec<_> = words.into_iter().flatten().map(short).collect();
            let why = if words.is_empty() { "no reason is given".into() } else { words.join(": ") };
            return Look::failed(format!("failed: {why}; read its log, and deploy again"));
        }
        _ => {}
    }
    if Condition::of(object, "Ready").is_some_and(Condition::is_true) {
        return Look::healthy();
    }
    Look::in_progress(format!("is {phase}, not Ready")).with_pods(&[pod], pin, Counting::All)
}
