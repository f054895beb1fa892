//! Whose fields are ours to write: taking over from former managers, and giving back (rules 6, 13).
//!
//! Decides what `managedFields` should say, and writes it as a JSON patch that holds only for the
//! object as it was read. Deliberately changes no value: the generation stays what it was.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{
    fields::{
        Element, Entry, FieldSet, FieldsError, Operation, Path, compare, entries, exists, owned,
        shape,
    },
    object::{MANAGER, annotation, label, resource_version},
};

/// The managers whose fields a deploy step may take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adopt(BTreeSet<String>);

/// Those of kubectl, which users mean by "what I applied by hand". Never Helm, Argo CD or Flux:
/// they come back.
impl Default for Adopt {
    fn default() -> Self {
        ["kubectl-client-side-apply", "kubectl-create", "kubectl"].into_iter().collect()
    }
}

impl<S: Into<String>> FromIterator<S> for Adopt {
    fn from_iter<I: IntoIterator<Item = S>>(managers: I) -> Self {
        Self(managers.into_iter().map(Into::into).collect())
    }
}

impl Adopt {
    /// Nobody's fields are taken.
    pub fn nobody() -> Self {
        Self(BTreeSet::new())
    }

    /// Whether the manager of that name is one of them.
    pub fn names(&self, manager: &str) -> bool {
        self.0.contains(manager)
    }

    /// Whether an entry's fields may be taken: what was written through a subresource never is.
    pub fn takes(&self, entry: &Entry) -> bool {
        entry.subresource.is_none() && self.names(&entry.manager)
    }
}

/// A program that keeps objects as it wants them, and would undo a rollback (rule 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Keeper {
    /// Argo CD.
    ArgoCd,
    /// Flux.
    Flux,
    /// Helm.
    Helm,
}

impl Keeper {
    /// Its name, as users know it and `allowManagedBy` spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ArgoCd => "argocd",
            Self::Flux => "flux",
            Self::Helm => "helm",
        }
    }
}

/// Who else keeps this object, if anybody (rule 6).
///
/// `app.kubernetes.io/managed-by: Helm` says nothing: `helm template` writes it, so what this
/// program deployed from a chart has it too. A release's own annotation says it.
///
/// # Errors
/// [`FieldsError`] if its owners cannot be read.
pub fn keeper(object: &Value) -> Result<Option<Keeper>, FieldsError> {
    const MANAGERS: &[(&str, Keeper)] = &[
        ("argocd-controller", Keeper::ArgoCd),
        ("argocd-application-controller", Keeper::ArgoCd),
        ("kustomize-controller", Keeper::Flux),
        ("helm-controller", Keeper::Flux),
        ("helm", Keeper::Helm),
    ];
    const LABELS: &[(&str, Keeper)] = &[
        ("argocd.argoproj.io/instance", Keeper::ArgoCd),
        ("kustomize.toolkit.fluxcd.io/name", Keeper::Flux),
        ("helm.toolkit.fluxcd.io/name", Keeper::Flux),
    ];
    const ANNOTATIONS: &[(&str, Keeper)] = &[
        ("argocd.argoproj.io/tracking-id", Keeper::ArgoCd),
        ("meta.helm.sh/release-name", Keeper::Helm),
    ];
    let entries = entries(object)?;
    let by_manager = MANAGERS
        .iter()
        .find(|(name, _)| entries.iter().any(|e| e.subresource.is_none() && e.manager == *name));
    let by_label = LABELS.iter().find(|(name, _)| label(object, name).is_some());
    let by_annotation = ANNOTATIONS.iter().find(|(name, _)| annotation(object, name).is_some());
    let found = by_label.or(by_annotation).or(by_manager);
    Ok(found.map(|(_, keeper)| *keeper))
}

/// What adopted managers own of `before` and the write does not keep: it goes with their entries,
/// or back to its default. `planned`, the answer of a forced dry run, still shows it as theirs; the
/// plan has to tell it beside what differs.
///
/// # Errors
/// [`FieldsError`] if the owners of either cannot be read.
pub fn dropped(before: &Value, planned: &Value, adopt: &Adopt) -> Result<FieldSet, FieldsError> {
    let all = entries(before)?;
    let adopted = owned(before, &all, |entry| adopt.takes(entry));
    let kept = owned(before, &all, |entry| !entry.is_ours() && !adopt.takes(entry));
    let kept = kept.union(&owned(planned, &entries(planned)?, Entry::is_applied_by_us));
    let is_value = |path: &Path| !adopted.has_below(path) && !kept.has_below(path);
    let goes = |path: &Path| is_value(path) && !names_an_item_of(&kept, path);
    Ok(adopted.difference(&kept).filter(goes))
}

