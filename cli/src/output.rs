//! What goes to standard output: one shape for every verb that prints.
//!
//! Standard output is data and nothing else; everything for a person beside it goes to standard
//! error through [`say`].

use std::io::{self, Write};

use serde::Serialize;

use crate::{
    exit::Exit,
    failure::{Failure, OrExit},
    terminal::{Paint, harmless_json},
};

/// The shapes that every printing verb knows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// For a person.
    #[default]
    Text,
    /// One JSON document.
    Json,
    /// JSON Lines: one compact document a line, as things happen.
    Jsonl,
    /// One YAML document.
    Yaml,
    /// Only the names, one a line.
    Name,
}

/// The shapes that `run` and `validate` know.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum CiFormat {
    /// For a person.
    #[default]
    Text,
    /// One JSON document.
    Json,
    /// JSON Lines: one compact document a line, as things happen.
    Jsonl,
    /// One YAML document.
    Yaml,
    /// Only the names, one a line.
    Name,
    /// Annotations for GitHub Actions.
    Github,
}

impl CiFormat {
    /// The shape, if it is one that every verb knows.
    pub(crate) fn common(self) -> Option<Format> {
        match self {
            Self::Text => Some(Format::Text),
            Self::Json => Some(Format::Json),
            Self::Jsonl => Some(Format::Jsonl),
            Self::Yaml => Some(Format::Yaml),
            Self::Name => Some(Format::Name),
            Self::Github => None,
        }
    }
}

/// Something that a verb prints.
pub(crate) trait Show: Serialize {
    /// For a person; ends with a line break unless it is empty.
    fn text(&self, paint: Paint) -> String;

    /// The name or names of what is shown, without line breaks at the end.
    fn name(&self) -> String;
}

/// One value in a format; for JSON Lines it is one line.
pub(crate) fn render(value: &impl Show, format: Format, paint: Paint) -> Result<String, Failure> {
    match format {
        Format::Text => Ok(value.text(paint)),
        Format::Name => {
            let name = value.name();
            Ok(if name.is_empty() { name } else { name + "\n" })
        }
        Format::Json => to_json(value, true),
        Format::Jsonl => to_json(value, false),
        Format::Yaml => to_yaml(value),
    }
}

/// Many values in a format; for JSON Lines each is a line, for JSON and YAML one list.
pub(crate) fn render_all<T: Show>(
    values: &[T],
    format: Format,
    paint: Paint,
) -> Result<String, Failure> {
    match format {
        Format::Json => to_json(&values, true),
        Format::Yaml => to_yaml(&values),
        Format::Text | Format::Name | Format::Jsonl => {
            values.iter().map(|value| render(value, format, paint)).collect()
        }
    }
}

fn to_json(value: &impl Serialize, pretty: bool) -> Result<String, Failure> {
    let json =
        if pretty { serde_json::to_string_pretty(value) } else { serde_json::to_string(value) };
    let json = json.or_exit(Exit::Internal, "cannot write the answer as JSON")?;
    Ok(harmless_json(&json) + "\n")
}

fn to_yaml(value: &impl Serialize) -> Result<String, Failure> {
    let mut value =
        serde_json::to_value(value).or_exit(Exit::Internal, "cannot write the answer as YAML")?;
    clean(&mut value);
    let yaml = serde_saphyr::to_string(&value)
        .or_exit(Exit::Internal, "cannot write the answer as YAML")?;
    Ok(if yaml.ends_with('\n') { yaml } else { yaml + "\n" })
}

/// YAML has plain scalars, where nothing can be escaped: what steers a terminal is dropped.
fn clean(value: &mut serde_json::Value) {
    match value {
        serde_json::Value::String(text) => {
            let harmless: Vec<String> = crate::terminal::lines(text).collect();
            let end = if text.ends_with('\n') { "\n" } else { "" };
            *text = harmless.join("\n") + end;
        }
        serde_json::Value::Array(items) => items.iter_mut().for_each(clean),
        serde_json::Value::Object(fields) => fields.values_mut().for_each(clean),
        _ => {}
    }
}

/// Writes data to standard output.
///
/// A reader that went away (`lockstep events | head`) ends the program quietly.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(Failure::reader_left()),
        result => result.or_exit(Exit::Internal, "cannot write to standard output"),
    }
}

/// Tells a person something on standard error.
///
/// Nothing can be done for somebody who closed it.
pub(crate) fn say(text: &str) {
    write_beside(format!("{text}\n").as_bytes());
}

/// Writes to standard error without tearing the lines that move there.
pub(crate) fn write_beside(bytes: &[u8]) {
    crate::progress::beside(|| drop(io::stderr().lock().write_all(bytes)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    struct Thing {
        id: String,
        text: String,
    }

    impl Show for Thing {
        fn text(&self, _: Paint) -> String {
            format!("{}: {}\n", self.id, self.text)
        }

        fn name(&self) -> String {
            self.id.clone()
        }
    }

    fn things() -> [Thing; 2] {
        ["a", "b"].map(|id| Thing { id: id.to_owned(), text: "x\u{9b}: y".to_owned() })
    }

    fn all(format: Format) -> String {
        render_all(&things(), format, Paint(false)).unwrap()
    }

    #[test]
    fn json_is_one_document_and_json_lines_are_many() {
        let parsed: serde_json::Value = serde_json::from_str(&all(Format::Json)).unwrap();
        assert_eq!(parsed.as_array().unwrap().len(), 2);
        let lines = all(Format::Jsonl);
        assert_eq!(lines.lines().count(), 2);
        for line in lines.lines() {
            assert!(serde_json::from_str::<serde_json::Value>(line).unwrap().is_object());
            assert!(!line.contains('\u{9b}'));
        }
    }

    #[test]
    fn yaml_reads_back_and_holds_nothing_that_steers_a_terminal() {
        let yaml = all(Format::Yaml);
        let back: Vec<std::collections::BTreeMap<String, String>> =
            serde_saphyr::from_str(&yaml).unwrap();
        assert_eq!(back[1]["id"], "b");
        assert_eq!(back[0]["text"], "x: y");
    }

    #[test]
    fn names_stand_alone() {
        assert_eq!(all(Format::Name), "a\nb\n");
    }
}
