//! The runbook quotes what the programs say: a phrase that nobody prints leads nowhere.

use crate::tree::{TextFile, files, no_findings};

/// The phrases of the table of causes, each as the parts that stand around what varies.
fn phrases(runbook: &str) -> Vec<Vec<&str>> {
    let table = runbook.split("| the cause says |").nth(1).unwrap_or_default();
    let rows = table.split("\n\n").next().unwrap_or_default().lines();
    let quoted = rows.filter_map(|row| row.strip_prefix("| *")?.split('*').next());
    quoted
        .map(|phrase| phrase.split("...").map(str::trim).filter(|part| !part.is_empty()).collect())
        .collect()
}

#[test]
fn every_cause_in_the_runbook_is_what_the_programs_say() {
    let files = files();
    let runbook = files.iter().find(|file| file.path == "docs/runbook.md").expect("it is there");
    let says = |file: &&TextFile| {
        file.path.starts_with("shared/src/fold/") || file.path.starts_with("agent/core/src/")
    };
    let source: Vec<&str> = files.iter().filter(says).map(|file| file.text.as_str()).collect();
    let phrases = phrases(&runbook.text);
    assert!(phrases.len() > 5, "only {} phrases found", phrases.len());
    let unsaid = phrases.iter().flatten().filter(|part| !source.iter().any(|s| s.contains(**part)));
    let unsaid: Vec<String> = unsaid.map(|part| format!("{part:?}")).collect();
    no_findings("phrases of the runbook that no program says", &unsaid);
}
