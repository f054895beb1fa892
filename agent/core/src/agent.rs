//! The agent itself: its state, and the one function that moves it.

use std::collections::BTreeSet;

use lockstep_shared::{
    id::{BarrierId, Epoch, Sequence, StepIndex},
    record::Record,
    subject::{Family, Slot},
    time::Timestamp,
};

use crate::{
    attempt::Attempted,
    back::Rollback,
    contact::Contact,
    course::Course,
    decision::{Append, Decisions, UndoMark},
    event::Event,
    join::{Incarnation, Quiet, Term},
    keep::Finalizing,
    lanes::Lanes,
    leave::Leaving,
    lock::LockHeld,
    recall::Recall,
    setup::Setup,
    stand::Stand,
    standing::Ending,
    text,
    turn::Turn,
    view::View,
    work::Work,
};

/// One workflow's agent in one run.
///
/// Begins with [`Agent::new`] and a first [`Event::Woke`], also after a crash: there is no other
/// way to resume than from the log and the undo mark.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Agent {
    pub(crate) setup: Setup,
    /// The undo record's mark, as it was saved last.
    pub(crate) mark: Option<UndoMark>,
    pub(crate) recall: Recall,
    /// What readings showed: the ground for every act.
    pub(crate) view: View,
    /// That, and what the bell told since: the ground for the next append, no more.
    pub(crate) heard: View,
    pub(crate) contact: Contact,
    pub(crate) lanes: Lanes,
    pub(crate) lock: LockHeld,
    pub(crate) incarnation: Incarnation,
    pub(crate) quiet: Quiet,
    pub(crate) work: Work,
    /// The target's answer to `Prepare`: the view's digest.
    pub(crate) prepared: Option<Option<String>>,
    /// The last attempt that this incarnation began.
    pub(crate) begun: Option<(StepIndex, u32)>,
    /// How it ended.
    pub(crate) attempted: Option<Attempted>,
    /// Why this workflow cannot go on. Once set it never goes forward.
    pub(crate) failure: Option<Failure>,
    pub(crate) watched: BTreeSet<StepIndex>,
    /// What degraded after the commit.
    pub(crate) degraded: Option<String>,
    pub(crate) rollback: Rollback,
    pub(crate) finalizing: Finalizing,
    /// Where Committed was read, even if the log lost it since.
    pub(crate) kept: Option<Sequence>,
    pub(crate) leaving: Option<Leaving>,
    /// What the undo record owed before it was settled, and when a settling that could not be
    /// saved is tried again.
    pub(crate) owed: Option<UndoMark>,
    pub(crate) save_again_at: Timestamp,
    pub(crate) over: Option<Ending>,
    /// The reason for holding that was logged last.
    pub(crate) said: Option<String>,
}

/// Why a workflow cannot go on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Failure {
    pub(crate) step: Option<StepIndex>,
    pub(crate) error: String,
    pub(crate) output: String,
    /// Whether a Failed said so in a log that lost it: it is not said again.
    pub(crate) was_said: bool,
    /// Where the last Failed that says so was sent.
    pub(crate) sent: Option<Slot>,
}

impl Agent {
    /// An agent that has read nothing yet.
    pub fn new(mut setup: Setup) -> Self {
        setup.instance = text::label(&setup.instance);
        setup.version = text::label(&setup.version);
        let view = View::of(&setup);
        Self {
            mark: setup.undo,
            recall: Recall::default(),
            heard: view.clone(),
            view,
            contact: Contact::none(),
            lanes: Lanes::default(),
            lock: LockHeld::default(),
            incarnation: Incarnation::default(),
            quiet: Quiet::default(),
            work: Work::default(),
            prepared: None,
            begun: None,
            attempted: None,
            failure: None,
            watched: BTreeSet::new(),
            degraded: None,
            rollback: Rollback::default(),
            finalizing: Finalizing::default(),
            kept: None,
            leaving: None,
            owed: None,
            save_again_at: Timestamp(0),
            over: None,
            said: None,
            setup,
        }
    }

    /// Takes in what happened and decides what to do. Total: a late, duplicate or foreign event
    /// changes nothing and leaves a note.
    pub fn step(&mut self, event: Event, now: Timestamp) -> Decisions {
        let mut turn = Turn::at(now);
        if self.contact.called(now) {
            // Beats of that time were not heard, so their absence means nothing.
            self.quiet.broken(now);
        }
        let stood = self.stood_at();
        self.take_in(event, &mut turn);
        if let Some(barrier) = stood.filter(|barrier| self.heard.is_released(barrier)) {
            turn.info(format!("passed barrier {barrier}"));
        }
        self.decide(&mut turn);
        self.look_again(&mut turn);
        turn.out
    }

