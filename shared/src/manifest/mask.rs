//! Secrets as they may be shown: which keys they have, never what is behind them.

use serde_json::Value;

/// What is shown in place of a value.
pub const HIDDEN: &str = "(hidden)";

/// What kubectl keeps of the last manifest: a Secret's values among it.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// An object as it may be shown: a Secret without its values, anything else as it is.
pub fn masked(object: &Value) -> Value {
    let mut shown = object.clone();
    if object["kind"] != "Secret" || object["apiVersion"] != "v1" {
        return shown;
    }
    for part in ["data", "stringData"] {
        match shown.get_mut(part) {
            Some(Value::Object(values)) => {
                values.values_mut().for_each(|value| *value = HIDDEN.into());
            }
            Some(Value::Null) | None => {}
            Some(other) => *other = HIDDEN.into(),
        }
    }
    if let Some(kept) =
        shown.pointer_mut("/metadata/annotations").and_then(|all| all.get_mut(LAST_APPLIED))
    {
        *kept = HIDDEN.into();
    }
    shown
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_secret_is_shown_without_any_of_its_values() {
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
            "metadata": { "name": "s", "annotations": { LAST_APPLIED: "{\"data\":\"deep\"}", "a": "b" } },
            "data": { "password": "deep" }, "stringData": { "token": "deep", "number": 5 },
        });
        let shown = masked(&secret);
        assert!(!shown.to_string().contains("deep"), "{shown}");
        assert_eq!(shown["data"]["password"], HIDDEN);
        assert_eq!(shown["stringData"]["number"], HIDDEN);
        assert_eq!(shown["metadata"]["annotations"]["a"], "b");
        let mut odd = secret;
        odd["data"] = json!("deep");
        assert_eq!(masked(&odd)["data"], HIDDEN, "what is no map is hidden whole");
    }

    #[test]
    fn what_is_no_secret_is_shown_as_it_is() {
        let map = json!({ "apiVersion": "v1", "kind": "ConfigMap", "data": { "a": "b" } });
        assert_eq!(masked(&map), map);
    }
}
