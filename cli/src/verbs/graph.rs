//! `graph`: the pipeline as a picture.

use serde::Serialize;

use crate::{
    context::Context,
    exit::Exit,
    failure::Outcome,
    output::{Format, Show, print, render},
    pipeline_file::{self, FileArgs},
    terminal::Paint,
};

/// Draw a pipeline: its workflows as lanes, its barriers as the points where lanes meet.
///
/// The text is a Mermaid flowchart, which GitHub, GitLab and many editors show as a picture.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    file: FileArgs,
    /// The shape of the answer
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    output: Format,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Graph {
    pipeline: String,
    mermaid: String,
}

impl Show for Graph {
    fn text(&self, _: Paint) -> String {
        self.mermaid.clone()
    }

    fn name(&self) -> String {
        self.pipeline.clone()
    }
}

pub(crate) fn run(args: Args, context: Context) -> Outcome {
    let plan = pipeline_file::plan_alone(&args.file.file, &args.file.inputs, context.err)?;
    let graph = Graph {
        pipeline: plan.pipeline.to_string(),
        mermaid: lockstep_shared::graph::mermaid(&plan),
    };
    print(&render(&graph, args.output, context.out)?)?;
    Ok(Exit::Done)
}