/// Whether a field is part of what names a list item, and the item is in the set: a port keeps its
/// protocol, said or not.
fn names_an_item_of(set: &FieldSet, path: &Path) -> bool {
    let Some((last, way)) = path.elements().split_last() else { return false };
    let is_key = match (way.last(), last.name()) {
        (Some(Element::Key(key)), Some(name)) => key.contains_key(name),
        _ => false,
    };
    is_key && set.contains(&Path::from(way.to_vec()))
}

/// The path that an autoscaler writes.
pub fn replicas() -> Path {
    Path::of_fields(&["spec", "replicas"])
}

/// Whether something else decides how many replicas this object has, so that `spec.replicas` leaves
/// the intent: one of the autoscalers (live ones and those of the manifests) targets it, or its
/// `scale` subresource was written (rule 6).
///
/// # Errors
/// [`FieldsError`] if its owners cannot be read.
pub fn is_scaled(object: &Value, autoscalers: &[&Value]) -> Result<bool, FieldsError> {
    let scaled = |entry: &Entry| entry.is_scale() && entry.fields.contains(&replicas());
    let is_target = |autoscaler: &&Value| targets(autoscaler, object);
    Ok(autoscalers.iter().any(is_target) || entries(object)?.iter().any(scaled))
}

/// Whether an autoscaler decides how many replicas an object has.
pub fn targets(autoscaler: &Value, object: &Value) -> bool {
    let reference = autoscaler.pointer("/spec/scaleTargetRef");
    let same = |name: &str, own: Option<&Value>| reference.and_then(|r| r.get(name)) == own;
    let namespace = |object: &'_ Value| object.pointer("/metadata/namespace").cloned();
    same("kind", object.get("kind"))
        && same("name", object.pointer("/metadata/name"))
        && namespace(autoscaler) == namespace(object)
        && reference.and_then(group) == group(object)
}

fn group(value: &Value) -> Option<String> {
    let version = value.get("apiVersion")?.as_str()?;
    Some(version.split_once('/').map_or("", |(group, _)| group).to_owned())
}

/// The JSON patch that has to succeed right before an object is applied, if one has to: it folds
/// the entries of adopted managers into ours (rule 13), and takes out of ours what left the intent
/// while it stays in the object (`leave`, rule 6: else the apply resets it to its default).
///
/// What this program wrote other than by apply is folded as well: for the server that is another
/// manager, with which an apply would conflict.
///
/// # Errors
/// [`FieldsError`] if the object's owners cannot be read.
pub fn before_apply(
    live: &Value,
    adopt: &Adopt,
    leave: &FieldSet,
) -> Result<Option<Value>, FieldsError> {
    let all = entries(live)?;
    let is_taken = |entry: &Entry| entry.is_ours() || adopt.takes(entry);
    let leaves =
        |entry: &Entry| leave.paths().iter().any(|path| !entry.fields.within(path).is_empty());
    if all.iter().filter(|entry| is_taken(entry)).all(|e| e.is_applied_by_us() && !leaves(e)) {
        return Ok(None);
    }
    let mut wanted: Vec<Entry> = all.iter().filter(|entry| !is_taken(entry)).cloned().collect();
    let mut fields = owned(live, &all, is_taken);
    for path in leave.paths() {
        fields = fields.without(&path);
    }
    wanted.insert(0, applied(live, &all, fields));
    Ok(replace_entries(live, &all, wanted))
}

/// Our entry with these fields, in the object's version.
fn applied(live: &Value, all: &[Entry], fields: FieldSet) -> Entry {
    let ours = all.iter().find(|entry| entry.is_applied_by_us());
    let version = live.get("apiVersion").and_then(Value::as_str).unwrap_or_default();
    Entry {
        manager: MANAGER.to_owned(),
        operation: Operation::Apply,
        subresource: None,
        api_version: version.to_owned(),
        time: ours.and_then(|entry| entry.time.clone()).or_else(|| latest(all)),
        fields,
    }
}

/// The latest time of any entry: a time that the server itself has given.
fn latest(all: &[Entry]) -> Option<String> {
    all.iter().filter_map(|entry| entry.time.clone()).max()
}

