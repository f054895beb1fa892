//! What an agent's steps lead to: its next state and, where it writes, the next log.
//!
//! Neither depends on anything but the agent and the log, so each is worked out once.

use lockstep_agent_core::{Act, Appended, Event, Report};
use lockstep_shared::subject::Slot;

use super::{
    cell::{Cell, Held},
    ledger::writer,
    moves::Model,
    state::Step,
};
use crate::sim::{Sabotage, Violation};

impl Model {
    /// The agent and the log after a step.
    pub(super) fn step(
        &mut self,
        cell: u32,
        log: u32,
        step: Step,
    ) -> Result<(u32, u32), Violation> {
        if let Some(known) = self.steps.get(&(cell, log, step)) {
            return Ok(known);
        }
        let mut next = (*self.cells.of(cell)).clone();
        let log_after = self.work_out(&mut next, log, step)?;
        let after = (self.cells.number(next), log_after);
        self.steps.insert((cell, log, step), after);
        Ok(after)
    }

    fn work_out(&mut self, cell: &mut Cell, log: u32, step: Step) -> Result<u32, Violation> {
        let meaning = self.meaning(log)?;
        match step {
            Step::Read => {
                let ledger = self.log(log);
                self.agents.read(cell, &ledger, &meaning.fold)?;
            }
            Step::Land(at) => return self.land(cell, log, at, true),
            Step::LandInDoubt(at) => return self.land(cell, log, at, false),
            Step::Doubt(at) => {
                cell.sent[at].awaited = false;
                let slot = cell.sent[at].slot.clone();
                self.in_doubt(cell, log, slot)?;
            }
            Step::Report(success) => self.report(cell, log, success)?,
            Step::Crash(done) => crash(cell, done),
            Step::Restart => self.agents.start(cell, &meaning.fold)?,
            Step::Pause => {
                cell.pauses += 1;
                cell.pauses_left -= 1;
                self.agents.tell(cell, Event::Woke, &meaning.fold)?;
            }
        }
        Ok(log)
    }

    fn land(
        &mut self,
        cell: &mut Cell,
        log: u32,
        at: usize,
        answered: bool,
    ) -> Result<u32, Violation> {
        let sent = cell.sent.remove(at);
        let taken = self.log(log).slot(&sent.slot).map(|entry| entry.seq);
        let (log, outcome) = match taken {
            Some(seq) => (log, Appended::Taken(seq)),
            None => {
                self.agents.check_report(cell, &sent.record)?;
                let time = self.log(log).time();
                let by = writer(cell.index);
                let (log, seq) = self.append(log, sent.slot.clone(), sent.record, time, by)?;
                (log, Appended::Stored(seq))
            }
        };
        if sent.awaited && answered {
            let meaning = self.meaning(log)?;
            let event = Event::Appended { slot: sent.slot, outcome };
            self.agents.tell(cell, event, &meaning.fold)?;
        } else if sent.awaited {
            self.in_doubt(cell, log, sent.slot)?;
        }
        Ok(log)
    }

    fn in_doubt(&mut self, cell: &mut Cell, log: u32, slot: Slot) -> Result<(), Violation> {
        let meaning = self.meaning(log)?;
        cell.pauses_left += 1;
        let event = Event::Appended { slot, outcome: Appended::InDoubt };
        self.agents.tell(cell, event, &meaning.fold)
    }

    fn report(&mut self, cell: &mut Cell, log: u32, success: bool) -> Result<(), Violation> {
        let meaning = self.meaning(log)?;
        let sabotage = self.settings.sabotage;
        let Some((act, stopped)) = cell.order.take() else { return Ok(()) };
        cell.pauses_left += u8::from(!success && !stopped);
        let (error, output) = ("exit status 1".to_owned(), String::new());
        let report = match (act, success) {
            (Act::Prepare, true) => Report::Prepared { view: None },
            (Act::Prepare, false) => Report::PrepareFailed { error, output },
            (Act::Start { step, attempt }, true) => {
                if sabotage != Some(Sabotage::ForgetStart) {
                    cell.hold(step, Held::Whole);
                }
                Report::Finished { step, attempt, told: output.into() }
            }
            (Act::Start { step, attempt }, false) => {
                Report::Failed { step, attempt, error, output }
            }
            (Act::Undo { step }, true) => {
                if sabotage != Some(Sabotage::ForgetUndo) {
                    cell.hold(step, Held::Nothing);
                }
                Report::Undone { step, residue: Vec::new(), output: String::new() }
            }
            (Act::Undo { step }, false) => {
                Report::UndoFailed { step, error, left: Vec::new(), output: String::new() }
            }
            _ => Report::Finalized { warnings: Vec::new() },
        };
        self.agents.tell(cell, Event::Reported(report), &meaning.fold)
    }
}

/// An agent dies: what it sent may still come; what it was doing is done, or half done.
fn crash(cell: &mut Cell, done: bool) {
    cell.core = None;
    for sent in &mut cell.sent {
        sent.awaited = false;
    }
    match cell.order.take() {
        Some((Act::Start { step, .. }, _)) if done => cell.hold(step, Held::Whole),
        Some((Act::Undo { step }, _)) if done => cell.hold(step, Held::Nothing),
        _ => {}
    }
    (cell.read, cell.wants_reading, cell.pauses, cell.pauses_left) = (0, false, 0, 0);
}
