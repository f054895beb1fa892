//! The pipeline file on disk: read, checked, and its findings drawn.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Read,
    path::{Path, PathBuf},
};

use lockstep_shared::{
    diagnostics::{Diagnostics, Finding},
    pipeline::{Files, Inputs, Pipeline, Planned},
    plan::{Plan, Target},
};
use miette::{GraphicalReportHandler, GraphicalTheme};
use serde::Serialize;

use crate::{
    exit::Exit,
    failure::{Failure, OrExit},
    flags::param,
    output::say,
    terminal::{Paint, harmless_ansi, line},
};

/// How much of a pipeline file is read; far more than fits into a plan.
const MAX_FILE_BYTES: u64 = 16 * 1024 * 1024;

/// Which pipeline, with what.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct FileArgs {
    /// The pipeline file; `-` reads standard input
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) inputs: InputArgs,
}

/// What a run brings to its pipeline.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct InputArgs {
    /// A parameter's value; may be given more than once. Public: never a secret
    #[arg(long = "param", short = 'p', value_name = "NAME=VALUE", value_parser = param)]
    pub(crate) params: Vec<(String, String)>,
    /// Turn one check off; may be given more than once, and is recorded in the plan
    #[arg(long = "skip-check", value_name = "CODE")]
    pub(crate) skip_checks: Vec<String>,
}

/// What the checks say of a pipeline file.
pub(crate) type Checked = Result<Planned, Diagnostics>;

/// Reads and checks a pipeline file.
pub(crate) fn check(file: &Path, inputs: &InputArgs, plan_only: bool) -> Result<Checked, Failure> {
    let text = read(file)?;
    let params = params(inputs)?;
    let folder = Folder::of(file);
    let inputs = Inputs {
        params,
        skip_checks: inputs.skip_checks.iter().cloned().collect::<BTreeSet<_>>(),
        plan_only,
        files: Some(&folder),
    };
    Ok(Pipeline::parse(&name(file), &text).and_then(|pipeline| pipeline.plan(&inputs)))
}

/// Reads and checks a pipeline file; what is wrong goes to standard error.
pub(crate) fn plan(
    file: &Path,
    inputs: &InputArgs,
    plan_only: bool,
    paint: Paint,
) -> Result<Plan, Failure> {
    match check(file, inputs, plan_only)? {
        Ok(planned) => {
            if !planned.warnings.is_empty() {
                say(draw(&planned.warnings, paint).trim_end());
            }
            Ok(planned.plan)
        }
        Err(diagnostics) => {
            say(draw(&diagnostics, paint).trim_end());
            Err(Failure::invalid(format!("{diagnostics}"))
                .help("correct what is marked; docs/reference/error-codes.md explains every code"))
        }
    }
}

/// Refuses what this version's agents cannot do.
pub(crate) fn refuse_clusters(plan: &Plan) -> Result<(), Failure> {
    let cluster = |target: &Target| matches!(target, Target::Kubernetes(_));
    let named = plan.active().filter(|(_, workflow)| cluster(&workflow.target));
    let named: Vec<&str> = named.map(|(name, _)| name.as_str()).collect();
    if named.is_empty() {
        return Ok(());
    }
    Err(Failure::invalid(format!(
        "this version has no agents for Kubernetes targets, which {} has: nothing would deploy it",
        lockstep_shared::fold::listed(named)
    ))
    .help(
        "use `target: { command: {} }` with `run` steps; `validate`, `plan` and `graph` work with \
         Kubernetes targets",
    ))
}

fn params(inputs: &InputArgs) -> Result<BTreeMap<String, String>, Failure> {
    let mut params = BTreeMap::new();
    for (name, value) in &inputs.params {
        if params.insert(name.clone(), value.clone()).is_some() {
            return Err(Failure::usage(format!("--param {name} is given twice")));
        }
    }
    Ok(params)
}

fn name(file: &Path) -> String {
    if is_stdin(file) { "standard input".to_owned() } else { file.display().to_string() }
}

fn is_stdin(file: &Path) -> bool {
    file.as_os_str() == "-"
}

fn read(file: &Path) -> Result<String, Failure> {
    let mut bytes = Vec::new();
    let name = name(file);
    let cannot = format!("cannot read the pipeline file {name}");
    if is_stdin(file) {
        std::io::stdin().take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)
    } else {
        std::fs::File::open(file)
            .and_then(|opened| opened.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes))
    }
    .or_exit(Exit::Invalid, cannot)
    .map_err(|failure| failure.help("give the path of a pipeline file, or `-`"))?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(Failure::invalid(format!(
            "{name} is larger than {} MiB, and no plan is made of that much",
            MAX_FILE_BYTES / 1024 / 1024
        )));
    }
    String::from_utf8(bytes)
        .or_exit(Exit::Invalid, format!("{name} is not UTF-8 text"))
        .map_err(|failure| failure.help("save the file as UTF-8"))
}

