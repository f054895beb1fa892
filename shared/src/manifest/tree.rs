//! A text of manifests as the trees that kubectl would see, places kept.
//!
//! kubectl reads YAML 1.1 with a library of its own (go-yaml), makes JSON of it, and reads that.
//! What those two steps do to plain values, keys and numbers is done here the same way; JSON is
//! read as the YAML that it is.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use serde_saphyr::{
    DuplicateKeyPolicy, Error, MergeKeyPolicy, Spanned, options::NonFiniteFloatPolicy,
};

use super::scalar;
use crate::{
    diagnostics::{Findings, Place},
    error_code::Code,
    pipeline::yaml::{place_of, refuse, trimmed},
    raw_yaml::Raw,
};

/// The deepest nesting, which a small stack has to bear; a pod template in the schema of a custom
/// resource, the deepest thing in use, lies at about 30.
const MAX_DEPTH: usize = 64;

/// The most values of one text; the largest bundles of definitions in use have about 200,000.
const MAX_NODES: usize = 4_000_000;

/// The most documents of one text.
const MAX_DOCUMENTS: usize = 50_000;

/// A value with the place where it is written.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node {
    /// Where; of a map its first key, of a list its beginning.
    pub(super) place: Place,
    /// What.
    pub(super) kind: NodeKind,
}

/// What a value is.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum NodeKind {
    /// Anything but a list or a map.
    Plain(Value),
    /// Values in order.
    List(Vec<Node>),
    /// Values by key.
    Map(BTreeMap<String, Node>),
}

impl Node {
    /// The value of a key, if this is a map that has it.
    pub(super) fn get(&self, key: &str) -> Option<&Node> {
        match &self.kind {
            NodeKind::Map(entries) => entries.get(key),
            NodeKind::Plain(_) | NodeKind::List(_) => None,
        }
    }

    /// The text, if this is one.
    pub(super) fn text(&self) -> Option<&str> {
        match &self.kind {
            NodeKind::Plain(value) => value.as_str(),
            NodeKind::List(_) | NodeKind::Map(_) => None,
        }
    }

    /// Whether this is an explicit or implicit null.
    pub(super) fn is_null(&self) -> bool {
        self.kind == NodeKind::Plain(Value::Null)
    }

    /// The value without its places.
    pub(super) fn into_value(self) -> Value {
        match self.kind {
            NodeKind::Plain(value) => value,
            NodeKind::List(items) => items.into_iter().map(Self::into_value).collect(),
            NodeKind::Map(entries) => {
                entries.into_iter().map(|(key, value)| (key, value.into_value())).collect()
            }
        }
    }
}

/// Reads the documents of a text; empty ones are left out. On failure the findings say why, and
/// there are no documents.
pub(super) fn documents(text: &str, findings: &mut Findings) -> Vec<Node> {
    let options = serde_saphyr::options! {
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        merge_keys: MergeKeyPolicy::Merge,
        legacy_octal_numbers: true,
        strict_booleans: false,
        reject_unsupported_tags: true,
        non_finite_float_policy: NonFiniteFloatPolicy::PassThrough,
        with_snippet: false,
        budget: serde_saphyr::budget! {
            max_depth: MAX_DEPTH,
            flow_nesting_limit: MAX_DEPTH,
            max_documents: MAX_DOCUMENTS,
            max_nodes: MAX_NODES,
            max_events: 4 * MAX_NODES,
        },
    };
    let read: Result<Vec<Spanned<Raw<Key>>>, Error> =
        serde_saphyr::from_multiple_with_options(text, options);
    match read {
        Ok(documents) => {
            documents.into_iter().map(|document| convert(document, text, findings)).collect()
        }
        Err(error) => {
            refuse(&error, text, findings);
            Vec::new()
        }
    }
}

/// A key as the YAML reader hands it over: any value.
#[derive(Deserialize)]
#[serde(transparent)]
struct Key(Raw<Key>);

fn convert(raw: Spanned<Raw<Key>>, text: &str, findings: &mut Findings) -> Node {
    let place = place_of(&raw.defined, text);
    let spelt = || text.get(place.range()).unwrap_or_default();
    let plain = |value| Node { place: trimmed(place, text), kind: NodeKind::Plain(value) };
    match raw.value {
        Raw::Null => plain(Value::Null),
        Raw::Bool(value) => plain(scalar::boolean(value, spelt())),
        Raw::Whole(number) => plain(Value::Number(number)),
        Raw::Huge => plain(scalar::huge(spelt())),
        Raw::Float(number) => match scalar::float(number, spelt()) {
            Some(value) => plain(value),
            None => {
                findings
                    .report(Code::BadValue, format!("`{}` has no place in JSON", spelt().trim()))
                    .at(place, "not a number that can be stored")
                    .help("quote it if it is meant as a text");
                plain(Value::Null)
            }
        },
        Raw::Text(value) => plain(scalar::text(value, spelt())),
        Raw::List(items) => {
            let items = items.into_iter().map(|item| convert(item, text, findings)).collect();
            let place = Place { start: place.start, length: place.length.max(1) };
            Node { place, kind: NodeKind::List(items) }
        }
        Raw::Map(entries) => map(entries, place, text, findings),
    }
}

fn map(
    entries: Vec<(Spanned<Key>, Spanned<Raw<Key>>)>,
    outer: Place,
    text: &str,
    findings: &mut Findings,
) -> Node {
    let mut place = None;
    let mut seen: BTreeMap<String, Place> = BTreeMap::new();
    let mut kept = BTreeMap::new();
    for (key, value) in entries {
        let at = place_of(&key.defined, text);
        place.get_or_insert(at);
        let mut value = convert(value, text, findings);
        if value.is_null() {
            // Nothing has no place; what is to be seen is the key without a value.
            value.place = at;
        }
        let Some(key) = key_of(key, text) else {
            findings
                .report(Code::BadValue, "a key that is no plain value")
                .at(at, "JSON has only texts as keys")
                .help("write a text as the key");
            continue;
        };
        if let Some(first) = seen.get(&key) {
            findings
                .report(Code::DuplicateKey, format!("the key `{key}` is written twice"))
                .at(at, "again here")
                .at(*first, "first here");
        } else {
            seen.insert(key.clone(), at);
            kept.insert(key, value);
        }
    }
    Node { place: place.unwrap_or(outer), kind: NodeKind::Map(kept) }
}

/// A key as JSON has it: always a text.
fn key_of(key: Spanned<Key>, text: &str) -> Option<String> {
    let spelt = text.get(place_of(&key.defined, text).range()).unwrap_or_default();
    let value = match key.value.0 {
        Raw::Null | Raw::List(_) | Raw::Map(_) => return None,
        Raw::Bool(value) => scalar::boolean(value, spelt),
        Raw::Whole(number) => Value::Number(number),
        Raw::Huge => scalar::huge(spelt),
        Raw::Float(number) => scalar::float(number, spelt)?,
        Raw::Text(value) => scalar::text(value, spelt),
    };
    Some(match value {
        Value::String(text) => text,
        other => other.to_string(),
    })
}
