//! The pipeline file on disk: read, checked with what it deploys, and its findings drawn.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Read,
    path::{Path, PathBuf},
};

use lockstep_bus::bundle::digest_of;
use lockstep_shared::{
    diagnostics::{Diagnostics, Finding},
    id::WorkflowName,
    manifest::{self, Bundle},
    pipeline::{Inputs, Pipeline, Planned},
    plan::{Plan, Target},
};
use miette::{GraphicalReportHandler, GraphicalTheme};
use serde::Serialize;

use crate::{
    exit::Exit,
    failure::{Failure, OrExit},
    flags::param,
    manifests::{self, Folder},
    output::say,
    terminal::{Paint, harmless_ansi, line},
    who::now,
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

/// A plan that may be submitted, and what its workflows deploy.
#[derive(Debug)]
pub(crate) struct Ready {
    /// The plan; its workflows name the bundles below.
    pub(crate) plan: Plan,
    /// The bundle of each workflow with a `deploy` step.
    pub(crate) bundles: BTreeMap<WorkflowName, Bundle>,
    /// What to think of.
    pub(crate) warnings: Vec<Diagnostics>,
}

/// What the checks say of a pipeline file and its manifests.
pub(crate) type Checked = Result<Ready, Vec<Diagnostics>>;

/// Reads and checks a pipeline file with everything that it deploys.
pub(crate) async fn check(
    file: &Path,
    inputs: &InputArgs,
    plan_only: bool,
) -> Result<Checked, Failure> {
    let planned = match check_alone(file, inputs, plan_only)? {
        Ok(planned) => planned,
        Err(diagnostics) => return Ok(Err(vec![diagnostics])),
    };
    let gathered = manifests::gather(&planned.plan, &folder_of(file)).await;
    let deployment = match manifest::deployment(&planned, &gathered) {
        Ok(deployment) => deployment,
        Err(diagnostics) => return Ok(Err(diagnostics)),
    };
    let mut plan = planned.plan;
    for (name, bundle) in &deployment.bundles {
        if let Some(workflow) = plan.workflows.get_mut(name) {
            workflow.bundle = Some(digest_of(&bundle.to_json(), now()));
        }
    }
    let warnings = [planned.warnings, deployment.warnings];
    let warnings = warnings.into_iter().filter(|all| !all.is_empty()).collect();
    Ok(Ok(Ready { plan, bundles: deployment.bundles, warnings }))
}

/// Reads and checks a pipeline file without looking into its manifests.
pub(crate) fn check_alone(
    file: &Path,
    inputs: &InputArgs,
    plan_only: bool,
) -> Result<Result<Planned, Diagnostics>, Failure> {
    let text = read(file)?;
    let params = params(inputs)?;
    let folder = folder_of(file);
    let inputs = Inputs {
        params,
        skip_checks: inputs.skip_checks.iter().cloned().collect::<BTreeSet<_>>(),
        plan_only,
        files: Some(&folder),
    };
    Ok(Pipeline::parse(&name(file), &text).and_then(|pipeline| pipeline.plan(&inputs)))
}

/// Reads and checks a pipeline file with everything that it deploys; what is wrong goes to
/// standard error.
pub(crate) async fn ready(
    file: &Path,
    inputs: &InputArgs,
    plan_only: bool,
    paint: Paint,
) -> Result<Ready, Failure> {
    told(check(file, inputs, plan_only).await?, paint)
}

/// What was checked, if nothing refuses it; the findings go to standard error.
pub(crate) fn told(checked: Checked, paint: Paint) -> Result<Ready, Failure> {
    match checked {
        Ok(ready) => {
            tell(&ready.warnings, paint);
            Ok(ready)
        }
        Err(all) => {
            tell(&all, paint);
            Err(refused(&all))
        }
    }
}

/// Draws findings on standard error, a blank line between the files that they are in.
pub(crate) fn tell(all: &[Diagnostics], paint: Paint) {
    let drawn: Vec<String> = all.iter().map(|one| draw(one, paint).trim_end().to_owned()).collect();
    if !drawn.is_empty() {
        say(&drawn.join("\n\n"));
    }
}

/// Reads and checks a pipeline file without looking into its manifests; what is wrong goes to
/// standard error.
pub(crate) fn plan_alone(file: &Path, inputs: &InputArgs, paint: Paint) -> Result<Plan, Failure> {
    match check_alone(file, inputs, false)? {
        Ok(planned) => {
            if !planned.warnings.is_empty() {
                tell(&[planned.warnings], paint);
            }
            Ok(planned.plan)
        }
        Err(diagnostics) => {
            tell(std::slice::from_ref(&diagnostics), paint);
            Err(refused(&[diagnostics]))
        }
    }
}

/// That the findings refuse the pipeline.
pub(crate) fn refused(all: &[Diagnostics]) -> Failure {
    Failure::invalid(summary(all))
        .help("correct what is marked; docs/reference/error-codes.md explains every code")
}

/// How many findings there are in which file.
pub(crate) fn summary(all: &[Diagnostics]) -> String {
    all.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// Refuses what no agent of this version can do.
pub(crate) fn refuse_external(plan: &Plan) -> Result<(), Failure> {
    let outside = |target: &Target| matches!(target, Target::External {});
    let named: Vec<&str> = plan
        .active()
        .filter(|(_, workflow)| outside(&workflow.target))
        .map(|(name, _)| name.as_str())
        .collect();
    if named.is_empty() {
        return Ok(());
    }
    Err(Failure::invalid(format!(
        "this version has no agents for external targets, which {} has: nobody would join",
        lockstep_shared::fold::listed(named)
    ))
    .help(
        "declare who does that work as a foreign party of the barriers (`parties: [NAME]`): it \
         arrives by `lockstep barrier arrive BARRIER --party NAME --run RUN`",
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

/// The folder that a pipeline file's paths start from.
fn folder_of(file: &Path) -> Folder {
    if is_stdin(file) { Folder::default() } else { Folder::of(file) }
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

/// The findings with their places in the file, for a person.
fn draw(diagnostics: &Diagnostics, paint: Paint) -> String {
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
    fn a_parameter_given_twice_is_refused() {
        let pair = |value: &str| ("version".to_owned(), value.to_owned());
        let inputs = InputArgs { params: vec![pair("a"), pair("b")], skip_checks: Vec::new() };
        assert_eq!(params(&inputs).unwrap_err().exit, Exit::Usage);
    }
}
