//! What is wrong with a pipeline file: every finding at once, each with its place in the source.
//!
//! Knows how a finding looks, not how it is found; drawing it is left to miette's handlers.

use std::{error::Error, fmt, ops::Range};

use miette::{Diagnostic, LabeledSpan, NamedSource, Severity, SourceCode, SourceSpan};

use crate::error_code::{Code, Kind};

/// How many findings are kept: a reader mends the first ones and asks again.
const MAX_FINDINGS: usize = 50;

/// A stretch of the pipeline file, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// Where it begins.
    pub start: usize,
    /// How long it is.
    pub length: usize,
}

impl Place {
    /// The same stretch as a range.
    pub fn range(self) -> Range<usize> {
        self.start..self.start + self.length
    }
}

impl From<Place> for SourceSpan {
    fn from(place: Place) -> Self {
        Self::from((place.start, place.length))
    }
}

/// A value together with where the file says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct At<T> {
    /// The value.
    pub value: T,
    /// Where it is written.
    pub place: Place,
}

impl<T> At<T> {
    /// The value at this place.
    pub(crate) fn new(value: T, place: Place) -> Self {
        Self { value, place }
    }
}

/// A place with what is to be seen there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Label {
    /// Where.
    pub place: Place,
    /// What is to be seen there.
    pub text: String,
}

/// One thing that is wrong, or odd.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Which check found it.
    pub code: Code,
    /// Whether it refuses the run.
    pub severity: Severity,
    /// What is wrong.
    pub message: String,
    /// Where; the first is the main place. Empty if it is nowhere in the file.
    pub labels: Vec<Label>,
    /// What to do next.
    pub help: String,
}

impl Finding {
    /// A finding without a place, with the help that the table has for its code.
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        let severity = match code.kind() {
            Kind::Structural | Kind::Skippable => Severity::Error,
            Kind::Warning => Severity::Warning,
        };
        Self {
            code,
            severity,
            message: message.into(),
            labels: Vec::new(),
            help: code.remedy().into(),
        }
    }

    /// Points at a place.
    pub(crate) fn at(&mut self, place: Place, text: impl Into<String>) -> &mut Self {
        self.labels.push(Label { place, text: text.into() });
        self
    }

    /// Says what to do in place of what the table says.
    pub(crate) fn help(&mut self, help: impl Into<String>) -> &mut Self {
        self.help = help.into();
        self
    }

    /// Whether it refuses the run.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl Error for Finding {}

impl Diagnostic for Finding {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(self.code))
    }

    fn severity(&self) -> Option<Severity> {
        Some(self.severity)
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(&self.help))
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        if self.labels.is_empty() {
            return None;
        }
        let labels = self.labels.iter();
        Some(Box::new(
            labels.map(|label| LabeledSpan::new_with_span(Some(label.text.clone()), label.place)),
        ))
    }
}

/// Findings while they are collected.
#[derive(Debug, Clone, Default)]
pub(crate) struct Findings(Vec<Finding>);

impl Findings {
    /// Adds a finding, to which places and help can be added.
    pub(crate) fn report(&mut self, code: Code, message: impl Into<String>) -> &mut Finding {
        self.add(Finding::new(code, message))
    }

    /// Adds a finished finding.
    pub(crate) fn add(&mut self, finding: Finding) -> &mut Finding {
        self.0.push(finding);
        let last = self.0.len() - 1;
        &mut self.0[last]
    }

    /// Adds what was collected elsewhere.
    pub(crate) fn extend(&mut self, others: Self) {
        self.0.extend(others.0);
    }

    /// Forgets the findings for which `keep` is false.
    pub(crate) fn retain(&mut self, keep: impl Fn(&Finding) -> bool) {
        self.0.retain(keep);
    }

    /// Whether one of them refuses the run.
    pub(crate) fn has_errors(&self) -> bool {
        self.0.iter().any(Finding::is_error)
    }

    /// Whether nothing was found.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether this check found something.
    #[cfg(test)]
    pub(crate) fn has(&self, code: Code) -> bool {
        self.0.iter().any(|finding| finding.code == code)
    }
}

/// Everything that the checks found in one file.
#[derive(Debug, Clone)]
pub struct Diagnostics {
    source: NamedSource<String>,
    findings: Vec<Finding>,
    left_out: usize,
}

impl Diagnostics {
    /// The findings in the order of the file, errors before warnings, repeated ones once.
    pub(crate) fn new(name: &str, text: &str, findings: Findings) -> Self {
        let mut findings = findings.0;
        let place = |finding: &Finding| finding.labels.first().map(|label| label.place);
        findings.sort_by(|a, b| {
            (!a.is_error(), place(a), a.code, &a.message, &a.labels).cmp(&(
                !b.is_error(),
                place(b),
                b.code,
                &b.message,
                &b.labels,
            ))
        });
        // Each combination of a matrix says the same of the same place.
        findings.dedup_by(|a, b| {
            a.code == b.code
                && a.labels == b.labels
                && (a.message == b.message || !a.labels.is_empty())
        });
        let left_out = findings.len().saturating_sub(MAX_FINDINGS);
        findings.truncate(MAX_FINDINGS);
        let source = NamedSource::new(name, text.to_owned()).with_language("yaml");
        Self { source, findings, left_out }
    }

    /// The findings.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// Other findings in the same file.
    pub(crate) fn with(&self, findings: Findings) -> Self {
        Self::new(self.source.name(), self.source.inner(), findings)
    }

    /// How many further findings were found and are not kept.
    pub fn left_out(&self) -> usize {
        self.left_out
    }

    /// Whether nothing was found.
    pub fn is_empty(&self) -> bool {
        self.findings.is_empty()
    }

    /// The name of the file that was checked.
    pub fn source_name(&self) -> &str {
        self.source.name()
    }

    /// Line and column of a place, both counted from 1 and the column in characters.
    pub fn position(&self, place: Place) -> (usize, usize) {
        let text = self.source.inner();
        let before = text.get(..place.start).unwrap_or(text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().map_or(0, |last| last.chars().count()) + 1;
        (line, column)
    }

    /// The findings as plain text, for terminals without colour and for tests.
    pub fn to_plain_text(&self) -> String {
        let mut text = String::new();
        miette::NarratableReportHandler::new()
            .render_report(&mut text, self)
            .expect("a String takes every write");
        text
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let errors = self.findings.iter().filter(|finding| finding.is_error()).count();
        let warnings = self.findings.len() - errors;
        write!(formatter, "{}: ", self.source.name())?;
        match (errors, warnings) {
            (0, 0) => formatter.write_str("nothing to report")?,
            (0, warnings) => formatter.write_str(&counted(warnings, "warning"))?,
            (errors, 0) => formatter.write_str(&counted(errors, "error"))?,
            (errors, warnings) => {
                let (errors, warnings) = (counted(errors, "error"), counted(warnings, "warning"));
                write!(formatter, "{errors}, {warnings}")?;
            }
        }
        if self.left_out > 0 {
            write!(formatter, ", and {} more that are not shown", self.left_out)?;
        }
        Ok(())
    }
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

impl Error for Diagnostics {}

impl Diagnostic for Diagnostics {
    fn severity(&self) -> Option<Severity> {
        let error = self.findings.iter().any(Finding::is_error);
        Some(if error { Severity::Error } else { Severity::Warning })
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(&self.source)
    }

    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn Diagnostic> + 'a>> {
        Some(Box::new(self.findings.iter().map(|finding| finding as &dyn Diagnostic)))
    }
}
