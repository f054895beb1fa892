//! Which run is meant: by its id, its pipeline and id, its pipeline, or simply the latest.

mod known;
mod reading;

use std::collections::BTreeSet;

use lockstep_bus::Bus;
use lockstep_shared::id::{PipelineName, RunId, RunKey};
use strsim::osa_distance;

use crate::{exit::Exit, failure::Failure};

pub(crate) use known::{End, Planned, ended, open_before, planned};
pub(crate) use reading::{entries, headings};

use known::Known;

/// How many runs an error message names.
const MAX_NAMED: usize = 5;

/// How many characters of an id's beginning or end name a run, if only one has them.
const MIN_PART: usize = 2;

/// What a verb needs of the run that a pipeline's name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// A run to look at: the open one, else the latest that was neither refused nor a dry run.
    Look,
    /// An open run.
    Open,
    /// The run with a rollback that is not finished.
    Debt,
    /// The latest run that was committed.
    Committed,
}

/// The run that a person means.
///
/// `PIPELINE/RUN` and `RUN` name it; `PIPELINE` means the one of its runs that the verb needs;
/// nothing means the same of all runs. The beginning or the end of an id will do if only one run
/// has it.
pub(crate) async fn run(bus: &Bus, wanted: Option<&str>, need: Need) -> Result<RunKey, Failure> {
    if let Some(key) = wanted.and_then(parse_key)
        && !headings(bus, vec![bus.subjects().run(&key)]).await?.is_empty()
    {
        return Ok(key);
    }
    if let Some(id) = wanted.and_then(|text| text.parse::<RunId>().ok()) {
        let keys = runs_of_id(bus, &id).await?;
        match keys.len() {
            0 => {}
            1 => return Ok(keys.into_iter().next().expect("one was counted")),
            _ => return Err(several(&id.to_string(), keys)),
        }
    }
    let planned = planned(bus).await?;
    match meant(wanted, &planned)? {
        Meant::Run(key) => Ok(key),
        Meant::Of(pipeline) => {
            let runs = known::runs(bus, planned, pipeline.as_ref()).await?;
            needed(bus, runs, pipeline.as_ref(), need).await
        }
    }
}

/// `PIPELINE/RUN`, if that is what it is.
pub(crate) fn parse_key(text: &str) -> Option<RunKey> {
    let (pipeline, run) = text.split_once('/')?;
    Some(RunKey { pipeline: pipeline.parse().ok()?, run: run.parse().ok()? })
}

/// Every run of this id that the log holds anything of, whatever its pipeline.
async fn runs_of_id(bus: &Bus, id: &RunId) -> Result<BTreeSet<RunKey>, Failure> {
    let found = headings(bus, vec![bus.subjects().run_of_any_pipeline(id)]).await?;
    Ok(found.into_iter().map(|heading| heading.key).collect())
}

/// What somebody wrote where a run is to be named.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Meant {
    /// This run.
    Run(RunKey),
    /// The run that is needed, of this pipeline or of all.
    Of(Option<PipelineName>),
}

/// Which run or pipeline a text means, over the plans that the log holds.
fn meant(wanted: Option<&str>, planned: &Planned) -> Result<Meant, Failure> {
    let Some(wanted) = wanted else {
        if planned.is_empty() {
            return Err(
                Failure::usage("the log holds no run").help("start one with `lockstep run FILE`")
            );
        }
        return Ok(Meant::Of(None));
    };
    if let Some(key) = planned.keys().find(|key| key.pipeline.as_str() == wanted) {
        return Ok(Meant::Of(Some(key.pipeline.clone())));
    }
    let (pipeline, part) = match wanted.split_once('/') {
        Some((pipeline, part)) => (Some(pipeline), part),
        None => (None, wanted),
    };
    let has_part = |key: &&RunKey| {
        let id = key.run.as_str();
        (id.starts_with(part) || id.ends_with(part))
            && pipeline.is_none_or(|pipeline| key.pipeline.as_str() == pipeline)
    };
    let matching: BTreeSet<RunKey> =
        planned.keys().filter(has_part).filter(|_| part.len() >= MIN_PART).cloned().collect();
    match matching.len() {
        0 => Err(unknown(wanted, planned)),
        1 => Ok(Meant::Run(matching.into_iter().next().expect("one was counted"))),
        _ => Err(several(wanted, matching)),
    }
}

/// The one of a pipeline's runs, the latest first, that a verb needs.
async fn needed(
    bus: &Bus,
    mut runs: Vec<Known>,
    pipeline: Option<&PipelineName>,
    need: Need,
) -> Result<RunKey, Failure> {
    // A name says neither whether a run is a dry run nor what an open one has come to.
    for known in runs.iter_mut().filter(|known| need.reads(known)) {
        known.read(bus).await?;
    }
    let found = choose(&runs, need).map_err(|none| none.told(pipeline))?;
    if need == Need::Look
        && let Some(latest) =
            runs.first().filter(|latest| latest.key != *found && !latest.is_open())
    {
        let key = &latest.key;
        let how = if latest.is_refused() { "was refused" } else { "was a dry run" };
        let open = runs.iter().any(|known| known.key == *found && known.is_open());
        if !open {
            crate::output::say(&format!("note: the latest run {key} {how}; this is {found}"));
        }
    }
    Ok(found.clone())
}

