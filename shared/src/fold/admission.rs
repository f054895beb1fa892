//! Which run of a pipeline may begin (PROTOCOL section 7, item 1): one at a time, in plan order.
//!
//! Decides by a walk over the pipeline's plans and Closed records. Of a closed run nothing is
//! known but where its plan and its Closed stand, whether that says refused, and what decided it;
//! so a reader that starts late sees what one that was there all along sees. Records may be
//! applied in any order and more than once; a walk means something once all of them up to one
//! position are applied.

mod walk;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use self::walk::Walk;
use super::Moment;
use crate::{
    codec::Entry,
    id::{RunId, Sequence},
    plan::Concurrency,
    record::{Record, RunResult},
    subject::Family,
    time::{Span, Timestamp},
};

/// How many runs of a pipeline may wait; further ones are refused.
pub const MAX_QUEUED: usize = 20;

/// The runs of one pipeline, as far as they can be in each other's way.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PipelineFold {
    max_age: Span,
    /// By the place of their plan.
    runs: BTreeMap<Sequence, Known>,
    places: BTreeMap<RunId, Sequence>,
}

/// Where a run stands among the runs of its pipeline.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Standing {
    /// It may begin.
    Admitted {
        /// Its plan, or the Closed that freed it.
        at: Sequence,
    },
    /// It waits for its turn.
    Queued {
        /// The run that is in its way.
        behind: RunId,
        /// How many others wait before it.
        ahead: usize,
    },
    /// It may not begin.
    Refused {
        /// Its plan, the abort request, or the Closed that would have freed it.
        at: Sequence,
        /// Why, for a person.
        reason: String,
        /// Whether somebody asked for it to be cancelled while it was queued.
        cancelled: bool,
    },
}

/// What is known of a run.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Known {
    run: RunId,
    planned: Timestamp,
    /// Unknown while only the plan's heading was read, and of closed runs for ever.
    concurrency: Option<Concurrency>,
    /// What is too large in its plan, if anything is.
    excess: Option<String>,
    abort: Option<AbortRequest>,
    recorded: Option<Recorded>,
    closed: Option<Moment>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct AbortRequest {
    at: Sequence,
    by: String,
    reason: String,
}

/// What its admission slots or its Closed say of a run.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Recorded {
    Admitted {
        at: Sequence,
    },
    /// It waited until `at`, if that stands above its plan.
    Refused {
        seq: Sequence,
        at: Sequence,
        reason: String,
        cancelled: bool,
    },
}

impl Standing {
    /// The admission record that follows, if it is decided.
    pub fn record(&self) -> Option<Record> {
        match self {
            Self::Admitted { .. } => Some(Record::Admitted {}),
            Self::Queued { .. } => None,
            Self::Refused { at, reason, cancelled } => Some(Record::Refused {
                reason: reason.clone(),
                cancelled: *cancelled,
                at: Some(*at),
            }),
        }
    }
}

impl PipelineFold {
    /// A pipeline without runs; `max_age` is how long the log keeps a record.
    pub fn new(max_age: Span) -> Self {
        Self { max_age, runs: BTreeMap::new(), places: BTreeMap::new() }
    }

    /// The log keeps records for another time from now on.
    pub fn keep_for(&mut self, max_age: Span) {
        self.max_age = max_age;
    }

    /// A plan stands there; what it says was not read.
    pub fn heading(&mut self, run: &RunId, at: Moment) {
        self.place(run, at);
    }

    /// Takes what a record of one of the pipeline's runs means for admission.
    pub fn apply(&mut self, entry: &Entry) {
        let run = &entry.key.run;
        let Ok(stated) = &entry.content else {
            if entry.slot.family == Family::Plan {
                self.forget(run);
            }
            return;
        };
        let (seq, time) = (entry.seq, entry.time);
        if let Record::Plan { plan, .. } = &stated.record {
            let known = self.place(run, Moment { seq, time });
            (known.concurrency, known.excess) = (Some(plan.concurrency), plan.excess());
            return;
        }
        let above = self.places.get(run).filter(|place| **place < seq);
        let Some(known) = above.and_then(|place| self.runs.get_mut(place)) else { return };
        match &stated.record {
            Record::AbortRequested { by, reason } => {
                let request = AbortRequest { at: seq, by: by.clone(), reason: reason.clone() };
                known.abort = known.abort.take().filter(|first| first.at < seq).or(Some(request));
            }
            Record::Admitted {} => known.record(Recorded::Admitted { at: seq }),
            Record::Refused { reason, cancelled, at } => known.record(Recorded::Refused {
                seq,
                at: at.filter(|at| *at <= seq).unwrap_or(seq),
                reason: reason.clone(),
                cancelled: *cancelled,
            }),
            Record::Closed { at, result, .. } => known.close(Moment { seq, time }, *at, *result),
            _ => {}
        }
    }

