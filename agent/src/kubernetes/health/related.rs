//! What else has to be fetched for judging an object, and what of it is the object's own.

use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{
    LabelSelector, LabelSelectorRequirement, ObjectMeta,
};
use serde::Deserialize;
use serde_json::Value;

use super::kind_of;

/// A kind of object by which others are judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RelatedKind {
    /// A Deployment's revisions.
    ReplicaSet,
    /// A DaemonSet's revisions.
    ControllerRevision,
    /// The pods of a workload.
    Pod,
}

/// A list that has to be fetched.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lookup {
    /// The kind to list.
    pub kind: RelatedKind,
    /// The namespace to list in.
    pub namespace: String,
    /// The label selector, as the API takes it in a query.
    pub selector: String,
}

/// What was fetched by an object's [`lookups`]; more than that does no harm.
#[derive(Debug, Clone, Default)]
pub struct Related {
    replica_sets: Vec<Value>,
    revisions: Vec<Value>,
    pods: Vec<Value>,
}

impl RelatedKind {
    /// The apiVersion to list at.
    pub fn api_version(self) -> &'static str {
        match self {
            Self::ReplicaSet | Self::ControllerRevision => "apps/v1",
            Self::Pod => "v1",
        }
    }

    /// The kind's name.
    pub fn kind(self) -> &'static str {
        match self {
            Self::ReplicaSet => "ReplicaSet",
            Self::ControllerRevision => "ControllerRevision",
            Self::Pod => "Pod",
        }
    }

    /// The kind's name in a path.
    pub fn plural(self) -> &'static str {
        match self {
            Self::ReplicaSet => "replicasets",
            Self::ControllerRevision => "controllerrevisions",
            Self::Pod => "pods",
        }
    }
}

impl fmt::Display for Lookup {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} of {} with {}", self.kind.plural(), self.namespace, self.selector)
    }
}

/// The kinds by which objects of a kind are judged.
pub fn related_kinds(api_version: &str, kind: &str) -> &'static [RelatedKind] {
    match (api_version, kind) {
        ("apps/v1", "Deployment") => &[RelatedKind::ReplicaSet, RelatedKind::Pod],
        ("apps/v1", "DaemonSet") => &[RelatedKind::ControllerRevision, RelatedKind::Pod],
        ("apps/v1", "StatefulSet") | ("batch/v1", "Job") => &[RelatedKind::Pod],
        _ => &[],
    }
}

/// The lists that have to be fetched for judging this object, as it was fetched itself.
pub fn lookups(object: &Value) -> Vec<Lookup> {
    let (api_version, kind) = kind_of(object);
    let kinds = related_kinds(api_version, kind);
    let namespace = object.pointer("/metadata/namespace").and_then(Value::as_str);
    let selector = object.pointer("/spec/selector");
    let selector = selector.and_then(|found| LabelSelector::deserialize(found).ok());
    // Without a selector the list would be the whole namespace's.
    let selector = selector.map(|found| query(&found)).filter(|query| !query.is_empty());
    let (Some(namespace), Some(selector)) = (namespace, selector) else { return Vec::new() };
    let lookup = |kind: &RelatedKind| Lookup {
        kind: *kind,
        namespace: namespace.to_owned(),
        selector: selector.clone(),
    };
    kinds.iter().map(lookup).collect()
}

impl Related {
    /// Adds the items of one list.
    pub fn add(&mut self, kind: RelatedKind, items: impl IntoIterator<Item = Value>) {
        match kind {
            RelatedKind::ReplicaSet => self.replica_sets.extend(items),
            RelatedKind::ControllerRevision => self.revisions.extend(items),
            RelatedKind::Pod => self.pods.extend(items),
        }
    }

    /// The ReplicaSets that this object controls.
    pub(super) fn replica_sets<'a, T: Owned<'a>>(&'a self, owner: &str) -> Vec<T> {
        owned(&self.replica_sets, owner)
    }

    /// The ControllerRevisions that this object controls.
    pub(super) fn revisions<'a, T: Owned<'a>>(&'a self, owner: &str) -> Vec<T> {
        owned(&self.revisions, owner)
    }

    /// The pods that this object controls.
    pub(super) fn pods<'a, T: Owned<'a>>(&'a self, owner: &str) -> Vec<T> {
        owned(&self.pods, owner)
    }
}

/// What can be read from a list and asked for its controller.
pub(super) trait Owned<'a>:
    Deserialize<'a> + k8s_openapi::Metadata<Ty = ObjectMeta>
{
}

impl<'a, T: Deserialize<'a> + k8s_openapi::Metadata<Ty = ObjectMeta>> Owned<'a> for T {}

fn owned<'a, T: Owned<'a>>(items: &'a [Value], owner: &str) -> Vec<T> {
    let read = items.iter().filter_map(|item| T::deserialize(item).ok());
    read.filter(|item| is_controlled(item.metadata(), owner)).collect()
}

/// One label of an object.
pub(super) fn label<'a>(metadata: &'a ObjectMeta, name: &str) -> Option<&'a str> {
    metadata.labels.as_ref()?.get(name).map(String::as_str)
}

fn is_controlled(metadata: &ObjectMeta, owner: &str) -> bool {
    let owners = metadata.owner_references.iter().flatten();
    owners.into_iter().any(|found| found.controller == Some(true) && found.uid == owner)
}

/// A selector as the API takes it in a query.
fn query(selector: &LabelSelector) -> String {
    let labels = selector.match_labels.iter().flatten();
    let labels = labels.map(|(key, value)| format!("{key}={value}"));
    let expressions = selector.match_expressions.iter().flatten().filter_map(requirement);
    labels.chain(expressions).collect::<Vec<_>>().join(",")
}

fn requirement(found: &LabelSelectorRequirement) -> Option<String> {
    let values = found.values.as_deref().unwrap_or_default().join(",");
    let key = &found.key;
    match found.operator.as_str() {
        "In" => Some(format!("{key} in ({values})")),
        "NotIn" => Some(format!("{key} notin ({values})")),
        "Exists" => Some(key.clone()),
        "DoesNotExist" => Some(format!("!{key}")),
        // A wider list does no harm: owners are compared.
        _ => None,
    }
}
