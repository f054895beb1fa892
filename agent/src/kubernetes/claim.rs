//! A new incarnation's mark on what an earlier one wrote (rule 11).

use serde_json::Value;

use super::{
    adopt::{Adopt, before_apply},
    client::Apply,
    fields::{Entry, FieldSet, FieldsError, Operation, entries, owned, project, shape},
    object::{ObjectKey, RunMark, is_being_deleted, mark, resource_version, uid},
    target::Failure,
    writer::{Unwritten, Writer},
};
use crate::error_text;

/// How often an object that others are changing is tried.
const TRIES: usize = 10;

/// Marks an object as this incarnation's, if an earlier one of the same work wrote it.
pub(crate) async fn claim(writer: &Writer, key: &ObjectKey) -> Result<(), Failure> {
    for _ in 0..TRIES {
        let Some((place, Some(live))) = writer.look(key).await? else { return Ok(()) };
        let theirs = RunMark::of(&live).filter(|found| found.is_same_work(&writer.mark));
        if theirs.is_none_or(|found| found.epoch >= writer.mark.epoch) || is_being_deleted(&live) {
            return Ok(());
        }
        let nobody: Adopt = [""; 0].into_iter().collect();
        let fold = before_apply(&live, &nobody, &FieldSet::new());
        let written = match fold.map_err(|error| error_text(&error))? {
            Some(patch) => writer.patch(&place, &patch).await,
            None => {
                let body = remarked(&live, writer).map_err(|error| error_text(&error))?;
                writer.apply(&place, &body, Apply::Plain).await
            }
        };
        match written {
            Ok(_) | Err(Unwritten::Stale) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(format!("{key} is being changed by others without end, so it cannot be taken over").into())
}

/// What we own of an object, with this incarnation's mark: the same apply as before, but for that.
fn remarked(live: &Value, writer: &Writer) -> Result<Value, FieldsError> {
    let all = entries(live)?;
    let applied = |entry: &Entry| entry.is_ours() && entry.operation == Operation::Apply;
    let mut body = project(live, &owned(live, &all, applied), &shape([live])?);
    for name in ["apiVersion", "kind"] {
        body[name] = live[name].clone();
    }
    for name in ["name", "namespace"] {
        if let Some(value) = live["metadata"].get(name) {
            body["metadata"][name] = value.clone();
        }
    }
    mark(&mut body, &writer.owner, &writer.mark);
    body["metadata"]["uid"] = uid(live).into();
    body["metadata"]["resourceVersion"] = resource_version(live).into();
    Ok(body)
}
