//! Matrices: one workflow for each combination of values.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    diagnostics::{At, Findings},
    error_code::Code,
    pipeline::{
        reader, suggest,
        tree::{Node, NodeKind},
    },
};

/// One combination of a matrix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Combination {
    /// The value of each axis, and what `include` adds.
    pub(crate) values: BTreeMap<String, String>,
    /// The keys whose values make the workflow's name, in order.
    naming: Vec<String>,
}

impl Combination {
    /// What is appended to the workflow's name: the values, with what no name can hold as `-`.
    pub(crate) fn suffixes(&self) -> impl Iterator<Item = String> {
        self.naming.iter().filter_map(|key| self.values.get(key)).map(|value| {
            let letter =
                |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
            value.chars().map(letter).collect::<String>().trim_matches('-').to_owned()
        })
    }
}

/// The combinations that a matrix makes; at most `limit`.
pub(crate) fn combinations(
    node: &Node,
    limit: usize,
    findings: &mut Findings,
) -> Option<Vec<Combination>> {
    let entries = reader::map(node, "`matrix`", findings)?;
    let mut axes: Vec<(&At<String>, Vec<String>)> = Vec::new();
    let (mut includes, mut excludes) = (Vec::new(), Vec::new());
    let mut whole = true;
    for (key, value) in entries {
        match key.value.as_str() {
            "include" => includes = rows(value, "`include`", findings)?,
            "exclude" => excludes = rows(value, "`exclude`", findings)?,
            "maxParallel" | "max-parallel" => {
                findings
                    .report(
                        Code::MaxParallel,
                        "the combinations of a matrix cannot be limited: all of them run at once, \
                         because a barrier across them could never fill otherwise",
                    )
                    .at(key.place, "a limit");
                whole = false;
            }
            _ => match axis(key, value, findings) {
                Some(values) => axes.push((key, values)),
                None => whole = false,
            },
        }
    }
    for (row, _) in &excludes {
        whole &= fits_axes(row, &axes, findings);
    }
    if !whole {
        return None;
    }
    let count = axes.iter().try_fold(1usize, |count, (_, values)| count.checked_mul(values.len()));
    if count.is_none_or(|count| count.saturating_add(includes.len()) > limit) {
        findings
            .report(Code::MatrixTooLarge, format!("the matrix makes more than {limit} workflows"))
            .at(node.place, "too many combinations");
        return None;
    }
    let mut made = product(&axes);
    made.retain(|combination| !excludes.iter().any(|(_, row)| matches(&combination.values, row)));
    include(&mut made, &axes, includes);
    if made.is_empty() {
        findings
            .report(Code::BadMatrix, "the matrix makes no workflow")
            .at(node.place, "no combination is left")
            .help("add an axis with values, or exclude less");
        return None;
    }
    Some(made)
}

type Row<'a> = (&'a [(At<String>, Node)], BTreeMap<String, String>);

fn rows<'a>(node: &'a Node, what: &str, findings: &mut Findings) -> Option<Vec<Row<'a>>> {
    let items = reader::list(node, what, findings)?;
    let read: Vec<_> = items
        .iter()
        .map(|item| {
            let entries = reader::map(item, what, findings)?;
            Some((entries, reader::text_map(item, what, findings)?))
        })
        .collect();
    read.into_iter().collect()
}

fn axis(key: &At<String>, node: &Node, findings: &mut Findings) -> Option<Vec<String>> {
    let name = &key.value;
    let letter = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if name.is_empty() || !name.chars().all(letter) {
        findings
            .report(Code::BadName, format!("an axis cannot be called {name:?}"))
            .at(key.place, "not a valid name")
            .help("use letters, digits, '_' and '-'");
        return None;
    }
    let what = format!("the axis `{name}`");
    let items = reader::list(node, &what, findings)?;
    if items.is_empty() {
        findings
            .report(Code::BadMatrix, format!("{what} has no values"))
            .at(key.place, "an empty list")
            .help("add a value, or remove the axis");
        return None;
    }
    let read: Vec<_> = items.iter().map(|item| reader::filled(item, &what, findings)).collect();
    let mut seen = BTreeSet::new();
    let mut values = Vec::new();
    for value in read {
        let value = value?;
        if !seen.insert(value.value.clone()) {
            findings
                .report(Code::BadMatrix, format!("{what} has {:?} twice", value.value))
                .at(value.place, "again here")
                .help("remove one of the two");
            return None;
        }
        values.push(value.value);
    }
    Some(values)
}

fn fits_axes(
    row: &[(At<String>, Node)],
    axes: &[(&At<String>, Vec<String>)],
    findings: &mut Findings,
) -> bool {
    let mut fits = true;
    for (key, value) in row {
        let axis = axes.iter().find(|(axis, _)| axis.value == key.value);
        let text = match &value.kind {
            NodeKind::Scalar(scalar) => scalar.text.as_str(),
            _ => "",
        };
        let (message, place, word, known) = match axis {
            None => (
                format!("`exclude` names `{}`, which is no axis", key.value),
                key.place,
                key.value.as_str(),
                axes.iter().map(|(axis, _)| axis.value.as_str()).collect::<Vec<_>>(),
            ),
            Some((_, values)) if !values.iter().any(|known| known == text) => (
                format!("`exclude` names {text:?}, which the axis `{}` has not", key.value),
                value.place,
                text,
                values.iter().map(String::as_str).collect(),
            ),
            Some(_) => continue,
        };
        fits = false;
        let help = suggest::nearest(word, known.iter().copied()).map_or_else(
            || format!("there are {}", suggest::listed(known.iter().copied())),
            |near| format!("did you mean `{near}`?"),
        );
        findings.report(Code::BadMatrix, message).at(place, "excludes nothing").help(help);
    }
    fits
}

fn product(axes: &[(&At<String>, Vec<String>)]) -> Vec<Combination> {
    if axes.is_empty() {
        return Vec::new();
    }
    let naming: Vec<String> = axes.iter().map(|(key, _)| key.value.clone()).collect();
    let mut rows = vec![BTreeMap::new()];
    for (key, values) in axes {
        let with = |row: &BTreeMap<String, String>, value: &String| {
            let mut row = row.clone();
            row.insert(key.value.clone(), value.clone());
            row
        };
        rows =
            rows.iter().flat_map(|row| values.iter().map(move |value| with(row, value))).collect();
    }
    rows.into_iter().map(|values| Combination { values, naming: naming.clone() }).collect()
}

fn matches(values: &BTreeMap<String, String>, row: &BTreeMap<String, String>) -> bool {
    !row.is_empty() && row.iter().all(|(key, value)| values.get(key) == Some(value))
}

/// A row whose axes fit combinations adds its other keys to them; any other is one more
/// combination, named by all of its values.
fn include(made: &mut Vec<Combination>, axes: &[(&At<String>, Vec<String>)], rows: Vec<Row<'_>>) {
    let is_axis = |key: &String| axes.iter().any(|(axis, _)| axis.value == *key);
    let originals = made.len();
    for (entries, row) in rows {
        let on_axes: BTreeMap<_, _> = row
            .iter()
            .filter(|(key, _)| is_axis(key))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        let fits = |combination: &Combination| {
            on_axes.iter().all(|(key, value)| combination.values.get(key) == Some(value))
        };
        let mut added = false;
        for combination in made[..originals].iter_mut().filter(|made| fits(made)) {
            combination.values.extend(row.clone());
            added = true;
        }
        if !added && !row.is_empty() {
            let naming = entries.iter().map(|(key, _)| key.value.clone()).collect();
            made.push(Combination { values: row, naming });
        }
    }
}
