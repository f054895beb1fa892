//! Workflow commands and files of GitHub Actions.

use std::{fs::OpenOptions, io::Write};

use crate::{
    output::Show,
    report::RunReport,
    terminal::{Paint, line},
};

/// Text as a workflow command's message.
pub(crate) fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// Text as a workflow command's property.
pub(crate) fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

/// What a run's end says to GitHub Actions on standard output.
pub(crate) fn annotations(report: &RunReport) -> String {
    let mut text = String::new();
    let name = report.name();
    if let Some(cause) = &report.cause {
        let lines: Vec<String> =
            crate::terminal::lines(&format!("{}\n{}", cause.text, cause.output)).collect();
        let (title, message) = (property(&format!("{name}: {}", report.summary)), lines.join("\n"));
        text.push_str(&format!("::error title={title}::{}\n", data(message.trim_end())));
    }
    for warning in report.notices() {
        text.push_str(&format!("::warning title={}::{}\n", property(&name), data(&line(warning))));
    }
    if report.cause.is_none() {
        let title = property(&name);
        text.push_str(&format!("::notice title={title}::{}\n", data(&line(&report.summary))));
    }
    text
}

/// The table for the job's summary page.
pub(crate) fn summary(report: &RunReport) -> String {
    let cell = |text: &str| line(text).replace('|', "\\|").replace('<', "&lt;");
    let mut page = format!("### {} {}\n\n", cell(&report.name()), cell(&report.summary));
    page.push_str("| workflow | |\n|---|---|\n");
    for workflow in &report.workflows {
        page.push_str(&format!("| {} | {} |\n", workflow.name, cell(&workflow.doing)));
    }
    if let Some(cause) = &report.cause {
        page.push_str(&format!("\n**Cause:** {}\n", cell(&cause.text)));
    }
    page
}

/// Adds the summary and the outputs `run` and `result` to the files that the runner names.
pub(crate) fn write_files(report: &RunReport) {
    let result = report.result.and_then(|result| serde_json::to_value(result).ok());
    let result = result.as_ref().and_then(|result| result.as_str()).unwrap_or("open");
    append("GITHUB_STEP_SUMMARY", &summary(report));
    append("GITHUB_OUTPUT", &format!("run={}\nresult={result}\n", report.name()));
}

/// A runner that offers no such file gets none; one that cannot be written is told.
fn append(variable: &str, text: &str) {
    let Some(path) = std::env::var_os(variable).filter(|path| !path.is_empty()) else { return };
    let opened = OpenOptions::new().append(true).create(true).open(&path);
    if let Err(error) = opened.and_then(|mut file| file.write_all(text.as_bytes())) {
        crate::output::say(&format!("cannot write {variable}: {error}"));
    }
}

/// What `-o github` prints at a run's end.
pub(crate) fn finish(report: &RunReport) -> String {
    write_files(report);
    format!("{}{}", report.text(Paint(false)), annotations(report))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn others_text_cannot_begin_a_workflow_command() {
        assert_eq!(data("a\n::error::b%"), "a%0A::error::b%25");
        assert_eq!(property("a:b,c\n"), "a%3Ab%2Cc%0A");
    }
}
