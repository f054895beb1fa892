//! Documentation that cannot rot: links, commands and names in it exist.

use std::{collections::BTreeSet, fs};

use crate::tree::{TextFile, files, no_findings, root};

/// Every document of the repository.
pub(crate) fn documents() -> Vec<TextFile> {
    files().into_iter().filter(|file| file.ends_with(".md")).collect()
}

#[test]
fn every_link_within_the_repository_leads_somewhere() {
    let found: Vec<String> = documents().iter().flat_map(dead_links).collect();
    no_findings("dead links", &found);
}

fn dead_links(file: &TextFile) -> Vec<String> {
    let folder = file.path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut found = Vec::new();
    for (number, line) in file.lines() {
        for target in links(line) {
            let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
            let here = if path.is_empty() {
                root().join(&file.path)
            } else {
                root().join(folder).join(path)
            };
            let anchored = || {
                let text = fs::read_to_string(&here).unwrap_or_default();
                anchor.is_empty() || anchors(&text).contains(anchor)
            };
            if !here.exists() || !anchored() {
                found.push(format!("{}:{number}: {target}", file.path));
            }
        }
    }
    found
}

/// The targets of a line's links, but those that lead out of the repository.
fn links(line: &str) -> Vec<&str> {
    let targets = line.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    targets.filter(|target| !target.contains("://") && !target.starts_with("mailto:")).collect()
}

/// The anchors of a document's headings, as they are made from their text.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    headings.map(|line| anchor(line.trim_start_matches('#').trim())).collect()
}

fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

#[test]
fn a_dead_link_is_found() {
    let text = "[a](nowhere.md) [b](README.md#no-such-heading) [c](https://example.org/x)\n";
    let file = TextFile { path: "README.md".to_owned(), text: text.to_owned() };
    assert_eq!(dead_links(&file).len(), 2);
    assert_eq!(anchor("4: failed, and taken back"), "4-failed-and-taken-back");
}

#[test]
fn every_make_command_in_the_documentation_is_a_target() {
    let makefile = fs::read_to_string(root().join("Makefile")).unwrap();
    let targets: BTreeSet<&str> = makefile
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(target, _)| target)
        .filter(|target| target.chars().all(|c| c.is_ascii_lowercase() || c == '-'))
        .collect();
    let mut found = Vec::new();
    for file in documents() {
        for (number, line) in file.lines() {
            // In a code block a command begins its line; in a text it stands in backquotes.
            let quoted = line.split('`').skip(1).step_by(2);
            let commands = quoted.chain(line.starts_with("make ").then_some(line));
            for target in commands.filter_map(|command| command.strip_prefix("make ")) {
                let target = target.split([' ', '`']).next().unwrap_or_default();
                if !targets.contains(target) {
                    found.push(format!("{}:{number}: make {target}", file.path));
                }
            }
        }
    }
    no_findings("commands that the Makefile does not have", &found);
}

#[test]
fn every_example_is_complete_and_listed() {
    let index = fs::read_to_string(root().join("examples/README.md")).unwrap();
    let mut count = 0;
    for entry in fs::read_dir(root().join("examples")).unwrap().map(Result::unwrap) {
        let name = entry.file_name().into_string().unwrap();
        if !entry.file_type().unwrap().is_dir() || name.starts_with(['.', '_']) {
            continue;
        }
        count += 1;
        let pipeline = fs::read_to_string(entry.path().join("pipeline.yaml")).unwrap();
        let readme = fs::read_to_string(entry.path().join("README.md")).unwrap();
        assert!(pipeline.contains(&format!("metadata: {{ name: {name} }}")), "{name}: other name");
        assert!(readme.contains("**Watch for**"), "{name}: its README says nothing to watch for");
        let command = format!("lockstep dev examples/{name}/pipeline.yaml");
        assert!(readme.contains(&command), "{name}: its README does not say how to run it");
        assert!(
            index.contains(&format!("({name}/README.md)")),
            "{name}: not in examples/README.md"
        );
    }
    assert!(count >= 4, "only {count} examples found");
}

#[test]
fn every_decision_is_listed_and_says_what_was_rejected() {
    let folder = root().join("docs/decisions");
    let index = fs::read_to_string(folder.join("README.md")).unwrap();
    for entry in fs::read_dir(&folder).unwrap().map(Result::unwrap) {
        let name = entry.file_name().into_string().unwrap();
        if name == "README.md" {
            continue;
        }
        let text = fs::read_to_string(entry.path()).unwrap();
        assert!(index.contains(&format!("({name})")), "{name} is not in docs/decisions/README.md");
        for part in ["**Decided.**", "**Costs.**", "ejected"] {
            let tabled = part == "**Decided.**" && text.contains("**Decided**, each");
            assert!(tabled || text.contains(part), "{name} has no {part}");
        }
        assert!(text.lines().count() <= 60, "{name} is longer than a page");
    }
}

