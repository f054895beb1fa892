//! In which order objects are written, restored and deleted (rules 10, 12 and 24).
//!
//! Decides by group and kind alone. Deliberately does not know whether an object is ready for the
//! next one: that is waited for elsewhere.

use serde_json::Value;

use super::object::ObjectKey;

/// Kinds in the order in which they are installed: what others read or are admitted by comes first,
/// what sends traffic or scales comes after the workloads.
const INSTALL_ORDER: &[(&str, &str)] = &[
    ("scheduling.k8s.io", "PriorityClass"),
    ("", "Namespace"),
    ("networking.k8s.io", "NetworkPolicy"),
    ("", "ResourceQuota"),
    ("", "LimitRange"),
    ("policy", "PodDisruptionBudget"),
    ("", "ServiceAccount"),
    ("", "Secret"),
    ("", "ConfigMap"),
    ("storage.k8s.io", "StorageClass"),
    ("", "PersistentVolume"),
    ("", "PersistentVolumeClaim"),
    ("apiextensions.k8s.io", "CustomResourceDefinition"),
    ("rbac.authorization.k8s.io", "ClusterRole"),
    ("rbac.authorization.k8s.io", "ClusterRoleBinding"),
    ("rbac.authorization.k8s.io", "Role"),
    ("rbac.authorization.k8s.io", "RoleBinding"),
    ("", "Service"),
    ("apps", "DaemonSet"),
    ("", "Pod"),
    ("", "ReplicationController"),
    ("apps", "ReplicaSet"),
    ("apps", "Deployment"),
    ("apps", "StatefulSet"),
    ("batch", "Job"),
    ("batch", "CronJob"),
    ("networking.k8s.io", "IngressClass"),
    ("networking.k8s.io", "Ingress"),
    ("autoscaling", "HorizontalPodAutoscaler"),
    ("apiregistration.k8s.io", "APIService"),
    ("admissionregistration.k8s.io", "MutatingWebhookConfiguration"),
    ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration"),
];

/// The place of a kind in the install order. A kind of another group than the API's own has the
/// last place, whatever it is called: Knative has a `Service` too.
fn place(key: &ObjectKey) -> usize {
    let known = |(group, kind): &(&str, &str)| *group == key.group() && *kind == key.kind;
    INSTALL_ORDER.iter().position(known).unwrap_or(INSTALL_ORDER.len())
}

/// Sorts what one step writes: install order, and within one kind the order of the manifests
/// (rule 10). Custom resources come after all definitions; whether theirs is established is to be
/// waited for ([`defines`]).
pub fn sort_for_install<T>(objects: &mut [T], key: impl Fn(&T) -> &ObjectKey) {
    objects.sort_by_key(|object| place(key(object)));
}

/// Sorts what is to be deleted, by a prune or a rollback: the reverse of how it was written.
pub fn sort_for_delete<T>(objects: &mut [T], key: impl Fn(&T) -> &ObjectKey) {
    sort_for_install(objects, key);
    objects.reverse();
}

/// The order in which one step's writes are undone (rule 24).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UndoOrder<T> {
    /// First these get their former state back, config before workloads: in plain reverse order,
    /// old pods would start on new config.
    pub restore: Vec<T>,
    /// Then these are deleted, last written first.
    pub delete: Vec<T>,
}

/// Parts what a step has written into what existed before and what it created, each in its order.
/// Across steps, the last one is undone first.
pub fn undo<T>(
    objects: Vec<T>,
    key: impl Fn(&T) -> &ObjectKey,
    existed: impl Fn(&T) -> bool,
) -> UndoOrder<T> {
    let (mut restore, mut delete): (Vec<T>, Vec<T>) = objects.into_iter().partition(existed);
    sort_for_install(&mut restore, &key);
    sort_for_delete(&mut delete, &key);
    UndoOrder { restore, delete }
}

/// Whether `definition` is the CustomResourceDefinition of the object's kind, which has to be
/// established before the object is written.
pub fn defines(definition: &Value, key: &ObjectKey) -> bool {
    let text = |pointer| definition.pointer(pointer).and_then(Value::as_str);
    text("/kind") == Some("CustomResourceDefinition")
        && text("/spec/group") == Some(key.group())
        && text("/spec/names/kind") == Some(key.kind.as_str())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn key(api_version: &str, kind: &str, name: &str) -> ObjectKey {
        ObjectKey {
            api_version: api_version.to_owned(),
            kind: kind.to_owned(),
            namespace: Some("shop".to_owned()),
            name: name.to_owned(),
        }
    }

    fn shop() -> Vec<ObjectKey> {
        vec![
            key("apps/v1", "Deployment", "web"),
            key("autoscaling/v2", "HorizontalPodAutoscaler", "web"),
            key("v1", "ConfigMap", "b"),
            key("v1", "ConfigMap", "a"),
            key("serving.knative.dev/v1", "Service", "fn"),
            key("v1", "Service", "web"),
            key("networking.k8s.io/v1", "Ingress", "web"),
        ]
    }

    fn texts(keys: &[ObjectKey]) -> Vec<String> {
        keys.iter().map(|key| format!("{} {}", key.kind, key.name)).collect()
    }

    #[test]
    fn config_comes_before_workloads_and_traffic_after_them() {
        let mut keys = shop();
        sort_for_install(&mut keys, |key| key);
        assert_eq!(
            texts(&keys),
            [
                "ConfigMap b",
                "ConfigMap a",
                "Service web",
                "Deployment web",
                "Ingress web",
                "HorizontalPodAutoscaler web",
                "Service fn",
            ]
        );
    }

    #[test]
    fn an_undo_restores_config_before_workloads_and_deletes_in_reverse() {
        let created = ["a", "fn"];
        let order = undo(shop(), |key| key, |key| !created.contains(&key.name.as_str()));
        assert_eq!(texts(&order.restore)[..2], ["ConfigMap b", "Service web"]);
        assert_eq!(texts(&order.delete), ["Service fn", "ConfigMap a"]);
    }

    #[test]
    fn a_custom_resource_belongs_to_the_definition_of_its_group_and_kind() {
        let definition = json!({"kind": "CustomResourceDefinition",
            "spec": {"group": "shop.example", "names": {"kind": "Till"}}});
        assert!(defines(&definition, &key("shop.example/v1", "Till", "a")));
        assert!(!defines(&definition, &key("other.example/v1", "Till", "a")));
    }
}
