//! What the Roles and bindings among the manifests grant: the server lets nobody grant what he does
//! not hold himself.
//!
//! A Role is asked about as it is to be and as it is now, since a rollback gives that back. Of a
//! binding to a Role that is not among the manifests the cluster has to say what that grants; whoever
//! may `bind` it need not hold it.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{Deed, Rights, Subject, deeds};
use crate::kubernetes::client::{Cluster, Place, Reason, Refusal, Resource};

/// The group of Roles and bindings.
const GROUP: &str = "rbac.authorization.k8s.io";

/// The version in which they are read.
const VERSION: &str = "rbac.authorization.k8s.io/v1";

/// With these, who holds something can give himself more: no Role of ours has them (rule 33).
const ESCALATING: &[&str] = &["escalate", "bind"];

/// Where something is granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// In the namespace of the workflow's objects.
    Namespace,
    /// In the whole cluster.
    Cluster,
}

/// What one object of the manifests grants.
#[derive(Debug, Clone, PartialEq)]
pub struct Grant {
    /// Which object: `RoleBinding readers`.
    pub by: String,
    /// Where it does.
    pub scope: Scope,
    /// What it grants, as far as that is known.
    pub rules: Vec<Value>,
    /// The Role that it binds, if it is a binding.
    pub bound: Option<Bound>,
    /// Why it is not known what else it grants.
    pub unknown: Option<Unknown>,
}

/// Why it is not known what a Role grants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unknown {
    /// These credentials may not read it.
    Hidden,
    /// It is not there yet.
    Absent,
}

/// A Role as a binding names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bound {
    /// `Role` or `ClusterRole`.
    pub kind: String,
    /// Its name.
    pub name: String,
}

impl Bound {
    fn resource(&self) -> Resource {
        let resource = Resource::built_in(VERSION, &self.kind, &(self.kind.to_lowercase() + "s"));
        Resource { namespaced: self.kind == "Role", ..resource }
    }

    /// The right to bind it without holding what it grants, which only a person can give.
    pub fn deed(&self) -> Deed {
        let subject = Subject::new(GROUP, &self.resource().plural);
        Deed::To { subject, name: self.name.clone(), verb: "bind".to_owned() }
    }
}

impl Grant {
    /// Whether who holds what it grants could give himself more.
    pub fn escalates(&self) -> bool {
        self.rules.iter().any(escalates)
    }

    /// Each single thing that it grants.
    pub fn deeds(&self) -> BTreeSet<Deed> {
        self.rules.iter().flat_map(deeds_of).collect()
    }

    /// Those of its rules that go beyond these rights.
    pub fn beyond(&self, rights: &Rights) -> Vec<Value> {
        let held = deeds(rights);
        let is_held = |deed: &Deed| {
            // Who may do it to all may do it to one.
            let of_all = match deed.clone() {
                Deed::To { subject, verb, .. } => Deed::To { subject, verb, name: String::new() },
                at @ Deed::At { .. } => at,
            };
            held.contains(&of_all)
        };
        let goes_beyond = |rule: &&Value| !deeds_of(rule).iter().all(is_held);
        self.rules.iter().filter(goes_beyond).cloned().collect()
    }
}

fn texts<'a>(rule: &'a Value, member: &str) -> Vec<&'a str> {
    rule[member].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

fn deeds_of(rule: &Value) -> Vec<Deed> {
    let (verbs, mut names) = (texts(rule, "verbs"), texts(rule, "resourceNames"));
    if names.is_empty() {
        names.push("");
    }
    let mut deeds = Vec::new();
    for verb in verbs {
        let verb = || verb.to_owned();
        for path in texts(rule, "nonResourceURLs") {
            deeds.push(Deed::At { path: path.to_owned(), verb: verb() });
        }
        for group in texts(rule, "apiGroups") {
            for resource in texts(rule, "resources") {
                let to = |name: &&str| Deed::To {
                    subject: Subject::new(group, resource),
                    name: (*name).to_owned(),
                    verb: verb(),
                };
                deeds.extend(names.iter().map(to));
            }
        }
    }
    deeds
}

fn escalates(rule: &Value) -> bool {
    let names = |member: &str, wanted: &[&str]| {
        texts(rule, member).iter().any(|found| *found == "*" || wanted.contains(found))
    };
    names("apiGroups", &[GROUP])
        && names("resources", &["roles", "clusterroles"])
        && names("verbs", ESCALATING)
}

/// What an aggregated ClusterRole needs: nobody knows what will be added to it.
fn everything() -> [Value; 2] {
    [
        json!({ "apiGroups": ["*"], "resources": ["*"], "verbs": ["*"] }),
        json!({ "nonResourceURLs": ["*"], "verbs": ["*"] }),
    ]
}

