//! Words that have no place in the repository.

use crate::tree::{TextFile, files, no_findings};

/// Written in two halves, so that this file does not contain what it forbids.
const FORBIDDEN: &[(&str, &str)] = &[
    (concat!("/ro", "ot/"), "a path of one machine"),
    (concat!("/wo", "rk/"), "a path of one machine"),
    (concat!("/var/", "tmp"), "a path of one machine"),
    (concat!("/home", "/"), "a path of one machine"),
    (concat!("TO", "DO"), "do it, or write down where it is planned"),
    (concat!("FIX", "ME"), "mend it"),
];

fn findings(file: &TextFile) -> Vec<String> {
    let mut findings = Vec::new();
    for (number, line) in file.lines() {
        for (word, instead) in FORBIDDEN {
            if line.contains(word) {
                findings.push(format!("{}:{number}: {word:?}: {instead}", file.path));
            }
        }
    }
    findings
}

#[test]
fn no_file_has_a_forbidden_word() {
    let findings: Vec<String> = files().iter().flat_map(findings).collect();
    no_findings("words that have no place here", &findings);
}

#[test]
fn a_forbidden_word_is_found() {
    let text = format!("fine\nlet path = \"{}\";\n", FORBIDDEN[0].0);
    let file = TextFile { path: "a.rs".to_owned(), text };
    assert_eq!(findings(&file).len(), 1);
    assert!(findings(&file)[0].starts_with("a.rs:2: "));
}

#[test]
fn text_files_end_with_one_newline_and_lines_without_blanks() {
    let mut found = Vec::new();
    for file in files().iter().filter(|file| !file.ends_with(".json")) {
        if !file.text.is_empty() && (!file.text.ends_with('\n') || file.text.ends_with("\n\n")) {
            found.push(format!("{}: should end with exactly one newline", file.path));
        }
        for (number, _) in file.lines().filter(|(_, line)| line.ends_with([' ', '\t'])) {
            found.push(format!("{}:{number}: blanks at the end of the line", file.path));
        }
    }
    no_findings("untidy ends", &found);
}