#[test]
fn every_section_of_the_protocol_that_the_code_cites_exists() {
    let protocol = fs::read_to_string(root().join("docs/protocol.md")).unwrap();
    let sections: BTreeSet<&str> = protocol
        .lines()
        .filter_map(|line| line.strip_prefix("## "))
        .filter_map(|heading| heading.split(' ').next())
        .collect();
    let mut found = Vec::new();
    for file in files().iter().filter(|file| file.ends_with(".rs")) {
        for (number, line) in file.lines() {
            let cited = line.split(concat!("PROTOCOL", " section ")).skip(1);
            for rest in cited {
                let section: String = rest.chars().take_while(char::is_ascii_digit).collect();
                if !sections.contains(section.as_str()) {
                    found.push(format!("{}:{number}: section {section:?}", file.path));
                }
            }
        }
    }
    no_findings("cited sections that docs/protocol.md does not have", &found);
}

#[test]
fn every_path_in_the_architecture_exists() {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let quoted = text.split('`').skip(1).step_by(2);
    // One that ends in `/` and has no other is short for a folder named just before it.
    let whole = |text: &&str| text.trim_end_matches('/').contains('/');
    let paths = quoted.filter(whole).filter(|text| !text.contains([' ', '<', '*']));
    let missing: Vec<String> =
        paths.filter(|path| !root().join(path).exists()).map(str::to_owned).collect();
    no_findings("paths in ARCHITECTURE.md that do not exist", &missing);
}

#[test]
fn every_acceptance_case_has_a_test_with_its_number() {
    let cases = fs::read_to_string(root().join("docs/parity.md")).unwrap();
    let mut missing: BTreeSet<u32> = cases
        .lines()
        .filter_map(|line| line.split_once(". "))
        .filter_map(|(number, _)| number.parse().ok())
        .collect();
    assert!(missing.len() >= 32, "the cases are no longer found in docs/parity.md");
    let last = *missing.last().expect("there are cases");
    let files = files();
    let sources = files.iter().filter(|file| file.ends_with(".rs"));
    let names: Vec<&str> = sources.flat_map(|file| cases_in(&file.text)).collect();
    // Exactly what `cargo test parity_NN` would find.
    missing
        .retain(|number| !names.iter().any(|name| name.contains(&format!("parity_{number:02}"))));
    let missing: Vec<String> = missing.iter().map(|number| format!("case {number}")).collect();
    no_findings("cases of docs/parity.md without a test named `parity_NN_...`", &missing);
    let badly: Vec<String> = names.iter().filter_map(|name| badly_named(name, last)).collect();
    no_findings("tests that `cargo test parity_NN` does not find by their numbers", &badly);
}

/// The names of functions that carry the number of a case.
fn cases_in(text: &str) -> Vec<&str> {
    let named = text.split("fn ").skip(1).filter_map(|rest| rest.split(['(', '<']).next());
    let word = |name: &&str| name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    named.filter(word).filter(|name| name.contains("parity_")).collect()
}

/// What is wrong with a name: every number has two digits, is a case, and has `parity_` before it.
fn badly_named(name: &str, last: u32) -> Option<String> {
    let good = name.split("parity_").skip(1).all(|rest| {
        let mut parts = rest.split('_');
        let number = parts.next().unwrap_or_default();
        let is_case = number.parse().is_ok_and(|number: u32| (1..=last).contains(&number));
        let more = parts.next().is_some_and(|part| part.len() == 2 && part.parse::<u32>().is_ok());
        number.len() == 2 && is_case && !more
    });
    (!good).then(|| format!("{name}: write parity_NN_, and parity_NN_parity_MM_ for two cases"))
}

#[test]
fn a_case_without_its_own_two_digits_is_found() {
    let text =
        concat!("fn parity_", "07_a() {}\n/// `fn parity_", "NN`\nfn other(parity: u32) {}\n");
    assert_eq!(cases_in(text), ["parity_07_a"]);
    assert_eq!(badly_named("parity_07_a_of_15_s", 34), None);
    assert_eq!(badly_named("parity_15_parity_33_b", 34), None);
    for bad in ["parity_7_a", "parity_15_33_b", "parity_35_c", "parity_x"] {
        assert!(badly_named(bad, 34).is_some(), "{bad}");
    }
}
