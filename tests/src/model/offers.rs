//! What coordinators write: the real core, fresh at a log, asked at once and after a while.

use std::collections::BTreeMap;

use lockstep_coordinator_core::{Append, Coordinator, Event, SILENT_FOR};
use lockstep_shared::{
    codec::Entry,
    fold::{Clock, RunFold},
    id::{RunKey, WorkflowName},
    plan::OnFailure,
    record::Record,
    subject::{Family, Slot},
    time::{Span, Timestamp},
};

use super::ledger::Ledger;
use crate::sim::{Invariant, Sabotage, Violation, judge::Summary};

/// How long the log keeps a record.
const MAX_AGE: Span = Span::minutes(30 * 24 * 60);

/// A coordinator is called more often than this, else it takes itself for paused.
const TICK: Span = Span::seconds(4);

/// A fold and a coordinator that have read the plan and nothing else: where every log begins.
#[derive(Debug, Clone)]
pub(super) struct Beginning {
    fold: RunFold,
    core: Coordinator,
}

impl Beginning {
    pub(super) fn of(key: &RunKey, plan: &Entry) -> Self {
        let mut fold = RunFold::new(key.clone());
        fold.apply(plan);
        let mut core = Coordinator::new(MAX_AGE);
        core.step(Event::Entry(Box::new(plan.clone())), plan.time);
        Self { fold, core }
    }
}

/// What a log means, and what a coordinator that has read it writes.
#[derive(Debug)]
pub(super) struct Meaning {
    pub(super) fold: RunFold,
    /// What is due by the log alone.
    pub(super) due: Vec<(Slot, Record)>,
    /// What time may bring, with when: agents that are lost, clocks that run out.
    pub(super) clocks: Vec<(Slot, Record, Timestamp)>,
}

impl Meaning {
    /// Works out what a log means.
    pub(super) fn of(
        log: &Ledger,
        beginning: &Beginning,
        sabotage: Option<Sabotage>,
        with_time: bool,
    ) -> Result<Self, Violation> {
        let now = log.time();
        let Beginning { mut fold, mut core } = beginning.clone();
        for entry in log.entries().skip(1) {
            fold.apply(entry);
            core.step(Event::Entry(Box::new(entry.clone())), now);
        }
        let mut decisions = core.step(Event::CaughtUp, now);
        if let Some(sabotage) = sabotage {
            sabotage.coordinated(&mut decisions, 0);
        }
        let open = fold.plan().is_some() && fold.closed().is_none();
        if open && decisions.wake.is_none() {
            let text = "a coordinator has an open run and waits for nothing";
            return Err(Violation::of(Invariant::SomethingIsAwaited, text));
        }
        let mut meaning = Self { due: sent(decisions.send), clocks: Vec::new(), fold };
        if with_time && open {
            let lost = meaning.lost(&core, now);
            let clocks = meaning.run_out(&core, now)?;
            meaning.clocks = Times { log, fold: &meaning.fold, now }.that_matter(lost, clocks)?;
        }
        Ok(meaning)
    }

    /// What is written of each watched agent when it alone falls silent.
    fn lost(&self, core: &Coordinator, now: Timestamp) -> Vec<(Slot, Record)> {
        let watched = self.watched();
        let until = now.after(SILENT_FOR).after(TICK);
        let mut lost = Vec::new();
        for silent in watched.keys() {
            let mut beating = watched.clone();
            beating.remove(silent);
            let sent = wait(core.clone(), &self.fold, &beating, now, until);
            lost.extend(sent.into_iter().filter(|(_, record)| {
                matches!(record, Record::AgentLost { workflow, .. } if workflow == silent)
            }));
        }
        lost
    }

    /// Every clock that runs, with its record and when it runs out.
    fn run_out(
        &self,
        core: &Coordinator,
        now: Timestamp,
    ) -> Result<Vec<(Slot, Record, Timestamp)>, Violation> {
        let slot = self.fold.next_slot(&Family::Clock);
        let running = self.fold.clocks();
        let record = |deadline| Record::DeadlinePassed { deadline };
        let clocks: Vec<_> = running
            .iter()
            .map(|clock| (slot.clone(), record(clock.deadline.clone()), clock.due))
            .collect();
        // Which clock is the first to run out is the plan's choice. The core must write that one.
        let Some(first) = running.iter().map(|clock| clock.due).min() else { return Ok(clocks) };
        let sent = wait(core.clone(), &self.fold, &self.watched(), now, first.after(TICK));
        let mut deadlines = clocks.iter().filter(|(.., due)| *due == first);
        if deadlines.any(|(_, record, _)| sent.iter().any(|(_, sent)| sent == record)) {
            return Ok(clocks);
        }
        let text = format!("{running:?} run out and nobody writes it, but {sent:?}");
        Err(Violation::of(Invariant::SomethingIsAwaited, text))
    }

