//! What is known of the runs that the log holds, without reading them whole.

use std::collections::BTreeMap;

use lockstep_bus::Bus;
use lockstep_shared::{
    fold::{Decision, OwnDecision, RunFold},
    id::{PipelineName, RunId, RunKey},
    record::{Record, RunResult},
    time::Timestamp,
};

use super::{entries, headings};
use crate::{failure::Failure, reader::RunReader};

/// The runs whose plans the log holds, with when those were stored.
pub(crate) type Planned = BTreeMap<RunKey, Timestamp>;

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct End {
    /// When.
    pub(crate) at: Timestamp,
    /// How; this never changes.
    pub(crate) result: RunResult,
}

/// One run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) key: RunKey,
    pub(super) planned: Timestamp,
    pub(super) end: Option<End>,
    pub(super) facts: Facts,
}

/// What only its records say of a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Facts {
    pub(super) dry: bool,
    pub(super) committed: bool,
    pub(super) going_back: bool,
    pub(super) owing: bool,
}

impl Facts {
    fn of(fold: &RunFold) -> Self {
        let own = || fold.workflows().values().map(|state| &state.own);
        let stands = |own: &OwnDecision| matches!(own, OwnDecision::Done { .. });
        let broken = |own: &OwnDecision| matches!(own, OwnDecision::Broken(_));
        Self {
            dry: fold.plan().is_some_and(|plan| plan.plan_only),
            committed: matches!(fold.decision(), Decision::Committed { .. })
                || (fold.is_each_own() && own().all(stands)),
            going_back: matches!(fold.decision(), Decision::Aborted(_)) || own().any(broken),
            owing: fold.owing().next().is_some(),
        }
    }
}

impl Known {
    /// Reads what only its records say.
    pub(super) async fn read(&mut self, bus: &Bus) -> Result<(), Failure> {
        let mut reader = RunReader::new(bus, &self.key);
        reader.catch_up().await?;
        self.facts = Facts::of(reader.fold());
        Ok(())
    }

    fn ended(&self, result: RunResult) -> bool {
        self.end.is_some_and(|end| end.result == result)
    }

    pub(super) fn is_open(&self) -> bool {
        self.end.is_none()
    }

    pub(super) fn is_refused(&self) -> bool {
        self.ended(RunResult::Refused)
    }

    /// Whether it writes nothing: `plan --live`.
    pub(super) fn is_dry(&self) -> bool {
        self.ended(RunResult::Planned) || self.facts.dry
    }

    pub(super) fn is_incomplete(&self) -> bool {
        self.ended(RunResult::RollbackIncomplete)
    }

    pub(super) fn is_committed(&self) -> bool {
        self.ended(RunResult::Succeeded) || (self.is_open() && self.facts.committed)
    }

    pub(super) fn goes_back(&self) -> bool {
        self.is_open() && self.facts.going_back
    }

    pub(super) fn owes(&self) -> bool {
        self.facts.owing
    }
}

/// Every run whose plan the log holds.
pub(crate) async fn planned(bus: &Bus) -> Result<Planned, Failure> {
    let found = headings(bus, vec![bus.subjects().all_plans()]).await?;
    Ok(found.into_iter().map(|heading| (heading.key, heading.time)).collect())
}

/// Of every closed run, the first Closed that is valid by itself: rubbish ends nothing.
pub(crate) async fn ended(
    bus: &Bus,
    pipeline: Option<&PipelineName>,
) -> Result<BTreeMap<RunKey, End>, Failure> {
    let subjects = bus.subjects();
    let filter = pipeline.map_or_else(|| subjects.all_closed(), |name| subjects.closed_of(name));
    let mut ended = BTreeMap::new();
    for entry in entries(bus, vec![filter]).await? {
        if let Ok(stated) = &entry.content
            && let Record::Closed { result, .. } = &stated.record
        {
            ended.entry(entry.key).or_insert(End { at: entry.time, result: *result });
        }
    }
    Ok(ended)
}

/// The runs of a pipeline, or of all, the latest first.
pub(super) async fn runs(
    bus: &Bus,
    planned: Planned,
    pipeline: Option<&PipelineName>,
) -> Result<Vec<Known>, Failure> {
    let ended = ended(bus, pipeline).await?;
    let wanted = |key: &RunKey| pipeline.is_none_or(|name| *name == key.pipeline);
    let mut runs: Vec<Known> = planned
        .into_iter()
        .filter(|(key, _)| wanted(key))
        .map(|(key, planned)| {
            let end = ended.get(&key).copied();
            Known { key, planned, end, facts: Facts::default() }
        })
        .collect();
    runs.sort_by(|left, right| (right.planned, &right.key).cmp(&(left.planned, &left.key)));
    Ok(runs)
}

/// The open runs of a pipeline that were planned before another one, oldest first.
pub(crate) async fn open_before(
    bus: &Bus,
    pipeline: &PipelineName,
    run: &RunId,
) -> Result<Vec<RunKey>, Failure> {
    let plans = headings(bus, vec![bus.subjects().plans_of(pipeline)]).await?;
    let ended = ended(bus, Some(pipeline)).await?;
    let before = plans.into_iter().map(|heading| heading.key).take_while(|key| key.run != *run);
    Ok(before.filter(|key| !ended.contains_key(key)).collect())
}
