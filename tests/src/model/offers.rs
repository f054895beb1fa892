//! What coordinators write: the real core, fresh at a log, asked at once and after a while.

use std::collections::BTreeMap;

use lockstep_coordinator_core::{Append, Coordinator, Event, SILENT_FOR};
use lockstep_shared::{
    fold::RunFold,
    id::{RunKey, WorkflowName},
    record::Record,
    subject::{Family, Slot},
    time::{Span, Timestamp},
};

use super::ledger::Ledger;
use crate::sim::{Invariant, Sabotage, Violation};

/// How long the log keeps a record.
const MAX_AGE: Span = Span::minutes(30 * 24 * 60);

/// A coordinator is called more often than this, else it takes itself for paused.
const TICK: Span = Span::seconds(4);

/// What a log means, and what a coordinator that has read it writes.
#[derive(Debug)]
pub(super) struct Meaning {
    pub(super) fold: RunFold,
    /// What is due by the log alone.
    pub(super) due: Vec<(Slot, Record)>,
    /// Agents that may be recorded as lost.
    pub(super) lost: Vec<(Slot, Record)>,
    /// Clocks that run, with when they run out.
    pub(super) clocks: Vec<(Slot, Record, Timestamp)>,
}

impl Meaning {
    /// Works out what a log means.
    pub(super) fn of(
        log: &Ledger,
        key: &RunKey,
        sabotage: Option<Sabotage>,
        with_time: bool,
    ) -> Result<Self, Violation> {
        let fold = log.fold(key);
        let now = log.time();
        let mut core = Coordinator::new(MAX_AGE);
        for entry in log.entries() {
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
        let mut meaning =
            Self { due: sent(decisions.send), lost: Vec::new(), clocks: Vec::new(), fold };
        if with_time && open {
            meaning.time_passes(&core, now)?;
        }
        Ok(meaning)
    }

    /// What may be written when time passes: each silent agent is lost, each clock runs out.
    fn time_passes(&mut self, core: &Coordinator, now: Timestamp) -> Result<(), Violation> {
        let watched: BTreeMap<WorkflowName, u32> =
            self.fold.watches().into_iter().map(|watch| (watch.workflow, watch.epoch)).collect();
        for silent in watched.keys() {
            let mut beating = watched.clone();
            beating.remove(silent);
            let until = now.after(SILENT_FOR).after(TICK);
            let sent = wait(core.clone(), &self.fold, &beating, now, until);
            self.lost.extend(sent.into_iter().filter(|(_, record)| {
                matches!(record, Record::AgentLost { workflow, .. } if workflow == silent)
            }));
        }
        let slot = self.fold.next_slot(&Family::Clock);
        let clocks = self.fold.clocks();
        let record = |deadline| Record::DeadlinePassed { deadline };
        self.clocks = clocks
            .iter()
            .map(|clock| (slot.clone(), record(clock.deadline.clone()), clock.due))
            .collect();
        // Which clock is the first to run out is the plan's choice. The core must write that one.
        let Some(first) = clocks.iter().map(|clock| clock.due).min() else { return Ok(()) };
        let sent = wait(core.clone(), &self.fold, &watched, now, first.after(TICK));
        let deadlines = self.clocks.iter().filter(|(.., due)| *due == first);
        if deadlines.clone().any(|(_, record, _)| sent.iter().any(|(_, sent)| sent == record)) {
            return Ok(());
        }
        let text = format!("{clocks:?} run out and nobody writes it, but {sent:?}");
        Err(Violation::of(Invariant::SomethingIsAwaited, text))
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
