//! What a dry run says about an object, and what a rollback can promise for it (rules 3, 4, 11).
//!
//! Decides from the pre-image and the server's answer. Deliberately sends nothing: a conflict that
//! may be taken over is handed back, to be dry-run again with force.

mod refusal;
#[cfg(test)]
mod tests;

use std::fmt;

use serde_json::Value;

use super::{
    adopt::Adopt,
    fields::{
        Element, Entry, FieldSet, FieldsError, Literal, Path, compare, entries, exists, get,
        remove, shape,
    },
    object::{OWNER_LABEL, ObjectKey, RUN_ANNOTATION, label},
    restore::created::is_kept,
};
pub(in crate::kubernetes) use refusal::is_unreadable;
pub use refusal::{Conflict, conflicts};

/// The server's answer to a dry-run apply.
#[derive(Debug, Clone, Copy)]
pub enum Answer<'a> {
    /// The object as it would be.
    Object(&'a Value),
    /// The Status with which it was refused.
    Refusal(&'a Value),
    /// The Status with which it was refused again, when it was dry-run with force to adopt.
    ForcedRefusal(&'a Value),
}

/// What the step may do, as far as it bears on the judgement.
#[derive(Debug, Clone, Copy)]
pub struct Terms<'a> {
    /// The value of our owner label ([`owner_label`](super::object::owner_label)).
    pub owner: &'a str,
    /// The managers whose fields may be taken.
    pub adopt: &'a Adopt,
    /// The paths at which any manager's field may be taken, as users write them: `forceConflicts`.
    pub force: &'a [String],
    /// The objects of the same set that are not there yet.
    pub missing: &'a [ObjectKey],
}

/// What the write of one object would do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Makes it.
    Create,
    /// Changes it; the paths that would have another value (none: only who owns them changes). What
    /// adopted managers lose comes on top: [`dropped`](super::adopt::dropped).
    Update(FieldSet),
    /// Leaves everything as it is: it need not be written, but is checked for health.
    Unchanged,
    /// Would conflict, but only with managers or at paths that may be taken: dry-run it again with
    /// force. What comes of that is an update that *adopts*.
    Adopt(Vec<Conflict>),
    /// Cannot be judged before the run, as a sentence without a full stop; does not fail the plan.
    Unplanned(String),
    /// Cannot be done.
    Impossible(Impossible),
}

/// Why an object cannot be written; always a failure in prepare.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Impossible {
    /// It belongs to another workflow, whose owner label it bears.
    OwnedBy(String),
    /// Other managers own fields with other values.
    Conflicts(Vec<Conflict>),
    /// It would change what may not change; the server's words.
    Immutable(String),
    /// The manifest is wrong; the server's words.
    Invalid(String),
    /// A list of the manifest has two items of one name; where, or the server's words.
    Twice(String),
    /// The namespace does not exist.
    NoNamespace(String),
    /// Access, quota, policy or a webhook forbids it; the server's words.
    Refused(String),
}

impl fmt::Display for Impossible {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OwnedBy(owner) => write!(
                formatter,
                "it belongs to {owner} (label {OWNER_LABEL}); take it out of one of the two \
                 workflows, or remove the label"
            ),
            Self::Conflicts(conflicts) => {
                let all: Vec<String> = conflicts.iter().map(Conflict::to_string).collect();
                write!(
                    formatter,
                    "{}; name the manager in `adopt`, the path in `forceConflicts`, or leave \
                     the field out of the manifest",
                    all.join(", ")
                )
            }
            Self::Immutable(words) => write!(
                formatter,
                "it cannot be changed in place: {words}; give the object a new name (a Job may \
                 use generateName)"
            ),
            Self::Invalid(words) => {
                write!(formatter, "the server finds it invalid: {words}; correct the manifest")
            }
            Self::Twice(item) => write!(formatter, "{item} is there twice; remove one"),
            Self::NoNamespace(name) => write!(
                formatter,
                "the namespace {name} does not exist; make it with `kubectl create namespace \
                 {name}`"
            ),
            Self::Refused(words) => write!(
                formatter,
                "the server refuses it: {words}; grant the agent what is missing, or change the \
                 manifest"
            ),
        }
    }
}

/// What a rollback can promise for an object that is written (rule 4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Class {
    /// It is as before.
    Exact,
    /// It is deleted, since this run makes it.
    ByDelete,
    /// It stays, although this run makes it: volumes, namespaces and definitions are never deleted.
    Kept,
    /// It goes back, but the former value at these paths may be taken by then.
    Costly(Vec<Path>),
    /// Nothing takes it back; only with `irreversible: accept`. Why, as a clause.
    OneWay(&'static str),
}

impl fmt::Display for Class {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Exact => "exact",
            Self::ByDelete => "by delete",
            Self::Kept => "kept",
            Self::Costly(_) => "costly",
            Self::OneWay(_) => "one-way",
        })
    }
}

