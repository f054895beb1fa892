//! A Job: done once it is Complete, and nothing else (rule 18).

use k8s_openapi::api::{batch::v1::Job, core::v1::Pod};
use serde_json::Value;

use super::{
    condition::Condition,
    look::{Look, read},
    pin::Pin,
    pods::Counting,
    related::Related,
};

/// How a Job is.
///
/// Failed is final, so its age does not matter: a Job that failed before our apply never completes.
pub(super) fn judge(object: &Value, related: &Related, pin: &Pin) -> Look {
    let job: Job = match read(object) {
        Ok(job) => job,
        Err(why) => return Look::in_progress(why),
    };
    if Condition::of(object, "Complete").is_some_and(Condition::is_true) {
        return Look::settled("is complete");
    }
    if let Some(failed) = Condition::of(object, "Failed").filter(|found| found.is_true()) {
        return Look::failed(format!(
            "failed: {}; read the log of its pods, and give the Job a new name (or generateName) \
             to run it again",
            failed.text()
        ));
    }
    if job.spec.as_ref().and_then(|spec| spec.suspend) == Some(true) {
        return Look::in_progress("is suspended; set spec.suspend to false to have it run");
    }
    let pods: Vec<Pod> = related.pods(job.metadata.uid.as_deref().unwrap_or_default());
    Look::in_progress(counts(&job)).with_pods(&pods, pin, Counting::Starts)
}

fn counts(job: &Job) -> String {
    let status = job.status.clone().unwrap_or_default();
    let succeeded = status.succeeded.unwrap_or(0);
    let wanted = job.spec.as_ref().and_then(|spec| spec.completions);
    let mut text = match wanted {
        Some(wanted) => format!("{succeeded}/{wanted} succeeded"),
        None => format!("{succeeded} succeeded"),
    };
    let (active, failed) = (status.active.unwrap_or(0), status.failed.unwrap_or(0));
    for (count, what) in [(active, "active"), (failed, "failed")] {
        if count > 0 {
            text = format!("{text}, {count} {what}");
        }
    }
    text
}
