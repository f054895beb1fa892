//! Whether what was applied is healthy (rules 14 to 22 of the Kubernetes target).
//!
//! Decides from fetched objects alone: what one look at an object says ([`judge`]), what else has
//! to be fetched for that ([`lookups`]), and, with time, whether a step's objects are in progress,
//! healthy, failed or settled for good ([`StepHealth`]). Also what cannot be waited for at all
//! ([`refusal`]), and which pods are new ([`new_pods`]) and run which images ([`images`]). Deliberately knows no client, no clock and no
//! log: who fetches, how often, and what a failure means for the run is decided elsewhere.

mod condition;
mod daemon_set;
mod deployment;
mod expression;
mod images;
mod job;
mod look;
mod other;
mod pin;
mod pod;
mod pods;
mod refuse;
mod related;
mod revision;
mod stateful_set;
mod step;
mod watch;

#[cfg(test)]
mod tests;

use serde_json::Value;

pub use expression::{RuleError, Rules};
pub use images::images;
pub use look::{Health, Look};
pub use pin::{Pin, PinError};
pub use refuse::{Refusal, refusal};
pub use related::{Lookup, Related, RelatedKind, lookups, related_kinds};
pub use revision::new_pods;
pub use step::{StepHealth, StepVerdict};
pub use watch::{Limits, Verdict};

use pin::Standing;

use super::object::is_being_deleted;

/// An object as it was fetched, with what else was fetched for judging it.
#[derive(Debug, Clone, Copy)]
pub struct Sight<'a> {
    /// The object; `None` if it is gone.
    pub object: Option<&'a Value>,
    /// What its [`lookups`] found.
    pub related: &'a Related,
}

/// What one look at an applied object says of it, without regard to how long it has been so.
pub fn judge(sight: Sight<'_>, pin: &Pin, rules: &Rules) -> Look {
    let Some(object) = sight.object else {
        return Look::failed(
            "is gone before it was seen done or healthy; find out who deleted it (for a Job, \
             ttlSecondsAfterFinished may be too short)",
        );
    };
    match pin.standing(object) {
        Standing::Ours => {}
        Standing::Stale => {
            return Look::in_progress("what was read is older than what was applied");
        }
        Standing::Lost(why) => return Look::failed(why),
    }
    let look = match rules.of(object) {
        Some(rule) => rule.judge(object, pin),
        None => by_kind(object, sight.related, pin),
    };
    match look.health {
        // A Job that is complete may be on its way out (ttlSecondsAfterFinished).
        Health::Settled => look,
        _ if is_being_deleted(object) => {
            Look::failed("is being deleted; find out who deletes it, and deploy again")
        }
        _ => look,
    }
}

fn by_kind(object: &Value, related: &Related, pin: &Pin) -> Look {
    match kind_of(object) {
        ("apps/v1", "Deployment") => deployment::judge(object, related, pin),
        ("apps/v1", "StatefulSet") => stateful_set::judge(object, related, pin),
        ("apps/v1", "DaemonSet") => daemon_set::judge(object, related, pin),
        ("batch/v1", "Job") => job::judge(object, related, pin),
        ("v1", "Pod") => pod::judge(object, pin),
        ("v1", "PersistentVolumeClaim") => other::claim(object),
        ("v1", "Service") => other::service(object),
        ("apiextensions.k8s.io/v1", "CustomResourceDefinition") => other::definition(object, pin),
        _ => other::judge(object, pin),
    }
}

/// The object's apiVersion and kind, empty where it has none.
fn kind_of(object: &Value) -> (&str, &str) {
    let text = |key: &str| object.get(key).and_then(Value::as_str).unwrap_or_default();
    (text("apiVersion"), text("kind"))
}
