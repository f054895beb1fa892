//! The way forward: prepare, steps, barriers, the hold at the commit (PROTOCOL section 7).
//!
//! What is appended follows from what was heard; what is done at the target follows from what
//! was read.

use lockstep_shared::{
    id::{BarrierId, PartyName, StepIndex},
    plan::Action,
    record::Record,
    subject::Family,
};

use crate::{
    agent::Agent,
    attempt::{Next, is_resumable},
    debt::Debt,
    decision::{Act, UndoMark},
    stand::Stand,
    text,
    turn::Turn,
    view::StepSeen,
    work::Order,
};

impl Agent {
    pub(crate) fn go_forward(&mut self, turn: &mut Turn) {
        if self.contact.went_back.is_some() {
            // No step forward and no arrival in a log that lost records; only Aborted is obeyed.
            return;
        }
        let heard = self.stand(&self.heard);
        self.examine(&heard, turn);
        if self.failure.is_some() {
            return self.fail(turn);
        }
        self.append_forward(heard, turn);
        self.act_forward(turn);
        self.watch_finished(turn);
    }

    /// Says that the workflow cannot go on, ends what is running, and holds.
    pub(crate) fn fail(&mut self, turn: &mut Turn) {
        self.stop(turn);
        let (Some(failure), Some(term)) = (&self.failure, self.term()) else { return };
        if failure.was_said || self.heard.own.failed.is_some() {
            return;
        }
        let record = Record::Failed {
            epoch: term.epoch,
            step: failure.step,
            error: failure.error.clone(),
            output: failure.output.clone(),
        };
        if self.report(record, turn)
            && let Some(failure) = &mut self.failure
        {
            failure.sent = turn.out.send.last().map(|append| append.slot.clone());
        }
    }

    /// Notices what makes it impossible to go on.
    fn examine(&mut self, stand: &Stand, turn: &mut Turn) {
        let plan_only = self.plan().is_some_and(|plan| plan.plan_only);
        if let Stand::Prepare { arrived: false } = stand {
            if let Debt::Stuck { run, why } = &self.setup.debt {
                let (run, why) = (run.run.clone(), why.clone());
                let error = format!(
                    "it cannot be prepared: the earlier run {run} is not settled here ({why}); \
                     use `lockstep rollback resume {run}` to undo it again, or `lockstep rollback \
                     accept {run} --reason TEXT` to keep what is there"
                );
                self.give_up(None, error, "", turn);
            }
        } else if self.mark.is_none() && !plan_only {
            let error = "the undo record is lost: an earlier agent of this workflow prepared it, \
                         and it is not where this agent keeps them (its state directory, or Secrets in \
                         its namespace)";
            self.give_up(None, error.to_owned(), "", turn);
        }
        if let Stand::Step { index, seen: Some(seen) } = stand
            && let Next::Fatal { error, output } = self.next_of(*index, seen, turn)
        {
            self.give_up(Some(*index), error, &output, turn);
        }
    }

    fn append_forward(&mut self, stand: Stand, turn: &mut Turn) {
        let Some(term) = self.term() else { return };
        let epoch = term.epoch;
        match stand {
            Stand::Prepare { arrived: false } => self.arrive_prepared(turn),
            Stand::Step { index, seen: None } => self.begin_attempt(index, 1, turn),
            Stand::Step { index, seen: Some(seen) } => match self.next_of(index, &seen, turn) {
                Next::Again => self.begin_attempt(index, seen.attempt.saturating_add(1), turn),
                Next::Finish { ignored, told } => {
                    let ignored = ignored.as_deref().map(text::error);
                    let (output, images) = (text::output(&told.output), text::images(&told.images));
                    let step = index;
                    self.report(
                        Record::StepFinished { epoch, step, ignored, output, images },
                        turn,
                    );
                }
                Next::Running | Next::Fatal { .. } => {}
            },
            Stand::Barrier { id, arrived: false } => {
                self.arrive(id, None, turn);
            }
            Stand::Through { arrived: false } if self.has_commit() => {
                self.arrive(BarrierId::commit(), None, turn);
            }
            Stand::Prepare { .. } | Stand::Barrier { .. } | Stand::Through { .. } => {}
        }
    }

