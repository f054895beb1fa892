//! What the server's words mean when it refuses a dry run.

use std::fmt;

use serde_json::Value;

use super::{super::object::ObjectKey, Impossible, Outcome, Terms};

/// How much is told of the server's words, in bytes, of their beginning and of their end: it prints
/// a Job's whole template between the field's name and what is wrong with it.
const TOLD_FIRST: usize = 200;
const TOLD_LAST: usize = 120;

/// One field that another manager owns with another value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// The manager's name.
    pub manager: String,
    /// The subresource through which it wrote, if not the object itself.
    pub subresource: Option<String>,
    /// The path, as the server prints it; [`FieldSet::find`](super::super::fields::FieldSet::find)
    /// on that manager's fields gives the path itself.
    pub path: String,
}

impl fmt::Display for Conflict {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} is {:?}'s", self.path, self.manager)?;
        match &self.subresource {
            Some(subresource) => write!(formatter, " (through {subresource})"),
            None => Ok(()),
        }
    }
}

/// The conflicts that a refusal of an apply lists; empty if it was refused for another reason.
pub fn conflicts(status: &Value) -> Vec<Conflict> {
    let causes = status.pointer("/details/causes").and_then(Value::as_array);
    causes.into_iter().flatten().filter_map(conflict).collect()
}

/// Reads a cause such as `conflict with "kubectl" with subresource "scale" using apps/v1`.
fn conflict(cause: &Value) -> Option<Conflict> {
    let text = |name: &str| cause.get(name).and_then(Value::as_str);
    if text("reason") != Some("FieldManagerConflict") {
        return None;
    }
    let (manager, rest) = quoted(text("message")?.strip_prefix("conflict with ")?)?;
    let subresource =
        rest.strip_prefix(" with subresource ").and_then(quoted).map(|(name, _)| name);
    Some(Conflict { manager, subresource, path: text("field")?.to_owned() })
}

/// A quoted text at the beginning, and what follows it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut unquoted = String::new();
    let mut characters = text.strip_prefix('"')?.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((unquoted, &text[at + 2..])),
            '\\' => unquoted.push(characters.next()?.1),
            other => unquoted.push(other),
        }
    }
    None
}

/// What a refused dry run means. `exists`: whether the object is there.
pub(super) fn judge(key: &ObjectKey, exists: bool, status: &Value, terms: &Terms<'_>) -> Outcome {
    let words = status.get("message").and_then(Value::as_str).unwrap_or("it gave no reason");
    let conflicts = conflicts(status);
    if !conflicts.is_empty() {
        let (takeable, others): (Vec<_>, Vec<_>) =
            conflicts.into_iter().partition(|conflict| may_take(conflict, terms));
        return match others.is_empty() {
            true => Outcome::Adopt(takeable),
            false => Outcome::Impossible(Impossible::Conflicts(others)),
        };
    }
    if let Some(item) = twice(words) {
        return Outcome::Impossible(Impossible::Twice(item));
    }
    if let Some(unplanned) = unplanned(key, words, terms) {
        return Outcome::Unplanned(unplanned);
    }
    let told = shortened(words);
    let code = status.get("code").and_then(Value::as_u64).unwrap_or_default();
    Outcome::Impossible(match code {
        _ if is_denied(words) => Impossible::Refused(words.to_owned()),
        404 if is_about(status, "namespaces") => {
            let name = status.pointer("/details/name").and_then(Value::as_str);
            Impossible::NoNamespace(name.or(key.namespace.as_deref()).unwrap_or("").to_owned())
        }
        422 if exists && is_immutable(status, words) => Impossible::Immutable(told),
        // What does not fit the schema is an internal error of the server's, in its own view.
        _ if is_unreadable(words) => Impossible::Invalid(told),
        400 | 422 => Impossible::Invalid(told),
        _ => Impossible::Refused(words.to_owned()),
    })
}

