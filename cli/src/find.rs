//! Which run is meant: by its id, its pipeline and id, its pipeline, or simply the latest.

use std::collections::{BTreeMap, BTreeSet};

use lockstep_bus::{Bus, Follow, Heading};
use lockstep_shared::{
    codec::Entry,
    id::{PipelineName, RunId, RunKey},
    subject::Family,
    time::Timestamp,
};
use strsim::osa_distance;
use tokio::time::{Instant, timeout_at};

use crate::{
    failure::Failure,
    online::{ASK_LIMIT, no_log, unreadable},
};

/// How many runs an error message names.
const MAX_NAMED: usize = 5;

/// A run as `ls` begins to know it: when its plan was stored.
pub(crate) type Planned = BTreeMap<RunKey, Timestamp>;

/// The run that a person means.
///
/// `PIPELINE/RUN` and `RUN` name it; `PIPELINE` means its open run (of several the oldest, which
/// the others wait for), else its latest; nothing means the same of all runs. The beginning of an id will do if only one run's id begins so.
pub(crate) async fn run(bus: &Bus, wanted: Option<&str>) -> Result<RunKey, Failure> {
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
    choose(wanted, &planned(bus).await?, &closed(bus).await?)
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

/// Every run whose plan the log holds.
pub(crate) async fn planned(bus: &Bus) -> Result<Planned, Failure> {
    let found = headings(bus, vec![bus.subjects().all_plans()]).await?;
    Ok(found.into_iter().map(|heading| (heading.key, heading.time)).collect())
}

/// Every run whose end the log holds.
async fn closed(bus: &Bus) -> Result<BTreeSet<RunKey>, Failure> {
    let found = headings(bus, vec![bus.subjects().all_closed()]).await?;
    Ok(found.into_iter().map(|heading| heading.key).collect())
}

/// The pure part of the choice, over the plans and ends that the log holds.
fn choose(
    wanted: Option<&str>,
    planned: &Planned,
    closed: &BTreeSet<RunKey>,
) -> Result<RunKey, Failure> {
    let latest = |of: &dyn Fn(&RunKey) -> bool| {
        let named = || planned.iter().filter(|(key, _)| of(key));
        let open = named().filter(|(key, _)| !closed.contains(key));
        open.min_by_key(|(_, time)| **time).or_else(|| named().max_by_key(|(_, time)| **time))
    };
    let Some(wanted) = wanted else {
        return latest(&|_| true).map(|(key, _)| key.clone()).ok_or_else(|| {
            Failure::usage("the log holds no run").help("start one with `lockstep run FILE`")
        });
    };
    if let Some((key, _)) = latest(&|key| key.pipeline.as_str() == wanted) {
        return Ok(key.clone());
    }
    let (pipeline, start) = match wanted.split_once('/') {
        Some((pipeline, start)) => (Some(pipeline), start),
        None => (None, wanted),
    };
    let begins = |key: &&RunKey| {
        key.run.as_str().starts_with(start)
            && pipeline.is_none_or(|pipeline| key.pipeline.as_str() == pipeline)
    };
    let matching: BTreeSet<RunKey> =
        planned.keys().filter(begins).filter(|_| start.len() >= 2).cloned().collect();
    match matching.len() {
        0 => Err(unknown(wanted, planned)),
        1 => Ok(matching.into_iter().next().expect("one was counted")),
        _ => Err(several(wanted, matching)),
    }
}

fn several(wanted: &str, keys: BTreeSet<RunKey>) -> Failure {
    let names: Vec<String> = keys.iter().map(ToString::to_string).collect();
    Failure::usage(format!("{wanted:?} may be any of {}", lockstep_shared::fold::listed(names)))
        .help("give PIPELINE/RUN in full")
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

/// The open runs of a pipeline that were planned before a moment, oldest first.
pub(crate) async fn open_before(
    bus: &Bus,
    pipeline: &PipelineName,
    run: &RunId,
) -> Result<Vec<RunKey>, Failure> {
    let subjects = bus.subjects();
    let filters = vec![subjects.plans_of(pipeline), subjects.closed_of(pipeline)];
    let mut open: Vec<(u64, RunKey)> = Vec::new();
    for heading in headings(bus, filters).await? {
        match heading.slot.family {
            Family::Plan if heading.key.run == *run => break,
            Family::Plan => open.push((heading.seq, heading.key)),
            _ => open.retain(|(_, key)| *key != heading.key),
        }
    }
    Ok(open.into_iter().map(|(_, key)| key).collect())
}

/// The headings that match now, in stream order.
pub(crate) async fn headings(bus: &Bus, filters: Vec<String>) -> Result<Vec<Heading>, Failure> {
    let mut follower = bus.follow_headings(filters, 1);
    let limit = Instant::now() + ASK_LIMIT;
    let mut found = Vec::new();
    let mut trouble = "the server sends nothing".to_owned();
    loop {
        match timeout_at(limit, follower.next()).await {
            Ok(Some(Follow::Heading(heading))) => found.push(heading),
            Ok(Some(Follow::CaughtUp { .. })) => return Ok(found),
            Ok(Some(Follow::LogWentBack { .. })) => found.clear(),
            Ok(Some(Follow::Trouble { why })) => {
                if let Some(failure) = no_log(bus).await {
                    return Err(failure);
                }
                trouble = why;
            }
            Ok(Some(Follow::Entry(_) | Follow::Rebuilt { .. })) => {}
            Ok(None) | Err(_) => {
                return Err(unreadable(lockstep_bus::ReadError::TimedOut { reason: trouble }));
            }
        }
    }
}

/// The records that match now, in stream order.
pub(crate) async fn entries(bus: &Bus, filters: Vec<String>) -> Result<Vec<Entry>, Failure> {
    let mut follower = bus.follow(filters, 1);
    let limit = Instant::now() + ASK_LIMIT;
    let mut found = Vec::new();
    let mut trouble = "the server sends nothing".to_owned();
    loop {
        match timeout_at(limit, follower.next()).await {
            Ok(Some(Follow::Entry(entry))) => found.push(*entry),
            Ok(Some(Follow::CaughtUp { .. })) => return Ok(found),
            Ok(Some(Follow::LogWentBack { .. })) => found.clear(),
            Ok(Some(Follow::Trouble { why })) => {
                if let Some(failure) = no_log(bus).await {
                    return Err(failure);
                }
                trouble = why;
            }
            Ok(Some(Follow::Heading(_) | Follow::Rebuilt { .. })) => {}
            Ok(None) | Err(_) => {
                return Err(unreadable(lockstep_bus::ReadError::TimedOut { reason: trouble }));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned_runs() -> Planned {
        [("shop", "r1", 10), ("shop", "r2", 30), ("blog", "release-7", 20), ("blog", "rest", 25)]
            .into_iter()
            .map(|(pipeline, run, time)| {
                let key = RunKey { pipeline: pipeline.parse().unwrap(), run: run.parse().unwrap() };
                (key, Timestamp(time))
            })
            .collect()
    }

    fn chosen(wanted: Option<&str>) -> Result<String, String> {
        choose(wanted, &planned_runs(), &planned_runs().into_keys().collect())
            .map(|key| key.to_string())
            .map_err(|failure| failure.text())
    }

    #[test]
    fn nothing_means_the_latest_run_and_a_pipeline_its_latest() {
        assert_eq!(chosen(None), Ok("shop/r2".to_owned()));
        assert_eq!(chosen(Some("blog")), Ok("blog/rest".to_owned()));
    }

    #[test]
    fn the_beginning_of_an_id_will_do_if_it_is_unique() {
        assert_eq!(chosen(Some("rel")), Ok("blog/release-7".to_owned()));
        assert_eq!(chosen(Some("blog/res")), Ok("blog/rest".to_owned()));
        assert!(chosen(Some("re")).unwrap_err().contains("may be any of"));
    }

    #[test]
    fn a_misspelt_run_is_answered_with_what_may_be_meant() {
        let said = chosen(Some("relaese-7")).unwrap_err();
        assert!(said.contains("did you mean blog/release-7"), "{said}");
        let said = chosen(Some("something-else-entirely")).unwrap_err();
        assert!(said.contains("`lockstep ls` lists the runs"), "{said}");
        assert!(
            choose(Some("x"), &Planned::new(), &BTreeSet::new())
                .unwrap_err()
                .text()
                .contains("no run at all")
        );
    }

    #[test]
    fn a_name_is_near_only_if_few_characters_differ() {
        assert_eq!(nearest("frontned", ["backend", "frontend"]), Some("frontend"));
        assert_eq!(nearest("zzz", ["backend", "frontend"]), None);
    }

    #[test]
    fn a_pipeline_means_its_open_run_even_if_a_later_one_was_refused() {
        let planned = planned_runs();
        let (open, _) = planned.iter().min_by_key(|(_, time)| **time).unwrap();
        let closed = planned.keys().filter(|key| *key != open).cloned().collect();
        let found = choose(Some(open.pipeline.as_str()), &planned, &closed).ok();
        assert_eq!(found.as_ref(), Some(open));
        assert_eq!(choose(None, &planned, &closed).ok().as_ref(), Some(open));
    }
}
