//! What may happen in a state, and what it leads to.

use std::sync::Arc;

use lockstep_agent_core::Act;
use lockstep_shared::{
    fold::RunFold,
    id::{RunKey, Sequence},
    plan::{OnFailure, Plan},
    record::Record,
    subject::{Family, Slot},
    time::{Span, Timestamp},
};
use rustc_hash::FxHashMap;

use super::{
    Settings,
    agents::{Agents, NOW},
    cell::Cell,
    intern::{Interned, Recent},
    ledger::{Ledger, Writer, writer},
    offers::{Beginning, Meaning},
    state::{AGENTS, Move, Offer, State, Step},
};
use crate::{
    plans::Sketch,
    sim::{
        Invariant, Violation,
        judge::{Summary, goes_back},
    },
};

/// How many meanings of logs are kept, about 25 KiB each.
const KEPT_MEANINGS: usize = 20_000;

/// How many steps of agents are kept, about 40 bytes each.
const KEPT_STEPS: usize = 5_000_000;

/// The number of the log that holds the plan and nothing else.
const FIRST_LOG: u32 = 0;

/// Everything that is the same for all states.
pub(super) struct Model {
    pub(super) settings: Settings,
    pub(super) agents: Agents,
    pub(super) cells: Interned<Cell>,
    logs: Interned<Ledger>,
    offers: Interned<Vec<Offer>>,
    records: Interned<Record>,
    beginning: Beginning,
    meanings: Recent<u32, Arc<Meaning>>,
    /// The log after an offer of it landed.
    landed: FxHashMap<(u32, Offer), u32>,
    /// The offers after a move that led to a log.
    offered: FxHashMap<(u32, u32), u32>,
    /// What became of an agent's steps: they depend on itself and the log alone.
    pub(super) steps: Recent<(u32, u32, Step), (u32, u32)>,
    on_failure: OnFailure,
}

/// The plan, with all clocks as short as a coordinator's patience: which one runs out first is
/// not left to them.
fn plan_of(sketch: &Sketch) -> Plan {
    let mut plan = sketch.plan();
    let span = Span::seconds(20);
    plan.timeouts.join = span;
    plan.timeouts.prepare = span;
    plan.timeouts.run = span;
    plan.timeouts.ending = span;
    for barrier in plan.barriers.values_mut() {
        barrier.timeout = span;
    }
    plan
}

impl Model {
    pub(super) fn new(settings: Settings) -> Self {
        let plan = plan_of(&settings.sketch);
        let run = "r0".parse().expect("the name is valid");
        let key = RunKey { pipeline: plan.pipeline.clone(), run };
        let submitted =
            Record::Plan { plan: Box::new(plan.clone()), submitted_by: "ada".to_owned() };
        let first = Ledger::new(&key, submitted, NOW);
        let planned = first.entries().next().expect("a log begins with its plan");
        let beginning = Beginning::of(&key, planned);
        let mut logs = Interned::new();
        logs.number(first);
        Self {
            on_failure: plan.on_failure,
            beginning,
            agents: Agents::new(key, plan, settings.sabotage),
            settings,
            cells: Interned::new(),
            logs,
            offers: Interned::new(),
            records: Interned::new(),
            meanings: Recent::new(KEPT_MEANINGS),
            landed: FxHashMap::default(),
            offered: FxHashMap::default(),
            steps: Recent::new(KEPT_STEPS),
        }
    }

    pub(super) fn begin(&mut self) -> Result<State, Violation> {
        let log = FIRST_LOG;
        let offers = self.offers.number(Vec::new());
        let meaning = self.meaning(log)?;
        let mut cells = [0; AGENTS];
        for (index, number) in cells.iter_mut().enumerate() {
            let mut cell = Cell::new(index, self.agents.steps(index));
            self.agents.start(&mut cell, &meaning.fold)?;
            *number = self.cells.number(cell);
        }
        self.offer(State { log, cells, offers, budget: self.settings.budget })
    }

    pub(super) fn counts(&self) -> (usize, usize) {
        (self.logs.count(), self.agents.count())
    }

    pub(super) fn log(&self, log: u32) -> Arc<Ledger> {
        self.logs.of(log)
    }

    pub(super) fn cell(&self, state: &State, index: usize) -> Arc<Cell> {
        self.cells.of(state.cells[index])
    }

