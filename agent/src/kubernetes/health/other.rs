//! Kinds that are judged by little: claims, services, definitions, and any kind by its conditions
//! (rules 19 and 20).

use serde_json::Value;

use super::{
    condition::Condition,
    kind_of,
    look::{Look, Trouble},
    pin::Pin,
};

/// Kinds that are right as soon as they exist: there is nothing to be said about them.
const PASSIVE: &[&str] = &[
    "v1/ConfigMap",
    "v1/Secret",
    "v1/ServiceAccount",
    "v1/ResourceQuota",
    "v1/LimitRange",
    "v1/PersistentVolume",
    "v1/Namespace",
    "v1/Endpoints",
    "v1/PodTemplate",
    "discovery.k8s.io/v1/EndpointSlice",
    "rbac.authorization.k8s.io/v1/Role",
    "rbac.authorization.k8s.io/v1/RoleBinding",
    "rbac.authorization.k8s.io/v1/ClusterRole",
    "rbac.authorization.k8s.io/v1/ClusterRoleBinding",
    "networking.k8s.io/v1/Ingress",
    "networking.k8s.io/v1/IngressClass",
    "networking.k8s.io/v1/NetworkPolicy",
    "policy/v1/PodDisruptionBudget",
    "autoscaling/v1/HorizontalPodAutoscaler",
    "autoscaling/v2/HorizontalPodAutoscaler",
    "batch/v1/CronJob",
    "coordination.k8s.io/v1/Lease",
    "storage.k8s.io/v1/StorageClass",
    "scheduling.k8s.io/v1/PriorityClass",
    "node.k8s.io/v1/RuntimeClass",
    "admissionregistration.k8s.io/v1/MutatingWebhookConfiguration",
    "admissionregistration.k8s.io/v1/ValidatingWebhookConfiguration",
    "admissionregistration.k8s.io/v1/ValidatingAdmissionPolicy",
    "admissionregistration.k8s.io/v1/ValidatingAdmissionPolicyBinding",
];

/// How a PersistentVolumeClaim is: one that waits for its first consumer is as it should be.
pub(super) fn claim(object: &Value) -> Look {
    match object.pointer("/status/phase").and_then(Value::as_str) {
        Some("Lost") => {
            Look::failed("has lost its volume; restore the volume, or make a claim of another name")
        }
        _ => Look::healthy(),
    }
}

/// How a Service is: one of type LoadBalancer needs an address.
pub(super) fn service(object: &Value) -> Look {
    let kind = object.pointer("/spec/type").and_then(Value::as_str);
    let addresses = object.pointer("/status/loadBalancer/ingress").and_then(Value::as_array);
    if kind == Some("LoadBalancer") && addresses.is_none_or(Vec::is_empty) {
        return Look::in_progress("its load balancer has no address yet");
    }
    Look::healthy()
}

/// How a CustomResourceDefinition is.
pub(super) fn definition(object: &Value, pin: &Pin) -> Look {
    if Condition::of(object, "Established").is_some_and(Condition::is_true) {
        return Look::healthy();
    }
    let refused = Condition::of(object, "NamesAccepted")
        .filter(|found| found.is_false() && found.written_at().is_some_and(|at| pin.is_fresh(at)));
    let why = refused.map(|found| {
        format!("its names are refused: {}; choose names that are free", found.text())
    });
    Look::in_progress("is not Established yet").or_failed(why)
}

/// How an object of any other kind is.
pub(super) fn judge(object: &Value, pin: &Pin) -> Look {
    let (api_version, kind) = kind_of(object);
    if PASSIVE.contains(&format!("{api_version}/{kind}").as_str()) {
        return Look::healthy();
    }
    let observed = object.pointer("/status/observedGeneration").and_then(Value::as_i64);
    if let Some(look) = observed.and_then(|observed| pin.unobserved(object, Some(observed))) {
        return look;
    }
    // What a condition says of an older generation is not said of this one.
    let current = |kind: &str| {
        let found = Condition::of(object, kind)?;
        let told = found.generation();
        Some((found, told.is_none_or(|told| told >= pin.wanted_generation(object))))
    };
    let [stalled, reconciling, ready] = ["Stalled", "Reconciling", "Ready"].map(current);
    if let Some((found, true)) = stalled.filter(|(found, _)| found.is_true()) {
        return self::stalled(found, pin);
    }
    match (reconciling, ready) {
        (Some((found, _)), _) if found.is_true() => {
            Look::in_progress(format!("is reconciling: {}", found.text()))
        }
        (_, Some((_, false))) => Look::in_progress("Ready tells of an older generation"),
        (_, Some((found, true))) if !found.is_true() => {
            Look::in_progress(format!("is not Ready: {}", found.text()))
        }
        (None, None) if stalled.is_none() => Look::exists(),
        _ => Look::healthy(),
    }
}

/// An object whose controller has given up, as far as that is known to be about our apply.
fn stalled(found: Condition<'_>, pin: &Pin) -> Look {
    let text = format!("is stalled: {}", found.text());
    let failed = format!("{text}; correct what its controller names");
    match found.written_at() {
        Some(at) if pin.is_fresh(at) => Look::failed(failed),
        Some(_) => Look::in_progress(format!("{text} (so since before this apply)")),
        None => {
            let mut look = Look::in_progress(text);
            look.troubles.push(Trouble { what: "Stalled", text: failed });
            look
        }
    }
}
