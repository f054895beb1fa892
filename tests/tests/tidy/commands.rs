//! The `lockstep` commands that documents and messages show have verbs and flags that exist, and
//! all that they need: whoever pastes one is not told what is missing.

use std::fs;

use crate::{
    docs::documents,
    tree::{TextFile, files, no_findings, root},
};

#[test]
fn every_lockstep_command_that_is_shown_has_verbs_and_flags_that_exist() {
    let reference = fs::read_to_string(root().join("docs/reference/cli.md")).unwrap();
    let mut found = Vec::new();
    let (mut in_documents, mut in_source) = (0, 0);
    for file in documents() {
        let commands = shown_commands(&file);
        in_documents += commands.len();
        judge(&reference, &file, commands, &mut found);
    }
    for file in files().iter().filter(|file| is_program(file)) {
        let commands = told_commands(&file.text);
        in_source += commands.len();
        judge(&reference, file, commands, &mut found);
    }
    assert!(in_documents > 20 && in_source > 40, "only {in_documents} and {in_source} found");
    no_findings("commands that fail when they are pasted", &found);
}

fn judge(
    reference: &str,
    file: &TextFile,
    commands: Vec<(usize, String)>,
    found: &mut Vec<String>,
) {
    for (number, command) in commands {
        let at = format!("{}:{number}", file.path);
        for problem in unknown_parts(reference, &command) {
            found.push(format!("{at}: {problem} in {command:?} does not exist"));
        }
        for missing in missing_parts(reference, &command) {
            found.push(format!("{at}: {missing} is missing in {command:?}"));
        }
    }
}

/// Source whose texts people read.
fn is_program(file: &TextFile) -> bool {
    let part = |name: &str| file.path.starts_with(name) && file.path.contains("/src/");
    file.ends_with(".rs")
        && !file.path.contains("/tests")
        && ["cli/", "agent/", "shared/", "coordinator/"].into_iter().any(part)
}

/// The `lockstep` commands in backquotes that a source file's texts tell, continued lines joined.
fn told_commands(source: &str) -> Vec<(usize, String)> {
    let source = source.split("#[cfg(test)]\nmod tests {").next().unwrap_or(source);
    let mut told = Vec::new();
    let mut begun = None::<(usize, String)>;
    for (index, line) in source.lines().enumerate() {
        if line.trim_start().starts_with("//") {
            continue;
        }
        let (number, text) = match begun.take() {
            Some((number, text)) => (number, text + line.trim_start()),
            None => (index + 1, line.to_owned()),
        };
        if let Some(open) = text.strip_suffix('\\') {
            begun = Some((number, open.to_owned()));
            continue;
        }
        let quoted = text.split('`').skip(1).step_by(2);
        let ours = quoted.filter(|part| part.starts_with("lockstep "));
        told.extend(ours.map(|part| (number, part.to_owned())));
    }
    told
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

/// What the reference says of a command's verb, and how many words the verb has.
fn section<'a>(reference: &'a str, command: &str) -> Option<(&'a str, usize)> {
    let mut words = command.split_whitespace().skip(1);
    let verb = words.next().unwrap_or_default();
    let group = format!("\n### `lockstep {verb} ");
    let (heading, count) = match words.next() {
        Some(second) if reference.contains(&group) => (format!("`lockstep {verb} {second}`\n"), 3),
        _ => (format!("`lockstep {verb}`\n"), 2),
    };
    let (_, section) = reference.split_once(&format!("# {heading}"))?;
    Some((section.split("\n#").next().unwrap_or_default(), count))
}

/// A command without the comment behind it.
fn bare(command: &str) -> &str {
    command.split(" #").next().unwrap_or(command)
}

/// What a command needs by its usage line and does not have. A verb alone is only named.
fn missing_parts(reference: &str, command: &str) -> Vec<String> {
    let command = bare(command);
    let words: Vec<&str> = command.split_whitespace().collect();
    let Some((own, verb)) = section(reference, command) else { return Vec::new() };
    // `...` stands for the rest.
    if words.len() <= verb || words.contains(&"...") {
        return Vec::new();
    }
    let usage = own.lines().find(|line| line.starts_with("Usage: ")).unwrap_or_default();
    let needed: Vec<&str> = usage.split_whitespace().skip(verb + 1).collect();
    let flags = needed.iter().copied().filter(|word| word.starts_with("--"));
    let short = |flag: &str| {
        let spelt = own.split('`').find(|part| part.contains(&format!(", {flag} ")));
        spelt.and_then(|part| part.split(',').next()).map(str::to_owned)
    };
    let has = |flag: &str| {
        let short = short(flag);
        words[verb..]
            .iter()
            .any(|word| word.split('=').next() == Some(flag) || short.as_deref() == Some(*word))
    };
    let mut missing: Vec<String> =
        flags.clone().filter(|flag| !has(flag)).map(str::to_owned).collect();
    // Only a usage of flags and one operand is simple enough to tell operands from values.
    let operands = needed.iter().filter(|word| word.starts_with('<')).count() - flags.count();
    let given = words[verb..].iter().take_while(|word| !word.starts_with('-')).count();
    if operands == 1 && given == 0 {
        missing.extend(needed.last().map(|operand| (*operand).to_owned()));
    }
    missing
}

/// The verbs and flags of a command that the reference does not know.
fn unknown_parts<'a>(reference: &str, command: &'a str) -> Vec<&'a str> {
    let command = bare(command);
    let words = command.split_whitespace().skip(1);
    let mut unknown = Vec::new();
    let verb = command.split_whitespace().nth(1).unwrap_or_default();
    let Some((own, _)) = section(reference, command) else {
        // A word in capitals, in braces or of alternatives stands for any verb.
        let any = |word: &str| {
            word.chars().all(|c| c.is_ascii_uppercase()) || word.contains(['{', '|', '.'])
        };
        return if command.split_whitespace().skip(1).take(2).any(any) {
            Vec::new()
        } else {
            vec![verb]
        };
    };
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

#[test]
fn a_command_that_would_fail_when_it_is_pasted_is_found() {
    let reference = fs::read_to_string(root().join("docs/reference/cli.md")).unwrap();
    let missing = |command| missing_parts(&reference, command);
    assert_eq!(missing("lockstep abort RUN"), ["--reason"]);
    assert_eq!(missing("lockstep abort RUN -r x"), Vec::<String>::new());
    assert_eq!(missing("lockstep rollback accept RUN --workflow w"), ["--reason"]);
    assert_eq!(missing("lockstep rollback resume --workflow w"), ["<RUN>"]);
    assert_eq!(missing("lockstep abort"), Vec::<String>::new(), "the verb is only named");
    let source = "say(\"use `lockstep \\\n       abort {run}` now\");\n";
    assert_eq!(told_commands(source), [(1, "lockstep abort {run}".to_owned())]);
}
