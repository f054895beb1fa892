//! A new incarnation's mark on what an earlier one wrote, or was about to write (rule 11).
//!
//! A process that was frozen may have one request on its way, for the object as it was. The mark
//! makes it another version, so that the request changes nothing, however late it comes. A create
//! is not stopped by that: there is nothing yet to be marked.

use lockstep_shared::id::StepIndex;
use serde_json::Value;

use super::{
    adopt::{Adopt, before_apply},
    changed::{self, Since},
    client::Apply,
    fields::{Entry, FieldSet, FieldsError, Operation, entries, owned, project, shape},
    object::{RUN_ANNOTATION, RunMark, is_being_deleted, resource_version, uid},
    record::Before,
    target::Failure,
    writer::{Unwritten, Writer},
};
use crate::error_text;

/// How often an object that others are changing is tried.
const TRIES: usize = 10;

/// What came of putting the mark on an object.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Claimed {
    /// No request of an earlier incarnation changes it any more, or none could.
    Done,
    /// Somebody has changed it where we do not write: this is its new pre-image, to be stored
    /// before it is marked.
    Moved(Value),
}

/// Where the work goes on after a takeover.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Forward,
    Back,
}

/// Whether a request that an earlier incarnation has on its way could change an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Exposed {
    No,
    Yes {
        /// Whether nobody of the same work has written it yet.
        unwritten: bool,
    },
    /// Yes, unwritten, and it is not as its pre-image says.
    Moved,
}

/// Marks an object as this incarnation's, whether an earlier one of the same work wrote it or was
/// about to. On the way back its pre-image is what is stored, whatever it looks like by now: half of
/// it may be restored already. `step` is the one that goes on: those before it are over, and write
/// nothing more.
pub(crate) async fn claim(
    writer: &Writer,
    before: &Before,
    step: StepIndex,
    way: Way,
) -> Result<Claimed, Failure> {
    for _ in 0..TRIES {
        let Some((place, Some(live))) = writer.look(&before.key).await? else {
            return Ok(Claimed::Done);
        };
        let exposed = exposed(before, &live, &writer.mark).map_err(|error| error_text(&error))?;
        let claimed = match (exposed, way) {
            (Exposed::No, _) => return Ok(Claimed::Done),
            (Exposed::Moved, Way::Forward) => return Ok(Claimed::Moved(live)),
            (Exposed::Moved, Way::Back) => true,
            // What a step that is over left unwritten was as it should be.
            (Exposed::Yes { unwritten }, _) => unwritten && before.step == step,
        };
        let mark = RunMark { claimed, ..writer.mark.clone() };
        let fold = before_apply(&live, &Adopt::nobody(), &FieldSet::new());
        let written = match fold.map_err(|error| error_text(&error))? {
            Some(patch) => writer.patch(&place, &patch).await,
            None => {
                let body = remarked(&live, &mark).map_err(|error| error_text(&error))?;
                writer.apply(&place, &body, Apply::Plain).await
            }
        };
        match written {
            Ok(_) | Err(Unwritten::Stale) => {}
            // It may be as it was, or only has to be deleted; if not, restoring it says this again.
            Err(Unwritten::Refused(refusal)) if way == Way::Back => {
                tracing::warn!(%refusal, "not marked as this incarnation's");
                return Ok(Claimed::Done);
            }
            Err(error) => return Err(error.into()),
        }
    }
    let key = &before.key;
    Err(format!("{key} is being changed by others without end, so it cannot be taken over").into())
}

/// Decides for an object that is there. One that has changed where we write, or that somebody else
/// has made, an earlier incarnation has not written and would not have.
fn exposed(before: &Before, live: &Value, me: &RunMark) -> Result<Exposed, FieldsError> {
    if is_being_deleted(live) {
        return Ok(Exposed::No);
    }
    if let Some(found) = RunMark::of(live).filter(|found| found.is_same_work(me)) {
        return Ok(match found.epoch < me.epoch {
            true => Exposed::Yes { unwritten: found.claimed },
            false => Exposed::No,
        });
    }
    let (then, planned) = (before.before.as_ref(), before.planned.as_ref());
    Ok(match changed::since(then, Some(live), planned, &before.adopt(), me)? {
        Since::Same => Exposed::Yes { unwritten: true },
        Since::Written => Exposed::Yes { unwritten: false },
        Since::Elsewhere => Exposed::Moved,
        Since::Otherwise(_) => Exposed::No,
    })
}

