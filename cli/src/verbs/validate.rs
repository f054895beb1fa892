//! `validate`: everything that can be checked without a server or a cluster.

use serde::Serialize;

use crate::{
    context::Context,
    exit::Exit,
    failure::{Failure, Outcome},
    output::{CiFormat, Show, print, render},
    pipeline_file::{self, FileArgs, Found, found, refused, summary, tell},
    terminal::{Paint, Style},
};

/// Check a pipeline file and its manifests without a server or a cluster.
///
/// Findings are drawn on standard error; the other shapes give them as data on standard output.
/// Exits with 3 if something refuses the run.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    file: FileArgs,
    /// The shape of the answer
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    output: CiFormat,
}

/// What the checks said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Validation {
    valid: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pipeline: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<String>,
    summary: String,
    findings: Vec<Found>,
}

impl Show for Validation {
    fn text(&self, paint: Paint) -> String {
        if !self.valid {
            return String::new();
        }
        format!("{}\n", paint.paint(Style::Good, &self.summary))
    }

    fn name(&self) -> String {
        match &self.pipeline {
            Some(pipeline) => pipeline.clone(),
            None => self.findings.iter().map(Found::code).collect::<Vec<_>>().join("\n"),
        }
    }
}

pub(crate) async fn run(args: Args, context: Context) -> Outcome {
    let checked = pipeline_file::check(&args.file.file, &args.file.inputs, false).await?;
    let (validation, all) = match &checked {
        Ok(ready) => {
            let plan = &ready.plan;
            let summary = format!(
                "{}: valid, {} workflows, {} barriers",
                plan.pipeline,
                plan.active().count(),
                plan.barriers.len()
            );
            let validation = Validation {
                valid: true,
                pipeline: Some(plan.pipeline.to_string()),
                digest: Some(plan.digest()),
                summary,
                findings: ready.warnings.iter().flat_map(found).collect(),
            };
            (validation, &ready.warnings)
        }
        Err(all) => {
            let validation = Validation {
                valid: false,
                pipeline: None,
                digest: None,
                summary: summary(all),
                findings: all.iter().flat_map(found).collect(),
            };
            (validation, all)
        }
    };
    show(&validation, &args, context)?;
    if args.output == CiFormat::Text {
        tell(all, context.err);
    }
    if validation.valid { Ok(Exit::Done) } else { Err(refused(all)) }
}

fn show(validation: &Validation, args: &Args, context: Context) -> Result<(), Failure> {
    match args.output.common() {
        Some(format) => print(&render(validation, format, context.out)?),
        None => {
            let annotations = validation.findings.iter().map(|found| found.annotation() + "\n");
            let plain = validation.findings.iter().map(|found| found.plain() + "\n");
            print(&plain.chain(annotations).collect::<String>())
        }
    }
}
