//! How what a run created goes away again (rule 25).

use std::fmt;

use lockstep_shared::fold::listed;
use serde_json::Value;

use super::super::{
    fields::{Entry, FieldsError, Path, entries, owned},
    object::{
        ObjectKey, RUN_ANNOTATION, RunMark, creation_timestamp, finalizers, is_being_deleted,
    },
};

/// Kinds that hold what cannot be made again, by group: no rollback and no prune deletes them.
const KEPT: &[(&str, &str)] = &[
    ("apiextensions.k8s.io", "CustomResourceDefinition"),
    ("", "Namespace"),
    ("", "PersistentVolume"),
    ("", "PersistentVolumeClaim"),
];

/// Whether objects of this kind are never deleted (rules 25 and 31).
pub fn is_kept(key: &ObjectKey) -> bool {
    is_kept_kind(key.group(), &key.kind)
}

/// The same, of a kind by its group and name.
pub fn is_kept_kind(group: &str, kind: &str) -> bool {
    KEPT.contains(&(group, kind))
}

/// What is to become of an object that was absent before the run's first write.
#[derive(Debug, Clone, PartialEq)]
pub enum Created {
    /// It is not there: nothing is owed.
    Gone,
    /// It is ours: delete it, and look again.
    Delete,
    /// It is being deleted, and waits for these finalizers; past the deadline, it is residue.
    Leaving(Vec<String>),
    /// It is ours, and of a kind that is kept on purpose. Does not spoil *verified*.
    Kept,
    /// This run did not create it, so it is left; it is residue only if this run wrote to it.
    NotOurs(NotOurs),
}

/// Why an object does not count as created by this run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotOurs {
    /// It has another run's mark, or none: somebody else made it, after ours or instead of it.
    NoMark,
    /// Somebody else made it at the same time, and we wrote on top.
    Shared {
        /// Who made it.
        manager: String,
    },
}

impl fmt::Display for NotOurs {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoMark => write!(
                formatter,
                "it was not there before this run and does not bear its mark: somebody else has \
                 made it, so it was left; delete it by hand if nobody needs it"
            ),
            Self::Shared { manager } => write!(
                formatter,
                "it was made by {manager:?} while this run was about to make it, so it was \
                 left; delete it by hand if nobody needs it"
            ),
        }
    }
}

/// Decides for an object whose pre-image is *absent*, seeing it as it is now.
///
/// # Errors
/// [`FieldsError`] if it cannot be read who owns what.
pub fn undo(key: &ObjectKey, live: Option<&Value>, run: &RunMark) -> Result<Created, FieldsError> {
    let Some(live) = live else { return Ok(Created::Gone) };
    let is_marked = RunMark::of(live).is_some_and(|mark| mark.is_same_work(run));
    if !is_marked || !is_marked_by_us(live)? {
        return Ok(Created::NotOurs(NotOurs::NoMark));
    }
    if let Some(manager) = maker(live)? {
        return Ok(Created::NotOurs(NotOurs::Shared { manager }));
    }
    if is_kept(key) {
        return Ok(Created::Kept);
    }
    if is_being_deleted(live) {
        let finalizers = finalizers(live).into_iter().map(str::to_owned).collect();
        return Ok(Created::Leaving(finalizers));
    }
    Ok(Created::Delete)
}

/// The claims on storage that a StatefulSet leaves when it is deleted, as a sentence: they hold what
/// its pods have stored, and nobody deletes them unless it says so itself.
pub fn claims_left(key: &ObjectKey, live: &Value) -> Option<String> {
    if (key.group(), key.kind.as_str()) != ("apps", "StatefulSet") {
        return None;
    }
    let policy = live.pointer("/spec/persistentVolumeClaimRetentionPolicy/whenDeleted");
    let templates = live.pointer("/spec/volumeClaimTemplates").and_then(Value::as_array)?;
    if templates.is_empty() || policy.and_then(Value::as_str) == Some("Delete") {
        return None;
    }
    let namespace = key.namespace.as_deref().unwrap_or_default();
    let name = |template: &Value| {
        let template = template.pointer("/metadata/name").and_then(Value::as_str);
        format!("{namespace}/{}-{}-*", template.unwrap_or("*"), key.name)
    };
    let claims = listed(templates.iter().map(name));
    Some(format!("PersistentVolumeClaims {claims}, made for {key}: kept on purpose"))
}

/// Whether the mark on an object is one that we applied: a copy that somebody has made of an object
/// of ours bears it too.
///
/// # Errors
/// [`FieldsError`] if it cannot be read who owns what.
pub fn is_marked_by_us(live: &Value) -> Result<bool, FieldsError> {
    let mark = Path::of_fields(&["metadata", "annotations", RUN_ANNOTATION]);
    let applied = |entry: &Entry| entry.is_applied_by_us() && entry.fields.contains(&mark);
    Ok(entries(live)?.iter().any(applied))
}

/// Another manager that was there when the object was made, and wrote what we wrote too. Whoever
/// comes later (a controller) does not write what we write.
fn maker(live: &Value) -> Result<Option<String>, FieldsError> {
    let all = entries(live)?;
    let ours = owned(live, &all, Entry::is_ours);
    let created = creation_timestamp(live);
    let was_there = |entry: &&Entry| {
        let since = entry.time.as_deref();
        !entry.is_ours() && entry.subresource.is_none() && since.is_some() && since <= created
    };
    let shares = |entry: &&Entry| !entry.fields_in(live).intersection(&ours).is_empty();
    Ok(all.iter().filter(was_there).find(shares).map(|entry| entry.manager.clone()))
}
