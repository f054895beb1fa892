//! The head of an undo record: what is known of it without reading what it holds.

use base64::{Engine, prelude::BASE64_STANDARD};
use lockstep_shared::{
    id::{Epoch, RunKey, WorkflowName},
    time::Timestamp,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::UndoError;
use crate::state::Mark;

/// The format that this build writes.
const FORMAT: u32 = 1;

/// The label that says how far the debt has come.
const STATE: &str = "lockstep.dev/state";

/// One run's record, without what it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The run.
    pub key: RunKey,
    /// The workflow.
    pub workflow: WorkflowName,
    /// How far the debt has come.
    pub mark: Mark,
    /// The incarnation that prepared it.
    pub epoch: Epoch,
    /// When it was prepared.
    pub prepared_at: Timestamp,
    /// What is needed to undo.
    pub body: Body,
}

/// Where what is needed to undo is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Body {
    /// The SHA-256 of all of it, in hex.
    pub digest: String,
    /// In how many chunks.
    pub chunks: usize,
}

/// What a head's Secret says.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Stored {
    format: u32,
    key: RunKey,
    workflow: WorkflowName,
    epoch: Epoch,
    prepared_at: Timestamp,
    body: Body,
}

#[derive(Deserialize)]
struct Format {
    format: u32,
}

/// The name of a head's Secret: labels, so that no two runs share one.
pub(super) fn name(key: &RunKey, workflow: &WorkflowName) -> String {
    format!("lockstep.{}.{workflow}.{}", key.pipeline, key.run)
}

/// Writes a head into its Secret, or into a patch of it.
pub(super) fn write(head: &Head, secret: &mut Value) {
    let stored = Stored {
        format: FORMAT,
        key: head.key.clone(),
        workflow: head.workflow.clone(),
        epoch: head.epoch,
        prepared_at: head.prepared_at,
        body: head.body.clone(),
    };
    let text = serde_json::to_vec(&stored).expect("a head has only string keys");
    secret["data"] = json!({ "head": BASE64_STANDARD.encode(text) });
    let mark = serde_json::to_value(head.mark).expect("a mark is a word");
    match secret.pointer_mut("/metadata/labels").and_then(Value::as_object_mut) {
        Some(labels) => {
            labels.insert(STATE.to_owned(), mark);
        }
        None => secret["metadata"]["labels"] = json!({ STATE: mark }),
    }
}

/// Reads a head from its Secret.
pub(super) fn read(secret: &Value) -> Result<Head, UndoError> {
    let text = |pointer: &str| secret.pointer(pointer).and_then(Value::as_str);
    let name = text("/metadata/name").unwrap_or("without a name").to_owned();
    let damaged = |why: String| UndoError::Damaged { secret: name.clone(), why };
    let data = text("/data/head").ok_or_else(|| damaged("it has no head".to_owned()))?;
    let data = BASE64_STANDARD.decode(data).map_err(|error| damaged(error.to_string()))?;
    let format: Format =
        serde_json::from_slice(&data).map_err(|error| damaged(error.to_string()))?;
    if format.format > FORMAT {
        return Err(UndoError::Format { secret: name, found: format.format, known: FORMAT });
    }
    let stored: Stored =
        serde_json::from_slice(&data).map_err(|error| damaged(error.to_string()))?;
    let mark = text("/metadata/labels/lockstep.dev~1state").unwrap_or_default();
    let mark: Mark = serde_json::from_value(mark.into())
        .map_err(|_| damaged(format!("its state {mark:?} is none")))?;
    let Stored { key, workflow, epoch, prepared_at, body, .. } = stored;
    Ok(Head { key, workflow, mark, epoch, prepared_at, body })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head() -> Head {
        Head {
            key: RunKey { pipeline: "shop".parse().unwrap(), run: "r1".parse().unwrap() },
            workflow: "backend".parse().unwrap(),
            mark: Mark::Started,
            epoch: 2,
            prepared_at: Timestamp(7),
            body: Body { digest: "ab".repeat(32), chunks: 3 },
        }
    }

    #[test]
    fn a_head_is_read_back_as_it_was_written_and_its_label_says_how_far_it_is() {
        let mut secret = json!({ "metadata": { "labels": { "a": "b" } } });
        write(&head(), &mut secret);
        assert_eq!(read(&secret), Ok(head()));
        assert_eq!(secret["metadata"]["labels"], json!({ "a": "b", STATE: "started" }));
    }

    #[test]
    fn a_damaged_head_is_named_and_never_guessed_at() {
        let mut secret = json!({ "metadata": { "name": "lockstep.shop.backend.r1" } });
        write(&head(), &mut secret);
        secret["metadata"]["labels"][STATE] = "begun".into();
        let error = read(&secret).unwrap_err();
        assert!(matches!(error, UndoError::Damaged { .. }), "{error}");
        assert!(error.to_string().contains("lockstep.shop.backend.r1"), "{error}");
        secret["data"]["head"] = BASE64_STANDARD.encode(b"{\"format\":9}").into();
        assert!(matches!(read(&secret), Err(UndoError::Format { found: 9, .. })));
    }
}
