//! What earlier dev runs left: undo records that say that something may have to be undone.
//!
//! The log of a dev run is gone with its server; a request in that run is obeyed all the same,
//! by the agent that has the record.

use std::{collections::BTreeSet, path::Path, time::Duration};

use lockstep_agent::{
    debts::{self, Debt},
    kubernetes::client::Access,
    state::StateDirectory,
};
use lockstep_bus::Bus;
use lockstep_shared::{
    id::RunKey,
    plan::Plan,
    record::{Outcome as Ended, Record},
    subject::Family,
};
use tokio::time::{Instant, interval, sleep, timeout_at};

use crate::{
    exit::Exit,
    failure::{Failure, OrExit},
    output::say,
    reader::{News, RunReader},
    report::RunReport,
    requesting::request,
    terminal::line,
    who::claimed,
};

/// How long an undo may take.
const UNDO_LIMIT: Duration = Duration::from_secs(15 * 60);

/// How long an agent may take to settle its record after its last word was read.
const SETTLE_LIMIT: Duration = Duration::from_secs(5);

/// How often the records are looked at meanwhile.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// What to do about them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Settle {
    /// Undo what is left, then run.
    Resume,
    /// Keep what is there, then run.
    Accept,
}

/// Where records are kept.
pub(super) struct Places {
    /// Those of commands.
    pub(super) state: StateDirectory,
    /// The way to those in clusters.
    pub(super) kubernetes: Access,
}

/// The debts of this plan's workflows.
pub(super) async fn open(places: &Places, plan: &Plan) -> Result<Vec<Debt>, Failure> {
    let found = debts::open(&places.state, &places.kubernetes, plan).await;
    found.or_exit(Exit::Invalid, "cannot read what earlier runs left to be undone")
}

fn listed(debts: &[Debt]) -> String {
    lockstep_shared::fold::listed(
        debts.iter().map(|debt| format!("{} (run {})", debt.workflow, debt.key.run)),
    )
}

/// What to do about what a run left that has just ended; nothing if it left nothing.
pub(super) fn instruction(debts: &[Debt], file: &Path) -> Option<String> {
    if debts.is_empty() {
        return None;
    }
    let (listed, file) = (listed(debts), file.display());
    Some(format!(
        "what is left of {listed} has to be settled before the next run: mend what is in its way, \
         then `lockstep dev {file} --settle resume` undoes it and runs again; or `lockstep dev \
         {file} --settle accept` keeps what is there and runs again"
    ))
}

/// Says exactly what to do.
pub(super) fn refuse(debts: &[Debt], file: &Path) -> Failure {
    let (listed, file) = (listed(debts), file.display());
    Failure::new(
        Exit::RollbackIncomplete,
        format!("an earlier dev run ended before it was settled what becomes of {listed}"),
    )
    .help(format!(
        "`lockstep dev {file} --settle resume` undoes it first, then runs;\n\
         `lockstep dev {file} --settle accept` keeps what is there, then runs"
    ))
}

/// Asks for the debts to be settled and waits until they are.
pub(super) async fn settle(
    bus: &Bus,
    places: &Places,
    plan: &Plan,
    debts: &[Debt],
    how: Settle,
) -> Result<Exit, Failure> {
    let keys: BTreeSet<&RunKey> = debts.iter().map(|debt| &debt.key).collect();
    let mut worst = Exit::Done;
    for key in keys {
        let of_run: Vec<&Debt> = debts.iter().filter(|debt| debt.key == *key).collect();
        worst = worst.max(settle_run(bus, places, plan, key, &of_run, how).await?);
    }
    Ok(worst)
}

async fn settle_run(
    bus: &Bus,
    places: &Places,
    plan: &Plan,
    key: &RunKey,
    debts: &[&Debt],
    how: Settle,
) -> Result<Exit, Failure> {
    let (by, workflow) = (claimed(), None);
    let record = match how {
        Settle::Resume => {
            let reason = "lockstep dev --settle resume".to_owned();
            Record::ResumeRequested { by, reason, workflow }
        }
        Settle::Accept => {
            let reason = "lockstep dev --settle accept".to_owned();
            Record::AcceptRequested { by, reason, workflow }
        }
    };
    let mut reader = RunReader::new(bus, key);
    reader.catch_up().await?;
    request(bus, &mut reader, &record).await?;
    say(&format!("settling what run {} left", key.run));
    let limit = Instant::now() + UNDO_LIMIT;
    let mut look = interval(LOOK_AGAIN);
    while is_owed(places, plan, debts).await? {
        tokio::select! {
            _ = look.tick() => {
                if Instant::now() >= limit {
                    return Err(Failure::new(
                        Exit::RollbackIncomplete,
                        format!("what run {} left was not settled in time", key.run),
                    ));
                }
            }
            news = reader.next() => {
                let Some(news) = news else {
                    return Err(Failure::unavailable("the connection to NATS was closed"));
                };
                if let Some(failure) = failed(news) {
                    say(&failure);
                    return Ok(Exit::RollbackIncomplete);
                }
            },
        }
    }
    say(&format!("settled what run {} left", key.run));
    Ok(Exit::Done)
}

/// An undo that failed again, for a person.
fn failed(news: News) -> Option<String> {
    let News::Entry(entry, _) = news else { return None };
    let Family::Workflow(workflow) = &entry.slot.family else { return None };
    match &entry.content.as_ref().ok()?.record {
        Record::RollbackFailed { error, .. } => Some(format!(
            "{workflow} could not be undone: {}\nmend what is in its way and try again, or keep \
             what is there with `--settle accept`",
            line(error)
        )),
        _ => None,
    }
}

async fn is_owed(places: &Places, plan: &Plan, debts: &[&Debt]) -> Result<bool, Failure> {
    let open = open(places, plan).await?;
    Ok(debts.iter().any(|debt| open.contains(debt)))
}

/// What is owed after a run; who reported a good end is given a moment to settle.
pub(super) async fn left(
    places: &Places,
    plan: &Plan,
    report: &RunReport,
) -> Result<Vec<Debt>, Failure> {
    let stuck = |debt: &Debt| {
        let workflow = report.workflows.iter().find(|known| known.name == debt.workflow);
        let outcome = workflow.and_then(|known| known.outcome.as_ref());
        outcome.is_none_or(|outcome| matches!(outcome, Ended::Failed { .. } | Ended::Unknown))
    };
    let limit = Instant::now() + SETTLE_LIMIT;
    loop {
        let owed = open(places, plan).await?;
        if owed.iter().all(stuck) {
            return Ok(owed);
        }
        if timeout_at(limit, sleep(LOOK_AGAIN)).await.is_err() {
            return Ok(owed);
        }
    }
}
