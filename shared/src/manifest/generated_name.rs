//! Names of Jobs with `generateName`: known once the run is, the same for every incarnation of an
//! agent, another one in the next run.

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::id::{MAX_NAME_LENGTH, RunKey, StepIndex, WorkflowName};

/// How many hexadecimal digits are added.
const DIGITS: usize = 8;

/// Gives an object that has only `generateName` its name in a run: that value and eight
/// hexadecimal digits of the run and of the object's position among those of its step. Nothing
/// happens to an object with a name.
pub fn name_generated(
    object: &mut Value,
    run: &RunKey,
    workflow: &WorkflowName,
    step: StepIndex,
    position: usize,
) {
    let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else { return };
    if metadata.get("name").is_some_and(|name| !name.is_null()) {
        return;
    }
    let Some(base) = metadata.get("generateName").and_then(Value::as_str) else { return };
    let hash = Sha256::digest(format!("{run}/{workflow}/{step}/{position}"));
    let digits: String = hash.iter().take(DIGITS / 2).map(|byte| format!("{byte:02x}")).collect();
    // A Job's name labels its pods, so it has to be as short as a label; the server cuts as well.
    let kept: String = base.chars().take(MAX_NAME_LENGTH - DIGITS).collect();
    metadata.insert("name".to_owned(), format!("{kept}{digits}").into());
    metadata.remove("generateName");
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn named(base: &str, run: &str, position: usize) -> String {
        let mut job = json!({ "kind": "Job", "metadata": { "generateName": base } });
        let key = RunKey { pipeline: "shop".parse().unwrap(), run: run.parse().unwrap() };
        name_generated(&mut job, &key, &"backend".parse().unwrap(), 0, position);
        assert!(job["metadata"].get("generateName").is_none());
        job["metadata"]["name"].as_str().unwrap().to_owned()
    }

    #[test]
    fn a_name_is_made_of_the_run_and_the_object() {
        let name = named("migrate-", "r1", 0);
        assert_eq!(name.len(), "migrate-".len() + DIGITS);
        assert_eq!(name, named("migrate-", "r1", 0), "the same for every incarnation");
        assert_ne!(name, named("migrate-", "r2", 0));
        assert_ne!(name, named("migrate-", "r1", 1));
        assert_eq!(named(&"x".repeat(100), "r1", 0).len(), MAX_NAME_LENGTH);
    }

    #[test]
    fn an_object_with_a_name_keeps_it() {
        let mut job = json!({ "metadata": { "name": "a", "generateName": "b-" } });
        let before = job.clone();
        let key = RunKey { pipeline: "shop".parse().unwrap(), run: "r1".parse().unwrap() };
        name_generated(&mut job, &key, &"backend".parse().unwrap(), 0, 0);
        assert_eq!(job, before);
    }
}
