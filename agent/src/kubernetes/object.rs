//! What every object of the API has, and the few names by which this program marks objects.
//!
//! Objects are [`serde_json::Value`]s as fetched: what a newer server adds is kept, and nothing
//! has to be known of a kind. The accessors answer `None` for what is absent or of another type.

use std::{fmt, str::FromStr};

use lockstep_shared::id::{Epoch, MAX_NAME_LENGTH, PipelineName, RunId, WorkflowName};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// The one field manager under which this program writes (rule 9).
pub const MANAGER: &str = "lockstep";

/// The label that names the pipeline and workflow that an object belongs to (rule 9).
pub const OWNER_LABEL: &str = "lockstep.dev/owner";

/// The annotation that names the run, workflow and epoch that wrote an object last (rule 11).
pub const RUN_ANNOTATION: &str = "lockstep.dev/run";

/// The annotation by which a user keeps an object from being pruned (rule 31).
pub const PRUNE_ANNOTATION: &str = "lockstep.dev/prune";

/// The value of [`PRUNE_ANNOTATION`] that keeps an object.
pub const PRUNE_KEEP: &str = "keep";

/// How many hexadecimal digits of a digest stand in for what did not fit into a label.
const HASH_DIGITS: usize = 10;

/// Which object, as users read it: `Deployment backend/web`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectKey {
    /// Group and version, such as `apps/v1`, or `v1`.
    pub api_version: String,
    /// The kind, such as `Deployment`.
    pub kind: String,
    /// The namespace; none for what is cluster-scoped.
    pub namespace: Option<String>,
    /// The name.
    pub name: String,
}

/// Why a value is not an object of the API.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("this is not a Kubernetes object: {0} is missing or not a text; give every document one")]
pub struct NotAnObject(&'static str);

impl ObjectKey {
    /// The key of an object that has a name.
    ///
    /// # Errors
    /// [`NotAnObject`] names the first of `apiVersion`, `kind` and `metadata.name` that is missing.
    pub fn of(object: &Value) -> Result<Self, NotAnObject> {
        let text = |pointer: &str, name| match object.pointer(pointer).and_then(Value::as_str) {
            Some(text) if !text.is_empty() => Ok(text.to_owned()),
            _ => Err(NotAnObject(name)),
        };
        Ok(Self {
            api_version: text("/apiVersion", "apiVersion")?,
            kind: text("/kind", "kind")?,
            namespace: text("/metadata/namespace", "metadata.namespace").ok(),
            name: text("/metadata/name", "metadata.name")?,
        })
    }

    /// The API group; empty for the core group.
    pub fn group(&self) -> &str {
        self.api_version.split_once('/').map_or("", |(group, _)| group)
    }

    /// Whether this and `other` name one object, whichever version of its group each one uses.
    pub fn names_same(&self, other: &Self) -> bool {
        let names = |key: &Self| (key.kind.clone(), key.namespace.clone(), key.name.clone());
        self.group() == other.group() && names(self) == names(other)
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(formatter, "{} {namespace}/{}", self.kind, self.name),
            None => write!(formatter, "{} {}", self.kind, self.name),
        }
    }
}

/// The value of [`RUN_ANNOTATION`]: which incarnation of which workflow wrote an object last.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RunMark {
    /// The run.
    pub run: RunId,
    /// The workflow.
    pub workflow: WorkflowName,
    /// The incarnation of its agent.
    pub epoch: Epoch,
    /// Whether the mark is all that was written: an object that was taken over unwritten.
    pub claimed: bool,
}

impl RunMark {
    /// The mark on an object, if it has one that can be read.
    pub fn of(object: &Value) -> Option<Self> {
        annotation(object, RUN_ANNOTATION)?.parse().ok()
    }

    /// Whether both marks are of one workflow of one run, whichever incarnation wrote them.
    pub fn is_same_work(&self, other: &Self) -> bool {
        self.run == other.run && self.workflow == other.workflow
    }
}

impl fmt::Display for RunMark {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}/{}", self.run, self.workflow, self.epoch)?;
        formatter.write_str(if self.claimed { CLAIMED } else { "" })
    }
}

/// What ends a mark that is all that was written.
const CLAIMED: &str = "/claimed";

/// A text that is not `<run>/<workflow>/<epoch>`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not of the form <run>/<workflow>/<epoch>")]
pub struct InvalidRunMark(String);

impl FromStr for RunMark {
    type Err = InvalidRunMark;

    fn from_str(text: &str) -> Result<Self, InvalidRunMark> {
        let (plain, claimed) = match text.strip_suffix(CLAIMED) {
            Some(plain) => (plain, true),
            None => (text, false),
        };
        let mut parts = plain.splitn(3, '/');
        let mut next = || parts.next().ok_or_else(|| InvalidRunMark(text.to_owned()));
        let (run, workflow, epoch) = (next()?, next()?, next()?);
        match (run.parse(), workflow.parse(), epoch.parse()) {
            (Ok(run), Ok(workflow), Ok(epoch)) => Ok(Self { run, workflow, epoch, claimed }),
            _ => Err(InvalidRunMark(text.to_owned())),
        }
    }
}

