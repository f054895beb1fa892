//! Taking in what happened, before anything is decided.

use lockstep_shared::{
    codec::Entry,
    id::StepIndex,
    subject::{Family, Slot},
};

use crate::{
    agent::Agent,
    course::Course,
    decision::UndoMark,
    event::{Appended, Event, Reading, Report},
    join::Incarnation,
    leave::Leaving,
    standing::Ending,
    turn::Turn,
    view::View,
    work::Order,
};

impl Agent {
    pub(crate) fn take_in(&mut self, event: Event, turn: &mut Turn) {
        match event {
            Event::Woke => {}
            Event::Connected => {
                self.quiet.broken(turn.now);
                self.contact.ask_now();
            }
            Event::Reading(reading) => self.read(&reading, turn),
            Event::Rang(entry) => self.rang(&entry, turn),
            Event::Beat { epoch } => {
                self.quiet.beat(epoch, turn.now);
                if epoch > self.view.own.epoch {
                    self.contact.ask_now();
                }
            }
            Event::Deaf(why) => {
                if self.quiet.deaf(&why, turn.now) {
                    turn.error(format!(
                        "cannot hear whether another agent of {} is alive, so none is taken over: \
                         {why}",
                        self.setup.workflow
                    ));
                }
            }
            Event::Lock(lock) => self.locked(lock, turn),
            Event::Appended { slot, outcome } => self.appended(&slot, outcome, turn),
            Event::Reported(report) => self.reported(report, turn),
            Event::Degraded { step, error, output } => {
                self.degraded(step, &error, &output, turn);
            }
            Event::SaveFailed { mark, error } => self.unsaved(mark, &error, turn),
            Event::Debt(debt) => self.setup.debt = debt,
            Event::Recalled(found) => self.recalled(found, turn),
            Event::WentBack(how) => self.lose(&how, turn),
            Event::Terminate => {
                self.leaving.get_or_insert(Leaving::since(turn.now));
            }
        }
    }

    fn read(&mut self, reading: &Reading, turn: &mut Turn) {
        if reading.upto < self.contact.floor() {
            self.contact.behind(turn.now);
            return turn.ignore(format!(
                "a reading up to #{} is behind #{}",
                reading.upto,
                self.contact.floor()
            ));
        }
        if let Some(how) = self.lost_by(reading) {
            return self.lose(&how, turn);
        }
        let ruled = self.view.ruling().is_some();
        let ours = |entry: &&Entry| entry.key == self.setup.key;
        self.view.read(reading.entries.iter().filter(ours));
        self.heard.read(reading.entries.iter().filter(ours));
        self.contact.read(reading.upto, reading.asked_at, turn.now);
        self.lanes.settle(&self.view);
        let (whole, slots_went_on) = self.answered(reading);
        self.contact.whole(whole, slots_went_on);
        if whole {
            if self.contact.went_back.is_some() {
                self.lanes.settle_below(reading.upto);
            }
            // Its position is above every bell, so there is nothing that only the bell told.
            self.heard = self.view.clone();
            self.notice_lost_start(turn);
        }
        if !ruled {
            self.tell_ruling(turn);
        }
    }

    fn tell_ruling(&mut self, turn: &mut Turn) {
        let Some(ruling) = self.view.ruling() else { return };
        match &ruling.cause {
            None => {
                turn.info(format!("committed at #{}", ruling.at));
                self.kept = Some(ruling.seq);
            }
            Some(cause) => turn.warn(format!("aborted at #{}: {cause}", ruling.at)),
        }
    }

    /// The mark is saved after StepStarted was read back: without it in the log, the log lost it.
    fn notice_lost_start(&mut self, turn: &mut Turn) {
        let started = self.mark == Some(UndoMark::Started) && self.plan().is_some();
        if started && self.view.own.steps.is_empty() && self.contact.went_back.is_none() {
            let how = "the undo record says that a step was started, and no StepStarted is there";
            turn.error(format!("the log lost records: {how}"));
            self.contact.went_back = Some(how.to_owned());
        }
    }

    /// What was read before means nothing in a log that lost records, except a Committed.
    fn lose(&mut self, how: &str, turn: &mut Turn) {
        if self.over.is_some() {
            return turn.ignore(format!("the log lost records, but all is done: {how}"));
        }
        turn.error(format!("the log lost records: {how}"));
        if let Some(failure) = &mut self.failure {
            let stored = |said: &Slot| self.lanes.stored().any(|(slot, _)| slot == said);
            failure.was_said |=
                self.view.own.failed.is_some() || failure.sent.as_ref().is_some_and(stored);
        }
        if matches!(self.incarnation, Incarnation::Joining(Some(_))) {
            // Where that Joined stood there may be nothing for ever.
            self.incarnation = Incarnation::Outside;
        }
        self.contact.lose(how.to_owned());
        // What still has to be said follows anew from what the log holds now.
        turn.out.recall |= self.lanes.lose();
        self.view = View::of(&self.setup);
        self.heard = self.view.clone();
    }

