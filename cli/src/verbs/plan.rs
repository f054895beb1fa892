//! `plan`: what a run would do, by itself or asked of the agents.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    time::Duration,
};

use lockstep_bus::{Bus, ConnectionArgs};
use lockstep_shared::{
    id::{BarrierId, StepIndex, WorkflowName},
    manifest::{Bundle, Identity, Manifest, masked},
    plan::{Action, Plan, Step, Undo},
    time::Span,
};
use serde::Serialize;
use serde_json::Value;

use crate::{
    context::Context,
    doing::{details, shortened},
    exit::Exit,
    failure::{Failure, OrExit, Outcome},
    flags::seconds,
    follow::{Followed, Patience, follow},
    online::{close, connect, soon},
    output::{Format, Show, print, render, say},
    pipeline_file::{self, FileArgs, Ready},
    report::RunReport,
    signals::Signals,
    submit::{Submission, submit},
    terminal::{Paint, Style, line},
};

/// Show what a run would do; with --live, let the agents try it without writing anything.
///
/// Offline the file is resolved and checked. Live, a plan-only run is submitted: every agent
/// prepares against its real target, and the run ends there.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    file: FileArgs,
    /// Only this workflow; may be given more than once
    #[arg(short, long = "workflow", value_name = "NAME")]
    workflows: Vec<WorkflowName>,
    /// Ask the agents: a run that ends once everybody has prepared
    #[arg(long)]
    live: bool,
    /// Give up waiting for the agents after this time; the run ends by its own deadlines
    #[arg(long, value_parser = seconds, value_name = "DURATION", requires = "live")]
    timeout: Option<Duration>,
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
    /// What the `deploy` steps bring, by workflow and step; Secrets without their values.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    objects: BTreeMap<&'a WorkflowName, BTreeMap<StepIndex, Vec<Manifest>>>,
}

/// A bundle as it may be shown.
fn masked_steps(bundle: &Bundle) -> BTreeMap<StepIndex, Vec<Manifest>> {
    let shown = |manifest: &Manifest| Manifest {
        source: manifest.source.clone(),
        object: masked(&manifest.object),
    };
    let steps = bundle.steps.iter();
    steps.map(|(step, objects)| (*step, objects.iter().map(shown).collect())).collect()
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
                for row in details(&step.action) {
                    let _ = writeln!(text, "        {}", paint.paint(Style::Dim, row));
                }
                let objects = self.objects.get(name).and_then(|steps| steps.get(&index));
                for manifest in objects.into_iter().flatten() {
                    let (object, source) = (Identity::of(&manifest.object), &manifest.source);
                    let source = paint.paint(Style::Dim, line(source));
                    let _ = writeln!(text, "        {}  {source}", line(&object.to_string()));
                }
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
        text.push_str(match command.undo {
            Some(Undo::Command(_)) => ", can be undone",
            Some(Undo::Nothing) => ", nothing to undo",
            None => ", without undo: what it did stays in a rollback",
        });
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
    let file = &args.file;
    let mut ready = pipeline_file::ready(&file.file, &file.inputs, args.live, context.err).await?;
    if !args.workflows.is_empty() {
        narrow(&mut ready, &args.workflows)?;
    }
    if args.live {
        pipeline_file::refuse_external(&ready.plan)?;
        return live(args, ready.into(), context).await;
    }
    let Ready { plan, bundles, .. } = &ready;
    let shown = Shown {
        digest: plan.digest(),
        bytes: plan.to_json().len(),
        plan,
        objects: bundles.iter().map(|(name, bundle)| (name, masked_steps(bundle))).collect(),
    };
    print(&render(&shown, args.output, context.out)?)?;
    Ok(Exit::Done)
}

/// Leaves out all workflows but these.
fn narrow(ready: &mut Ready, to: &[WorkflowName]) -> Result<(), Failure> {
    if let Some(name) = to.iter().find(|name| ready.plan.workflow(name).is_none()) {
        let known = lockstep_shared::fold::listed(ready.plan.active().map(|(name, _)| name));
        return Err(Failure::usage(format!("no workflow {name} takes part"))
            .help(format!("those that do: {known}")));
    }
    let to: BTreeSet<WorkflowName> = to.iter().cloned().collect();
    ready.plan.narrow(&to);
    ready.bundles.retain(|name, _| to.contains(name));
    Ok(())
}

async fn live(args: Args, submission: Submission, context: Context) -> Outcome {
    let mut signals = Signals::listen()?;
    let bus = connect(&args.connection, "plan --live").await?;
    let submitted = submit(&bus, submission, None).await?;
    say(&format!("plan-only run {}", submitted.key));
    // Nothing is written, so nobody needs the run once nobody waits for it.
    let patience = Patience {
        abort_on_signal: true,
        timeout: args.timeout,
        abort_on_timeout: false,
        lives_on: true,
    };
    let followed =
        follow(&bus, &submitted.key, patience, &mut signals, context, |_| Ok(())).await?;
    let views = views(&bus, &followed).await?;
    let answer = Answer { report: &followed.report, views };
    print(&render(&answer, args.output, context.out)?)?;
    close(bus).await;
    Ok(followed.exit)
}

/// How a plan-only run ended, and what each agent says that it would do.
#[derive(Debug, Serialize)]
struct Answer<'a> {
    #[serde(flatten)]
    report: &'a RunReport,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    views: BTreeMap<WorkflowName, Value>,
}

