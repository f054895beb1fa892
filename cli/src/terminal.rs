//! What may reach a terminal: others' text made harmless, and colour where it is wanted.

use std::{fmt, io::IsTerminal};

/// When to colour.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum ColorChoice {
    /// On a terminal, unless NO_COLOR is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// What decides about colour besides the flag.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Surroundings {
    /// Whether the stream is a terminal.
    pub(crate) terminal: bool,
    /// Whether NO_COLOR is set to something.
    pub(crate) no_color: bool,
    /// Whether TERM says that the terminal can do nothing.
    pub(crate) dumb: bool,
}

impl Surroundings {
    /// What the process's environment says of a stream.
    pub(crate) fn of(stream: &impl IsTerminal) -> Self {
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        Self {
            terminal: stream.is_terminal(),
            no_color: set("NO_COLOR").is_some(),
            dumb: set("TERM").is_some_and(|term| term == "dumb"),
        }
    }
}

impl ColorChoice {
    /// Whether to colour a stream.
    pub(crate) fn decide(self, around: Surroundings) -> bool {
        match self {
            Self::Always => true,
            Self::Never => false,
            Self::Auto => around.terminal && !around.no_color && !around.dumb,
        }
    }
}

/// Puts colour on text, or does not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Paint(pub(crate) bool);

/// A style that a terminal knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// For headings.
    Bold,
    /// For what matters less.
    Dim,
    /// For what went well.
    Good,
    /// For what went wrong.
    Bad,
    /// For what needs attention.
    Warn,
    /// For names of runs.
    Name,
}

impl Paint {
    /// The text in a style.
    pub(crate) fn paint(self, style: Style, text: impl fmt::Display) -> String {
        if !self.0 {
            return text.to_string();
        }
        let code = match style {
            Style::Bold => "1",
            Style::Dim => "2",
            Style::Good => "32",
            Style::Bad => "31",
            Style::Warn => "33",
            Style::Name => "36",
        };
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    }
}

/// Whether a character could steer a terminal or turn text around.
fn steers(c: char) -> bool {
    let direction =
        matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    c.is_control() || direction
}

/// Others' text as one harmless line: line breaks become spaces, what steers is dropped.
pub(crate) fn line(text: &str) -> String {
    let spaced = text.trim_end().chars().map(|c| if matches!(c, '\n' | '\t') { ' ' } else { c });
    spaced.filter(|&c| !steers(c)).collect()
}

/// Others' text as harmless lines.
pub(crate) fn lines(text: &str) -> impl Iterator<Item = String> {
    text.lines().map(line)
}

/// Text drawn with colour, of which only line breaks and colour reach a terminal.
pub(crate) fn harmless_ansi(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let colour = colour_sequence(rest);
        if colour > 0 {
            safe.push_str(&rest[..colour]);
            rest = &rest[colour..];
            continue;
        }
        if c == '\n' || !steers(c) {
            safe.push(c);
        }
        rest = &rest[c.len_utf8()..];
    }
    safe
}

/// How long the sequence that only sets colour is at the beginning of a text; 0 if there is none.
fn colour_sequence(text: &str) -> usize {
    let Some(parameters) = text.strip_prefix("\u{1b}[") else { return 0 };
    let end = parameters.find(|c: char| !(c.is_ascii_digit() || c == ';'));
    match end.filter(|end| parameters[*end..].starts_with('m')) {
        Some(end) => 2 + end + 1,
        None => 0,
    }
}

/// JSON text in which whatever could steer a terminal is written as an escape.
///
/// serde_json escapes the control characters that JSON forbids; these are the others.
pub(crate) fn harmless_json(json: &str) -> String {
    let mut safe = String::with_capacity(json.len());
    for c in json.chars() {
        if c != '\n' && steers(c) {
            safe.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            safe.push(c);
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn others_text_cannot_steer_a_terminal() {
        assert_eq!(line("a\u{1b}[31mred\u{7}\r\nnext\u{9b}2J\u{202e}x\n"), "a[31mred next2Jx");
        assert_eq!(lines("one\u{8}\ntwo").collect::<Vec<_>>(), ["one", "two"]);
    }

    #[test]
    fn of_drawn_text_only_colour_is_kept() {
        let drawn = "\u{1b}[1;31mred\u{1b}[0m\u{1b}[2J\u{1b}]0;title\u{7}\nnext";
        assert_eq!(harmless_ansi(drawn), "\u{1b}[1;31mred\u{1b}[0m[2J]0;title\nnext");
    }

    #[test]
    fn json_stays_json_when_it_is_made_harmless() {
        let json = serde_json::to_string("a\u{9b}b\u{7f}\u{1b}\u{202e}ü").unwrap();
        let safe = harmless_json(&json);
        assert!(!safe.chars().any(steers), "{safe:?}");
        let back: String = serde_json::from_str(&safe).unwrap();
        assert_eq!(back, "a\u{9b}b\u{7f}\u{1b}\u{202e}ü");
    }

    #[test]
    fn colour_follows_the_flag_then_no_color_then_the_terminal() {
        let terminal = Surroundings { terminal: true, ..Surroundings::default() };
        assert!(ColorChoice::Auto.decide(terminal));
        assert!(!ColorChoice::Auto.decide(Surroundings { no_color: true, ..terminal }));
        assert!(!ColorChoice::Auto.decide(Surroundings { dumb: true, ..terminal }));
        assert!(!ColorChoice::Auto.decide(Surroundings::default()));
        assert!(ColorChoice::Always.decide(Surroundings { no_color: true, ..terminal }));
        assert!(!ColorChoice::Never.decide(terminal));
        assert_eq!(Paint(false).paint(Style::Bad, "x"), "x");
        assert_eq!(Paint(true).paint(Style::Bad, "x"), "\u{1b}[31mx\u{1b}[0m");
    }
}
