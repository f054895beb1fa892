//! What becomes of fields that nobody sets any more: the server gives them their defaults again, or
//! keeps what it has given out, such as a cluster IP.

use serde_json::{Map, Value, json};

use super::{
    client::{Cluster, Place, Refusal},
    object::resource_version,
};

/// What the server would make of a live object that becomes another, in a dry run; `None` if it does
/// not say.
///
/// # Errors
/// [`Refusal`] if it may say so later.
pub(super) async fn defaulted(
    cluster: &Cluster,
    place: &Place,
    live: &Value,
    becomes: &Value,
) -> Result<Option<Value>, Refusal> {
    match cluster.dry_merge(place, &patch(live, becomes)).await {
        Ok(object) => Ok(Some(object)),
        Err(refusal) if refusal.reason.is_transient() => Err(refusal),
        Err(_) => Ok(None),
    }
}

/// The JSON merge patch (RFC 7396) that makes one object the other, if it is still of this version.
fn patch(live: &Value, becomes: &Value) -> Value {
    let of_users = |object: &Value| {
        let mut object = object.clone();
        if let Some(fields) = object.as_object_mut() {
            fields.remove("status");
        }
        if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.retain(|field, _| {
                !matches!(field.as_str(), "managedFields" | "resourceVersion" | "generation")
            });
        }
        object
    };
    let changed = difference(&of_users(live), &of_users(becomes));
    let mut patch = changed.unwrap_or_else(|| json!({}));
    patch["metadata"]["resourceVersion"] = resource_version(live).into();
    patch
}

/// The part of a merge patch that makes one value the other; `None` if they are the same.
fn difference(old: &Value, new: &Value) -> Option<Value> {
    let (Value::Object(old), Value::Object(new)) = (old, new) else {
        return (old != new).then(|| new.clone());
    };
    let gone = old.keys().filter(|key| !new.contains_key(*key));
    let gone = gone.map(|key| (key.clone(), Value::Null));
    let set = new.iter().filter_map(|(key, value)| {
        let change = old.get(key).map_or(Some(value.clone()), |old| difference(old, value))?;
        Some((key.clone(), change))
    });
    let changes: Map<String, Value> = gone.chain(set).collect();
    (!changes.is_empty()).then_some(Value::Object(changes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patch_takes_away_what_is_gone_and_sets_what_is_new_of_that_version_only() {
        let live = json!({
            "metadata": { "name": "a", "resourceVersion": "7", "generation": 2, "managedFields": [1] },
            "spec": { "gone": 1, "same": { "b": [1, 2] }, "list": [1], "deep": { "x": 1, "y": 2 } },
            "status": { "ready": true },
        });
        let becomes = json!({
            "metadata": { "name": "a", "labels": { "l": "1" }, "resourceVersion": "8" },
            "spec": { "same": { "b": [1, 2] }, "list": [1, 2], "deep": { "y": 2 }, "new": { "z": 1 } },
        });
        let expected = json!({
            "metadata": { "labels": { "l": "1" }, "resourceVersion": "7" },
            "spec": { "gone": null, "list": [1, 2], "deep": { "x": null }, "new": { "z": 1 } },
        });
        assert_eq!(patch(&live, &becomes), expected);
        assert_eq!(patch(&live, &live), json!({ "metadata": { "resourceVersion": "7" } }));
    }
}