    pub(super) fn meaning(&mut self, log: u32) -> Result<Arc<Meaning>, Violation> {
        if let Some(meaning) = self.meanings.get(&log) {
            return Ok(meaning);
        }
        let with_time = self.settings.time;
        let ledger = self.logs.of(log);
        let meaning = Meaning::of(&ledger, &self.beginning, self.settings.sabotage, with_time)?;
        let meaning = Arc::new(meaning);
        self.meanings.insert(log, meaning.clone());
        Ok(meaning)
    }

    /// What may happen.
    pub(super) fn moves(&mut self, state: &State) -> Result<Vec<Move>, Violation> {
        let meaning = self.meaning(state.log)?;
        let log = self.log(state.log);
        let mut moves = Vec::new();
        for index in 0..AGENTS {
            let cell = self.cell(state, index);
            let mut steps = Vec::new();
            self.steps_of(state, &cell, &log, &mut steps);
            moves.extend(steps.into_iter().map(|step| Move::Agent(index, step)));
            // After Closed they cannot tell the order of each other's steps.
            if meaning.fold.closed().is_some() && !moves.iter().all(Move::is_fault) {
                return Ok(moves);
            }
        }
        moves.extend(self.offers.of(state.offers).iter().cloned().map(Move::Offer));
        let clocks = meaning.clocks.iter().cloned();
        moves.extend(clocks.map(|(slot, record, time)| Move::Clock(slot, record.into(), time)));
        if state.budget.aborts > 0 && meaning.fold.closed().is_none() {
            moves.push(Move::Abort);
        }
        Ok(moves)
    }

    fn steps_of(&self, state: &State, cell: &Cell, log: &Ledger, steps: &mut Vec<Step>) {
        let budget = state.budget;
        for (at, sent) in cell.sent.iter().enumerate() {
            steps.push(Step::Land(at));
            if sent.awaited && budget.doubts > 0 {
                steps.push(Step::Doubt(at));
                if log.slot(&sent.slot).is_none() {
                    steps.push(Step::LandInDoubt(at));
                }
            }
        }
        if cell.core.is_none() {
            steps.push(Step::Restart);
            return;
        }
        if cell.wants_reading || log.end_for(writer(cell.index)) > cell.read {
            steps.push(Step::Read);
        }
        if let Some((act, stopped)) = &cell.order {
            steps.push(Step::Report(true));
            if !matches!(act, Act::Finalize) && (*stopped || budget.failures > 0) {
                steps.push(Step::Report(false));
            }
        }
        if cell.pauses_left > 0 && !cell.wants_reading {
            steps.push(Step::Pause);
        }
        if budget.crashes > 0 && !self.agents.is_over(cell) {
            steps.push(Step::Crash(true));
            if matches!(cell.order, Some((Act::Start { .. } | Act::Undo { .. }, _))) {
                steps.push(Step::Crash(false));
            }
        }
    }

    /// The state after a move.
    pub(super) fn after(&mut self, state: &State, chosen: &Move) -> Result<State, Violation> {
        let mut next = *state;
        match chosen {
            Move::Agent(index, step) => {
                self.spend(&mut next, *index, *step);
                let (cell, log) = self.step(state.cells[*index], state.log, *step)?;
                next.cells[*index] = cell;
                next.log = log;
            }
            Move::Offer(offer) => next.log = self.land_offer(state.log, offer)?,
            Move::Clock(slot, record, time) => {
                let record = (**record).clone();
                (next.log, _) = self.append(state.log, slot.clone(), record, *time, 0)?;
            }
            Move::Abort => {
                next.budget.aborts -= 1;
                let slot = self.meaning(state.log)?.fold.next_slot(&Family::Request);
                let (by, reason) = ("ada".to_owned(), "no".to_owned());
                let record = Record::AbortRequested { by, reason };
                let time = self.log(state.log).time();
                (next.log, _) = self.append(state.log, slot, record, time, 0)?;
            }
        }
        self.offer(next)
    }

    fn land_offer(&mut self, log: u32, offer: &Offer) -> Result<u32, Violation> {
        if let Some(after) = self.landed.get(&(log, offer.clone())) {
            return Ok(*after);
        }
        let record = (*self.records.of(offer.record)).clone();
        let time = self.log(log).time();
        let (after, _) = self.append(log, offer.slot.clone(), record, time, 0)?;
        self.landed.insert((log, offer.clone()), after);
        Ok(after)
    }

    fn spend(&self, next: &mut State, index: usize, step: Step) {
        match step {
            Step::Doubt(_) | Step::LandInDoubt(_) => next.budget.doubts -= 1,
            Step::Crash(_) => next.budget.crashes -= 1,
            Step::Report(false) => {
                let stopped = self.cell(next, index).order.as_ref().is_some_and(|order| order.1);
                next.budget.failures -= u8::from(!stopped);
            }
            Step::Report(true) | Step::Read | Step::Land(_) | Step::Restart | Step::Pause => {}
        }
    }