/// What the manifests of a workflow grant in a namespace and in its cluster.
///
/// # Errors
/// [`Refusal`] if the server does not say what there is.
pub async fn granted(
    cluster: &Cluster,
    namespace: &str,
    manifests: &[&Value],
) -> Result<Vec<Grant>, Refusal> {
    let mut grants = Vec::new();
    for object in manifests.iter().copied().filter(|object| is_of_group(object)) {
        let kind = text(object, "/kind");
        let scope = if kind.starts_with("Cluster") { Scope::Cluster } else { Scope::Namespace };
        let by = format!("{kind} {}", text(object, "/metadata/name"));
        let mut grant = Grant { by, scope, rules: Vec::new(), bound: None, unknown: None };
        match kind {
            "Role" | "ClusterRole" => {
                grant.rules = rules(object);
                let name = text(object, "/metadata/name").to_owned();
                let live = read(cluster, namespace, &Bound { kind: kind.to_owned(), name }).await?;
                match live {
                    Ok(rules) => grant.rules.extend(rules),
                    Err(Unknown::Absent) => {}
                    Err(hidden) => grant.unknown = Some(hidden),
                }
            }
            "RoleBinding" | "ClusterRoleBinding" => {
                let (kind, name) = (text(object, "/roleRef/kind"), text(object, "/roleRef/name"));
                if is_among(manifests, kind, name) {
                    continue;
                }
                let bound = Bound { kind: kind.to_owned(), name: name.to_owned() };
                match read(cluster, namespace, &bound).await? {
                    Ok(rules) => grant.rules = rules,
                    Err(unknown) => grant.unknown = Some(unknown),
                }
                grant.bound = Some(bound);
            }
            _ => continue,
        }
        grants.push(grant);
    }
    Ok(grants)
}

fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn is_of_group(object: &Value) -> bool {
    text(object, "/apiVersion").split_once('/').is_some_and(|(group, _)| group == GROUP)
}

fn is_among(manifests: &[&Value], kind: &str, name: &str) -> bool {
    manifests.iter().any(|object| {
        is_of_group(object)
            && text(object, "/kind") == kind
            && text(object, "/metadata/name") == name
    })
}

fn rules(role: &Value) -> Vec<Value> {
    let mut rules = role["rules"].as_array().cloned().unwrap_or_default();
    if role.get("aggregationRule").is_some_and(|rule| !rule.is_null()) {
        rules.extend(everything());
    }
    rules
}

/// What a Role grants now.
async fn read(
    cluster: &Cluster,
    namespace: &str,
    bound: &Bound,
) -> Result<Result<Vec<Value>, Unknown>, Refusal> {
    let place = Place::new(bound.resource(), Some(namespace), &bound.name);
    match cluster.get(&place).await {
        // It is bound as it is, whoever added to it.
        Ok(Some(role)) => Ok(Ok(role["rules"].as_array().cloned().unwrap_or_default())),
        Ok(None) => Ok(Err(Unknown::Absent)),
        Err(refusal) if refusal.reason == Reason::Forbidden => Ok(Err(Unknown::Hidden)),
        Err(refusal) => Err(refusal),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(rules: Value) -> Grant {
        let rules = rules.as_array().unwrap().clone();
        let by = "Role reader".to_owned();
        Grant { by, scope: Scope::Namespace, rules, bound: None, unknown: None }
    }

    #[test]
    fn what_a_role_grants_besides_is_needed_as_well() {
        let rights = super::super::at_home();
        let rule = |resource: &str| json!({ "apiGroups": [""], "resources": [resource], "resourceNames": ["a"], "verbs": ["get", "list"] });
        let grant = grant(json!([rule("secrets"), rule("nodes")]));
        assert_eq!(grant.beyond(&rights), [rule("nodes")]);
    }

    #[test]
    fn each_deed_of_a_rule_is_asked_for() {
        let grant = grant(json!([
            { "apiGroups": ["", "apps"], "resources": ["a"], "resourceNames": ["x", "y"], "verbs": ["get"] },
            { "nonResourceURLs": ["/healthz"], "verbs": ["get"] },
        ]));
        let told: Vec<String> = grant.deeds().iter().map(Deed::to_string).collect();
        assert_eq!(told, ["get a x", "get a y", "get a.apps x", "get a.apps y", "get /healthz"]);
    }

    #[test]
    fn who_may_give_himself_more_is_known_by_any_rule_that_covers_it() {
        let rule = |group: &str, resource: &str, verb: &str| json!([{ "apiGroups": [group], "resources": [resource], "verbs": ["get", verb] }]);
        for (group, resource, verb) in [
            (GROUP, "roles", "bind"),
            (GROUP, "clusterroles", "escalate"),
            ("*", "roles", "escalate"),
            (GROUP, "*", "*"),
            ("*", "*", "*"),
        ] {
            assert!(grant(rule(group, resource, verb)).escalates(), "{group} {resource} {verb}");
        }
        for (group, resource, verb) in
            [(GROUP, "roles", "create"), (GROUP, "rolebindings", "*"), ("", "*", "*")]
        {
            assert!(!grant(rule(group, resource, verb)).escalates(), "{group} {resource} {verb}");
        }
    }

    #[test]
    fn an_aggregated_role_may_come_to_grant_everything() {
        let role = json!({ "aggregationRule": { "clusterRoleSelectors": [] }, "rules": [] });
        let grant = grant(Value::Array(rules(&role)));
        assert!(grant.escalates());
        assert_eq!(grant.deeds().len(), 2);
    }
}