    /// Where an open run stands; `None` if there is no such run.
    pub fn standing(&self, run: &RunId) -> Option<Standing> {
        self.standings().remove(run)
    }

    /// Where every open run stands.
    pub fn standings(&self) -> BTreeMap<RunId, Standing> {
        let open = |place: &Sequence| self.runs.get(place).filter(|known| known.closed.is_none());
        Walk::over(self)
            .standings
            .into_iter()
            .filter_map(|(place, standing)| Some((open(&place)?.run.clone(), standing)))
            .collect()
    }

    /// Where an Admitted was recorded although another run was in the way; it was followed.
    pub fn alarm(&self) -> Option<String> {
        Walk::over(self).alarm
    }

    /// The runs without a Closed, in the order of their plans, with their plans' places.
    pub fn open(&self) -> impl Iterator<Item = (&RunId, Sequence)> {
        let open = self.runs.iter().filter(|(_, known)| known.closed.is_none());
        open.map(|(place, known)| (&known.run, *place))
    }

    /// Forgets what can no longer be in anybody's way. To be called only when everything up to
    /// one position has been applied, since what comes later is taken to stand above that.
    ///
    /// Headings whose plan was never read are forgotten too: it has expired, and a run without
    /// its plan is ignored.
    pub fn settle(&mut self) {
        self.runs.retain(|_, known| known.closed.is_some() || known.concurrency.is_some());
        let waiting = |known: &&Known| known.closed.is_none() && known.recorded.is_none();
        let waiting: BTreeSet<Sequence> =
            self.runs.iter().filter(|(_, known)| waiting(known)).map(|(place, _)| *place).collect();
        self.runs.retain(|place, known| match (known.closed, known.waited_until(*place)) {
            (None, _) => true,
            (Some(_), Some(until)) => waiting.range(place..&until).next().is_some(),
            (Some(closed), None) => {
                !known.is_refused() && waiting.first().is_some_and(|first| *first < closed.seq)
            }
        });
        self.places.retain(|_, place| self.runs.contains_key(place));
    }

    /// Whether nothing is left to remember.
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    fn place(&mut self, run: &RunId, at: Moment) -> &mut Known {
        let place = *self.places.entry(run.clone()).or_insert(at.seq);
        self.runs.entry(place).or_insert_with(|| Known {
            run: run.clone(),
            planned: at.time,
            concurrency: None,
            excess: None,
            abort: None,
            recorded: None,
            closed: None,
        })
    }

    /// Rubbish in `plan` means that there is no such run.
    fn forget(&mut self, run: &RunId) {
        if let Some(place) = self.places.remove(run) {
            self.runs.remove(&place);
        }
    }
}

impl Known {
    /// The first in stream order counts.
    fn record(&mut self, recorded: Recorded) {
        if self.recorded.as_ref().is_none_or(|earlier| recorded.seq() < earlier.seq()) {
            self.recorded = Some(recorded);
        }
    }

    fn close(&mut self, closed: Moment, at: Sequence, result: RunResult) {
        if self.closed.is_some_and(|earlier| earlier.seq <= closed.seq) {
            return;
        }
        self.closed = Some(closed);
        if result == RunResult::Refused && !self.is_refused() {
            let (seq, reason) = (closed.seq, String::new());
            self.recorded = Some(Recorded::Refused { seq, at, reason, cancelled: false });
        }
    }

    fn is_refused(&self) -> bool {
        matches!(self.recorded, Some(Recorded::Refused { .. }))
    }

    /// Where it stopped waiting, if it waited and was refused all the same.
    fn waited_until(&self, place: Sequence) -> Option<Sequence> {
        match self.recorded {
            Some(Recorded::Refused { at, .. }) => Some(at).filter(|at| *at > place),
            _ => None,
        }
    }

    /// Whether it is a fact that it was admitted: recorded, or closed as anything but refused.
    fn was_admitted(&self) -> bool {
        matches!(self.recorded, Some(Recorded::Admitted { .. }))
            || (self.closed.is_some() && !self.is_refused())
    }
}

impl Recorded {
    fn seq(&self) -> Sequence {
        match self {
            Self::Admitted { at } => *at,
            Self::Refused { seq, .. } => *seq,
        }
    }
}
