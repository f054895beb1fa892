//! Reads values out of the tree: each function returns what is there, or reports why it cannot.
//!
//! `None` always means that something was reported, here or before; so a caller goes on with the
//! rest of the file and everything that is wrong is told at once.

use std::{
    collections::{BTreeMap, BTreeSet},
    str::FromStr,
};

use super::{
    duration, suggest,
    tree::{Form, Node, NodeKind},
};
use crate::{
    diagnostics::{At, Findings},
    error_code::Code,
    id::InvalidName,
    plan::MAX_CAPTION,
    time::Span,
};

/// Reports a value of another form than is wanted.
pub(crate) fn wrong_type(node: &Node, what: &str, wanted: &str, findings: &mut Findings) {
    if node.kind == NodeKind::Unknown {
        return;
    }
    let found = node.kind.describe();
    findings
        .report(Code::WrongType, format!("{what} has to be {wanted}, not {found}"))
        .at(node.place, format!("this is {found}"))
        .help(format!("write {wanted}"));
}

/// What stands behind a key that may be absent, or the default.
pub(crate) fn given<T>(
    node: Option<&Node>,
    default: T,
    read: impl FnOnce(&Node) -> Option<T>,
) -> Option<T> {
    node.map_or(Some(default), read)
}

/// The entries of a map.
pub(crate) fn map<'a>(
    node: &'a Node,
    what: &str,
    findings: &mut Findings,
) -> Option<&'a [(At<String>, Node)]> {
    match &node.kind {
        NodeKind::Map(entries) => Some(entries),
        _ => {
            wrong_type(node, what, "a map", findings);
            None
        }
    }
}

/// The items of a list.
pub(crate) fn list<'a>(node: &'a Node, what: &str, findings: &mut Findings) -> Option<&'a [Node]> {
    match &node.kind {
        NodeKind::List(items) => Some(items),
        _ => {
            wrong_type(node, what, "a list", findings);
            None
        }
    }
}

/// A text; numbers and booleans are taken as they are spelt.
pub(crate) fn text(node: &Node, what: &str, findings: &mut Findings) -> Option<At<String>> {
    let NodeKind::Scalar(scalar) = &node.kind else {
        wrong_type(node, what, "a text", findings);
        return None;
    };
    if scalar.text.contains('\0') {
        findings
            .report(Code::BadValue, format!("{what} contains a NUL character"))
            .at(node.place, "in here")
            .help("remove it: no program could be given it");
        return None;
    }
    Some(At::new(scalar.text.clone(), node.place))
}

/// A text that is not empty.
pub(crate) fn filled(node: &Node, what: &str, findings: &mut Findings) -> Option<At<String>> {
    let found = text(node, what, findings)?;
    if found.value.trim().is_empty() {
        findings
            .report(Code::BadValue, format!("{what} is empty"))
            .at(node.place, "nothing here")
            .help("write something, or remove the key");
        return None;
    }
    Some(found)
}

/// A text that is shown on one line.
pub(crate) fn caption(node: &Node, what: &str, findings: &mut Findings) -> Option<At<String>> {
    let found = filled(node, what, findings)?;
    if found.value.chars().count() > MAX_CAPTION || found.value.chars().any(char::is_control) {
        findings
            .report(
                Code::BadValue,
                format!("{what} has to be one line of at most {MAX_CAPTION} characters"),
            )
            .at(node.place, "too long, or with line breaks")
            .help("shorten it");
        return None;
    }
    Some(found)
}

/// A value without quotes, or one that an expression gave.
fn bare(node: &Node) -> Option<&str> {
    match &node.kind {
        NodeKind::Scalar(scalar) if scalar.form != Form::Text => Some(scalar.text.trim()),
        _ => None,
    }
}

/// `true` or `false`.
pub(crate) fn flag(node: &Node, what: &str, findings: &mut Findings) -> Option<bool> {
    match bare(node) {
        Some("true") => Some(true),
        Some("false") => Some(false),
        _ => {
            wrong_type(node, what, "`true` or `false`", findings);
            None
        }
    }
}

/// A whole number within bounds.
pub(crate) fn count(
    node: &Node,
    what: &str,
    (least, most): (u32, u32),
    findings: &mut Findings,
) -> Option<u32> {
    let number = bare(node).and_then(|text| text.parse().ok());
    match number {
        Some(number) if (least..=most).contains(&number) => Some(number),
        _ => {
            let wanted = format!("a whole number from {least} to {most}");
            wrong_type(node, what, &wanted, findings);
            None
        }
    }
}