/// Judges one object: its pre-image (`None`: absent) and the server's answer to the dry run.
///
/// # Errors
/// [`FieldsError`] if it cannot be read who owns what.
pub fn judge(
    key: &ObjectKey,
    before: Option<&Value>,
    answer: Answer<'_>,
    terms: &Terms<'_>,
) -> Result<Outcome, FieldsError> {
    let owner = before.and_then(|before| label(before, OWNER_LABEL));
    if let Some(owner) = owner.filter(|owner| *owner != terms.owner) {
        return Ok(Outcome::Impossible(Impossible::OwnedBy(owner.to_owned())));
    }
    match (answer, before) {
        (Answer::Refusal(status), _) => Ok(refusal::judge(key, before.is_some(), status, terms)),
        (Answer::ForcedRefusal(status), _) => {
            Ok(refusal::judge_forced(key, before.is_some(), status, terms))
        }
        (Answer::Object(_), None) => Ok(Outcome::Create),
        (Answer::Object(after), Some(before)) => {
            let changed = changed(before, after)?;
            let is_same = changed.is_empty() && applied(before)? == applied(after)?;
            Ok(if is_same { Outcome::Unchanged } else { Outcome::Update(changed) })
        }
    }
}

/// Where the dry run's answer differs from the pre-image, our own annotation apart (rule 11).
fn changed(before: &Value, after: &Value) -> Result<FieldSet, FieldsError> {
    let found = compare(before, after, &shape([before, after])?);
    Ok(found.paths.union(&found.reordered).without(&run_mark()))
}

/// What our apply owns and in which version's terms, our own annotation apart.
fn applied(object: &Value) -> Result<Option<(String, FieldSet)>, FieldsError> {
    let mut entries = entries(object)?.into_iter();
    let entry = entries.find(Entry::is_applied_by_us);
    Ok(entry.map(|entry| (entry.api_version, entry.fields.without(&run_mark()))))
}

fn run_mark() -> Path {
    Path::of_fields(&["metadata", "annotations", RUN_ANNOTATION])
}

/// What a rollback can promise, given the pre-image (`None`: absent) and the object as the dry run
/// showed it.
pub fn class(key: &ObjectKey, before: Option<&Value>, after: &Value) -> Class {
    let is = |group: &str, kind: &str| key.group() == group && key.kind == kind;
    if is("apiextensions.k8s.io", "CustomResourceDefinition") {
        return Class::OneWay("objects may already be stored in the form it defines");
    }
    let is_job = is("batch", "Job");
    let Some(before) = before else {
        return match (is_job, is_kept(key)) {
            (true, _) => Class::OneWay("what a Job has done is not undone by deleting it"),
            (false, true) => Class::Kept,
            (false, false) => Class::ByDelete,
        };
    };
    let is_suspended = |job: &Value| job.pointer("/spec/suspend") == Some(&Value::Bool(true));
    if is_job && is_suspended(before) && !is_suspended(after) {
        return Class::OneWay("a Job that is let run is not undone by suspending it");
    }
    if grown(key, before, after).is_some() {
        return Class::OneWay(GROWN);
    }
    let freed = if is("", "Service") { freed(before, after) } else { Vec::new() };
    if freed.is_empty() { Class::Exact } else { Class::Costly(freed) }
}

/// Why the size of a claim is not given back.
pub const GROWN: &str = "a volume that has grown does not shrink";

/// Where a claim has another size than before: only more is possible.
pub fn grown(key: &ObjectKey, before: &Value, after: &Value) -> Option<Path> {
    let is_claim = key.group().is_empty() && key.kind == "PersistentVolumeClaim";
    let size = Path::of_fields(&["spec", "resources", "requests", "storage"]);
    (is_claim && get(before, &size) != get(after, &size)).then_some(size)
}

/// What an object becomes: the dry run's answer, without what adopted managers lose. The server
/// shows that as theirs still, since their entries are folded only right before the write.
pub fn becomes(planned: &Value, dropped: &FieldSet) -> Value {
    let mut becomes = planned.clone();
    for path in dropped.paths() {
        remove(&mut becomes, &path);
    }
    becomes
}

/// What the server had allocated for a Service and would free: another one may get it before a
/// rollback asks for it again. And the type, where an external address hangs on it.
fn freed(before: &Value, after: &Value) -> Vec<Path> {
    let kind = |service: &Value| {
        let kind = service.pointer("/spec/type").and_then(Value::as_str);
        kind.unwrap_or("ClusterIP").to_owned()
    };
    let (was, is) = (kind(before), kind(after));
    let has_node_ports = matches!(is.as_str(), "NodePort" | "LoadBalancer");
    let ports = before.pointer("/spec/ports").and_then(Value::as_array);
    let node_ports = ports.into_iter().flatten().map(|port| {
        let key = ["port", "protocol"].map(|name| (name.to_owned(), Literal(port[name].clone())));
        let port = Path::of_fields(&["spec", "ports"]).join(Element::Key(key.into()));
        port.join(Element::field("nodePort"))
    });
    let fields = ["clusterIP", "clusterIPs", "healthCheckNodePort"];
    let fields = fields.map(|name| Path::of_fields(&["spec", name]));
    let stays = |path: &Path| has_node_ports || !path.to_string().ends_with("odePort");
    let is_freed = |path: &Path| {
        exists(before, path) && (get(before, path) != get(after, path) || !stays(path))
    };
    let mut freed: Vec<Path> = fields.into_iter().chain(node_ports).filter(is_freed).collect();
    if was == "LoadBalancer" && is != was {
        freed.push(Path::of_fields(&["spec", "type"]));
    }
    freed
}
