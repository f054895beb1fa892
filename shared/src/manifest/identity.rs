//! Which object a manifest is about, and where objects of its kind live.
//!
//! The kinds that Kubernetes itself brings are known here. Of all others only a cluster knows
//! where they live: an agent asks it.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Where objects of a kind live.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// In a namespace.
    Namespaced,
    /// Beside all namespaces.
    Cluster,
}

/// The kinds of Kubernetes that live beside all namespaces, by group.
const CLUSTER_KINDS: &[(&str, &[&str])] = &[
    ("", &["ComponentStatus", "Namespace", "Node", "PersistentVolume"]),
    (
        "admissionregistration.k8s.io",
        &[
            "MutatingAdmissionPolicy",
            "MutatingAdmissionPolicyBinding",
            "MutatingWebhookConfiguration",
            "ValidatingAdmissionPolicy",
            "ValidatingAdmissionPolicyBinding",
            "ValidatingWebhookConfiguration",
        ],
    ),
    ("apiextensions.k8s.io", &["CustomResourceDefinition"]),
    ("apiregistration.k8s.io", &["APIService"]),
    ("certificates.k8s.io", &["CertificateSigningRequest", "ClusterTrustBundle"]),
    ("flowcontrol.apiserver.k8s.io", &["FlowSchema", "PriorityLevelConfiguration"]),
    ("networking.k8s.io", &["IPAddress", "IngressClass", "ServiceCIDR"]),
    ("node.k8s.io", &["RuntimeClass"]),
    ("rbac.authorization.k8s.io", &["ClusterRole", "ClusterRoleBinding"]),
    ("resource.k8s.io", &["DeviceClass", "DeviceTaintRule", "ResourceSlice"]),
    ("scheduling.k8s.io", &["PriorityClass"]),
    (
        "storage.k8s.io",
        &["CSIDriver", "CSINode", "StorageClass", "VolumeAttachment", "VolumeAttributesClass"],
    ),
    ("storagemigration.k8s.io", &["StorageVersionMigration"]),
];

/// The kinds of Kubernetes that live in a namespace, by group.
const NAMESPACED_KINDS: &[(&str, &[&str])] = &[
    (
        "",
        &[
            "ConfigMap",
            "Endpoints",
            "Event",
            "LimitRange",
            "PersistentVolumeClaim",
            "Pod",
            "PodTemplate",
            "ReplicationController",
            "ResourceQuota",
            "Secret",
            "Service",
            "ServiceAccount",
        ],
    ),
    ("apps", &["ControllerRevision", "DaemonSet", "Deployment", "ReplicaSet", "StatefulSet"]),
    ("autoscaling", &["HorizontalPodAutoscaler"]),
    ("batch", &["CronJob", "Job"]),
    ("certificates.k8s.io", &["PodCertificateRequest"]),
    ("coordination.k8s.io", &["Lease", "LeaseCandidate"]),
    ("discovery.k8s.io", &["EndpointSlice"]),
    ("events.k8s.io", &["Event"]),
    ("networking.k8s.io", &["Ingress", "NetworkPolicy"]),
    ("policy", &["PodDisruptionBudget"]),
    ("rbac.authorization.k8s.io", &["Role", "RoleBinding"]),
    ("resource.k8s.io", &["ResourceClaim", "ResourceClaimTemplate"]),
    ("storage.k8s.io", &["CSIStorageCapacity"]),
];

/// Where objects of a kind live, if it is one that Kubernetes itself brings.
pub fn known_scope(group: &str, kind: &str) -> Option<Scope> {
    let has = |table: &[(&str, &[&str])]| {
        table.iter().any(|(of, kinds)| *of == group && kinds.contains(&kind))
    };
    if has(CLUSTER_KINDS) {
        Some(Scope::Cluster)
    } else {
        has(NAMESPACED_KINDS).then_some(Scope::Namespaced)
    }
}

/// The group of an `apiVersion`: `apps` of `apps/v1`, nothing of `v1`.
pub fn group_of(api_version: &str) -> &str {
    api_version.split_once('/').map_or("", |(group, _)| group)
}

/// One object of a cluster, whatever version of its kind it is written in.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity {
    /// The group of its `apiVersion`; empty for the core of Kubernetes.
    pub group: String,
    /// Its kind.
    pub kind: String,
    /// Its namespace; `None` beside all namespaces.
    pub namespace: Option<String>,
    /// Its name; with `generateName` that and `*`.
    pub name: String,
}

impl Identity {
    /// The identity of an object as it is sent; empty texts where a part is missing.
    pub fn of(object: &Value) -> Self {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let metadata = &object["metadata"];
        let generated = || text(&metadata["generateName"]).map(|base| format!("{base}*"));
        Self {
            group: group_of(object["apiVersion"].as_str().unwrap_or_default()).to_owned(),
            kind: text(&object["kind"]).unwrap_or_default(),
            namespace: text(&metadata["namespace"]),
            name: text(&metadata["name"]).or_else(generated).unwrap_or_default(),
        }
    }

    /// Whether the name is made when the object is applied, so that no other object has it.
    pub fn is_generated(&self) -> bool {
        self.name.ends_with('*')
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, name, .. } = self;
        match &self.namespace {
            Some(namespace) => write!(formatter, "{kind} {namespace}/{name}"),
            None => write!(formatter, "{kind} {name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn kinds_of_kubernetes_are_known_and_others_are_not() {
        for (group, kind, scope) in [
            ("apps", "Deployment", Some(Scope::Namespaced)),
            ("", "Namespace", Some(Scope::Cluster)),
            ("rbac.authorization.k8s.io", "ClusterRole", Some(Scope::Cluster)),
            ("serving.knative.dev", "Service", None),
            ("apps", "Sometime", None),
        ] {
            assert_eq!(known_scope(group, kind), scope, "{group} {kind}");
        }
    }

    #[test]
    fn an_object_is_the_same_in_every_version_of_its_kind() {
        let of = |version: &str| {
            Identity::of(&json!({
                "apiVersion": version, "kind": "Deployment",
                "metadata": { "name": "web", "namespace": "shop" },
            }))
        };
        assert_eq!(of("apps/v1"), of("apps/v1beta1"));
        assert_ne!(of("apps/v1"), of("example.com/v1"));
        assert_eq!(of("apps/v1").to_string(), "Deployment shop/web");
    }
}