/// A duration that is longer than nothing, unless zero has a meaning.
pub(crate) fn duration(
    node: &Node,
    what: &str,
    zero: bool,
    findings: &mut Findings,
) -> Option<At<Span>> {
    const HELP: &str = "write whole numbers with units, such as `1h30m`, `10s` or `250ms`";
    let NodeKind::Scalar(scalar) = &node.kind else {
        wrong_type(node, what, "a duration", findings);
        return None;
    };
    let reason = match duration::parse(scalar.text.trim()) {
        Ok(Span(0)) if !zero => "it has to be longer than nothing",
        Ok(span) => return Some(At::new(span, node.place)),
        Err(reason) => reason,
    };
    findings
        .report(Code::BadDuration, format!("{what} is not a duration: {reason}"))
        .at(node.place, reason)
        .help(HELP);
    None
}

/// One of a few words.
pub(crate) fn choice<T: Copy>(
    node: &Node,
    what: &str,
    words: &[(&'static str, T)],
    findings: &mut Findings,
) -> Option<T> {
    let found = text(node, what, findings)?;
    let known = words.iter().find(|(word, _)| *word == found.value);
    if let Some((_, value)) = known {
        return Some(*value);
    }
    let all = suggest::listed(words.iter().map(|(word, _)| *word));
    let near = suggest::nearest(&found.value, words.iter().map(|(word, _)| *word));
    findings
        .report(Code::BadValue, format!("{what} cannot be {:?}", found.value))
        .at(found.place, format!("has to be one of {all}"))
        .help(near.map_or_else(
            || format!("write one of {all}"),
            |near| format!("did you mean `{near}`?"),
        ));
    None
}

/// A name of some kind.
pub(crate) fn name<T: FromStr<Err = InvalidName>>(
    node: &Node,
    what: &str,
    findings: &mut Findings,
) -> Option<At<T>> {
    let found = text(node, what, findings)?;
    parse_name(&found, what, findings)
}

/// A name of some kind, out of a text that was already read.
pub(crate) fn parse_name<T: FromStr<Err = InvalidName>>(
    text: &At<String>,
    what: &str,
    findings: &mut Findings,
) -> Option<At<T>> {
    if text.value.starts_with('_') {
        findings
            .report(Code::ReservedName, format!("{what} cannot be called {:?}", text.value))
            .at(text.place, "begins with `_`");
        return None;
    }
    match text.value.parse() {
        Ok(name) => Some(At::new(name, text.place)),
        Err(InvalidName { rule, .. }) => {
            findings
                .report(Code::BadName, format!("{what} cannot be called {:?}", text.value))
                .at(text.place, "not a valid name")
                .help(rule);
            None
        }
    }
}

/// A list of texts, or a single one.
pub(crate) fn texts(node: &Node, what: &str, findings: &mut Findings) -> Option<Vec<At<String>>> {
    if let NodeKind::Scalar(_) = node.kind {
        return filled(node, what, findings).map(|only| vec![only]);
    }
    let items = list(node, what, findings)?;
    if items.is_empty() {
        findings
            .report(Code::BadValue, format!("{what} is an empty list"))
            .at(node.place, "nothing here")
            .help("add an item, or remove the key");
        return None;
    }
    // Every item is looked at before the first bad one ends it.
    let read: Vec<_> = items.iter().map(|item| filled(item, what, findings)).collect();
    read.into_iter().collect()
}

/// A list of texts in which order and repetition mean nothing.
pub(crate) fn text_set(
    node: &Node,
    what: &str,
    findings: &mut Findings,
) -> Option<BTreeSet<String>> {
    Some(texts(node, what, findings)?.into_iter().map(|item| item.value).collect())
}

/// Texts by free keys.
pub(crate) fn text_map(
    node: &Node,
    what: &str,
    findings: &mut Findings,
) -> Option<BTreeMap<String, String>> {
    let entries = map(node, what, findings)?;
    let read: Vec<_> = entries
        .iter()
        .map(|(key, value)| {
            let label = format!("{what}, `{}`,", key.value);
            text(value, &label, findings).map(|text| (key.value.clone(), text.value))
        })
        .collect();
    read.into_iter().collect()
}