impl Need {
    /// Whether a run has to be read to say whether it is needed.
    fn reads(self, known: &Known) -> bool {
        known.is_open() || (self == Self::Debt && known.is_incomplete())
    }
}

/// Why none of a pipeline's runs is the one that is needed.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Unfound {
    Nothing(Need),
    Several(BTreeSet<RunKey>),
}

impl Unfound {
    fn told(self, pipeline: Option<&PipelineName>) -> Failure {
        let of = pipeline.map_or_else(String::new, |name| format!(" of {name}"));
        let help = match pipeline {
            Some(name) => format!("`lockstep ls {name}` lists its runs"),
            None => "`lockstep ls` lists the runs".to_owned(),
        };
        match self {
            Self::Several(keys) => {
                let names = lockstep_shared::fold::listed(keys);
                Failure::usage(format!("more than one run{of} has a rollback to settle: {names}"))
                    .help("name the run; the oldest one comes first")
            }
            Self::Nothing(Need::Debt) => Failure::usage(format!(
                "no run{of} has a rollback that is not finished: nothing is to be settled"
            ))
            .help(help),
            Self::Nothing(Need::Committed) => {
                Failure::usage(format!("no run{of} in the log was committed"))
                    .help(format!("{help}; name one to submit its plan again, however it ended"))
            }
            Self::Nothing(Need::Open) => {
                Failure::new(Exit::TooLate, format!("no run{of} is open")).help(help)
            }
            Self::Nothing(Need::Look) => {
                Failure::usage(format!("the log holds no run{of}")).help(help)
            }
        }
    }
}

/// The pure part of the choice, over runs of which the latest comes first.
fn choose(runs: &[Known], need: Need) -> Result<&RunKey, Unfound> {
    let oldest_open = || {
        let open = || runs.iter().rev().filter(|known| known.is_open());
        open().find(|known| !known.is_dry()).or_else(|| open().next())
    };
    let found = match need {
        // Of several open ones the others wait for the oldest.
        Need::Open => oldest_open(),
        Need::Look => runs
            .iter()
            .rev()
            .find(|known| known.is_open() && !known.is_dry())
            .or_else(|| runs.iter().find(|known| !known.is_dry() && !known.is_refused()))
            .or_else(oldest_open)
            .or_else(|| runs.first()),
        Need::Committed => runs.iter().find(|known| known.is_committed()),
        Need::Debt => {
            let owing: Vec<&Known> = runs.iter().filter(|known| known.owes()).collect();
            match owing[..] {
                [] => runs.iter().find(|known| known.goes_back()),
                [known] => Some(known),
                _ => {
                    let keys = owing.into_iter().map(|known| known.key.clone()).collect();
                    return Err(Unfound::Several(keys));
                }
            }
        }
    };
    found.map(|known| &known.key).ok_or(Unfound::Nothing(need))
}

fn several(wanted: &str, keys: BTreeSet<RunKey>) -> Failure {
    let ids: Vec<&str> = keys.iter().map(|key| key.run.as_str()).collect();
    let needed = distinct(&ids);
    let names: Vec<String> = keys.iter().map(ToString::to_string).collect();
    let failure = Failure::usage(format!(
        "{wanted:?} may be any of {}",
        lockstep_shared::fold::listed(names)
    ));
    match needed {
        Some(end) => failure.help(format!(
            "give PIPELINE/RUN in full, or the last {end} characters of the run's id"
        )),
        None => failure.help("give PIPELINE/RUN in full"),
    }
}

/// How many characters of their ends tell some ids apart.
fn distinct(ids: &[&str]) -> Option<usize> {
    let longest = ids.iter().map(|id| id.len()).max()?;
    (MIN_PART..longest).find(|count| {
        let ends: BTreeSet<&str> =
            ids.iter().map(|id| &id[id.len().saturating_sub(*count)..]).collect();
        ends.len() == ids.len()
    })
}

fn unknown(wanted: &str, planned: &Planned) -> Failure {
    let failure = Failure::usage(format!("the log holds no run or pipeline {wanted:?}"));
    if planned.is_empty() {
        return failure.help("the log holds no run at all; start one with `lockstep run FILE`");
    }
    let short = wanted.rsplit('/').next().unwrap_or(wanted);
    let mut candidates: Vec<(usize, &RunKey)> = planned
        .keys()
        .map(|key| {
            let by_run = osa_distance(short, key.run.as_str());
            (by_run.min(osa_distance(wanted, key.pipeline.as_str())), key)
        })
        .collect();
    candidates.sort_by_key(|(distance, key)| (*distance, std::cmp::Reverse(planned[*key])));
    let near = candidates.iter().filter(|(distance, _)| *distance * 3 <= short.len().max(3));
    let near: Vec<String> = near.take(MAX_NAMED).map(|(_, key)| key.to_string()).collect();
    if near.is_empty() {
        failure.help("`lockstep ls` lists the runs; older ones expire with the stream's max_age")
    } else {
        failure.help(format!("did you mean {}? `lockstep ls` lists all", near.join(", ")))
    }
}

/// The closest of some names, if one is close.
pub(crate) fn nearest<'a>(
    wanted: &str,
    names: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let near = |name: &'a str| Some((osa_distance(wanted, name), name));
    let (distance, name) = names.into_iter().filter_map(near).min()?;
    (distance * 3 <= wanted.len().max(3)).then_some(name)
}

#[cfg(test)]
mod tests;
