//! Which run a party means, and whether it is a party of the barrier there.

use std::{collections::BTreeSet, time::Duration};

use lockstep_bus::{Bus, ReadError};
use lockstep_shared::{
    codec::Rubbish,
    id::{BarrierId, PartyName, PipelineName, RunId, RunKey},
    plan::Plan,
    record::Record,
    subject::Family,
};
use tokio::time::{Instant, sleep};

use super::Meeting;
use crate::{
    exit::Exit,
    failure::Failure,
    find::{nearest, parse_key},
    online::{ASK_LIMIT, soon, unreadable},
    output::say,
};

/// How long a coordinator may take to answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(3);

/// How long a follower may lag behind a plan that was just stored.
const LAG_LIMIT: Duration = Duration::from_secs(2);

/// The pause before a question is asked again.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// Finds the run and reads its plan once.
pub(super) async fn run_of(
    bus: &Bus,
    meeting: &Meeting,
    party: Option<&PartyName>,
    until: Option<Instant>,
) -> Result<(RunKey, Plan), Failure> {
    let mut told = false;
    loop {
        let missing = match look(bus, meeting, party, !told).await {
            Ok(found) => return Ok(found),
            Err(missing) => missing,
        };
        if !meeting.wait_for_run || !missing.may_come {
            return Err(missing.failure);
        }
        if until.is_some_and(|until| Instant::now() >= until) {
            let failure = Failure::new(Exit::GaveUp, "gave up waiting for the run to begin");
            return Err(failure.help(missing.failure.error));
        }
        if !told {
            say(&format!("waiting for the run: {}", missing.failure.error));
            told = true;
        }
        sleep(ASK_AGAIN).await;
    }
}

/// There is no such run, now.
struct Missing {
    failure: Failure,
    may_come: bool,
}

impl From<Failure> for Missing {
    fn from(failure: Failure) -> Self {
        Self { failure, may_come: false }
    }
}

impl From<ReadError> for Missing {
    /// Only what a later question will not be answered better ends the waiting.
    fn from(error: ReadError) -> Self {
        let may_come = !matches!(error, ReadError::Denied(_));
        Self { failure: unreadable(error), may_come }
    }
}

fn not_yet(failure: Failure) -> Missing {
    Missing { failure, may_come: true }
}

/// Looks once; `thoroughly` also looks for what a person may have meant instead.
async fn look(
    bus: &Bus,
    meeting: &Meeting,
    party: Option<&PartyName>,
    thoroughly: bool,
) -> Result<(RunKey, Plan), Missing> {
    let key = match (&meeting.run, &meeting.pipeline) {
        (Some(run), pipeline) => named(bus, run, pipeline.as_ref()).await?,
        (None, Some(pipeline)) => {
            let barrier = thoroughly.then_some(&meeting.barrier);
            the_open_run(bus, pipeline, barrier, party).await?
        }
        (None, None) => return Err(Failure::usage("give `--run` or `--pipeline`").into()),
    };
    let plan = plan(bus, &key).await?;
    Ok((key, plan))
}

async fn named(bus: &Bus, run: &str, pipeline: Option<&PipelineName>) -> Result<RunKey, Missing> {
    if let Some(key) = parse_key(run) {
        return Ok(key);
    }
    let run: RunId = run.parse().map_err(|error| Failure::usage(format!("--run: {error}")))?;
    if let Some(pipeline) = pipeline {
        return Ok(RunKey { pipeline: pipeline.clone(), run });
    }
    let filter = [bus.subjects().plan_of_any_pipeline(&run)];
    let reading = bus.read(&filter, 0, soon()).await?;
    let mut keys: Vec<RunKey> = reading.entries.into_iter().map(|entry| entry.key).collect();
    match keys.len() {
        0 => Err(not_yet(no_run(&run))),
        1 => Ok(keys.remove(0)),
        _ => Err(Failure::usage(format!("{run} is a run of more than one pipeline"))
            .help("name the run as PIPELINE/RUN")
            .into()),
    }
}

fn no_run(run: &RunId) -> Failure {
    Failure::usage(format!("the log holds no plan of a run {run}"))
        .help("`lockstep ls --open` lists the open runs; `--wait-for-run` waits for one")
}

async fn the_open_run(
    bus: &Bus,
    pipeline: &PipelineName,
    barrier: Option<&BarrierId>,
    party: Option<&PartyName>,
) -> Result<RunKey, Missing> {
    let Some(party) = party else {
        return Err(Failure::usage(
            "`--pipeline` needs `--party`: a coordinator is asked for the \
                                   open runs of that party",
        )
        .into());
    };
    let answer = bus.ask_open(pipeline, party, Instant::now() + ANSWER_LIMIT).await;
    let Some(runs) = answer? else {
        return Err(not_yet(
            Failure::unavailable(format!(
                "no coordinator answered which run of {pipeline} is open"
            ))
            .help("start lockstep-coordinator, or name the run by `--run PIPELINE/RUN`"),
        ));
    };
    match runs.as_slice() {
        [] => {
            let meant = match barrier {
                Some(barrier) => no_such_party(bus, pipeline, barrier, party).await,
                None => None,
            };
            Err(not_yet(meant.unwrap_or_else(|| no_open_run(pipeline, party))))
        }
        [run] => Ok(RunKey { pipeline: pipeline.clone(), run: run.clone() }),
        several => Err(Failure::usage(format!(
            "{pipeline} has {} open runs with a party {party}: {}",
            several.len(),
            lockstep_shared::fold::listed(several)
        ))
        .help("name one by `--run`")
        .into()),
    }
}