/// The value of [`OWNER_LABEL`] for one workflow: `<pipeline>.<workflow>`, shortened with a hash
/// past the 63 characters of a label.
///
/// The shortened form has a `_`, which no name of a pipeline or workflow may have: it can be
/// mistaken for no other workflow's plain form.
pub fn owner_label(pipeline: &PipelineName, workflow: &WorkflowName) -> String {
    let plain = format!("{pipeline}.{workflow}");
    if plain.len() <= MAX_NAME_LENGTH {
        return plain;
    }
    let digest = Sha256::digest(plain.as_bytes());
    let hash: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    let head = &plain[..MAX_NAME_LENGTH - HASH_DIGITS - 1];
    format!("{head}_{}", &hash[..HASH_DIGITS])
}

fn metadata<'a>(object: &'a Value, field: &str) -> Option<&'a Value> {
    object.get("metadata")?.get(field)
}

/// `metadata.uid`: another one means another object of the same name.
pub fn uid(object: &Value) -> Option<&str> {
    metadata(object, "uid")?.as_str()
}

/// `metadata.generation`: counts the changes of what is wanted, where the kind counts them.
pub fn generation(object: &Value) -> Option<i64> {
    metadata(object, "generation")?.as_i64()
}

/// `metadata.resourceVersion`: another one means that anything at all has changed.
pub fn resource_version(object: &Value) -> Option<&str> {
    metadata(object, "resourceVersion")?.as_str()
}

/// `metadata.creationTimestamp`, in whole seconds of the server's clock.
pub fn creation_timestamp(object: &Value) -> Option<&str> {
    metadata(object, "creationTimestamp")?.as_str()
}

/// Whether a delete has been accepted and waits for finalizers.
pub fn is_being_deleted(object: &Value) -> bool {
    metadata(object, "deletionTimestamp").is_some_and(Value::is_string)
}

/// `metadata.finalizers`: what holds an object that is being deleted.
pub fn finalizers(object: &Value) -> Vec<&str> {
    let list = metadata(object, "finalizers").and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_str).collect()
}

/// One label's value.
pub fn label<'a>(object: &'a Value, name: &str) -> Option<&'a str> {
    metadata(object, "labels")?.get(name)?.as_str()
}

/// One annotation's value.
pub fn annotation<'a>(object: &'a Value, name: &str) -> Option<&'a str> {
    metadata(object, "annotations")?.get(name)?.as_str()
}

/// Writes the owner label and the run annotation onto an object that is about to be applied: on
/// its own metadata, never on a pod template (rules 9 and 11).
pub fn mark(object: &mut Value, owner: &str, run: &RunMark) {
    set_text(object, "labels", OWNER_LABEL, owner);
    set_text(object, "annotations", RUN_ANNOTATION, &run.to_string());
}

fn set_text(object: &mut Value, map: &str, name: &str, text: &str) {
    let metadata = child(object, "metadata");
    if let Some(entries) = child(metadata, map).as_object_mut() {
        entries.insert(name.to_owned(), text.into());
    }
}

/// The map under `name`, made where there is none (an explicit null is none).
fn child<'a>(value: &'a mut Value, name: &str) -> &'a mut Value {
    if !value.is_object() {
        *value = Value::Object(serde_json::Map::new());
    }
    let entry = &mut value[name];
    if !entry.is_object() {
        *entry = Value::Object(serde_json::Map::new());
    }
    entry
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_key_reads_like_a_sentence_to_users() {
        let web = json!({"apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "web", "namespace": "backend"}});
        assert_eq!(ObjectKey::of(&web).unwrap().to_string(), "Deployment backend/web");
        let role = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}});
        assert_eq!(ObjectKey::of(&role).unwrap().to_string(), "Namespace shop");
    }

    #[test]
    fn what_has_no_name_is_no_object() {
        let error = ObjectKey::of(&json!({"apiVersion": "v1", "kind": "Pod"})).unwrap_err();
        assert!(error.to_string().contains("metadata.name"), "{error}");
        assert!(ObjectKey::of(&json!(["a"])).is_err());
    }

    #[test]
    fn two_versions_of_a_group_name_one_object() {
        let key = |version: &str| ObjectKey {
            api_version: version.to_owned(),
            kind: "HorizontalPodAutoscaler".to_owned(),
            namespace: Some("shop".to_owned()),
            name: "web".to_owned(),
        };
        assert!(key("autoscaling/v1").names_same(&key("autoscaling/v2")));
        assert!(!key("autoscaling/v1").names_same(&key("v1")));
    }

    #[test]
    fn an_owner_label_past_its_limit_is_shortened_and_stays_unique() {
        let pipeline: PipelineName = "p".repeat(40).parse().unwrap();
        let label = |workflow: &str| owner_label(&pipeline, &workflow.parse().unwrap());
        assert_eq!(label("web"), format!("{pipeline}.web"));
        let (one, other) = (label(&"w".repeat(40)), label(&"w".repeat(41)));
        assert_eq!((one.len(), other.len()), (63, 63));
        assert_ne!(one, other);
    }

    #[test]
    fn a_run_mark_is_read_back_from_the_object_that_bears_it() {
        let run: RunMark = "r-1/backend/3".parse().unwrap();
        let mut object = json!({"metadata": {"name": "web", "labels": null}});
        mark(&mut object, "shop.backend", &run);
        assert_eq!(RunMark::of(&object), Some(run));
        assert_eq!(label(&object, OWNER_LABEL), Some("shop.backend"));
        assert!("a/b".parse::<RunMark>().is_err());
        assert!("a/b/c".parse::<RunMark>().is_err());
        let claimed: RunMark = "r-1/backend/3/claimed".parse().unwrap();
        assert!(claimed.claimed && claimed.to_string() == "r-1/backend/3/claimed");
    }
}