    fn watched(&self) -> BTreeMap<WorkflowName, u32> {
        self.fold.watches().into_iter().map(|watch| (watch.workflow, watch.epoch)).collect()
    }
}

/// What clock records would mean if they were stored next.
struct Times<'a> {
    log: &'a Ledger,
    fold: &'a RunFold,
    now: Timestamp,
}

impl Times<'_> {
    /// The records that change something when they are due. In the other two classes of time
    /// each must mean what it has to: before it is due nothing, after it the same.
    fn that_matter(
        &self,
        lost: Vec<(Slot, Record)>,
        clocks: Vec<(Slot, Record, Timestamp)>,
    ) -> Result<Vec<(Slot, Record, Timestamp)>, Violation> {
        let mut matter = Vec::new();
        for (slot, record) in lost {
            if let Record::AgentLost { workflow, epoch, last } = &record {
                let (workflow, epoch, last) = (workflow.clone(), *epoch, last - 1);
                let outdated = Record::AgentLost { workflow, epoch, last };
                self.expect(&slot, &outdated, self.now, &Imports::of(self.fold))?;
            }
            if self.stored(&slot, &record, self.now) != Imports::of(self.fold) {
                matter.push((slot, record, self.now));
            }
        }
        for (slot, record, due) in clocks {
            let early = Timestamp(due.0.saturating_sub(1));
            if early >= self.now {
                self.expect(&slot, &record, early, &Imports::of(self.fold))?;
            }
            let due = due.max(self.now);
            let changed = self.stored(&slot, &record, due);
            self.expect(&slot, &record, Timestamp(due.0 + 1), &changed)?;
            if changed != Imports::of(self.fold) {
                matter.push((slot, record, due));
            }
        }
        Ok(matter)
    }

    fn expect(
        &self,
        slot: &Slot,
        record: &Record,
        time: Timestamp,
        expected: &Imports,
    ) -> Result<(), Violation> {
        let found = self.stored(slot, record, time);
        if found == *expected {
            return Ok(());
        }
        let text = format!("{record:?} stored at {time:?} means {found:?}, not {expected:?}");
        Err(Violation::of(Invariant::DecisionsStand, text))
    }

    fn stored(&self, slot: &Slot, record: &Record, time: Timestamp) -> Imports {
        let mut fold = self.fold.clone();
        let (slot, record) = (slot.clone(), record.clone());
        fold.apply(&self.log.next(self.fold.key(), slot, record, time, 0, OnFailure::RollbackAll));
        Imports::of(&fold)
    }
}

/// All of a fold that anybody acts on.
#[derive(Debug, PartialEq, Eq)]
struct Imports {
    decided: Summary,
    due: Vec<(Slot, Record)>,
    clocks: Vec<Clock>,
}

impl Imports {
    fn of(fold: &RunFold) -> Self {
        Self { decided: Summary::of(fold), due: fold.due(), clocks: fold.clocks() }
    }
}

fn sent(appends: Vec<Append>) -> Vec<(Slot, Record)> {
    appends.into_iter().map(|append| (append.slot, append.record)).collect()
}

/// What a coordinator sends for clock slots until an instant, while these agents beat.
fn wait(
    mut core: Coordinator,
    fold: &RunFold,
    beating: &BTreeMap<WorkflowName, u32>,
    mut now: Timestamp,
    until: Timestamp,
) -> Vec<(Slot, Record)> {
    let mut all = Vec::new();
    while now < until {
        now = now.after(TICK);
        for (workflow, epoch) in beating {
            let (key, workflow) = (fold.key().clone(), workflow.clone());
            let beat = Event::Beat { key, workflow, epoch: *epoch };
            all.extend(sent(core.step(beat, now).send));
        }
        all.extend(sent(core.step(Event::Woke, now).send));
    }
    all.retain(|(slot, _)| slot.family == Family::Clock);
    all
}
