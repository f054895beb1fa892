//! Roles, as `kubectl apply` takes them.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{Rights, Subject};

/// The Role that gives these rights and these further rules.
pub fn role(name: &str, namespace: &str, rights: &Rights, more: &[Value]) -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": { "name": name, "namespace": namespace },
        "rules": rules(rights, more),
    })
}

/// The ClusterRole that gives these rights and these further rules.
pub fn cluster_role(name: &str, rights: &Rights, more: &[Value]) -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": { "name": name },
        "rules": rules(rights, more),
    })
}

fn rules(rights: &Rights, more: &[Value]) -> Vec<Value> {
    let rule = |(subject, verbs): (&Subject, &BTreeSet<&str>)| json!({ "apiGroups": [subject.group], "resources": [subject.resource], "verbs": verbs });
    let mut rules: Vec<Value> = rights.iter().map(rule).collect();
    for rule in more {
        if !rules.contains(rule) {
            rules.push(rule.clone());
        }
    }
    rules
}

#[cfg(test)]
mod tests {
    use super::{super::at_home, *};

    #[test]
    fn a_role_names_every_rule_once() {
        let more = json!({ "apiGroups": [""], "resources": ["nodes"], "verbs": ["get"] });
        let role = role("lockstep", "shop", &at_home(), &[more.clone(), more.clone()]);
        assert_eq!(role["rules"].as_array().map(Vec::len), Some(2));
        assert_eq!(role["rules"][1], more);
        assert_eq!(role["rules"][0]["resources"], json!(["secrets"]));
    }
}
