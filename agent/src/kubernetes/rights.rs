//! What an agent needs to be allowed in its cluster (rule 33): the exact Role for what a workflow
//! deploys, and whether these credentials have it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::client::{Cluster, Refusal};

/// A kind of object in one namespace, as rights name it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subject {
    /// The API group; empty for the core group.
    pub group: String,
    /// The resource, perhaps with a part of it: `pods/log`.
    pub resource: String,
}

impl Subject {
    fn new(group: &str, resource: &str) -> Self {
        Self { group: group.to_owned(), resource: resource.to_owned() }
    }
}

/// What may be done to each kind.
pub type Rights = BTreeMap<Subject, BTreeSet<&'static str>>;

/// What is done to the objects that a step brings.
const DEPLOYED: &[&str] = &["get", "list", "watch", "create", "patch", "delete"];

/// Kinds of no namespace that nothing of ours ever deletes, so that nobody has to let us.
const NEVER_DELETED: &[(&str, &str)] = &[
    ("apiextensions.k8s.io", "customresourcedefinitions"),
    ("", "namespaces"),
    ("", "persistentvolumes"),
];

/// What is read and written besides, in the namespace of the objects.
const BESIDES: &[(&str, &str, &[&str])] = &[
    ("apps", "replicasets", &["get", "list", "watch"]),
    ("apps", "controllerrevisions", &["get", "list", "watch"]),
    ("", "pods", &["get", "list", "watch", "delete"]),
    ("", "pods/log", &["get"]),
    ("", "events", &["get", "list"]),
    ("autoscaling", "horizontalpodautoscalers", &["get", "list"]),
    ("coordination.k8s.io", "leases", &["get", "list", "create", "patch", "delete"]),
];

/// What is written where the agent keeps its undo records.
const KEPT: &[(&str, &str, &[&str])] =
    &[("", "secrets", &["get", "list", "create", "patch", "delete"])];

/// The rights in the namespace of a workflow's objects.
pub fn at_target(deployed: &BTreeSet<Subject>) -> Rights {
    let mut rights = listed(BESIDES);
    for subject in deployed {
        rights.entry(subject.clone()).or_default().extend(DEPLOYED);
    }
    rights
}

/// The rights on objects of no namespace, such as definitions: no Role gives them.
pub fn cluster_wide(deployed: &BTreeSet<Subject>) -> Rights {
    let verbs = |subject: &Subject| {
        let is_kept = NEVER_DELETED.contains(&(subject.group.as_str(), subject.resource.as_str()));
        DEPLOYED.iter().copied().filter(|verb| !is_kept || *verb != "delete").collect()
    };
    deployed.iter().map(|subject| (subject.clone(), verbs(subject))).collect()
}

/// The rights in the agent's own namespace.
pub fn at_home() -> Rights {
    listed(KEPT)
}

fn listed(rules: &[(&str, &str, &[&'static str])]) -> Rights {
    let right = |(group, resource, verbs): &(&str, &str, &[&'static str])| {
        (Subject::new(group, resource), verbs.iter().copied().collect())
    };
    rules.iter().map(right).collect()
}

/// The rights of both.
pub fn together(one: Rights, other: Rights) -> Rights {
    let mut all = one;
    for (subject, verbs) in other {
        all.entry(subject).or_default().extend(verbs);
    }
    all
}

/// Those of a Role's rules that go beyond these rights. Who makes a Role has to hold what it
/// grants.
pub fn beyond(rules: &[Value], rights: &Rights) -> Vec<Value> {
    let is_held = |(group, resource, verb, _): &(&str, &str, &str, &str)| {
        let verbs = rights.get(&Subject::new(group, resource));
        verbs.is_some_and(|verbs| verbs.iter().any(|held| held == verb))
    };
    let goes_beyond = |rule: &&Value| {
        let singles = singles(rule);
        singles.is_empty() || !singles.iter().all(is_held)
    };
    rules.iter().filter(goes_beyond).cloned().collect()
}

/// Each group, resource, verb and name (empty: all) that a rule names.
fn singles(rule: &Value) -> Vec<(&str, &str, &str, &str)> {
    let texts = |member: &str| -> Vec<&str> {
        rule[member].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
    };
    let (groups, resources) = (texts("apiGroups"), texts("resources"));
    let (verbs, mut names) = (texts("verbs"), texts("resourceNames"));
    if names.is_empty() {
        names.push("");
    }
    let mut singles = Vec::new();
    for group in groups {
        for resource in &resources {
            for verb in &verbs {
                singles.extend(names.iter().map(|name| (group, *resource, *verb, *name)));
            }
        }
    }
    singles
}

/// The Role that gives these rights and `granted` rules, as `kubectl apply` takes it.
pub fn role(name: &str, namespace: &str, rights: &Rights, granted: &[Value]) -> Value {
    let rules = [rules(rights).as_slice(), granted].concat();
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": { "name": name, "namespace": namespace },
        "rules": rules,
    })
}

/// The ClusterRole that gives these rights on objects of no namespace.
pub fn cluster_role(name: &str, rights: &Rights) -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": { "name": name },
        "rules": rules(rights),
    })
}