/// What we own of an object, with this incarnation's mark: the same apply as before, but for that.
/// Of an object that we own nothing of, it is the mark alone.
fn remarked(live: &Value, me: &RunMark) -> Result<Value, FieldsError> {
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
    body["metadata"]["annotations"][RUN_ANNOTATION] = me.to_string().into();
    body["metadata"]["uid"] = uid(live).into();
    body["metadata"]["resourceVersion"] = resource_version(live).into();
    Ok(body)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::kubernetes::object::ObjectKey;

    fn me() -> RunMark {
        "r2/backend/3".parse().unwrap()
    }

    fn config(data: &str, marked: Option<&str>) -> Value {
        let mut config = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {
                "name": "web", "namespace": "shop", "uid": "u", "resourceVersion": "7",
                "managedFields": [{
                    "manager": "kubectl", "operation": "Apply", "apiVersion": "v1",
                    "fieldsType": "FieldsV1", "fieldsV1": { "f:data": { "f:a": {} } },
                }],
            },
            "data": { "a": data },
        });
        if let Some(mark) = marked {
            config["metadata"]["annotations"] = json!({ RUN_ANNOTATION: mark });
        }
        config
    }

    fn before(pre_image: Option<Value>) -> Before {
        let planned = Some(config("new", None));
        Before {
            step: 0,
            key: ObjectKey::of(&config("", None)).unwrap(),
            before: pre_image,
            planned,
            adopt: None,
            unhealthy: None,
        }
    }

    #[test]
    fn what_an_earlier_incarnation_wrote_or_was_about_to_write_is_exposed() {
        let there = before(Some(config("old", None)));
        let exposed = |live: &Value| exposed(&there, live, &me()).unwrap();
        let (written, unwritten) =
            (Exposed::Yes { unwritten: false }, Exposed::Yes { unwritten: true });
        assert_eq!(exposed(&config("new", Some("r2/backend/2"))), written);
        assert_eq!(exposed(&config("old", None)), unwritten, "not written yet");
        assert_eq!(exposed(&config("old", Some("r1/backend/9"))), unwritten);
        let claimed = config("old", Some("r2/backend/2/claimed"));
        assert_eq!(exposed(&claimed), unwritten, "taken over before, and not written since");
        assert_eq!(exposed(&config("old", Some("r2/backend/3"))), Exposed::No, "ours");
    }

    #[test]
    fn what_an_earlier_incarnation_would_not_have_written_is_left_alone() {
        let there = before(Some(config("old", None)));
        assert_eq!(exposed(&there, &config("other", None), &me()), Ok(Exposed::No));
        assert_eq!(exposed(&before(None), &config("other", None), &me()), Ok(Exposed::No));
        let mut leaving = config("old", None);
        leaving["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
        assert_eq!(exposed(&there, &leaving, &me()), Ok(Exposed::No));
    }

    #[test]
    fn what_has_moved_on_where_we_do_not_write_is_told() {
        let mut moved = config("old", None);
        moved["data"]["b"] = "theirs".into();
        let there = before(Some(config("old", None)));
        assert_eq!(exposed(&there, &moved, &me()), Ok(Exposed::Moved));
    }

    #[test]
    fn the_mark_of_an_object_that_we_own_nothing_of_is_all_that_is_applied() {
        let body = remarked(&config("old", None), &me()).unwrap();
        assert_eq!(
            body,
            json!({
                "apiVersion": "v1", "kind": "ConfigMap",
                "metadata": {
                    "name": "web", "namespace": "shop", "uid": "u", "resourceVersion": "7",
                    "annotations": { RUN_ANNOTATION: "r2/backend/3" },
                },
            })
        );
    }
}