    fn rang(&mut self, entry: &Entry, turn: &mut Turn) {
        if entry.key != self.setup.key {
            return turn.ignore(format!("a record of run {} does not concern us", entry.key));
        }
        if self.contact.has_read_up_to(entry.seq) {
            return turn.ignore(format!("#{} has been read", entry.seq));
        }
        self.contact.rang(entry.seq);
        // Own slots are heard in turn: behind a gap there may be a newer incarnation.
        let in_turn = match &entry.slot.family {
            Family::Workflow(_) => entry.slot.number == self.heard.own.taken.next(),
            _ => true,
        };
        if in_turn {
            self.heard.apply(entry);
        }
    }

    fn appended(&mut self, slot: &Slot, outcome: Appended, turn: &mut Turn) {
        let Some(outcome) = self.lanes.answered(slot, outcome, turn.now) else {
            return turn.ignore(format!("no append to {slot} is under way"));
        };
        match outcome {
            Appended::Stored(seq) | Appended::Taken(seq) => self.contact.met(seq),
            Appended::InDoubt => self.contact.ask_now(),
        }
        let stored = matches!(outcome, Appended::Stored(_));
        if matches!(slot.family, Family::Workflow(_))
            && self.incarnation == Incarnation::Joining(None)
        {
            self.incarnation = match outcome {
                Appended::Stored(seq) => Incarnation::Joining(Some((slot.number, seq))),
                Appended::Taken(_) | Appended::InDoubt => Incarnation::Outside,
            };
        }
        if let Some(leaving) = &mut self.leaving {
            leaving.answered(slot, stored);
        }
    }

    fn reported(&mut self, report: Report, turn: &mut Turn) {
        let Some(stopped) = self.work.answered(&report) else {
            return turn.ignore(format!("nothing like this was ordered: {report:?}"));
        };
        match report {
            Report::Prepared { view } => self.prepared = Some(view),
            Report::PrepareFailed { error, output } if !stopped => {
                self.give_up(None, format!("it could not be prepared: {error}"), &output, turn);
            }
            Report::Finished { step, attempt, told } => {
                self.attempt_ended(step, attempt, Ok(told), turn);
            }
            Report::Failed { step, attempt, error, output } if !stopped => {
                self.attempt_ended(step, attempt, Err((error, output)), turn);
            }
            Report::Undone { step, residue, output } => {
                self.rollback.printed(&self.step_name(step), &output);
                self.rollback.undone(step, residue);
            }
            Report::UndoFailed { step, error, left, output } if !stopped => {
                self.undo_failed(step, &error, left, &output, turn);
            }
            Report::Finalized { warnings } => self.finalizing.done(warnings),
            Report::FinalizeFailed { error } if !stopped => {
                self.finalizing.failed(error, turn);
            }
            Report::PrepareFailed { .. }
            | Report::Failed { .. }
            | Report::UndoFailed { .. }
            | Report::FinalizeFailed { .. } => turn.info("what was running has been stopped"),
        }
    }

    fn degraded(&mut self, step: StepIndex, error: &str, output: &str, turn: &mut Turn) {
        if !self.watched.contains(&step) {
            return turn.ignore(format!("{} is not watched", self.step_name(step)));
        }
        let what = format!("degraded after it was finished: {error}");
        match self.course(&self.view) {
            Course::Forward => self.give_up(Some(step), what, output, turn),
            Course::Keep => {
                let what = format!("{} {what}", self.step_name(step));
                turn.warn(format!("degraded after commit: {what}"));
                self.degraded.get_or_insert(crate::text::error(&what));
            }
            _ => turn.ignore(format!("{} {what}", self.step_name(step))),
        }
    }

    /// Nothing else of those decisions was carried out.
    fn unsaved(&mut self, mark: UndoMark, error: &str, turn: &mut Turn) {
        let error = format!("the undo record could not be stored: {error}");
        match mark {
            UndoMark::Prepared => {
                self.mark = None;
                self.prepared = None;
                self.lanes.unsend_party();
                self.give_up(None, error, "", turn);
            }
            UndoMark::Started => {
                if let Some(Order::Undo { step }) = self.work.order().cloned() {
                    return self.undo_unsaved(step, &error, turn);
                }
                self.mark = Some(UndoMark::Prepared);
                let step = self.begun.take().map(|(step, _)| step);
                self.work.cancel();
                self.give_up(step, error, "", turn);
            }
            UndoMark::Settled => {
                turn.error(format!("{error}; it is tried again"));
                self.unsettled(turn);
            }
        }
    }
}

impl Ending {
    /// Whether nothing is owed to the target any more.
    pub(crate) fn settles(&self) -> bool {
        matches!(
            self,
            Self::Finalized { .. } | Self::RolledBack { .. } | Self::NotStarted | Self::Closed
        )
    }
}