fn rules(rights: &Rights) -> Vec<Value> {
    let rule = |(subject, verbs): (&Subject, &BTreeSet<&str>)| json!({ "apiGroups": [subject.group], "resources": [subject.resource], "verbs": verbs });
    rights.iter().map(rule).collect()
}

/// Those of the rights that these credentials do not have in a namespace; in none (an empty name):
/// on objects of no namespace.
///
/// # Errors
/// [`Refusal`] if the server does not say.
pub async fn missing(
    cluster: &Cluster,
    namespace: &str,
    rights: &Rights,
) -> Result<Rights, Refusal> {
    let mut missing = Rights::new();
    for (subject, verbs) in rights {
        for verb in verbs {
            if !cluster.may(namespace, &subject.group, &subject.resource, verb, "").await? {
                missing.entry(subject.clone()).or_default().insert(verb);
            }
        }
    }
    Ok(missing)
}

/// What these rules allow and these credentials may not do, each as a person reads it.
///
/// # Errors
/// [`Refusal`] if the server does not say.
pub async fn missing_of(
    cluster: &Cluster,
    namespace: &str,
    rules: &[Value],
) -> Result<Vec<String>, Refusal> {
    let mut missing = Vec::new();
    for (group, resource, verb, name) in rules.iter().flat_map(singles) {
        if !cluster.may(namespace, group, resource, verb, name).await? {
            let dot = if group.is_empty() { "" } else { "." };
            let name = if name.is_empty() { String::new() } else { format!(" {name}") };
            missing.push(format!("{verb} {resource}{dot}{group}{name}"));
        }
    }
    Ok(missing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_that_is_deployed_and_looked_at_gets_the_rights_of_both() {
        let deployed =
            BTreeSet::from([Subject::new("", "pods"), Subject::new("apps", "deployments")]);
        let rights = at_target(&deployed);
        assert!(rights[&Subject::new("", "pods")].contains("patch"));
        assert!(rights[&Subject::new("apps", "deployments")].contains("delete"));
        assert!(!rights[&Subject::new("apps", "replicasets")].contains("patch"));
    }

    #[test]
    fn what_a_role_of_the_manifests_grants_besides_is_needed_as_well() {
        let rights = at_target(&BTreeSet::from([Subject::new("", "configmaps")]));
        let rule = |resource: &str| json!({ "apiGroups": [""], "resources": [resource], "verbs": ["get", "list"] });
        assert_eq!(beyond(&[rule("configmaps"), rule("nodes")], &rights), [rule("nodes")]);
    }

    #[test]
    fn of_no_namespace_only_what_is_kept_need_not_be_deleted() {
        let definitions = Subject::new("apiextensions.k8s.io", "customresourcedefinitions");
        let classes = Subject::new("networking.k8s.io", "ingressclasses");
        let rights = cluster_wide(&BTreeSet::from([definitions.clone(), classes.clone()]));
        assert!(rights[&classes].contains("delete") && rights[&classes].contains("create"));
        assert!(
            !rights[&definitions].contains("delete") && rights[&definitions].contains("create")
        );
    }

    #[test]
    fn a_role_names_every_right_once_and_nothing_that_would_give_more() {
        let deployed = BTreeSet::from([Subject::new("", "secrets")]);
        let rights = together(at_target(&deployed), at_home());
        let role = role("lockstep", "shop", &rights, &[]);
        let text = role.to_string();
        assert_eq!(text.matches("\"secrets\"").count(), 1);
        assert!(!text.contains("escalate") && !text.contains("bind") && !text.contains('*'));
    }
}
