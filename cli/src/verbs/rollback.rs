//! `rollback resume|accept`: settle what an unfinished rollback left.

use std::{collections::BTreeSet, time::Duration};

use clap::Subcommand;
use lockstep_bus::{Bus, ConnectionArgs};
use lockstep_shared::{
    fold::RunFold,
    id::{RunKey, Sequence, WorkflowName},
    record::Record,
};

use crate::{
    context::Context,
    exit::Exit,
    failure::{Failure, Outcome},
    find::{self, Need, nearest},
    flags::seconds,
    online::{close, connect},
    output::{Format, print, render, say},
    reader::{News, RunReader},
    report::{Heard, Stage, report},
    requesting::{Requested, request, settles},
    terminal::line,
    who::{claimed, now},
};

/// Settle what a rollback that did not finish left behind.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Try the undo again
    ///
    /// Repair the target first. The agent that has the undo record does it, at once or as soon as
    /// it runs; other agents do nothing. An agent tries each undo three times by itself before it
    /// counts as failed; until then there is nothing to resume. What is settled already is told,
    /// with code 9. With --wait: 0 settled, 5 it failed again, 7 gave up waiting.
    Resume(Settle),
    /// Keep what is there and settle the debt, so that the next run may begin
    ///
    /// Who and why is kept in the log. Nothing is written to the target. What is settled already is
    /// told, with code 9. With --wait: 0 settled, 7 gave up waiting.
    Accept(Accept),
}

#[derive(Debug, clap::Args)]
struct Settle {
    /// Which run: PIPELINE/RUN, RUN, or PIPELINE for the one with a rollback that is not finished; a
    /// run that has expired from the log is named in full
    run: String,
    /// Only this workflow
    #[arg(long, short, value_name = "NAME")]
    workflow: Option<WorkflowName>,
    /// Why; kept in the log
    #[arg(long, short, value_name = "TEXT", default_value = "")]
    reason: String,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, clap::Args)]
struct Accept {
    /// Which run: PIPELINE/RUN, RUN, or PIPELINE for the one with a rollback that is not finished; a
    /// run that has expired from the log is named in full
    run: String,
    /// Only this workflow
    #[arg(long, short, value_name = "NAME")]
    workflow: Option<WorkflowName>,
    /// Why it is right to keep what is there; kept in the log
    #[arg(long, short, value_name = "TEXT")]
    reason: String,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, clap::Args)]
struct Common {
    /// Wait until the agents have reported how it went
    #[arg(long)]
    wait: bool,
    /// How long `--wait` waits
    #[arg(long, value_parser = seconds, default_value = "20m", value_name = "DURATION")]
    timeout: Duration,
    /// The shape of the answer
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    output: Format,
    #[command(flatten)]
    connection: ConnectionArgs,
}

pub(crate) async fn run(args: Args, context: Context) -> Outcome {
    let by = claimed();
    let (run, workflow, common, record, verb) = match args.what {
        What::Resume(args) => {
            let Settle { run, workflow, reason, common } = args;
            let record = Record::ResumeRequested { by, reason, workflow: workflow.clone() };
            (run, workflow, common, record, "resume")
        }
        What::Accept(args) => {
            let Accept { run, workflow, reason, common } = args;
            let record = Record::AcceptRequested { by, reason, workflow: workflow.clone() };
            (run, workflow, common, record, "accept")
        }
    };
    let bus = connect(&common.connection, "rollback").await?;
    let key = run_of(&bus, &run).await?;
    let mut reader = RunReader::new(&bus, &key);
    reader.catch_up().await?;
    let stuck = match stuck(reader.fold(), workflow.as_ref(), verb)? {
        Stuck::Left(names) => names,
        Stuck::Settled { seq, text } => {
            let answer = Requested { run: key.to_string(), seq, counted: false, text };
            print(&render(&answer, common.output, context.out)?)?;
            return Ok(Exit::TooLate);
        }
    };
    let (seq, _) = request(&bus, &mut reader, &record).await?;
    let text = format!(
        "{verb} requested (#{seq}); the agent that has the undo record acts on it as soon as it \
         reads it"
    );
    let answer = Requested { run: key.to_string(), seq, counted: true, text };
    print(&render(&answer, common.output, context.out)?)?;
    let exit = if common.wait {
        wait(&mut reader, stuck, common.timeout).await?
    } else {
        say(&format!("`lockstep events {key} --follow` shows what comes of it"));
        Exit::Done
    };
    drop(reader);
    close(bus).await;
    Ok(exit)
}

/// The run meant; one that is named in full may be gone from the log while its debt is not.
async fn run_of(bus: &Bus, wanted: &str) -> Result<RunKey, Failure> {
    match (find::run(bus, Some(wanted), Need::Debt).await, find::parse_key(wanted)) {
        (Ok(key), _) => Ok(key),
        (Err(failure), Some(key)) if failure.exit == Exit::Usage => {
            say(&format!(
                "the log holds nothing of {key} any more (or the name is misspelt); the request \
                 is recorded for whichever agent still has an undo record of it"
            ));
            Ok(key)
        }
        (Err(failure), _) => Err(failure),
    }
}

