//! Leaving on request (SIGTERM): finish the request in hand, say Left, and go (PROTOCOL
//! section 6).

use lockstep_shared::{
    record::Record,
    subject::{Family, Slot},
    time::{Span, Timestamp},
};

use crate::{
    agent::Agent, course::Course, join::Incarnation, stand::Stand, standing::Ending, text,
    turn::Turn,
};

/// How long an agent stays to finish and to say Left: less than the 30 s that a pod is given.
const STAY: Span = Span::seconds(10);

/// A request to leave, being followed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Leaving {
    until: Timestamp,
    /// Where Left was sent.
    sent: Option<Slot>,
    said: bool,
}

impl Leaving {
    pub(crate) fn since(now: Timestamp) -> Self {
        Self { until: now.after(STAY), sent: None, said: false }
    }

    pub(crate) fn answered(&mut self, slot: &Slot, stored: bool) {
        if self.sent.as_ref() == Some(slot) {
            self.sent = None;
            self.said |= stored;
        }
    }
}

impl Agent {
    pub(crate) fn leave(&mut self, course: &Course, turn: &mut Turn) {
        match course {
            Course::Done(ending) => return self.settle(ending.clone(), turn),
            Course::Unstarted => return self.settle(Ending::NotStarted, turn),
            _ => {}
        }
        let Some(leaving) = &self.leaving else { return };
        let (until, said) = (leaving.until, leaving.said);
        let workflow = Family::Workflow(self.setup.workflow.clone());
        let joining = matches!(self.incarnation, Incarnation::Joining(_));
        let active = self.term().is_some();
        // An own last word needs no Left behind it.
        let silent = !(active || joining) || self.heard.own.ended.is_some();
        if said || turn.is_past(until) || (silent && self.work.is_idle()) {
            self.unwatch(turn);
            self.stop(turn);
            return self.finish(Ending::Left, turn);
        }
        self.stop(turn);
        if self.work.is_idle() && active && !self.lanes.is_waiting(&workflow) {
            self.last_words(course, turn);
        }
    }

    /// What is known and not said yet, then Left.
    fn last_words(&mut self, course: &Course, turn: &mut Turn) {
        let Some(term) = self.term() else { return };
        if self.heard.own.epoch > term.epoch {
            return;
        }
        if let Some(record) = self.in_hand(course) {
            self.report(record, turn);
            return;
        }
        if self.report(Record::Left { epoch: term.epoch }, turn) {
            let sent = turn.out.send.last().map(|append| append.slot.clone());
            if let Some(leaving) = &mut self.leaving {
                leaving.sent = sent;
            }
        }
    }

    /// The report that the target has given and the log does not hold.
    fn in_hand(&self, course: &Course) -> Option<Record> {
        if self.course(&self.heard) != *course {
            return None;
        }
        match course {
            Course::Forward => {
                let Stand::Step { index, seen: Some(seen) } = self.stand(&self.heard) else {
                    return None;
                };
                let told = self.succeeded(index, seen.attempt)?;
                let (output, images) = (text::output(&told.output), text::images(&told.images));
                let epoch = self.epoch()?;
                Some(Record::StepFinished { epoch, step: index, ignored: None, output, images })
            }
            Course::Back { .. } => self.rollback_report(),
            Course::Keep => self.finalize_report(),
            _ => None,
        }
    }
}
