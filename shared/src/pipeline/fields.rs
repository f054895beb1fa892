//! Maps with known keys: what is unknown, missing or one too many is reported here.

use std::collections::BTreeMap;

use super::{
    keys::{Key, Table},
    reader, suggest,
    tree::Node,
};
use crate::{
    diagnostics::{At, Findings, Place},
    error_code::Code,
};

/// A map with the keys of a table.
pub(crate) struct Fields<'a> {
    table: &'static Table,
    place: Place,
    entries: BTreeMap<&'a str, (Place, &'a Node)>,
    /// Whether keys were refused: what seems to be missing may be one of them.
    refused: bool,
}

impl<'a> Fields<'a> {
    /// The map, with its unknown keys reported.
    pub(crate) fn open(
        node: &'a Node,
        table: &'static Table,
        findings: &mut Findings,
    ) -> Option<Self> {
        let entries = reader::map(node, table.what, findings)?;
        let mut known = BTreeMap::new();
        let mut refused = false;
        for (key, value) in entries {
            if table.key(&key.value).is_some() {
                known.insert(key.value.as_str(), (key.place, value));
            } else {
                refused = true;
                unknown_key(key, table, findings);
            }
        }
        Some(Self { table, place: node.place, entries: known, refused })
    }

    /// The map's place.
    pub(crate) fn place(&self) -> Place {
        self.place
    }

    /// What stands behind a key, if it is there.
    pub(crate) fn get(&self, key: &str) -> Option<&'a Node> {
        debug_assert!(self.table.key(key).is_some(), "{key} is not in the table");
        self.entries.get(key).map(|(_, node)| *node)
    }

    /// What stands behind a key that has to be there.
    pub(crate) fn require(&self, key: &str, findings: &mut Findings) -> Option<&'a Node> {
        let found = self.get(key);
        if found.is_none() {
            let what = self.table.what;
            let example = self.table.key(key).map_or("", |key| key.example);
            findings
                .report(Code::MissingKey, format!("{what} needs `{key}`"))
                .at(self.place, format!("`{key}` is missing here"))
                .help(format!("add it, for example `{key}: {}`", unquoted(example)));
        }
        found
    }

    /// The one of these keys that is there, if exactly one is.
    pub(crate) fn exactly_one(
        &self,
        keys: &[&'static str],
        findings: &mut Findings,
    ) -> Option<&'static str> {
        let present: Vec<&'static str> =
            keys.iter().copied().filter(|key| self.entries.contains_key(key)).collect();
        if let [only] = present[..] {
            return Some(only);
        }
        let what = self.table.what;
        let choice = suggest::listed(keys.iter().copied());
        if present.is_empty() && !self.refused {
            findings
                .report(Code::MissingKey, format!("{what} needs one of {choice}"))
                .at(self.place, "none of them is here")
                .help("add one of them");
        } else if !present.is_empty() {
            let both = suggest::listed(present.iter().copied());
            let message = format!("{what} takes exactly one of {choice}, not {both}");
            let finding = findings.report(Code::BadValue, message).help("keep one of them");
            for key in present {
                finding.at(self.entries[key].0, format!("`{key}`"));
            }
        }
        None
    }
}

fn unquoted(example: &str) -> &str {
    example.strip_prefix('"').and_then(|inner| inner.strip_suffix('"')).unwrap_or(example)
}

fn unknown_key(key: &At<String>, table: &Table, findings: &mut Findings) {
    let name = &key.value;
    let what = table.what;
    if let Some(refused) = table.refused.iter().find(|refused| refused.name == name) {
        findings
            .report(refused.code, format!("{what} takes no `{name}`"))
            .at(key.place, "not here")
            .help(refused.help);
        return;
    }
    let known = || table.keys.iter().map(|key: &Key| key.name);
    let help = match suggest::nearest(name, known()) {
        Some(near) => format!("did you mean `{near}`?"),
        None if table.keys.is_empty() => format!("{what} has no settings: write `{{}}`"),
        None => format!("{what} takes {}", every(known())),
    };
    findings
        .report(Code::UnknownKey, format!("{what} has no key `{name}`"))
        .at(key.place, "unknown")
        .help(help);
}

fn every<'a>(words: impl Iterator<Item = &'a str>) -> String {
    words.map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}
