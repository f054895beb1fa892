//! `plan`: what a run would do, by itself or asked of the agents.

use std::fmt::Write;

use lockstep_bus::{Bus, ConnectionArgs};
use lockstep_shared::{
    id::{BarrierId, WorkflowName},
    plan::{Action, Plan, Step},
    time::Span,
};
use serde::Serialize;

use crate::{
    context::Context,
    exit::Exit,
    failure::{Failure, OrExit, Outcome},
    follow::{Followed, Patience, follow},
    online::{close, connect, soon},
    output::{CiFormat, Format, Show, print, render, say},
    pipeline_file::{self, FileArgs, refuse_clusters},
    signals::Signals,
    submit::submit,
    terminal::{Paint, Style, line, lines},
    verbs::run::conclude,
};

/// Show what a run would do; with --live, let the agents try it without writing anything.
///
/// Offline the file is resolved and checked. Live, a plan-only run is submitted: every agent
/// prepares against its real target, and the run ends there.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    file: FileArgs,
    /// Ask the agents: a run that ends once everybody has prepared
    #[arg(long)]
    live: bool,
    /// The shape of the answer
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    output: Format,
    #[command(flatten)]
    connection: ConnectionArgs,
}

/// A plan as it is shown.
#[derive(Debug, Serialize)]
struct Shown<'a> {
    digest: String,
    bytes: usize,
    plan: &'a Plan,
}

impl Show for Shown<'_> {
    fn text(&self, paint: Paint) -> String {
        let plan = self.plan;
        let name = paint.paint(Style::Name, &plan.pipeline);
        let mut text = format!(
            "{name}  {} workflows, {} barriers, {} bytes, digest {}\n",
            plan.active().count(),
            plan.barriers.len(),
            self.bytes,
            &self.digest[..12]
        );
        let policy = serde_json::to_value(plan.on_failure).ok();
        let policy = policy.as_ref().and_then(|value| value.as_str()).unwrap_or_default();
        let clocks = &plan.timeouts;
        let _ = writeln!(
            text,
            "  on failure {policy}; join {}, prepare {}, run {}, rollback {}",
            clocks.join, clocks.prepare, clocks.run, clocks.ending
        );
        for (name, value) in &plan.params {
            let _ = writeln!(text, "  {}={}", line(name), line(value));
        }
        for (name, workflow) in &plan.workflows {
            let waived = if workflow.waived { "  waived" } else { "" };
            let heading = paint.paint(Style::Bold, name);
            let _ = writeln!(text, "{heading}  ({}){waived}", workflow.target.kind());
            for (index, step) in workflow.steps.iter().enumerate() {
                let _ = writeln!(text, "  {:2}. {}", index + 1, step_line(step));
            }
            for step in &workflow.waived_steps {
                let _ = writeln!(text, "   -  {} (waived)", line(step));
            }
        }
        for id in plan.barriers.keys() {
            text.push_str(&barrier_line(plan, id, paint));
        }
        text
    }

    fn name(&self) -> String {
        self.plan.pipeline.to_string()
    }
}

fn step_line(step: &Step) -> String {
    let name = line(&step.name);
    let mut text = match &step.action {
        Action::Barrier(id) => {
            let called = if name == id.as_str() { String::new() } else { format!("  {name}") };
            return format!("barrier {id}{called}");
        }
        Action::Wait(span) => format!("wait {span}"),
        action => format!("{} {name:?}", action.kind()),
    };
    if step.timeout != Span(0) {
        text.push_str(&format!(", timeout {}", step.timeout));
    }
    if step.retries > 0 {
        text.push_str(&format!(", {} retries", step.retries));
    }
    if let Action::Run(command) = &step.action {
        text.push_str(if command.undo.is_some() { ", can be undone" } else { ", without undo" });
    }
    if step.tolerated {
        text.push_str(", its failure is ignored");
    }
    text
}

fn barrier_line(plan: &Plan, id: &BarrierId, paint: Paint) -> String {
    let Some(barrier) = plan.barriers.get(id) else { return String::new() };
    let parties = barrier.workflows.iter().map(WorkflowName::to_string);
    let foreign = barrier.foreign.iter().map(|party| format!("{party} (foreign)"));
    let title = barrier.title.as_deref().map(|title| format!("  {}", line(title)));
    let waived = match barrier.waived.len() {
        0 => String::new(),
        _ => format!("; waived {}", lockstep_shared::fold::listed(&barrier.waived)),
    };
    format!(
        "{} {id}{}: {}; timeout {}{waived}\n",
        paint.paint(Style::Bold, "barrier"),
        title.unwrap_or_default(),
        lockstep_shared::fold::listed(parties.chain(foreign)),
        barrier.timeout
    )
}

pub(crate) async fn run(args: Args, context: Context) -> Outcome {
    let plan = pipeline_file::plan(&args.file.file, &args.file.inputs, args.live, context.err)?;
    if args.live {
        refuse_clusters(&plan)?;
        return live(args, plan, context).await;
    }
    let shown = Shown { digest: plan.digest(), bytes: plan.to_json().len(), plan: &plan };
    print(&render(&shown, args.output, context.out)?)?;
    Ok(Exit::Done)
}

async fn live(args: Args, plan: Plan, context: Context) -> Outcome {
    let mut signals = Signals::listen()?;
    let bus = connect(&args.connection, "plan --live").await?;
    let submitted = submit(&bus, plan, None).await?;
    say(&format!("plan-only run {}", submitted.key));
    // Nothing is written, so nobody needs the run once nobody waits for it.
    let patience =
        Patience { abort_on_signal: true, timeout: None, abort_on_timeout: false, lives_on: true };
    let followed =
        follow(&bus, &submitted.key, patience, &mut signals, context, |_| Ok(())).await?;
    conclude(&followed, shape(args.output), context)?;
    views(&bus, &followed, context).await?;
    close(bus).await;
    Ok(followed.exit)
}

fn shape(format: Format) -> CiFormat {
    match format {
        Format::Text => CiFormat::Text,
        Format::Json => CiFormat::Json,
        Format::Jsonl => CiFormat::Jsonl,
        Format::Yaml => CiFormat::Yaml,
        Format::Name => CiFormat::Name,
    }
}

/// What each agent says that it would do, on standard error beside the report.
async fn views(bus: &Bus, followed: &Followed, context: Context) -> Result<(), Failure> {
    for (workflow, digest) in &followed.views {
        let pipeline = &followed.report.pipeline;
        let view = bus
            .get_bundle(pipeline, workflow, digest, soon())
            .await
            .or_exit(Exit::Unavailable, format!("cannot read what {workflow} would do"))?;
        say(&context.err.paint(Style::Bold, workflow));
        for row in lines(&String::from_utf8_lossy(&view)) {
            say(&format!("  {row}"));
        }
    }
    Ok(())
}
