//! Claims, services and definitions (rule 19).

use serde_json::{Value, json};

use super::fixtures::{AFTER, BEFORE, Row, condition, meta, row};

pub(super) fn rows() -> Vec<Row> {
    let claim = |phase: &str| {
        json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": meta("data"),
            "status": {"phase": phase}})
    };
    let service = |kind: &str, status: Value| {
        json!({"apiVersion": "v1", "kind": "Service", "metadata": meta("web"),
            "spec": {"type": kind}, "status": status})
    };
    let definition = |conditions: Value| {
        json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": meta("things.shop.dev"), "status": {"conditions": conditions}})
    };
    let refused = |time| json!([condition("NamesAccepted", "False", "Conflict", time)]);
    let unready = "in progress: CustomResourceDefinition things.shop.dev: is not Established yet";
    vec![
        row("a claim that waits for its first consumer", claim("Pending"), "healthy").after(600),
        row("a claim that is bound", claim("Bound"), "healthy"),
        row(
            "a claim that lost its volume",
            claim("Lost"),
            "failed: PersistentVolumeClaim data: has lost its volume...",
        ),
        row("a plain service", service("ClusterIP", json!({"loadBalancer": {}})), "healthy"),
        row(
            "a load balancer without an address",
            service("LoadBalancer", json!({"loadBalancer": {}})),
            "in progress: Service web: its load balancer has no address yet",
        ),
        row(
            "a load balancer with an address",
            service("LoadBalancer", json!({"loadBalancer": {"ingress": [{"ip": "203.0.113.7"}]}})),
            "healthy",
        ),
        row(
            "a definition that is established",
            definition(json!([condition("Established", "True", "InitialNamesAccepted", BEFORE)])),
            "healthy",
        ),
        row("a definition that is new", definition(json!(null)), unready),
        row(
            "a definition whose names are refused",
            definition(refused(AFTER)),
            "failed: CustomResourceDefinition things.shop.dev: its names are refused: Conflict...",
        ),
        row("a definition whose names were refused before", definition(refused(BEFORE)), unready),
        row(
            "a ConfigMap",
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta("settings"), "data": {}}),
            "healthy",
        ),
    ]
}
