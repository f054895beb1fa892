//! The `lockstep` commands that documents show have verbs and flags that exist.

use std::fs;

use crate::{
    docs::documents,
    tree::{TextFile, no_findings, root},
};

#[test]
fn every_lockstep_command_that_is_shown_has_verbs_and_flags_that_exist() {
    let reference = fs::read_to_string(root().join("docs/reference/cli.md")).unwrap();
    let (mut found, mut count) = (Vec::new(), 0);
    for file in documents().iter().filter(|file| !file.path.starts_with("docs/reference/")) {
        for (number, command) in shown_commands(file) {
            count += 1;
            for problem in unknown_parts(&reference, &command) {
                found.push(format!("{}:{number}: {problem} in {command:?}", file.path));
            }
        }
    }
    assert!(count > 20, "only {count} commands found");
    no_findings("commands that docs/reference/cli.md does not have", &found);
}

/// The `lockstep` commands of a document, in code blocks and in backquotes, continued lines joined.
fn shown_commands(file: &TextFile) -> Vec<(usize, String)> {
    let mut commands = Vec::new();
    let (mut in_block, mut begun) = (false, None::<(usize, String)>);
    for (number, line) in file.lines() {
        if line.starts_with("```") {
            in_block = !in_block;
        }
        let text = match begun.take() {
            Some((_, start)) => format!("{start} {}", line.trim()),
            None => line.to_owned(),
        };
        if in_block && text.ends_with('\\') {
            begun = Some((number, text.trim_end_matches('\\').to_owned()));
            continue;
        }
        let quoted: Vec<&str> = text.split('`').skip(1).step_by(2).collect();
        let parts = if in_block { text.split("trap '").collect() } else { quoted };
        let ours = parts.into_iter().filter(|part| part.starts_with("lockstep "));
        commands.extend(ours.map(|part| (number, part.to_owned())));
    }
    commands
}

/// The verbs and flags of a command that the reference does not know.
fn unknown_parts<'a>(reference: &str, command: &'a str) -> Vec<&'a str> {
    let command = command.split(" #").next().unwrap_or(command);
    let mut words = command.split_whitespace().skip(1).peekable();
    let mut unknown = Vec::new();
    let verb = words.next().unwrap_or_default();
    let group = format!("\n### `lockstep {verb} ");
    let heading = match words.peek() {
        Some(second) if reference.contains(&group) => format!("`lockstep {verb} {second}`\n"),
        _ => format!("`lockstep {verb}`\n"),
    };
    let Some((_, section)) = reference.split_once(&format!("# {heading}")) else {
        // A word in capitals stands for any verb.
        return if verb.chars().all(|c| c.is_ascii_uppercase()) { Vec::new() } else { vec![verb] };
    };
    let own = section.split("\n#").next().unwrap_or_default();
    let shared = reference.split("\n## `lockstep run`").next().unwrap_or_default();
    for word in words {
        let flag = word.split('=').next().unwrap_or(word).trim_end_matches(['"', '\'']);
        let known = own.contains(&format!("{flag}`"))
            || own.contains(&format!("{flag} "))
            || shared.contains(&format!("{flag} "));
        if flag.starts_with("--") && !known {
            unknown.push(word);
        }
    }
    unknown
}

#[test]
fn a_flag_that_does_not_exist_is_found() {
    let reference = fs::read_to_string(root().join("docs/reference/cli.md")).unwrap();
    assert_eq!(unknown_parts(&reference, "lockstep fly"), ["fly"]);
    assert_eq!(unknown_parts(&reference, "lockstep abort RUN --why x"), ["--why"]);
    assert!(unknown_parts(&reference, "lockstep barrier arrive go --party qa").is_empty());
}
