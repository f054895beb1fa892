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
    intern::Interned,
    ledger::{Ledger, Writer, writer},
    offers::Meaning,
    state::{AGENTS, Move, Offer, State, Step},
};
use crate::{
    plans::Sketch,
    sim::{
        Invariant, Violation,
        judge::{Summary, goes_back},
    },
};

/// Everything that is the same for all states.
pub(super) struct Model {
    pub(super) settings: Settings,
    pub(super) agents: Agents,
    pub(super) cells: Interned<Cell>,
    logs: Interned<Ledger>,
    offers: Interned<Vec<Offer>>,
    records: Interned<Record>,
    meanings: FxHashMap<u32, Arc<Meaning>>,
    /// The log after an offer of it landed.
    landed: FxHashMap<(u32, Offer), u32>,
    /// The offers after a move that led to a log.
    offered: FxHashMap<(u32, u32), u32>,
    /// What became of an agent's steps: they depend on itself and the log alone.
    pub(super) steps: FxHashMap<(u32, u32, Step), (u32, u32)>,
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
        Self {
            on_failure: plan.on_failure,
            agents: Agents::new(key, plan, settings.sabotage),
            settings,
            cells: Interned::new(),
            logs: Interned::new(),
            offers: Interned::new(),
            records: Interned::new(),
            meanings: FxHashMap::default(),
            landed: FxHashMap::default(),
            offered: FxHashMap::default(),
            steps: FxHashMap::default(),
        }
    }

    pub(super) fn begin(&mut self) -> Result<State, Violation> {
        let plan = Box::new(plan_of(&self.settings.sketch));
        let record = Record::Plan { plan, submitted_by: "ada".to_owned() };
        let log = self.logs.number(Ledger::new(&self.agents.key, record, NOW));
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
            return Ok(meaning.clone());
        }
        let budget = self.settings.budget;
        let with_time = budget.clocks > 0 || budget.void_clocks > 0;
        let ledger = self.logs.of(log);
        let meaning = Meaning::of(&ledger, &self.agents.key, self.settings.sabotage, with_time)?;
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
        }
        moves.extend(self.offers.of(state.offers).iter().cloned().map(Move::Offer));
        clocks(state, &meaning, &mut moves);
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
            Move::Clock(slot, record, after) => {
                let void = *after < 0;
                next.budget.void_clocks -= u8::from(void);
                next.budget.clocks -= u8::from(!void);
                next.log = self.clock(state.log, slot, record, *after)?;
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

    fn clock(
        &mut self,
        log: u32,
        slot: &Slot,
        record: &Record,
        after: i64,
    ) -> Result<u32, Violation> {
        let meaning = self.meaning(log)?;
        let due = meaning.clocks.iter().find(|(_, clock, _)| clock == record);
        let now = self.log(log).time();
        let time = due.map_or(now, |(.., due)| Timestamp(due.0.saturating_add_signed(after)));
        let time = time.max(now);
        if after == 0 {
            // When it is due and after it are the same to everybody, which is looked at here; so
            // the story goes on with the one.
            let late = Timestamp(time.0 + 1);
            let (late, _) = self.append(log, slot.clone(), record.clone(), late, 0)?;
            let (due, _) = self.append(log, slot.clone(), record.clone(), time, 0)?;
            let (late, due) = (self.meaning(late)?, self.meaning(due)?);
            if Summary::of(&late.fold) != Summary::of(&due.fold) || late.due != due.due {
                let text = format!("{record:?} means something else a moment later");
                return Err(Violation::of(Invariant::DecisionsStand, text));
            }
        }
        let (log, _) = self.append(log, slot.clone(), record.clone(), time, 0)?;
        Ok(log)
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
    /// A barrier's Aborted lands at once: agents go by the verdict of the run, or their own, which
    /// stands below it; nothing but Closed waits for it, and Closed waits as well by not landing.
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
        let barrier = matches!(offer.slot.family, Family::BarrierVerdict(_));
        let aborted = matches!(*self.records.of(offer.record), Record::Aborted { .. });
        barrier && aborted && meaning.fold.recorded().is_some()
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

/// The clocks that may run out here, and the agents that may be lost.
fn clocks(state: &State, meaning: &Meaning, moves: &mut Vec<Move>) {
    let mut push = |slot: &Slot, record: &Record, after| {
        moves.push(Move::Clock(slot.clone(), Box::new(record.clone()), after));
    };
    if state.budget.clocks > 0 {
        meaning.lost.iter().for_each(|(slot, record)| push(slot, record, 0));
        for (slot, record, _) in &meaning.clocks {
            push(slot, record, 0);
        }
    }
    if state.budget.void_clocks > 0 {
        meaning.clocks.iter().for_each(|(slot, record, _)| push(slot, record, -1));
        for (slot, record) in &meaning.lost {
            if let Record::AgentLost { workflow, epoch, last } = record {
                let (workflow, epoch, last) = (workflow.clone(), *epoch, last - 1);
                push(slot, &Record::AgentLost { workflow, epoch, last }, -1);
            }
        }
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