    /// The barrier at which this workflow stands or is about to, as far as it has heard.
    fn stood_at(&self) -> Option<BarrierId> {
        match self.stand(&self.heard) {
            Stand::Barrier { id, .. } => Some(id),
            _ => None,
        }
    }

    fn decide(&mut self, turn: &mut Turn) {
        if self.over.is_some() {
            return;
        }
        self.follow_joins(turn);
        let course = self.course(&self.view);
        self.tell_hold(turn);
        if self.leaving.is_some() {
            self.leave(&course, turn);
        } else if self.recall(turn) {
            // What is owed is not known yet.
        } else if course.needs_epoch() && self.term().is_none() {
            self.seek_epoch(turn);
        } else {
            self.follow(course, turn);
        }
    }

    fn follow(&mut self, course: Course, turn: &mut Turn) {
        let usurped = self.term().is_some_and(|term| self.heard.own.epoch > term.epoch);
        if usurped || self.course(&self.heard) != course {
            // The bell told of something new; the reading that it asked for will show it.
            return;
        }
        match course {
            Course::Wait(_) => {}
            Course::Forward => self.go_forward(turn),
            Course::Fail => self.fail(turn),
            Course::Back { resume } => self.go_back(resume, turn),
            Course::Unstarted => self.settle(Ending::NotStarted, turn),
            Course::Keep => self.keep(turn),
            Course::Accept => self.accept(turn),
            Course::Contradicted => self.contradict(turn),
            Course::Owe(_) => self.unwatch(turn),
            Course::Done(ending) => self.settle(ending, turn),
        }
    }

    /// Makes readings as often as needed and says when to be called again.
    fn look_again(&mut self, turn: &mut Turn) {
        if self.is_finished() {
            turn.out.wake = None;
            return;
        }
        let appending = self.lanes.is_appending();
        if self.contact.is_due(turn.now, appending) {
            turn.out.read = true;
        }
        turn.wake_at(self.contact.next(turn.now, appending));
    }

    /// Whether not even Closed is waited for.
    pub(crate) fn is_finished(&self) -> bool {
        match &self.over {
            None => false,
            Some(
                Ending::Superseded { .. }
                | Ending::Left
                | Ending::TakesNoPart(_)
                | Ending::Refused(_)
                | Ending::Closed,
            ) => true,
            Some(_) => self.view.closed.is_some(),
        }
    }

    /// The records of the current incarnation, and of nobody else, are this agent's.
    pub(crate) fn term(&self) -> Option<Term> {
        match self.incarnation {
            Incarnation::Active(term) => Some(term),
            _ => None,
        }
    }

    /// This incarnation, once its Joined was read back.
    pub fn epoch(&self) -> Option<Epoch> {
        self.term().map(|term| term.epoch)
    }

    /// Whether an earlier run's debt ([`crate::debt`]) would still keep this run from preparing:
    /// the shell looks for one before every call until then.
    pub fn minds_debts(&self) -> bool {
        self.mark.is_none() && self.prepared.is_none() && self.over.is_none()
    }

    /// Where Closed stands, if it has been read.
    pub fn closed(&self) -> Option<Sequence> {
        self.view.closed
    }

    /// Sends a record to its family's next slot, if nothing is under way there.
    pub(crate) fn append(&mut self, family: Family, record: Record, turn: &mut Turn) -> bool {
        match self.lanes.is_free(&family, &self.heard, turn.now) {
            Ok(true) => {
                let slot = self.heard.next_slot(family);
                self.lanes.send(slot.clone());
                turn.out.send.push(Append { slot, record });
                true
            }
            Ok(false) => false,
            Err(until) => {
                turn.wake_at(until);
                false
            }
        }
    }

    /// Sends a record to the workflow's own slots.
    pub(crate) fn report(&mut self, record: Record, turn: &mut Turn) -> bool {
        self.append(Family::Workflow(self.setup.workflow.clone()), record, turn)
    }

    /// Remembers why the workflow cannot go on; the first reason stays.
    pub(crate) fn give_up(
        &mut self,
        step: Option<StepIndex>,
        error: String,
        output: &str,
        turn: &mut Turn,
    ) {
        if self.failure.is_none() {
            turn.warn(format!("{} fails: {error}", self.setup.workflow));
            let (error, output) = (text::error(&error), text::output(output));
            self.failure = Some(Failure { step, error, output, was_said: false, sent: None });
        }
    }
}