/// What a refusal of the dry run with force means. What the manifest leaves out is still there in
/// it, owned by the managers that are to be adopted, and may be all that is invalid: the server
/// knows only once their entries are folded, which is not done before the write.
pub(super) fn judge_forced(
    key: &ObjectKey,
    exists: bool,
    status: &Value,
    terms: &Terms<'_>,
) -> Outcome {
    match judge(key, exists, status, terms) {
        Outcome::Impossible(Impossible::Invalid(words)) => Outcome::Unplanned(format!(
            "the server can judge it only once the fields of adopted managers are ours; before \
             that it says: {words}"
        )),
        other => other,
    }
}

/// Whether a webhook or a policy refuses it. Those choose their codes themselves; without one, the
/// server says that the request is wrong.
fn is_denied(words: &str) -> bool {
    words.contains("denied the request") || words.contains("denied request")
}

/// Words on one line, without what is in the middle of very long ones.
fn shortened(words: &str) -> String {
    let words: Vec<&str> = words.split_whitespace().collect();
    let words = words.join(" ");
    if words.len() <= TOLD_FIRST + TOLD_LAST {
        return words;
    }
    let first = words.floor_char_boundary(TOLD_FIRST);
    let last = words.ceil_char_boundary(words.len() - TOLD_LAST);
    format!("{} ... {}", &words[..first], &words[last..])
}

/// Whether the server says that a manifest does not fit its kind's schema, or cannot be decoded as
/// its kind: a Secret's `data` that is no base64.
pub(in crate::kubernetes) fn is_unreadable(words: &str) -> bool {
    words.contains("failed to create typed patch object")
        || words.contains("unable to convert unstructured object")
}

/// Reads `...: .spec.env: duplicate entries for key [name="A"]`.
fn twice(words: &str) -> Option<String> {
    let (before, after) = words.split_once(": duplicate entries for key ")?;
    let list = before.rsplit([' ', '\n']).next()?;
    let item = after.split('\n').next()?.trim();
    Some(format!("{list}{item}"))
}

fn is_about(status: &Value, resource: &str) -> bool {
    status.pointer("/details/kind").and_then(Value::as_str) == Some(resource)
}

/// Whether a conflict is with an adopted manager, or at or below one of the forced paths.
fn may_take(conflict: &Conflict, terms: &Terms<'_>) -> bool {
    let bare = |text: &str| text.strip_prefix('.').unwrap_or(text).to_owned();
    let path = bare(&conflict.path);
    let is_forced = |forced: &String| {
        let rest = path.strip_prefix(&bare(forced));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    };
    let is_adopted = conflict.subresource.is_none() && terms.adopt.names(&conflict.manager);
    is_adopted || terms.force.iter().any(is_forced)
}

/// Why a refusal says nothing about the write itself, if so.
fn unplanned(key: &ObjectKey, words: &str, terms: &Terms<'_>) -> Option<String> {
    if words.contains("does not support dry run") {
        return Some("a webhook that judges it does not support dry runs".to_owned());
    }
    let is_unknown = words.contains("could not find the requested resource")
        || words.contains("no matches for kind");
    let of_the_set = |other: &&ObjectKey| {
        let is_needed = words.contains(&format!("{:?} not found", other.name))
            && words.to_lowercase().contains(&other.kind.to_lowercase());
        let is_definition = is_unknown
            && other.kind == "CustomResourceDefinition"
            && other.name.ends_with(key.group());
        is_needed || is_definition
    };
    let needed = terms.missing.iter().filter(|other| *other != key).find(of_the_set)?;
    Some(format!("it needs {needed}, which this step makes first"))
}

/// Whether a refusal of an update is about what may never change. The API has no code for that.
fn is_immutable(status: &Value, words: &str) -> bool {
    const SIGNS: &[&str] = &[
        "immutable",
        "may not be changed",
        "may not change",
        "cannot change",
        "not allowed to change",
        "updates to",
        "pod updates",
    ];
    let causes = status.pointer("/details/causes").and_then(Value::as_array);
    let causes = causes.into_iter().flatten().filter_map(|cause| cause["message"].as_str());
    causes.chain([words]).any(|text| SIGNS.iter().any(|sign| text.contains(sign)))
}
