//! What a step runs or asks, in the few lines that a person reads.

use lockstep_shared::plan::{Action, Command, DeploySource, Probe, RunCommand, Undo, Verify};

use crate::terminal::{line, lines};

/// How many lines of a command are shown; all are in the other formats.
const MAX_LINES: usize = 3;

/// How many characters of a line are shown.
const MAX_WIDTH: usize = 120;

/// The details of a step, one row each.
pub(crate) fn details(action: &Action) -> Vec<String> {
    match action {
        Action::Barrier(_) | Action::Wait(_) => Vec::new(),
        Action::Run(command) => run(command),
        Action::Verify(verify) => asked(verify),
        Action::Deploy(deploy) => {
            let mut rows = vec![source(&deploy.source)];
            let images = deploy.images.iter();
            rows.extend(images.map(|(name, to)| format!("image {} = {}", line(name), line(to))));
            rows
        }
    }
}

fn run(spec: &RunCommand) -> Vec<String> {
    let mut rows = shortened("$ ", &words(&spec.command));
    if let Some(Undo::Command(undo)) = &spec.undo {
        rows.extend(shortened("undo $ ", &words(undo)));
    }
    if let Some(workdir) = &spec.workdir {
        rows.push(format!("in {}", line(workdir)));
    }
    rows.extend(spec.env.iter().map(|(name, value)| cut(&format!("{name}={value}"))));
    rows
}

fn asked(verify: &Verify) -> Vec<String> {
    let mut rows = match &verify.probe {
        Probe::Http { url, status, body } => {
            let body = body.as_ref().map(|body| format!(" with {body:?} in its body"));
            vec![cut(&format!("GET {url} answers {status}{}", body.unwrap_or_default()))]
        }
        Probe::Tcp(address) => vec![cut(&format!("connects to {address}"))],
        Probe::Command(command) => shortened("$ ", &words(command)),
    };
    rows.push(format!("must hold for {}, asked every {}", verify.hold, verify.interval));
    rows
}

fn source(source: &DeploySource) -> String {
    let json = serde_json::to_string(source).unwrap_or_default();
    cut(&format!("from {json}"))
}

/// A command as somebody would type it.
fn words(command: &Command) -> String {
    match command {
        Command::Shell(text) => text.trim().to_owned(),
        Command::Exec(words) => words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" "),
    }
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// The first lines of a text behind a mark, and how many more there are.
pub(crate) fn shortened(mark: &str, text: &str) -> Vec<String> {
    let all: Vec<String> = lines(text).collect();
    let shown = if all.len() <= MAX_LINES + 1 { all.len() } else { MAX_LINES };
    let indent = " ".repeat(mark.len());
    let mut rows: Vec<String> = all[..shown]
        .iter()
        .enumerate()
        .map(|(index, row)| {
            let mark = if index == 0 { mark } else { indent.as_str() };
            format!("{mark}{}", cut(row))
        })
        .collect();
    if shown < all.len() {
        rows.push(format!("{indent}... {} more lines (`-o json` has all)", all.len() - shown));
    }
    rows
}

fn cut(text: &str) -> String {
    let text = line(text);
    if text.chars().count() <= MAX_WIDTH {
        return text;
    }
    text.chars().take(MAX_WIDTH - 3).chain("...".chars()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_command_is_shortened_and_says_by_how_much() {
        let rows = shortened("$ ", "one\ntwo\nthree\nfour\nfive");
        assert_eq!(rows, ["$ one", "  two", "  three", "  ... 2 more lines (`-o json` has all)"]);
        assert_eq!(shortened("$ ", "a\nb\nc\nd").len(), 4, "one line more is as short as a count");
        let wide = shortened("$ ", &"x".repeat(500));
        assert_eq!(wide[0].len(), 2 + MAX_WIDTH);
        assert!(wide[0].ends_with("..."), "{wide:?}");
    }

    #[test]
    fn a_list_is_shown_as_somebody_would_type_it() {
        let list = ["./deploy", "it's", "a b", ""].map(str::to_owned).to_vec();
        assert_eq!(words(&Command::Exec(list)), r"./deploy 'it'\''s' 'a b' ''");
    }

    #[test]
    fn what_others_wrote_does_not_steer_the_terminal() {
        assert_eq!(shortened("$ ", "echo \u{1b}[31mred"), ["$ echo [31mred"]);
    }
}
