//! `logs`: what the steps printed, as far as the log keeps it.

use lockstep_bus::ConnectionArgs;
use lockstep_shared::{
    codec::Entry,
    fold::RunFold,
    id::{Sequence, WorkflowName},
    record::Record,
    subject::Family,
};
use serde::Serialize;

use crate::{
    context::Context,
    exit::Exit,
    failure::{Failure, Outcome},
    find::{self, nearest},
    online::{close, connect},
    output::{Format, Show, print, render_all, say},
    reader::RunReader,
    report::At,
    terminal::{Paint, Style, line, lines},
    verbs::RunArg,
};

/// Print the tails of what a run's steps and undos printed, as the log keeps them.
///
/// The log keeps the last 64 lines or 8 KiB of each attempt that ended, and the last 4 KiB of a
/// rollback; the whole output is in the
/// agent's own log.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    run: RunArg,
    /// Only this workflow's
    #[arg(long, short, value_name = "NAME")]
    workflow: Option<WorkflowName>,
    /// Only this step's, by its name
    #[arg(long, value_name = "NAME")]
    step: Option<String>,
    /// The shape of the answer
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    output: Format,
    #[command(flatten)]
    connection: ConnectionArgs,
}

/// What one step printed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Tail {
    workflow: WorkflowName,
    /// Whether it is what the undos printed, under the names of their steps.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    undo: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    step: Option<String>,
    seq: Sequence,
    time: At,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    output: String,
}

impl Show for Tail {
    fn text(&self, paint: Paint) -> String {
        let failed = self.error.as_ref().map(|error| {
            format!(" {}", paint.paint(Style::Bad, format!("failed: {}", line(error))))
        });
        let heading = paint.paint(Style::Bold, self.name());
        let mut text = format!("{heading} {}{}\n", self.time.clock(), failed.unwrap_or_default());
        for row in lines(&self.output) {
            text.push_str(&format!("  {row}\n"));
        }
        text
    }

    fn name(&self) -> String {
        match &self.step {
            Some(step) => format!("{}/{}", self.workflow, line(step)),
            None if self.undo => format!("{}/(undo)", self.workflow),
            None => self.workflow.to_string(),
        }
    }
}

pub(crate) async fn run(args: Args, context: Context) -> Outcome {
    let bus = connect(&args.connection, "logs").await?;
    let key = find::run(&bus, args.run.run.as_deref(), find::Need::Look).await?;
    let mut reader = RunReader::new(&bus, &key);
    let mut tails = Vec::new();
    reader.catch_up_with(|entry, _, fold| tails.extend(tail(entry, fold))).await?;
    check_names(&args, reader.fold())?;
    drop(reader);
    close(bus).await;
    tails.retain(|tail| {
        args.workflow.as_ref().is_none_or(|name| *name == tail.workflow)
            && args.step.as_ref().is_none_or(|name| tail.step.as_ref() == Some(name))
    });
    if tails.is_empty() {
        say(&format!("no step of {key} that matches has ended with output"));
    }
    print(&render_all(&tails, args.output, context.out)?)?;
    Ok(Exit::Done)
}

fn tail(entry: &Entry, fold: &RunFold) -> Option<Tail> {
    let Family::Workflow(workflow) = &entry.slot.family else { return None };
    let (undo, step, error, output) = match &entry.content.as_ref().ok()?.record {
        Record::StepFinished { step, ignored, output, .. } => {
            (false, Some(*step), ignored.clone(), output)
        }
        Record::Failed { step, error, output, .. } => (false, *step, Some(error.clone()), output),
        Record::RolledBack { output, .. } => (true, None, None, output),
        Record::RollbackFailed { error, output, .. } => (true, None, Some(error.clone()), output),
        _ => return None,
    };
    if output.is_empty() && error.is_none() {
        return None;
    }
    let step = step.map(|step| match fold.plan() {
        Some(plan) => plan.step_name(workflow, step),
        None => format!("{}", step.saturating_add(1)),
    });
    Some(Tail {
        workflow: workflow.clone(),
        undo,
        step,
        seq: entry.seq,
        time: At(entry.time),
        error,
        output: output.clone(),
    })
}

/// A misspelt workflow or step is told, not answered with silence.
fn check_names(args: &Args, fold: &RunFold) -> Result<(), Failure> {
    let Some(plan) = fold.plan() else { return Ok(()) };
    if let Some(wanted) = &args.workflow
        && !plan.workflows.contains_key(wanted)
    {
        let names = || plan.workflows.keys().map(WorkflowName::as_str);
        return Err(unknown("workflow", wanted.as_str(), names().collect()));
    }
    if let Some(wanted) = &args.step {
        let of = |name: &WorkflowName| args.workflow.as_ref().is_none_or(|wanted| wanted == name);
        let workflows = plan.workflows.iter().filter(|(name, _)| of(name));
        let names: Vec<&str> =
            workflows.flat_map(|(_, w)| w.steps.iter().map(|step| step.name.as_str())).collect();
        if !names.contains(&wanted.as_str()) {
            return Err(unknown("step", wanted, names));
        }
    }
    Ok(())
}

fn unknown(what: &str, wanted: &str, names: Vec<&str>) -> Failure {
    let help = match nearest(wanted, names.iter().copied()) {
        Some(near) => format!("did you mean {near:?}?"),
        None => format!("there are {}", lockstep_shared::fold::listed(names)),
    };
    Failure::usage(format!("the run has no {what} {wanted:?}")).help(help)
}
