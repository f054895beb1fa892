//! From the documents of a text to single objects: lists flattened, every object whole enough to
//! be sent.

use serde_json::Value;

use super::{
    identity::{Scope, group_of, known_scope},
    tree::{self, Node, NodeKind},
};
use crate::{
    diagnostics::{Findings, Place},
    error_code::Code,
    plan::KubernetesTarget,
};

/// An object as a text says it, with the places that messages point at.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Written {
    /// The object.
    pub(super) object: Value,
    /// Where it begins.
    pub(super) start: Place,
    /// Where its name is written.
    pub(super) name: Place,
    /// Where its namespace is written, if it is.
    namespace: Option<Place>,
}

/// Reads the objects of a text in their order.
pub(super) fn objects(text: &str, findings: &mut Findings) -> Vec<Written> {
    let mut objects = Vec::new();
    for document in tree::documents(text, findings) {
        flatten(document, &mut objects, findings);
    }
    objects
}

/// What has `items` is a list to kubectl, whatever its kind is called.
fn flatten(node: Node, objects: &mut Vec<Written>, findings: &mut Findings) {
    if !matches!(&node.get("items"), Some(Node { kind: NodeKind::List(_), .. })) {
        objects.extend(written(node, findings));
        return;
    }
    let text = |key: &str| node.get(key).and_then(Node::text).map(str::to_owned);
    let kind = text("kind").and_then(|kind| kind.strip_suffix("List").map(str::to_owned));
    let version = text("apiVersion");
    let NodeKind::Map(mut entries) = node.kind else { return };
    let Some(Node { kind: NodeKind::List(items), .. }) = entries.remove("items") else { return };
    for mut item in items {
        // The items of a `DeploymentList` are Deployments, and need not say so.
        if let (NodeKind::Map(entries), Some(kind), Some(version)) =
            (&mut item.kind, kind.as_ref().filter(|kind| !kind.is_empty()), &version)
            && !entries.contains_key("kind")
        {
            let said = |text: &str| Node {
                place: item.place,
                kind: NodeKind::Plain(Value::String(text.to_owned())),
            };
            entries.insert("kind".to_owned(), said(kind));
            entries.entry("apiVersion".to_owned()).or_insert_with(|| said(version));
        }
        flatten(item, objects, findings);
    }
}

/// One object, if it says what every object has to.
fn written(node: Node, findings: &mut Findings) -> Option<Written> {
    let start = node.place;
    if !matches!(node.kind, NodeKind::Map(_)) {
        findings
            .report(Code::NotAnObject, "a document that is no Kubernetes object")
            .at(start, "no map with `apiVersion`, `kind` and `metadata`");
        return None;
    }
    let version = required(&node, start, "apiVersion", findings);
    let kind = required(&node, start, "kind", findings);
    let metadata = node.get("metadata").filter(|node| matches!(node.kind, NodeKind::Map(_)));
    let Some(metadata) = metadata else {
        let place = node.get("metadata").map_or(start, |node| node.place);
        findings
            .report(Code::NotAnObject, "an object without `metadata`")
            .at(place, "`metadata` with a `name` is missing");
        return None;
    };
    let optional = |key, findings: &mut Findings| match metadata.get(key) {
        Some(node) if !node.is_null() => text_of(node, key, findings).map(|_| node.place),
        _ => None,
    };
    let namespace = optional("namespace", findings);
    let name = name(metadata, kind?, findings);
    version?;
    let name = name?;
    Some(Written { object: node.into_value(), start, name, namespace })
}

fn required<'a>(
    node: &'a Node,
    start: Place,
    key: &str,
    findings: &mut Findings,
) -> Option<&'a str> {
    match node.get(key) {
        Some(node) if !node.is_null() => text_of(node, key, findings),
        _ => {
            findings
                .report(Code::NotAnObject, format!("an object without `{key}`"))
                .at(start, format!("`{key}` is missing"));
            None
        }
    }
}

fn text_of<'a>(node: &'a Node, key: &str, findings: &mut Findings) -> Option<&'a str> {
    let text = node.text().filter(|text| !text.is_empty());
    if text.is_none() {
        findings
            .report(Code::NotAnObject, format!("`{key}` has to be a text"))
            .at(node.place, "not a text")
            .help("quote numbers and words like `yes` that are meant as texts");
    }
    text
}

