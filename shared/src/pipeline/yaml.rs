//! From YAML text to the tree.
//!
//! Bounds what a small file can expand to, keeps places, and says of a text that is not YAML what
//! people most often did wrong.

use std::collections::BTreeMap;

use serde_saphyr::{DuplicateKeyPolicy, Error, Location, Spanned};

use super::tree::{Form, Node, NodeKind, Scalar};
use crate::{
    diagnostics::{At, Findings, Place},
    error_code::Code,
    raw_yaml::Raw,
};

/// The largest file that is read: a plan of 768 KiB never needs as much.
const MAX_FILE_BYTES: usize = 4 * 1024 * 1024;

/// The deepest nesting; the deepest key of a pipeline lies at ten.
const MAX_DEPTH: usize = 24;

/// Reads the text; on failure the findings say why, and duplicate keys are reported either way.
pub(crate) fn read(text: &str, findings: &mut Findings) -> Option<Node> {
    if text.len() > MAX_FILE_BYTES {
        let size = text.len();
        findings.report(
            Code::FileTooLarge,
            format!("the file has {size} bytes; the limit is {MAX_FILE_BYTES}"),
        );
        return None;
    }
    let options = serde_saphyr::options! {
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        strict_booleans: true,
        reject_unsupported_tags: true,
        non_finite_float_policy: serde_saphyr::options::NonFiniteFloatPolicy::PassThrough,
        with_snippet: false,
        budget: serde_saphyr::budget! { max_depth: MAX_DEPTH, flow_nesting_limit: MAX_DEPTH },
    };
    match serde_saphyr::from_str_with_options::<Spanned<Raw<String>>>(text, options) {
        Ok(Spanned { value: Raw::Null, .. }) => {
            findings
                .report(Code::EmptyFile, "the file holds no pipeline")
                .at(Place::default(), "nothing here but white space or comments");
            None
        }
        Ok(raw) => Some(convert(raw, text, findings)),
        Err(error) => {
            refuse(&error, text, findings);
            None
        }
    }
}

fn convert(raw: Spanned<Raw<String>>, text: &str, findings: &mut Findings) -> Node {
    let mut place = place_of(&raw.defined, text);
    let kind = match raw.value {
        Raw::Null => NodeKind::Null,
        // Numbers and booleans are taken as they are spelt.
        Raw::Bool(_) | Raw::Whole(_) | Raw::Huge | Raw::Float(_) => {
            let spelt = text.get(place.range()).unwrap_or_default().trim_end().to_owned();
            NodeKind::Scalar(Scalar { text: spelt, form: Form::Bare })
        }
        Raw::Text(value) => {
            place = trimmed(place, text);
            NodeKind::Scalar(Scalar { text: value, form: Form::Text })
        }
        Raw::List(items) => {
            place.length = place.length.max(1);
            NodeKind::List(items.into_iter().map(|item| convert(item, text, findings)).collect())
        }
        Raw::Map(entries) => {
            let entries = unique(entries, text, findings);
            place = entries.first().map_or(place, |(key, _)| key.place);
            NodeKind::Map(entries)
        }
    };
    Node { place, kind }
}

fn unique(
    entries: Vec<(Spanned<String>, Spanned<Raw<String>>)>,
    text: &str,
    findings: &mut Findings,
) -> Vec<(At<String>, Node)> {
    let mut seen: BTreeMap<String, Place> = BTreeMap::new();
    let mut kept = Vec::with_capacity(entries.len());
    for (key, value) in entries {
        let at = At::new(key.value, place_of(&key.defined, text));
        let mut node = convert(value, text, findings);
        if node.kind == NodeKind::Null {
            // Nothing has no place; what is to be seen is the key without a value.
            node.place = at.place;
        }
        if let Some(first) = seen.get(&at.value) {
            findings
                .report(Code::DuplicateKey, format!("the key `{}` is written twice", at.value))
                .at(at.place, "again here")
                .at(*first, "first here");
        } else {
            seen.insert(at.value.clone(), at.place);
            kept.push((at, node));
        }
    }
    kept
}

/// A block text ends in line breaks, which would make a label reach into the next line.
pub(crate) fn trimmed(place: Place, text: &str) -> Place {
    let written = text.get(place.range()).unwrap_or_default();
    Place { start: place.start, length: written.trim_end().len() }
}

/// Where a value is written, in bytes.
pub(crate) fn place_of(location: &Location, text: &str) -> Place {
    let span = location.span();
    let narrow = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    let (start, length) = match (span.byte_offset(), span.byte_len()) {
        (Some(offset), Some(length)) => (narrow(offset), narrow(length)),
        // Errors of the scanner count characters only.
        _ => {
            let mut offsets = text.char_indices().map(|(offset, _)| offset);
            let start = offsets.nth(narrow(span.offset())).unwrap_or(text.len());
            (
                start,
                text.get(start..).and_then(|rest| rest.chars().next()).map_or(0, char::len_utf8),
            )
        }
    };
    let start = start.min(text.len());
    Place { start, length: length.min(text.len() - start) }
}

/// Says why a text cannot be read, and where.
pub(crate) fn refuse(error: &Error, text: &str, findings: &mut Findings) {
    let mut place = error.location().map_or_else(Place::default, |at| place_of(&at, text));
    let next = text.get(place.start..).and_then(|rest| rest.chars().next());
    place.length = place.length.max(next.map_or(0, char::len_utf8));
    match error.without_snippet() {
        Error::MultipleDocuments { .. } => {
            findings
                .report(Code::SeveralDocuments, "the file holds more than one YAML document")
                .at(place, "a second one begins here");
        }
        Error::Budget { .. }
        | Error::AliasReplayCounterOverflow { .. }
        | Error::AliasReplayLimitExceeded { .. }
        | Error::AliasExpansionLimitExceeded { .. }
        | Error::AliasReplayStackDepthExceeded { .. }
        | Error::RecursiveReferencesRequireWeakTypes { .. } => too_complex(place, findings),
        Error::AliasError { error, .. } if matches!(**error, Error::Budget { .. }) => {
            too_complex(place, findings);
        }
        other => syntax(other, place, text, findings),
    }
}

fn too_complex(place: Place, findings: &mut Findings) {
    findings
        .report(Code::TooComplex, "the file's values, aliases or nesting go beyond any use")
        .at(place, "given up here");
}

fn syntax(error: &Error, place: Place, text: &str, findings: &mut Findings) {
    if let Some(tab) = indenting_tab(text, place.start) {
        findings
            .report(Code::TabIndentation, "this line is indented with a tab")
            .at(tab, "a tab; YAML wants spaces");
        return;
    }
    let whole = error.to_string();
    let reason = whole.split(" at line ").next().unwrap_or(&whole);
    if reason.contains("recursion limit") || reason.contains("nesting") {
        too_complex(place, findings);
        return;
    }
    findings.report(Code::YamlSyntax, format!("the file is not YAML: {reason}")).at(place, "here");
}

/// The tab that indents the line of this offset or the next one, where the scanner ran into it.
fn indenting_tab(text: &str, offset: usize) -> Option<Place> {
    let begin = text.get(..offset)?.rfind('\n').map_or(0, |newline| newline + 1);
    let mut start = begin;
    for line in text.get(begin..)?.split_inclusive('\n').take(2) {
        let indent = line.len() - line.trim_start_matches([' ', '\t']).len();
        if let Some(tab) = line.get(..indent).and_then(|white| white.find('\t')) {
            return Some(Place { start: start + tab, length: 1 });
        }
        start += line.len();
    }
    None
}