    /// A record is stored, and what was decided before must still be.
    pub(super) fn append(
        &mut self,
        log: u32,
        slot: Slot,
        record: Record,
        time: Timestamp,
        by: Writer,
    ) -> Result<(u32, Sequence), Violation> {
        let before = Summary::of(&self.meaning(log)?.fold);
        let mut ledger = (*self.log(log)).clone();
        let text = format!("{slot} {record:?}");
        let seq = ledger.append(&self.agents.key, slot, record, time, by, self.on_failure);
        let log = self.logs.number(ledger);
        let meaning = self.meaning(log)?;
        if let Some(lost) = before.lost_in(&Summary::of(&meaning.fold)) {
            return Err(Violation::of(Invariant::DecisionsStand, format!("{text}: {lost}")));
        }
        if let Some(alarm) = meaning.fold.alarm() {
            return Err(Violation::of(Invariant::VerdictsFollow, alarm));
        }
        is_awaited(&meaning)?;
        Ok((log, seq))
    }

    /// Adds what coordinators send now, and drops what has lost its slot.
    ///
    /// Two kinds land at once. A barrier's Aborted: agents go by the verdict of the run, or their
    /// own, which stands below it, and nothing but Closed waits for it. And Closed: see `model`.
    fn offer(&mut self, mut next: State) -> Result<State, Violation> {
        let from = (next.log, next.offers);
        if let Some(offers) = self.offered.get(&from) {
            next.offers = *offers;
            return Ok(next);
        }
        let meaning = self.meaning(next.log)?;
        let log = self.log(next.log);
        let mut offers = (*self.offers.of(next.offers)).clone();
        for (slot, record) in &meaning.due {
            let offer = Offer { slot: slot.clone(), record: self.records.number(record.clone()) };
            if !offers.contains(&offer) {
                offers.push(offer);
            }
        }
        offers.retain(|offer| log.slot(&offer.slot).is_none());
        offers.sort();
        if let Some(pair) = offers.windows(2).find(|pair| pair[0].slot == pair[1].slot) {
            let (one, two) = (self.records.of(pair[0].record), self.records.of(pair[1].record));
            let text = format!("{}: {one:?} and {two:?}", pair[0].slot);
            return Err(Violation::of(Invariant::OneVerdict, text));
        }
        if let Some(eager) = offers.iter().find(|offer| self.is_eager(offer, &meaning)) {
            next.log = self.land_offer(next.log, &eager.clone())?;
            next.offers = self.offers.number(offers);
            return self.offer(next);
        }
        next.offers = self.offers.number(offers);
        self.offered.insert(from, next.offers);
        Ok(next)
    }

    fn is_eager(&self, offer: &Offer, meaning: &Meaning) -> bool {
        match (&offer.slot.family, &*self.records.of(offer.record)) {
            (Family::BarrierVerdict(_), Record::Aborted { .. }) => {
                meaning.fold.recorded().is_some()
            }
            (Family::Closed, _) => true,
            _ => false,
        }
    }

    /// What must hold where nothing but faults can happen any more.
    pub(super) fn check_end(&mut self, state: &State) -> Result<(), Violation> {
        let meaning = self.meaning(state.log)?;
        let fold = &meaning.fold;
        if fold.closed().is_none() {
            let text = format!("{:?}, and nothing happens any more", fold.decision());
            return Err(Violation::of(Invariant::EveryRunCloses, text));
        }
        for index in 0..AGENTS {
            let cell = self.cell(state, index);
            let workflow = &self.agents.workflows[index];
            let reported = fold.workflows()[workflow].ended.is_some();
            if goes_back(fold, workflow) && !cell.is_clean() && !reported {
                let text = format!("{workflow} holds {:?}, and nobody says so", cell.held);
                return Err(Violation::of(Invariant::AbortIsUndone, text));
            }
        }
        Ok(())
    }
}

/// An open run has a clock, or something that is due.
fn is_awaited(meaning: &Meaning) -> Result<(), Violation> {
    let fold: &RunFold = &meaning.fold;
    let waits = !fold.clocks().is_empty() || !fold.due().is_empty() || !meaning.due.is_empty();
    if fold.plan().is_none() || fold.closed().is_some() || waits {
        return Ok(());
    }
    let text = "the run is open, no clock runs and nothing is due";
    Err(Violation::of(Invariant::SomethingIsAwaited, text))
}