/// Where the name is written; Jobs may have it made.
fn name(metadata: &Node, kind: &str, findings: &mut Findings) -> Option<Place> {
    if let Some(node) = metadata.get("name").filter(|node| !node.is_null()) {
        let text = text_of(node, "metadata.name", findings)?;
        // What the path of a request cannot hold; what else a name may be the kind decides.
        if [".", ".."].contains(&text) || text.contains(['/', '%']) {
            findings
                .report(Code::BadName, format!("{text:?} cannot name an object"))
                .at(node.place, "`/`, `%`, `.` and `..` cannot be part of an address")
                .help("use lower-case letters, digits, `-` and `.`");
            return None;
        }
        return Some(node.place);
    }
    let Some(base) = metadata.get("generateName").filter(|node| !node.is_null()) else {
        findings
            .report(Code::NotAnObject, format!("a {kind} without a name"))
            .at(metadata.place, "`metadata.name` is missing");
        return None;
    };
    text_of(base, "metadata.generateName", findings)?;
    if kind != "Job" {
        findings
            .report(Code::GeneratedName, format!("a {kind} with `generateName`"))
            .at(base.place, "every run would make another one");
        return None;
    }
    Some(base.place)
}

/// Gives an object its place in a namespace, or says why it cannot have one there. Where a kind
/// that Kubernetes does not bring lives is left open.
pub(super) fn settle(
    written: &mut Written,
    target: &KubernetesTarget,
    findings: &mut Findings,
) -> bool {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (version, kind) = (text(&written.object["apiVersion"]), text(&written.object["kind"]));
    let Some(scope) = known_scope(group_of(&version), &kind) else {
        return check_namespace(written, target, findings);
    };
    match settle_namespace(&mut written.object, scope, target) {
        Ok(()) => true,
        Err(Misplaced::Foreign { .. }) => check_namespace(written, target, findings),
        Err(Misplaced::ClusterScoped) => {
            let finding = findings.report(
                Code::ClusterScoped,
                format!("a {kind} belongs to the whole cluster, not to a namespace"),
            );
            finding.at(written.start, "cluster-scoped");
            if kind == "Namespace" {
                let name = text(&written.object["metadata"]["name"]);
                finding.help(format!(
                    "create it beforehand (`kubectl create namespace {name}`) and remove it here"
                ));
            }
            false
        }
    }
}

fn check_namespace(written: &Written, target: &KubernetesTarget, findings: &mut Findings) -> bool {
    let named = written.object["metadata"]["namespace"].as_str();
    let (Some(place), Some(named)) = (written.namespace, named) else { return true };
    if named == target.namespace {
        return true;
    }
    findings
        .report(
            Code::ForeignNamespace,
            format!("an object for namespace `{named}`, but the target is `{}`", target.namespace),
        )
        .at(place, "another namespace")
        .help("remove `namespace` here, or deploy it by a workflow whose target is that namespace");
    false
}

/// Why an object cannot be where it says, or where its kind says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Misplaced {
    /// It says another namespace.
    #[error("it is for namespace {named}, but the workflow's target is {target}")]
    Foreign {
        /// The namespace that it says.
        named: String,
        /// The target's.
        target: String,
    },
    /// It would belong to the whole cluster.
    #[error(
        "it belongs to the whole cluster; `allowClusterScoped: true` at the workflow's target allows that"
    )]
    ClusterScoped,
}

/// Gives an object the namespace of its target, or none if its kind has none; an agent calls this
/// with what its cluster says of kinds that are not known here.
///
/// # Errors
///
/// If it is for another namespace, or for none and the target does not allow that.
pub fn settle_namespace(
    object: &mut Value,
    scope: Scope,
    target: &KubernetesTarget,
) -> Result<(), Misplaced> {
    let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else {
        return Ok(());
    };
    match scope {
        Scope::Cluster if target.allow_cluster_scoped => {
            metadata.remove("namespace");
            Ok(())
        }
        Scope::Cluster => Err(Misplaced::ClusterScoped),
        Scope::Namespaced => match metadata.get("namespace").and_then(Value::as_str) {
            Some(named) if named != target.namespace => Err(Misplaced::Foreign {
                named: named.to_owned(),
                target: target.namespace.clone(),
            }),
            _ => {
                metadata.insert("namespace".to_owned(), target.namespace.clone().into());
                Ok(())
            }
        },
    }
}