/// The JSON patch that ends a rollback, if one is needed: the entries of our and the adopted
/// managers are again those of `before`, all others stay as they are now (rule 13).
///
/// Nothing is given back that is not true any more: a path that differs from `before` stays its
/// present owner's. What a forced write took from others, and what an item that we removed had of
/// theirs, is given back to them: `we_took` says of a path whether it was. Of the items in `left`,
/// which others have made anew, former owners get nothing.
///
/// # Errors
/// [`FieldsError`] if the owners of either state cannot be read.
pub(super) fn put_back(
    before: &Value,
    live: &Value,
    adopt: &Adopt,
    we_took: impl Fn(&Path) -> bool,
    left: &FieldSet,
) -> Result<Option<Value>, FieldsError> {
    let (then, now) = (entries(before)?, entries(live)?);
    let differing = compare(before, live, &shape([before, live])?).paths;
    // What was nothing to be seen before (`stringData`, fields of another version) is still true.
    let is_true = |path: &Path| {
        (exists(live, path) || !exists(before, path))
            && !is_at_or_below(&differing, path)
            && !is_at_or_below(left, path)
    };
    let is_former = |entry: &Entry| entry.is_ours() || adopt.takes(entry);
    let mut wanted: Vec<Entry> = now.iter().filter(|entry| !entry.is_ours()).cloned().collect();
    for entry in then {
        let lost = |path: &Path| we_took(path) && !holds(&now, &entry, path);
        let fields = entry.fields.filter(|path| is_true(path) && (is_former(&entry) || lost(path)));
        if !fields.is_empty() {
            give(&mut wanted, Entry { fields, ..entry });
        }
    }
    Ok(replace_entries(live, &now, wanted))
}

/// An object that somebody has changed between [`before_apply`] and the apply, as its new pre-image:
/// who owned what before that is what a rollback gives back. `before` is the pre-image until now.
///
/// # Errors
/// [`FieldsError`] if the owners of either state cannot be read.
pub(crate) fn unfolded(
    before: &Value,
    mut live: Value,
    adopt: &Adopt,
) -> Result<Value, FieldsError> {
    let then = entries(before)?;
    let adopted = owned(before, &then, |entry| adopt.takes(entry));
    let known = owned(before, &then, Entry::is_applied_by_us);
    let folded = owned(&live, &entries(&live)?, Entry::is_applied_by_us)
        .filter(|path| adopted.contains(path) && !known.contains(path));
    if folded.is_empty() {
        return Ok(live);
    }
    if let Some(patch) = put_back(before, &live, adopt, |_| false, &FieldSet::new())? {
        live["metadata"]["managedFields"] = patch[1]["value"].clone();
    }
    Ok(live)
}

/// Whether a path, or something that it lies in, is in a set.
fn is_at_or_below(set: &FieldSet, path: &Path) -> bool {
    path.and_ancestors().any(|ancestor| set.contains(&ancestor))
}

fn holds(now: &[Entry], writer: &Entry, path: &Path) -> bool {
    now.iter().any(|entry| entry.is_same_writer(writer) && entry.fields.contains(path))
}

/// Adds an entry, or its fields to what its writer has now.
fn give(wanted: &mut Vec<Entry>, entry: Entry) {
    let is_same =
        |other: &&mut Entry| other.is_same_writer(&entry) && other.api_version == entry.api_version;
    match wanted.iter_mut().find(is_same) {
        Some(present) => present.fields.extend(&entry.fields),
        None => wanted.push(entry),
    }
}

/// The patch from the entries of `live` to the wanted ones; none if they say the same already.
fn replace_entries(live: &Value, all: &[Entry], mut wanted: Vec<Entry>) -> Option<Value> {
    wanted.retain(|entry| !entry.fields.is_empty());
    // Times are no ownership: an entry is not written for another time.
    let same = |a: &Entry, b: &Entry| {
        a.is_same_writer(b) && a.api_version == b.api_version && a.fields == b.fields
    };
    let covers = |some: &[Entry], others: &[Entry]| {
        some.iter().all(|entry| entry.fields.is_empty() || others.iter().any(|o| same(entry, o)))
    };
    if covers(all, &wanted) && covers(&wanted, all) {
        return None;
    }
    let mut list: Vec<Value> = wanted.iter().map(Entry::to_value).collect();
    if list.is_empty() {
        // An empty list would be ignored; one empty entry is the server's word for "nobody".
        list.push(json!({}));
    }
    Some(json!([
        {"op": "test", "path": "/metadata/resourceVersion", "value": resource_version(live)},
        {"op": "add", "path": "/metadata/managedFields", "value": list},
    ]))
}

#[cfg(test)]
mod tests;