fn no_open_run(pipeline: &PipelineName, party: &PartyName) -> Failure {
    Failure::usage(format!("{pipeline} has no open run with a party {party}"))
        .help("`lockstep ls --open` lists the open runs; `--wait-for-run` waits for one")
}

/// That there is an open run in which nobody is called so. Only for a better message: what cannot
/// be read, or is too long a history to look at, says nothing.
async fn no_such_party(
    bus: &Bus,
    pipeline: &PipelineName,
    barrier: &BarrierId,
    party: &PartyName,
) -> Option<Failure> {
    let filters = [bus.subjects().plans_of(pipeline), bus.subjects().closed_of(pipeline)];
    let entries = bus.read(&filters, 0, soon()).await.ok()?.entries;
    let closed: BTreeSet<&RunId> = entries
        .iter()
        .filter(|entry| entry.slot.family == Family::Closed && entry.content.is_ok())
        .map(|entry| &entry.key.run)
        .collect();
    let open = entries.iter().rev().find_map(|entry| match &entry.content.as_ref().ok()?.record {
        Record::Plan { plan, .. } if !closed.contains(&entry.key.run) => {
            Some((&entry.key.run, plan))
        }
        _ => None,
    });
    let (run, plan) = open?;
    let failure = check_party(plan, barrier, party).err()?;
    let context = format!("the open run of {pipeline} is {run}");
    Some(Failure { error: anyhow::anyhow!("{context}: {}", failure.error), ..failure })
}

/// The plan is read once, by direct get.
async fn plan(bus: &Bus, key: &RunKey) -> Result<Plan, Missing> {
    let subject = bus.subjects().slot(key, &Family::Plan.slot(1));
    let lag = Instant::now() + LAG_LIMIT;
    let entry = loop {
        let limit = Instant::now() + ASK_LIMIT;
        match bus.get_one(&subject, limit).await? {
            Some(entry) => break entry,
            None if Instant::now() >= lag => return Err(not_yet(no_run(&key.run))),
            None => sleep(Duration::from_millis(100)).await,
        }
    };
    match entry.content.map(|stated| stated.record) {
        Ok(Record::Plan { plan, .. }) => Ok(*plan),
        Err(Rubbish::Protocol(version)) => Err(Failure::unavailable(format!(
            "{key} speaks protocol {version}, which this build does not"
        ))
        .help("use a newer lockstep")
        .into()),
        Ok(_) | Err(_) => Err(no_run(&key.run).into()),
    }
}

/// Whether this party may say anything at this barrier.
pub(super) fn check_party(
    plan: &Plan,
    barrier: &BarrierId,
    party: &PartyName,
) -> Result<(), Failure> {
    check_barrier(plan, barrier)?;
    let foreign = plan.barriers.get(barrier).map(|declared| &declared.foreign);
    if foreign.is_some_and(|foreign| foreign.contains(party)) {
        return Ok(());
    }
    let names: Vec<&str> = foreign.into_iter().flatten().map(PartyName::as_str).collect();
    let near = nearest(party.as_str(), names.iter().copied());
    let all = if names.is_empty() {
        format!(
            "{barrier} has no foreign parties; declare one in its `parties` to take part from \
             outside"
        )
    } else {
        format!("the foreign parties of {barrier} are: {}", lockstep_shared::fold::listed(&names))
    };
    if plan.is_workflow(party) {
        return Err(Failure::usage(format!(
            "{party} is a workflow, no foreign party: its agent arrives by itself, and only its \
             agent may"
        ))
        .help(all));
    }
    let elsewhere = plan.barriers.iter().filter(|(_, other)| other.foreign.contains(party));
    let elsewhere: Vec<&str> = elsewhere.map(|(id, _)| id.as_str()).collect();
    let all = if elsewhere.is_empty() {
        all
    } else {
        format!("{all}; {party} is one of {}", lockstep_shared::fold::listed(&elsewhere))
    };
    let help = near.map_or(all.clone(), |near| format!("did you mean {near}? {all}"));
    Err(Failure::usage(format!("{party} is no foreign party of barrier {barrier}")).help(help))
}

/// Whether the plan has such a barrier.
pub(super) fn check_barrier(plan: &Plan, barrier: &BarrierId) -> Result<(), Failure> {
    if plan.parties(barrier).is_some() {
        return Ok(());
    }
    let names: Vec<&str> = plan.barriers.keys().map(BarrierId::as_str).collect();
    let help = match nearest(barrier.as_str(), names.iter().copied()) {
        Some(near) => format!("did you mean {near}?"),
        None => format!("there are {}", lockstep_shared::fold::listed(names)),
    };
    Err(Failure::usage(format!("the run's plan has no barrier {barrier}")).help(help))
}
