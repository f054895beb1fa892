//! `rollback resume|accept`: settle what an unfinished rollback left.

use std::{collections::BTreeSet, time::Duration};

use clap::Subcommand;
use lockstep_bus::{Bus, ConnectionArgs};
use lockstep_shared::{
    fold::RunFold,
    id::{RunKey, WorkflowName},
    record::{Outcome as Ended, Record, RunResult},
};

use crate::{
    context::Context,
    exit::Exit,
    failure::{Failure, Outcome},
    find::{self, nearest},
    flags::seconds,
    online::{close, connect},
    output::{Format, print, render, say},
    reader::{News, RunReader},
    requesting::{Requested, request, settles},
    terminal::line,
    who::claimed,
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
    /// it runs; other agents do nothing.
    Resume(Settle),
    /// Keep what is there and settle the debt, so that the next run may begin
    ///
    /// Who and why is kept in the log. Nothing is written to the target.
    Accept(Accept),
}

#[derive(Debug, clap::Args)]
struct Settle {
    /// Which run: PIPELINE/RUN, RUN, or PIPELINE for its open or latest run; a run that has expired from
    /// the log is named in full
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
    /// Which run: PIPELINE/RUN, RUN, or PIPELINE for its open or latest run; a run that has expired from
    /// the log is named in full
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
    check(reader.fold(), workflow.as_ref())?;
    let stuck = stuck(reader.fold(), workflow.as_ref());
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
    match (find::run(bus, Some(wanted)).await, find::parse_key(wanted)) {
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

/// The workflows whose rollback is known not to be finished.
fn stuck(fold: &RunFold, workflow: Option<&WorkflowName>) -> BTreeSet<String> {
    let wanted = |name: &WorkflowName| workflow.is_none_or(|wanted| wanted == name);
    let Some(closed) = fold.closed() else {
        let open = fold.workflows().iter().filter(|(name, state)| {
            wanted(name)
                && matches!(
                    state.ended.as_ref().map(|ended| &ended.record),
                    Some(Record::RollbackFailed { .. })
                )
        });
        return open.map(|(name, _)| name.to_string()).collect();
    };
    if closed.result != RunResult::RollbackIncomplete {
        say(&format!(
            "note: {} is closed and no rollback of it is known to be unfinished",
            fold.key()
        ));
    }
    let unsettled = closed.outcomes.iter().filter(|(name, outcome)| {
        wanted(name) && matches!(outcome, Ended::Failed { .. } | Ended::Unknown)
    });
    unsettled.map(|(name, _)| name.to_string()).collect()
}

/// Waits until every unsettled workflow has reported.
async fn wait(reader: &mut RunReader, mut left: BTreeSet<String>, limit: Duration) -> Outcome {
    let limit = tokio::time::Instant::now() + limit;
    let mut failed = false;
    while !left.is_empty() {
        match tokio::time::timeout_at(limit, reader.next()).await {
            Ok(Some(News::Entry(entry, _))) => {
                if let Some((workflow, settled)) = settles(&entry, reader.fold()) {
                    let how = if settled { "is settled" } else { "could not be undone again" };
                    say(&format!("{workflow} {how} (#{})", entry.seq));
                    failed |= !settled;
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
