//! Secrets as they may be shown: which keys they have, never what is behind them.

use serde_json::Value;

/// What is shown in place of a value.
pub const HIDDEN: &str = "(hidden)";

/// What kubectl keeps of the last manifest: a Secret's values among it.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// What of a Secret holds no value. Anything else may be a misspelt `data`.
const PUBLIC: &[&str] = &["apiVersion", "kind", "metadata", "type", "immutable"];

/// An object as it may be shown: a Secret without its values, anything else as it is.
pub fn masked(object: &Value) -> Value {
    let mut shown = object.clone();
    if object["kind"] != "Secret" || object["apiVersion"] != "v1" {
        return shown;
    }
    let parts = shown.as_object_mut().into_iter().flatten();
    for (_, part) in parts.filter(|(name, _)| !PUBLIC.contains(&name.as_str())) {
        match part {
            Value::Object(values) => {
                values.values_mut().for_each(|value| *value = HIDDEN.into());
            }
            Value::Null => {}
            other => *other = HIDDEN.into(),
        }
    }
    if let Some(kept) =
        shown.pointer_mut("/metadata/annotations").and_then(|all| all.get_mut(LAST_APPLIED))
    {
        *kept = HIDDEN.into();
    }
    shown
}

/// A text of manifests as it may be drawn beside a finding: where it is about a Secret, blank but
/// for what the object is and is called. Every place in it stays the same.
pub(super) fn drawn(text: &str) -> String {
    let mut drawn = String::with_capacity(text.len());
    let mut document = String::new();
    let has_secrets = is_about_secrets(text);
    for line in text.split_inclusive('\n') {
        // A key that is not indented begins with more dashes, and begins no document.
        let rest = line.strip_prefix("---");
        if rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(char::is_whitespace)) {
            draw(&document, has_secrets, &mut drawn);
            document.clear();
        }
        document.push_str(line);
    }
    draw(&document, has_secrets, &mut drawn);
    drawn
}

/// `has_secrets`: whether the text has any. Then a part that does not say what it is may be the rest
/// of one.
fn draw(document: &str, has_secrets: bool, drawn: &mut String) {
    let may_be_one = || !says_its_kind(document) || document.contains("stringData");
    let is_hidden = is_about_secrets(document) || (has_secrets && may_be_one());
    if !is_hidden {
        return drawn.push_str(document);
    }
    let mut public = false;
    for line in document.split_inclusive('\n') {
        if !line.starts_with(char::is_whitespace) {
            let key = line.split(':').next().unwrap_or_default();
            let holds_all = key == "metadata" && document.contains(LAST_APPLIED);
            public = line.trim_end() == "---" || PUBLIC.contains(&key) && !holds_all;
        }
        if public {
            drawn.push_str(line);
        } else {
            let blank = |letter: char| if letter == '\n' { "\n" } else { "    " };
            drawn.extend(line.chars().filter_map(|letter| blank(letter).get(..letter.len_utf8())));
        }
    }
}

/// Whether `kind: Secret` is in it somewhere, or something that begins so, however it is spelt.
fn is_about_secrets(document: &str) -> bool {
    let document = document.to_ascii_lowercase();
    document.match_indices("secret").any(|(at, _)| {
        let before = document.get(..at).unwrap_or_default();
        let before = before.trim_end_matches([' ', '\t', '\r', '\n', '"', '\'']);
        let key = before.strip_suffix(':').unwrap_or_default();
        key.trim_end_matches([' ', '"', '\'']).ends_with("kind")
    })
}

fn says_its_kind(document: &str) -> bool {
    let mut lines = document.lines().map(|line| line.trim_start_matches(['{', ' ', '"', '\'']));
    lines.any(|line| line.starts_with("kind")) || document.trim().is_empty()
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
    fn a_misspelt_part_of_a_secret_is_shown_without_its_values() {
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "s" },
            "dta": { "password": "deep" }, "stringdata": "deep",
        });
        let shown = masked(&secret);
        assert!(!shown.to_string().contains("deep"), "{shown}");
        assert_eq!(shown["metadata"], secret["metadata"]);
    }

    #[test]
    fn no_spelling_and_no_lost_indent_shows_the_value_of_a_secret() {
        for text in [
            "kind: Secret\nstringData:\n  tls.key: |\n-----BEGIN KEY-----\ndeep\n-----END KEY-----\n",
            "kind:\n  Secret\nstringData: { a: deep }\n",
            "kind: secret\nstringData: { a: deep }\n",
            "kind: Secret\n---\nstringData: { a: deep }\n",
            "kind: Secret\nstringData:\n  a: |\n---\ndeep\n",
        ] {
            let drawn = drawn(text);
            assert!(!drawn.contains("deep"), "{drawn}");
            assert_eq!(drawn.lines().count(), text.lines().count());
        }
    }

    #[test]
    fn a_text_is_drawn_without_the_values_of_its_secrets_and_every_place_stays() {
        let text = "\
kind: ConfigMap
data: { open: yes }
---
apiVersion: v1
kind: Secret
metadata:
  name: a
stringData:
  key: |
    dëep
    user: deep
--- { \"kind\": \"Secret\", data: { a: deep } }
---
kind: Pod
spec: { imagePullSecrets: [{ name: open }] }
";
        let drawn = drawn(text);
        assert_eq!(drawn.len(), text.len());
        assert_eq!(drawn.lines().count(), text.lines().count());
        assert!(!drawn.contains("eep") && !drawn.contains("user"), "{drawn}");
        for kept in ["data: { open: yes }", "kind: Secret", "  name: a", "[{ name: open }]"] {
            assert_eq!(drawn.find(kept), text.find(kept), "{kept} in {drawn}");
        }
        let dumped = format!(
            "kind: Secret\nmetadata:\n  annotations:\n    {LAST_APPLIED}: |\n      {{deep}}\n"
        );
        assert!(!super::drawn(&dumped).contains("deep"));
    }

    #[test]
    fn what_is_no_secret_is_shown_as_it_is() {
        let map = json!({ "apiVersion": "v1", "kind": "ConfigMap", "data": { "a": "b" } });
        assert_eq!(masked(&map), map);
    }
}