/// The folder that a pipeline file's paths start from.
#[derive(Debug)]
struct Folder(PathBuf);

impl Folder {
    /// The file's own; standard input has the working directory.
    fn of(file: &Path) -> Self {
        let parent = file.parent().filter(|parent| !parent.as_os_str().is_empty());
        match parent {
            Some(parent) if !is_stdin(file) => Self(parent.to_owned()),
            _ => Self(PathBuf::from(".")),
        }
    }
}

impl Files for Folder {
    fn count(&self, path: &str) -> usize {
        if path.contains(['*', '?', '[']) {
            let folder = glob::Pattern::escape(&self.0.to_string_lossy());
            let found = glob::glob(&format!("{folder}/{path}")).into_iter().flatten().flatten();
            return found.filter(|path| holds_a_file(path)).take(1).count();
        }
        usize::from(holds_a_file(&self.0.join(path)))
    }
}

/// Whether a path is a regular file, or a folder with one at any depth.
fn holds_a_file(path: &Path) -> bool {
    if path.is_file() {
        return true;
    }
    let mut folders = vec![path.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.file_type() {
                // A link may lead back up: it is looked at, not walked into.
                Ok(kind) if kind.is_file() || entry.path().is_file() => return true,
                Ok(kind) if kind.is_dir() => folders.push(entry.path()),
                _ => {}
            }
        }
    }
    false
}

/// The findings with their places in the file, for a person.
pub(crate) fn draw(diagnostics: &Diagnostics, paint: Paint) -> String {
    let theme = if paint.0 { GraphicalTheme::unicode() } else { GraphicalTheme::unicode_nocolor() };
    let mut text = String::new();
    let handler = GraphicalReportHandler::new_themed(theme).with_links(false);
    if handler.render_report(&mut text, diagnostics).is_err() {
        return diagnostics.to_plain_text();
    }
    harmless_ansi(&text)
}

/// One finding as data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Found {
    /// Which check.
    code: String,
    /// `error` or `warning`.
    severity: &'static str,
    /// What is wrong.
    message: String,
    /// The file.
    file: String,
    /// Its line, counted from 1; absent if it is nowhere in the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
    /// Its column in characters, counted from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    column: Option<usize>,
    /// What to do next.
    help: String,
}

/// The findings as data.
pub(crate) fn found(diagnostics: &Diagnostics) -> Vec<Found> {
    let tell = |finding: &Finding| {
        let place = finding.labels.first().map(|label| diagnostics.position(label.place));
        Found {
            code: finding.code.to_string(),
            severity: if finding.is_error() { "error" } else { "warning" },
            message: finding.message.clone(),
            file: diagnostics.source_name().to_owned(),
            line: place.map(|(line, _)| line),
            column: place.map(|(_, column)| column),
            help: finding.help.clone(),
        }
    };
    diagnostics.findings().iter().map(tell).collect()
}

impl Found {
    /// The line `file:line:column: severity: message [code]`.
    pub(crate) fn plain(&self) -> String {
        let place = match (self.line, self.column) {
            (Some(line), Some(column)) => format!(":{line}:{column}"),
            _ => String::new(),
        };
        let (file, message) = (line(&self.file), line(&self.message));
        format!("{file}{place}: {}: {message} [{}]", self.severity, self.code)
    }

    /// The code alone.
    pub(crate) fn code(&self) -> &str {
        &self.code
    }

    /// The annotation that GitHub Actions shows beside the file.
    pub(crate) fn annotation(&self) -> String {
        let mut properties = vec![format!("file={}", crate::github::property(&self.file))];
        properties.extend(self.line.map(|line| format!("line={line}")));
        properties.extend(self.column.map(|column| format!("col={column}")));
        properties.push(format!("title={}", crate::github::property(&self.code)));
        let message = crate::github::data(&format!("{}\n{}", self.message, self.help));
        format!("::{} {}::{message}", self.severity, properties.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_counted_through_folders_and_globs() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("k8s/deep")).unwrap();
        std::fs::write(folder.path().join("k8s/deep/a.yaml"), "x").unwrap();
        std::fs::create_dir(folder.path().join("empty")).unwrap();
        let files = Folder::of(&folder.path().join("pipeline.yaml"));
        for (path, count) in
            [("k8s", 1), ("k8s/*/*.yaml", 1), ("k8s/**/*.yaml", 1), ("empty", 0), ("none", 0)]
        {
            assert_eq!(files.count(path), count, "{path}");
        }
        assert_eq!(files.count("k8s/*.json"), 0);
        assert_eq!(files.count("k8s/[a"), 0, "a pattern that is none matches nothing");
    }

    #[test]
    fn a_parameter_given_twice_is_refused() {
        let pair = |value: &str| ("version".to_owned(), value.to_owned());
        let inputs = InputArgs { params: vec![pair("a"), pair("b")], skip_checks: Vec::new() };
        assert_eq!(params(&inputs).unwrap_err().exit, Exit::Usage);
    }
}
