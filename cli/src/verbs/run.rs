//! `run`: submit a pipeline and watch it to its end.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use lockstep_bus::{Bus, ConnectionArgs};
use lockstep_shared::{id::RunId, plan::Plan, record::Record, subject::Family};
use serde::Serialize;

use crate::{
    context::Context,
    exit::Exit,
    failure::{Failure, OrExit, Outcome},
    find,
    flags::seconds,
    follow::{Followed, Patience, follow},
    github,
    online::{close, connect, soon, unreadable},
    output::{CiFormat, Format, print, render, say},
    pipeline_file::{self, InputArgs},
    report::RunReport,
    signals::Signals,
    story::Event,
    submit::{Submission, Submitted, in_good_time, submit},
    terminal::{Paint, Style, line},
    who::now,
};

/// Submit a pipeline and watch the run to its end.
///
/// Ctrl-C only stops watching; the run goes on. The code says how the run ended: 0 succeeded,
/// 4 failed and rolled back, 5 a rollback did not finish, 6 cancelled, 7 gave up waiting,
/// 8 refused.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The pipeline file; `-` reads standard input
    #[arg(required_unless_present = "from_run")]
    file: Option<PathBuf>,
    #[command(flatten)]
    inputs: InputArgs,
    /// Submit the plan of an earlier run again: PIPELINE/RUN, RUN, or PIPELINE for the latest that
    /// was committed
    #[arg(long, value_name = "RUN", conflicts_with_all = ["file", "params", "skip_checks"])]
    from_run: Option<String>,
    /// The run's id [default: a fresh UUIDv7]; one that is in use for the same plan attaches to
    /// that run
    #[arg(long, value_name = "ID")]
    run_id: Option<RunId>,
    /// Only submit; print the run's name and do not wait
    #[arg(long, short)]
    detach: bool,
    /// Give up waiting after this time; the run goes on
    #[arg(long, value_parser = seconds, value_name = "DURATION", conflicts_with = "detach")]
    timeout: Option<Duration>,
    /// Let Ctrl-C and SIGTERM abort the run: for CI systems that cancel a job
    #[arg(long, conflicts_with = "detach")]
    abort_on_interrupt: bool,
    /// The shape of the answer
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    output: CiFormat,
    #[command(flatten)]
    connection: ConnectionArgs,
}

pub(crate) async fn run(args: Args, context: Context) -> Outcome {
    // A file is checked before anybody is asked to connect.
    let ready = match &args.file {
        Some(file) => Some(ready(file, &args, context).await?),
        None => None,
    };
    let mut signals = Signals::listen()?;
    let bus = tokio::select! {
        bus = connect(&args.connection, "run") => bus?,
        exit = signals.next() => return Ok(exit),
    };
    let submitted = tokio::select! {
        submitted = begin(&bus, ready, &args) => submitted?,
        exit = signals.next() => {
            say("interrupted while submitting; the plan may still be stored: `lockstep ls` shows it");
            return Ok(exit);
        }
    };
    announce(&submitted);
    let exit = if args.detach {
        print(&render(&submitted, args.output.common().unwrap_or_default(), context.out)?)?;
        say(&format!("`lockstep status {} --watch` watches it", submitted.key));
        Exit::Done
    } else {
        watch(&bus, &submitted, &args, &mut signals, context).await?
    };
    close(bus).await;
    Ok(exit)
}

async fn ready(file: &Path, args: &Args, context: Context) -> Result<Submission, Failure> {
    let checked = pipeline_file::check(file, &args.inputs, false).await?;
    let ready = match checked {
        Err(all) if args.output == CiFormat::Github => {
            let found = all.iter().flat_map(pipeline_file::found);
            print(&found.map(|found| found.annotation() + "\n").collect::<String>())?;
            return Err(Failure::invalid(pipeline_file::summary(&all)));
        }
        checked => pipeline_file::told(checked, context.err)?,
    };
    pipeline_file::refuse_external(&ready.plan)?;
    Ok(ready.into())
}

async fn begin(bus: &Bus, ready: Option<Submission>, args: &Args) -> Result<Submitted, Failure> {
    let submission = match (ready, &args.from_run) {
        (Some(ready), _) => ready,
        (None, Some(earlier)) => Submission::again(again(bus, earlier).await?),
        (None, None) => return Err(Failure::usage("give a pipeline file, or `--from-run`")),
    };
    submit(bus, submission, args.run_id.clone()).await
}