    /// The undo record is stored before the arrival says so.
    fn arrive_prepared(&mut self, turn: &mut Turn) {
        let Some(view) = self.prepared.clone() else { return };
        let plan_only = self.plan().is_some_and(|plan| plan.plan_only);
        let view = view.as_deref().map(text::label);
        if self.arrive(BarrierId::prepare(), view, turn) && !plan_only {
            self.mark = Some(UndoMark::Prepared);
            turn.out.save.push(UndoMark::Prepared);
        }
    }

    fn arrive(&mut self, barrier: BarrierId, view: Option<String>, turn: &mut Turn) -> bool {
        let Some(term) = self.term() else { return false };
        let family = Family::Party(barrier, PartyName::from(&self.setup.workflow));
        let epoch = Some(term.epoch);
        let record = Record::Arrived { epoch, view, by: None, message: None, link: None };
        self.append(family, record, turn)
    }

    /// Says that an attempt begins; it does once that was read back.
    fn begin_attempt(&mut self, step: StepIndex, attempt: u32, turn: &mut Turn) {
        let Some(term) = self.term() else { return };
        if self.lock == crate::lock::LockHeld::Yes && turn.is_past(term.writes_from) {
            self.report(Record::StepStarted { epoch: term.epoch, step, attempt }, turn);
        }
    }

    fn act_forward(&mut self, turn: &mut Turn) {
        if !self.contact.is_current || !self.work.is_idle() {
            return;
        }
        match self.stand(&self.view) {
            Stand::Prepare { arrived: false }
                if self.prepared.is_none()
                    && self.setup.debt == Debt::None
                    && self.take_lock(turn) =>
            {
                self.work.begin(Order::Prepare);
                turn.act(Act::Prepare);
            }
            Stand::Step { index, seen: Some(seen) } => self.start(index, &seen, turn),
            _ => {}
        }
    }

    /// Begins an attempt whose StepStarted was read back, once; the mark is saved before.
    fn start(&mut self, index: StepIndex, seen: &StepSeen, turn: &mut Turn) {
        let (Some(step), Some(term)) = (self.steps().get(index), self.term()) else { return };
        let attempt = seen.attempt;
        let ours = seen.epoch == term.epoch || is_resumable(step);
        let ended = self.attempted(index, attempt).is_some();
        if !ours || ended || self.begun == Some((index, attempt)) || !self.may_order(turn) {
            return;
        }
        let waits = matches!(step.action, Action::Wait(_));
        if self.mark != Some(UndoMark::Started) {
            self.mark = Some(UndoMark::Started);
            turn.out.save.push(UndoMark::Started);
        }
        self.begun = Some((index, attempt));
        if !waits {
            self.work.begin(Order::Start { step: index, attempt });
            turn.act(Act::Start { step: index, attempt });
        }
    }

    /// Watches what finished steps brought up, until the verdict.
    fn watch_finished(&mut self, turn: &mut Turn) {
        let finished: Vec<StepIndex> = self
            .view
            .own
            .steps
            .iter()
            .filter(|(index, seen)| seen.finished && !seen.ignored && !self.watched.contains(index))
            .map(|(index, _)| *index)
            .collect();
        for index in finished {
            let step = self.steps().get(index);
            let has_health = step.is_some_and(|step| {
                !step.tolerated && matches!(step.action, Action::Verify(_) | Action::Deploy(_))
            });
            if has_health {
                self.watched.insert(index);
                turn.act(Act::Watch { step: index });
            }
        }
    }

    /// Ends what is running; it is told once.
    pub(crate) fn stop(&mut self, turn: &mut Turn) {
        if self.work.stop() {
            turn.act(Act::Stop);
        }
    }

    pub(crate) fn unwatch(&mut self, turn: &mut Turn) {
        if !self.watched.is_empty() {
            self.watched.clear();
            turn.act(Act::Unwatch);
        }
    }
}
