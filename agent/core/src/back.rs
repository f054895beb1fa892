//! The way back: undo what was started, last step first, and say what came of it (PROTOCOL
//! section 7, "Undo").

use std::collections::BTreeSet;

use lockstep_shared::{
    id::{Sequence, StepIndex},
    plan::Action,
    record::Record,
    time::Timestamp,
};

use crate::{
    agent::Agent,
    attempt::back_off,
    decision::{Act, UndoMark},
    text,
    turn::Turn,
    view::EndedSeen,
    work::Order,
};

/// How often a step's undo is tried before a person has to look.
const TRIES: u32 = 3;

/// How many sentences on what is left are kept; a record names ten and counts the rest.
const MAX_RESIDUE: usize = 1000;

/// One rollback, as far as this incarnation has come with it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Rollback {
    /// The request that asked for it, if it is not the log's own decision.
    resume: Option<Sequence>,
    undone: BTreeSet<StepIndex>,
    residue: Vec<String>,
    /// The end of what the undos printed, under the names of their steps.
    output: String,
    /// How often the present step's undo failed.
    tries: u32,
    again_at: Timestamp,
    result: Option<Result<(), Unfinished>>,
}

/// A rollback that cannot go on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Unfinished {
    error: String,
    left: Vec<String>,
}

impl Rollback {
    pub(crate) fn undone(&mut self, step: StepIndex, residue: Vec<String>) {
        self.undone.insert(step);
        self.tries = 0;
        let room = MAX_RESIDUE.saturating_sub(self.residue.len());
        self.residue.extend(residue.into_iter().take(room));
    }

    /// Keeps what the last try of a step's undo printed.
    pub(crate) fn printed(&mut self, step: &str, output: &str) {
        if output.trim().is_empty() {
            return;
        }
        if !self.output.is_empty() && !self.output.ends_with('\n') {
            self.output.push('\n');
        }
        self.output.push_str(&format!("undo of {step}:\n{output}"));
        self.output = text::undo_output(&self.output);
    }
}

impl Agent {
    pub(crate) fn go_back(&mut self, resume: Option<Sequence>, turn: &mut Turn) {
        self.unwatch(turn);
        if self.rollback.resume != resume {
            self.rollback = Rollback { resume, ..Rollback::default() };
        }
        if !matches!(self.work.order(), None | Some(Order::Undo { .. })) {
            return self.stop(turn);
        }
        if self.rollback.result.is_none() {
            self.undo_next(turn);
            self.announce(turn);
        }
        if let Some(record) = self.rollback_report() {
            self.report(record, turn);
        }
    }

    /// What came of the rollback, as a record, once it is over.
    pub(crate) fn rollback_report(&self) -> Option<Record> {
        let epoch = self.epoch()?;
        Some(match self.rollback.result.as_ref()? {
            Ok(()) => {
                let residue = text::list(&self.rollback.residue);
                let output = self.rollback.output.clone();
                Record::RolledBack { epoch, residue, accepted: false, output }
            }
            Err(Unfinished { error, left }) => {
                let (error, left) = (text::error(error), text::list(left));
                let output = self.rollback.output.clone();
                Record::RollbackFailed { epoch, error, left, output }
            }
        })
    }

    /// Each incarnation says once that it is undoing; nothing waits for that.
    fn announce(&mut self, turn: &mut Turn) {
        let Some(term) = self.term() else { return };
        let above = self.rollback.resume.unwrap_or(0);
        let said = self.heard.own.rolling_back;
        let is_said = said.is_some_and(|(epoch, seq)| epoch == term.epoch && seq > above);
        // Not beside a mark: were that not stored, the record would not be sent either.
        if !is_said && turn.out.save.is_empty() && self.may_order(turn) {
            self.report(Record::RollingBack { epoch: term.epoch }, turn);
        }
    }