/// An earlier run's plan, its bundles copied so that they live as long as the new run's log.
pub(crate) async fn again(bus: &Bus, earlier: &str) -> Result<Plan, Failure> {
    let key = find::run(bus, Some(earlier), find::Need::Committed).await?;
    let subject = bus.subjects().slot(&key, &Family::Plan.slot(1));
    let entry = bus.get_one(&subject, soon()).await.map_err(unreadable)?;
    let record = entry.and_then(|entry| entry.content.ok()).map(|stated| stated.record);
    let Some(Record::Plan { plan, .. }) = record else {
        return Err(Failure::usage(format!("the log no longer holds the plan of {key}"))
            .help("submit the pipeline file instead: `lockstep run FILE`"));
    };
    let mut plan = *plan;
    if plan.narrowed {
        return Err(Failure::usage(format!("{key} planned a part of its pipeline only"))
            .help("plan all of it, without --workflow, or submit the pipeline file"));
    }
    pipeline_file::refuse_external(&plan)?;
    for (name, workflow) in &mut plan.workflows {
        if let Some(digest) = &workflow.bundle {
            let renewed =
                bus.renew_bundle(&key.pipeline, name, digest, now(), in_good_time()).await;
            let renewed = renewed.or_exit(
                Exit::Unavailable,
                format!("cannot take over the bundle of {name} from {key}"),
            )?;
            workflow.bundle = Some(renewed);
        }
    }
    plan.plan_only = false;
    plan.from_run = Some(key.run);
    Ok(plan)
}

fn announce(submitted: &Submitted) {
    let key = &submitted.key;
    if submitted.attached {
        say(&format!("run {key} was submitted before; watching that one"));
    } else {
        say(&format!("run {key}"));
    }
}

/// One line of `-o jsonl`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
enum Line<'a> {
    /// A record as it came.
    Event(&'a Event),
    /// The run as it ended, or as it stood when nobody waited any longer.
    Report(&'a RunReport),
}

impl crate::output::Show for Line<'_> {
    fn text(&self, _: Paint) -> String {
        String::new()
    }

    fn name(&self) -> String {
        String::new()
    }
}

/// Prints what comes before the end.
pub(crate) struct Printer {
    format: CiFormat,
    context: Context,
}

impl Printer {
    /// Prints in this shape.
    pub(crate) fn new(format: CiFormat, context: Context) -> Self {
        Self { format, context }
    }

    /// The run's name, for whoever wants only that.
    pub(crate) fn begin(&self, submitted: &Submitted) -> Result<(), Failure> {
        match self.format {
            CiFormat::Name => print(&render(submitted, Format::Name, self.context.out)?),
            _ => Ok(()),
        }
    }

    /// A record, for whoever wants them as they come.
    pub(crate) fn event(&self, event: &Event) -> Result<(), Failure> {
        match self.format {
            CiFormat::Jsonl => {
                print(&render(&Line::Event(event), Format::Jsonl, self.context.out)?)
            }
            _ => Ok(()),
        }
    }
}

async fn watch(
    bus: &Bus,
    submitted: &Submitted,
    args: &Args,
    signals: &mut Signals,
    context: Context,
) -> Outcome {
    let printer = Printer::new(args.output, context);
    printer.begin(submitted)?;
    let patience = Patience {
        abort_on_signal: args.abort_on_interrupt,
        timeout: args.timeout,
        abort_on_timeout: false,
        lives_on: true,
    };
    let followed =
        follow(bus, &submitted.key, patience, signals, context, |event| printer.event(event))
            .await?;
    conclude(&followed, args.output, context)?;
    let incomplete = followed.exit == Exit::RollbackIncomplete;
    // What to do about a rollback that did not finish was said with the warnings.
    if followed.exit == Exit::Failed || (incomplete && followed.report.settlement.is_none()) {
        let next = followed.exit.next().replace("RUN", &submitted.key.to_string());
        say(&format!("what to do: {next}"));
    }
    Ok(followed.exit)
}

/// Prints how it ended.
pub(crate) fn conclude(
    followed: &Followed,
    format: CiFormat,
    context: Context,
) -> Result<(), Failure> {
    let report = &followed.report;
    let text = match format.common() {
        None => github::finish(report),
        Some(Format::Name) => String::new(),
        Some(Format::Jsonl) => render(&Line::Report(report), Format::Jsonl, context.out)?,
        Some(common) => render(report, common, context.out)?,
    };
    print(&text)?;
    // In text the warnings are part of the report.
    if format != CiFormat::Text {
        for warning in report.notices() {
            say(&format!("{} {}", context.err.paint(Style::Warn, "warning:"), line(warning)));
        }
    }
    Ok(())
}
