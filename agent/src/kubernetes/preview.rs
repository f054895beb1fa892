//! What a workflow would do to its objects, as `lockstep plan --live` shows it. Values of Secrets are
//! never in it.

use std::collections::BTreeMap;

use lockstep_shared::{fold::cut, id::StepIndex, manifest::masked};
use serde::Serialize;
use serde_json::Value;

use super::{
    class::{Class, Outcome},
    fields::{FieldSet, Path, get},
    wanted::Wanted,
};

/// How many changed fields of one object are shown.
const MAX_CHANGES: usize = 50;

/// How much of one value is shown, in bytes of JSON.
const MAX_VALUE_BYTES: usize = 200;

/// What a workflow would do.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Preview {
    pub(crate) steps: BTreeMap<StepIndex, StepPreview>,
    /// What the last committed run brought and this one does not.
    pub(crate) dropped: Vec<DroppedPreview>,
}

/// What would become of an object that is dropped, once the run is committed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DroppedPreview {
    /// Which: `Deployment backend/web`.
    pub(crate) object: String,
    /// Why it is not deleted, if so, or why that is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) kept: Option<String>,
}

/// What a step would do.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StepPreview {
    pub(crate) objects: Vec<ObjectPreview>,
}

/// What would become of one object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ObjectPreview {
    /// Which: `Deployment backend/web`.
    pub(crate) object: String,
    /// Where its manifest is.
    pub(crate) source: String,
    /// What is done: create, update, or nothing.
    pub(crate) change: &'static str,
    /// How a rollback gives it back.
    pub(crate) undo: String,
    /// The fields that change, bounded.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) fields: Vec<FieldChange>,
    /// What else there is to know, each a sentence.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) notes: Vec<String>,
}

/// One field that changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct FieldChange {
    pub(crate) path: String,
    /// As JSON; absent if there was none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) before: Option<String>,
    /// As JSON; absent if there will be none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) after: Option<String>,
}

impl ObjectPreview {
    /// What becomes of an object.
    pub(crate) fn new(wanted: &Wanted, outcome: &Outcome, class: &Class) -> Self {
        let (change, note) = match outcome {
            Outcome::Create => ("create", None),
            Outcome::Update(_) | Outcome::Adopt(_) => ("update", None),
            Outcome::Unchanged => ("unchanged", None),
            Outcome::Unplanned(why) => ("apply", Some(format!("not planned: {why}"))),
            Outcome::Impossible(why) => ("refuse", Some(why.to_string())),
        };
        Self {
            object: wanted.key.to_string(),
            source: wanted.source.clone(),
            change,
            undo: class.to_string(),
            fields: Vec::new(),
            notes: note.into_iter().collect(),
        }
    }
}

/// The fields that an update changes, among them those of adopted managers that it drops.
pub(crate) fn changes(
    live: &Value,
    becomes: &Value,
    outcome: &Outcome,
    dropped: &FieldSet,
) -> Vec<FieldChange> {
    let Outcome::Update(changed) = outcome else { return Vec::new() };
    let (before, after) = (masked(live), masked(becomes));
    let shown = |object: &Value, path: &Path| {
        get(object, path).map(|value| cut(&value.to_string(), MAX_VALUE_BYTES))
    };
    let change = |path: &Path| FieldChange {
        path: path.to_string(),
        before: shown(&before, path),
        after: shown(&after, path),
    };
    let all = changed.union(dropped).paths();
    let changes = all.iter().filter(|path| get(live, path) != get(becomes, path));
    changes.take(MAX_CHANGES).map(change).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_changed_secret_is_shown_by_its_keys_only() {
        let secret = |value: &str| json!({ "apiVersion": "v1", "kind": "Secret", "data": { "password": value } });
        let path = Path::of_fields(&["data", "password"]);
        let outcome = Outcome::Update([path].into_iter().collect());
        let shown = changes(&secret("b2xk"), &secret("bmV3"), &outcome, &FieldSet::new());
        assert_eq!(shown.len(), 1, "{shown:?}");
        assert!(shown[0].path.contains("password"));
        let text = serde_json::to_string(&shown).unwrap();
        assert!(!text.contains("b2xk") && !text.contains("bmV3"), "{text}");
    }
}