    fn undo_next(&mut self, turn: &mut Turn) {
        if !self.work.is_idle() {
            return;
        }
        let Some(step) = self.to_undo().into_iter().next_back() else {
            if self.contact.is_current {
                turn.info("everything that was started is undone");
                self.rollback.result = Some(Ok(()));
            }
            return;
        };
        if self.mark.is_none() {
            let error = "the undo record is lost: it is not where this agent keeps them (its state \
                         directory, or Secrets in its namespace), so nothing was undone";
            return self.stop_undoing(error.to_owned(), Vec::new(), turn);
        }
        if turn.is_past(self.rollback.again_at) && self.may_order(turn) {
            if self.mark == Some(UndoMark::Prepared) {
                // The verdict came before the start was acted on. An undo writes all the same:
                // from here on this is a debt, whatever becomes of this process and of the run.
                self.mark = Some(UndoMark::Started);
                turn.out.save.push(UndoMark::Started);
            }
            self.work.begin(Order::Undo { step });
            turn.act(Act::Undo { step });
        }
    }

    /// The steps that may have written something and are not undone.
    fn to_undo(&self) -> BTreeSet<StepIndex> {
        // Where records are missing, every step may have been started.
        let all = self.contact.went_back.is_some()
            || self.plan().is_none()
            || self.view.own.steps.is_empty();
        let writes = |index: &StepIndex| {
            let step = self.steps().get(*index);
            step.is_some_and(|step| matches!(step.action, Action::Run(_) | Action::Deploy(_)))
        };
        (0..self.steps().len())
            .filter(writes)
            .filter(|index| all || self.view.own.steps.contains_key(index))
            .filter(|index| !self.rollback.undone.contains(index))
            .collect()
    }

    /// The mark that goes before an undo was not stored, and nothing was ordered: a try that
    /// failed.
    pub(crate) fn undo_unsaved(&mut self, step: StepIndex, error: &str, turn: &mut Turn) {
        self.mark = Some(UndoMark::Prepared);
        self.work.cancel();
        self.undo_failed(step, error, Vec::new(), "", turn);
    }

    pub(crate) fn undo_failed(
        &mut self,
        step: StepIndex,
        error: &str,
        left: Vec<String>,
        output: &str,
        turn: &mut Turn,
    ) {
        let name = self.step_name(step);
        self.rollback.tries += 1;
        turn.warn(format!("undoing {name} failed (try {}): {error}", self.rollback.tries));
        if self.rollback.tries < TRIES {
            self.rollback.again_at = turn.now.after(back_off(self.rollback.tries));
        } else {
            self.rollback.printed(&name, output);
            self.stop_undoing(format!("undoing {name} failed: {error}"), left, turn);
        }
    }

    /// Gives up: an undo presupposes that all later steps are undone, so the rest is left too.
    fn stop_undoing(&mut self, error: String, mut left: Vec<String>, turn: &mut Turn) {
        turn.error(format!(
            "the rollback is incomplete: {error}; what is left has to be settled before the next run"
        ));
        left.truncate(MAX_RESIDUE);
        let rest = self.to_undo().into_iter().rev();
        left.extend(rest.map(|step| format!("{} is not undone", self.step_name(step))));
        left.extend(self.rollback.residue.iter().cloned());
        self.rollback.result = Some(Err(Unfinished { error, left }));
    }

    /// An operator keeps what is left.
    pub(crate) fn accept(&mut self, turn: &mut Turn) {
        self.unwatch(turn);
        if !self.work.is_idle() {
            return self.stop(turn);
        }
        let Some(term) = self.term() else { return };
        let residue = match &self.view.own.ended {
            Some((_, EndedSeen::RollbackFailed { left, .. })) => text::list(left),
            _ => Vec::new(),
        };
        let record = Record::RolledBack {
            epoch: term.epoch,
            residue,
            accepted: true,
            output: String::new(),
        };
        self.report(record, turn);
    }

    /// Says in the log why this workflow does not go back.
    pub(crate) fn contradict(&mut self, turn: &mut Turn) {
        self.unwatch(turn);
        if !self.work.is_idle() {
            return self.stop(turn);
        }
        let Some(term) = self.term() else { return };
        let committed = self.kept.unwrap_or_default();
        let error = format!(
            "the log said Committed (#{committed}) before it lost records, and now says Aborted: \
             this workflow keeps the new state; use `lockstep rollback resume {run}` to undo it \
             all the same, or `lockstep rollback accept {run} --reason TEXT`",
            run = self.setup.key.run,
        );
        let left = vec!["the new state of every step".to_owned()];
        let record = Record::RollbackFailed {
            epoch: term.epoch,
            error: error.clone(),
            left,
            output: String::new(),
        };
        if self.report(record, turn) {
            turn.error(error);
        }
    }
}