fn check(fold: &RunFold, workflow: Option<&WorkflowName>) -> Result<(), Failure> {
    let (Some(plan), Some(wanted)) = (fold.plan(), workflow) else { return Ok(()) };
    if plan.workflow(wanted).is_some() {
        return Ok(());
    }
    let names: Vec<&str> = plan.active().map(|(name, _)| name.as_str()).collect();
    let help = match nearest(wanted.as_str(), names.iter().copied()) {
        Some(near) => format!("did you mean {near}?"),
        None => format!("there are {}", lockstep_shared::fold::listed(names)),
    };
    Err(Failure::usage(format!("no workflow {wanted} takes part in {}", fold.key())).help(help))
}

/// What a request would be about.
enum Stuck {
    /// The workflows that are to report.
    Left(BTreeSet<String>),
    /// Nothing any more: it is settled.
    Settled { seq: Sequence, text: String },
}

/// The workflows that a request is about, unless there is nothing to ask for.
fn stuck(fold: &RunFold, workflow: Option<&WorkflowName>, verb: &str) -> Result<Stuck, Failure> {
    check(fold, workflow)?;
    let wanted = |name: &WorkflowName| workflow.is_none_or(|wanted| wanted == name);
    let owing: BTreeSet<String> =
        fold.owing().filter(|name| wanted(name)).map(ToString::to_string).collect();
    // Of a run whose plan is gone only its agents know what is left.
    if !owing.is_empty() || fold.plan().is_none() {
        return Ok(Stuck::Left(owing));
    }
    let told = report(fold, &Heard { now: now(), ..Heard::default() });
    let settled = told.workflows.iter().filter(|workflow| wanted(&workflow.name));
    let settled: Vec<(Sequence, String)> = settled
        .filter_map(|workflow| {
            let settled = workflow.settled.as_ref()?;
            Some((settled.record, format!("{}: {}", workflow.name, settled.text())))
        })
        .collect();
    if let Some(seq) = settled.iter().map(|(seq, _)| *seq).max() {
        let texts: Vec<String> = settled.into_iter().map(|(_, text)| text).collect();
        return Ok(Stuck::Settled { seq, text: format!("already settled: {}", texts.join(". ")) });
    }
    let undoing = told.workflows.iter().filter(|workflow| {
        wanted(&workflow.name) && workflow.stage == Stage::RollingBack && fold.closed().is_none()
    });
    let undoing: BTreeSet<String> = undoing.map(|workflow| workflow.name.to_string()).collect();
    let key = fold.key();
    match (verb, workflow) {
        // An operator may keep what is there while an agent still tries.
        ("accept", _) if !undoing.is_empty() => Ok(Stuck::Left(undoing)),
        _ if !undoing.is_empty() => Err(Failure::usage(format!(
            "nothing is to be resumed yet: {} is still undoing, and tries each undo three times \
             before it counts as failed",
            lockstep_shared::fold::listed(undoing)
        ))
        .help(format!("`lockstep status {key} --watch` shows what comes of it"))),
        // A log that lost records may not know of a debt; whoever names the workflow does.
        (_, Some(name)) if fold.closed().is_some() => Ok(Stuck::Left([name.to_string()].into())),
        _ => Err(Failure::usage(format!(
            "nothing of {key} is to be settled: {}",
            line(&told.summary)
        ))
        .help(if fold.closed().is_some() {
            "if an agent names this run all the same, name its workflow with `--workflow`"
                .to_owned()
        } else {
            format!("`lockstep abort {key} --reason TEXT` takes an open run back")
        })),
    }
}

/// Waits until every unsettled workflow has reported.
async fn wait(reader: &mut RunReader, mut left: BTreeSet<String>, limit: Duration) -> Outcome {
    let limit = tokio::time::Instant::now() + limit;
    let mut failed = false;
    while !left.is_empty() {
        match tokio::time::timeout_at(limit, reader.next()).await {
            Ok(Some(News::Entry(entry, _))) => {
                if let Some((workflow, settled)) = settles(&entry, reader.fold()) {
                    let how = match &settled {
                        Ok(()) => "is settled".to_owned(),
                        Err(why) => format!("could not be undone again: {}", line(why)),
                    };
                    say(&format!("{workflow} {how} (#{})", entry.seq));
                    failed |= settled.is_err();
                    left.remove(&workflow);
                }
            }
            Ok(Some(News::Trouble(why))) => say(&format!("cannot read the log: {}", line(&why))),
            Ok(Some(_)) => {}
            Ok(None) => return Err(Failure::unavailable("the connection to NATS was closed")),
            Err(_) => {
                say(&format!("no report yet of {}", lockstep_shared::fold::listed(left)));
                return Ok(Exit::GaveUp);
            }
        }
    }
    Ok(if failed { Exit::RollbackIncomplete } else { Exit::Done })
}
