//! Where things may stand: the crate boundaries, the one file of subjects, sizes of files.

use std::collections::BTreeSet;

use crate::tree::{TextFile, files, no_findings};

/// More than this is no longer one story; most files should have half of it.
const MAX_LINES: usize = 500;

/// Tables: looked up, not read.
const TABLES: &[&str] = &["shared/src/error_code.rs"];

/// Tests are read one at a time, so a file may hold more of them.
const MAX_TEST_LINES: usize = 800;

/// The crates that decide: nothing that could reach a disk, a clock or a network.
const PURE: &[(&str, &[&str])] = &[
    ("agent/core/Cargo.toml", &["lockstep-shared", "thiserror"]),
    ("coordinator/core/Cargo.toml", &["lockstep-shared", "thiserror"]),
    (
        "shared/Cargo.toml",
        &[
            "jiff",
            "miette",
            "petgraph",
            "schemars",
            "serde",
            "serde-saphyr",
            "serde_json",
            "sha2",
            "strsim",
            "thiserror",
            "uuid",
        ],
    ),
];

#[test]
fn a_file_of_code_tells_one_story() {
    let mut found = Vec::new();
    for file in files().iter().filter(|file| file.ends_with(".rs") || file.ends_with(".py")) {
        let lines = file.lines().count();
        let tests = file.path.contains("tests");
        let long = tests || TABLES.contains(&file.path.as_str());
        let limit = if long { MAX_TEST_LINES } else { MAX_LINES };
        if lines > limit {
            found.push(format!("{}: {lines} lines; the limit is {limit}", file.path));
        }
    }
    no_findings("long files", &found);
}

#[test]
fn every_table_exists() {
    let files = files();
    let is_there = |path: &&&str| files.iter().any(|file| file.path == ***path);
    let gone: Vec<String> =
        TABLES.iter().filter(|path| !is_there(path)).map(|path| (*path).to_owned()).collect();
    no_findings("tables that are no longer there", &gone);
}

#[test]
fn every_file_of_code_says_what_it_is_about() {
    let silent = files().into_iter().filter(|file| file.ends_with(".rs") && !begins_with_doc(file));
    let found: Vec<String> = silent.map(|file| file.path).collect();
    no_findings("files without a `//!` at their head", &found);
}

fn begins_with_doc(file: &TextFile) -> bool {
    file.text.lines().find(|line| !line.is_empty()).is_some_and(|line| line.starts_with("//!"))
}

#[test]
fn the_pure_crates_depend_on_nothing_that_acts() {
    let files = files();
    for (path, allowed) in PURE {
        let manifest = files.iter().find(|file| file.path == *path).expect("the manifest exists");
        let allowed: BTreeSet<&str> = allowed.iter().copied().collect();
        let found: Vec<String> = dependencies(&manifest.text)
            .into_iter()
            .filter(|name| !allowed.contains(name))
            .map(|name| format!("{path}: {name} is not on the list in this test"))
            .collect();
        no_findings("a pure crate depends on something new", &found);
    }
}

/// The names in `[dependencies]`.
fn dependencies(manifest: &str) -> Vec<&str> {
    let section = manifest.lines().skip_while(|line| *line != "[dependencies]").skip(1);
    let lines = section.take_while(|line| !line.starts_with('['));
    lines.filter_map(|line| line.split(['.', '=', ' ']).next()).filter(|n| !n.is_empty()).collect()
}

/// What only a subject contains, in a string of the programs.
const SUBJECT_PARTS: &[&str] = &[
    ".run.",
    ".live.",
    ".beat.",
    ".open.",
    ".bundle.",
    ".trigger.",
    ".admission",
    ".verdict",
    ".closed",
    "barrier.{",
    "workflow.{",
    "outcome.{",
];

#[test]
fn subjects_are_spelled_in_one_file() {
    let files = files();
    let programs = files.iter().filter(|file| {
        let source = file.ends_with(".rs") && file.path.contains("src/");
        source && !file.path.starts_with("tests/") && file.path != "shared/src/subject.rs"
    });
    let found: Vec<String> = programs.flat_map(spelled_subjects).collect();
    no_findings("a subject is spelled outside of shared/src/subject.rs", &found);
}

fn spelled_subjects(file: &TextFile) -> Vec<String> {
    if file.ends_with("/tests.rs") || file.path.contains("/tests/") {
        return Vec::new();
    }
    let mut found = Vec::new();
    for (number, line) in without_tests(file) {
        let comment = line.trim_start().starts_with("//");
        let strings = line.split('"').skip(1).step_by(2);
        for string in strings.filter(|_| !comment) {
            if SUBJECT_PARTS.iter().any(|part| string.contains(part)) && !string.contains(' ') {
                found.push(format!("{}:{number}: {string:?}", file.path));
            }
        }
    }
    found
}

/// The lines of a file but for its items that are compiled for tests only. As rustfmt writes them,
/// such an item ends in its first line, or at a brace that stands as far in as it began.
fn without_tests(file: &TextFile) -> Vec<(usize, &str)> {
    let mut lines = file.lines();
    let mut kept = Vec::new();
    while let Some((number, line)) = lines.next() {
        if line.trim_start() != "#[cfg(test)]" {
            kept.push((number, line));
            continue;
        }
        let indent = &line[..line.len() - line.trim_start().len()];
        let end = format!("{indent}}}");
        let is_head = |line: &str| {
            let text = line.trim_start();
            !text.starts_with("#[") && !text.starts_with("//")
        };
        let head = lines.by_ref().map(|(_, line)| line).find(|line| is_head(line));
        if head.is_some_and(|head| !head.ends_with([';', '}', ','])) {
            lines.by_ref().find(|(_, line)| *line == end);
        }
    }
    kept
}

#[test]
fn a_subject_outside_of_its_file_is_found() {
    let text = "let a = \"{prefix}.run.{key}.plan\";\nself.run.clone();\n// \"a.run.b\"\n";
    let file = TextFile { path: "agent/src/a.rs".to_owned(), text: text.to_owned() };
    assert_eq!(spelled_subjects(&file).len(), 1);
}

#[test]
fn a_subject_behind_something_for_tests_is_found_and_one_within_is_not() {
    let text = "#[cfg(test)]\nmod tests;\nimpl A {\n    #[cfg(test)]\n    fn a() {\n        \
                b(\"x.run.y\");\n    }\n    fn c() {\n        d(\"x.run.z\");\n    }\n}\n\
                #[cfg(test)]\nmod more {\n    const E: &str = \"x.run.w\";\n}\n";
    let file = TextFile { path: "agent/src/a.rs".to_owned(), text: text.to_owned() };
    let found = spelled_subjects(&file);
    assert!(found.len() == 1 && found[0].contains("x.run.z"), "{found:?}");
}

#[test]
fn the_architecture_fits_one_sitting() {
    let files = files();
    let file = files.iter().find(|file| file.path == "ARCHITECTURE.md").expect("it exists");
    let lines = file.lines().count();
    assert!(lines < 250, "ARCHITECTURE.md has {lines} lines; the limit is 249");
}
