//! Secrets as they are applied: what a manifest says in `stringData` is said in `data`.
//!
//! The server does that too, but only after it has noted whose `stringData` is. Whoever applies that
//! owns nothing of what he wrote: he overwrites anybody's value without a conflict, does not notice
//! who changes it, and leaves a key behind that he drops.

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Map, Value};

/// Moves a Secret's `stringData` to `data`. What the server would refuse is left for it to refuse.
pub(super) fn encode(object: &mut Value) {
    if object["apiVersion"] != "v1" || object["kind"] != "Secret" {
        return;
    }
    let Some(texts) = object["stringData"].as_object() else { return };
    let encoded: Option<Map<String, Value>> = texts
        .iter()
        .map(|(key, text)| {
            // A key without a value is an empty one.
            let text = if text.is_null() { "" } else { text.as_str()? };
            Some((key.clone(), BASE64_STANDARD.encode(text).into()))
        })
        .collect();
    let Some(encoded) = encoded else { return };
    let Some(fields) = object.as_object_mut() else { return };
    match fields.get_mut("data") {
        Some(Value::Object(data)) => data.extend(encoded),
        None | Some(Value::Null) if encoded.is_empty() => {}
        None | Some(Value::Null) => {
            fields.insert("data".to_owned(), encoded.into());
        }
        Some(_) => return,
    }
    fields.remove("stringData");
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn encoded(mut object: Value) -> Value {
        encode(&mut object);
        object
    }

    #[test]
    fn texts_are_said_in_base64_and_go_before_what_is_there() {
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret",
            "data": { "a": "b2xk", "b": "Yg==" }, "stringData": { "a": "new" },
        });
        let expected =
            json!({ "apiVersion": "v1", "kind": "Secret", "data": { "a": "bmV3", "b": "Yg==" } });
        assert_eq!(encoded(secret), expected);
        let only = json!({ "apiVersion": "v1", "kind": "Secret", "data": null, "stringData": { "a": "new" } });
        assert_eq!(encoded(only)["data"], json!({ "a": "bmV3" }));
    }

    #[test]
    fn what_the_server_refuses_and_what_is_no_secret_is_left_as_it_is() {
        for (kind, data, texts) in [
            ("Secret", json!({}), json!({ "a": 1 })),
            ("Secret", json!("no map"), json!({ "a": "b" })),
            ("Secret", json!({}), json!("no map")),
            ("ConfigMap", json!({}), json!({ "a": "b" })),
        ] {
            let object =
                json!({ "apiVersion": "v1", "kind": kind, "data": data, "stringData": texts });
            assert_eq!(encoded(object.clone()), object);
        }
    }
}