impl Show for Answer<'_> {
    fn text(&self, paint: Paint) -> String {
        let mut text = self.report.text(paint);
        for (workflow, view) in &self.views {
            text.push_str(&view_text(workflow, view, paint));
        }
        text
    }

    fn name(&self) -> String {
        self.report.name()
    }
}

/// An agent's view for a person; it came from another machine, so anything may be missing.
fn view_text(workflow: &WorkflowName, view: &Value, paint: Paint) -> String {
    let of = |value: &Value, member: &str| value[member].as_str().map(line);
    let heading = paint.paint(Style::Bold, format!("{workflow} would"));
    let place = match (of(view, "workdir"), of(view, "agent")) {
        (Some(workdir), Some(agent)) => format!("  (in {workdir}, by {agent})"),
        _ => String::new(),
    };
    let mut text = format!("{heading}{}\n", paint.paint(Style::Dim, place));
    for (index, step) in view["steps"].as_array().into_iter().flatten().enumerate() {
        let mut name = format!("  {:2}. {}: ", index + 1, of(step, "name").unwrap_or_default());
        for row in shortened("", step["does"].as_str().unwrap_or_default()) {
            let _ = writeln!(text, "{name}{row}");
            name = " ".repeat(6);
        }
        for row in step["undo"].as_str().map(|undo| shortened("undo $ ", undo)).unwrap_or_default()
        {
            let _ = writeln!(text, "        {}", paint.paint(Style::Dim, row));
        }
        for object in step["objects"].as_array().into_iter().flatten() {
            text.push_str(&object_text(object, paint));
        }
    }
    let dropped = view["dropped"].as_array().map(Vec::as_slice).unwrap_or_default();
    if !dropped.is_empty() {
        text.push_str("  after the commit:\n");
    }
    for object in dropped {
        let does = if object["kept"].is_null() { "delete" } else { "keep" };
        let why = of(object, "kept").map(|why| paint.paint(Style::Dim, format!("  ({why})")));
        let name = of(object, "object").unwrap_or_default();
        let _ = writeln!(text, "      {does} {name}{}", why.unwrap_or_default());
    }
    text
}

/// What would become of one object of a cluster.
fn object_text(object: &Value, paint: Paint) -> String {
    let of = |value: &Value, member: &str| value[member].as_str().map(line).unwrap_or_default();
    let dim = |text: String| paint.paint(Style::Dim, text);
    let source = dim(format!("  ({}; rollback: {})", of(object, "source"), of(object, "undo")));
    let mut text = format!("      {} {}{source}\n", of(object, "change"), of(object, "object"));
    for field in object["fields"].as_array().into_iter().flatten() {
        let shown = |value: &Value| value.as_str().map_or_else(|| "nothing".to_owned(), line);
        let (before, after) = (shown(&field["before"]), shown(&field["after"]));
        let _ = writeln!(text, "          {}: {before} -> {after}", of(field, "path"));
    }
    for note in object["notes"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        let _ = writeln!(text, "          {}", dim(line(note)));
    }
    text
}

/// What each agent says that it would do.
async fn views(bus: &Bus, followed: &Followed) -> Result<BTreeMap<WorkflowName, Value>, Failure> {
    let mut views = BTreeMap::new();
    for (workflow, digest) in &followed.views {
        let cannot = format!("cannot read what {workflow} would do");
        let pipeline = &followed.report.pipeline;
        let view = bus.get_bundle(pipeline, workflow, digest, soon()).await;
        let view = view.or_exit(Exit::Unavailable, &cannot)?;
        let view = serde_json::from_slice(&view).or_exit(Exit::Unavailable, &cannot)?;
        views.insert(workflow.clone(), view);
    }
    Ok(views)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agents_view_shows_what_it_would_run() {
        let view = serde_json::json!({
            "workdir": "/srv", "agent": "host-1",
            "steps": [{ "name": "deploy", "does": "runs `./deploy v2`", "undo": "./undo" }],
        });
        let text = view_text(&"backend".parse().unwrap(), &view, Paint(false));
        assert_eq!(
            text,
            "backend would  (in /srv, by host-1)\n   1. deploy: runs `./deploy v2`\n        \
             undo $ ./undo\n"
        );
        assert!(
            view_text(&"b".parse().unwrap(), &Value::Null, Paint(false)).starts_with("b would")
        );
    }

    #[test]
    fn an_agents_view_shows_what_a_commit_deletes() {
        let view = serde_json::json!({
            "steps": [],
            "dropped": [
                { "object": "ConfigMap shop/old" },
                { "object": "PersistentVolumeClaim shop/data", "kept": "it holds data" },
            ],
        });
        assert_eq!(
            view_text(&"backend".parse().unwrap(), &view, Paint(false)),
            "backend would\n  after the commit:\n      delete ConfigMap shop/old\n      keep \
             PersistentVolumeClaim shop/data  (it holds data)\n"
        );
    }

    #[test]
    fn an_agents_view_shows_what_becomes_of_each_object() {
        let object = serde_json::json!({
            "object": "Deployment shop/web", "source": "k8s/web.yaml:1", "change": "update",
            "undo": "exact", "notes": ["it is not healthy now"],
            "fields": [{ "path": ".spec.paused", "after": "true" }],
        });
        assert_eq!(
            object_text(&object, Paint(false)),
            "      update Deployment shop/web  (k8s/web.yaml:1; rollback: exact)\n          \
             .spec.paused: nothing -> true\n          it is not healthy now\n"
        );
    }
}
