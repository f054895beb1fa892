//! How an agent becomes its workflow's current incarnation, and how it learns that it no longer
//! is (PROTOCOL section 6).

use lockstep_shared::record::Record;

use crate::{
    agent::Agent,
    decision::Act,
    join::{Incarnation, Term, is_vacant},
    turn::Turn,
};

impl Agent {
    /// Notes what the last readings say of this agent's own Joined.
    pub(crate) fn follow_joins(&mut self, turn: &mut Turn) {
        let own = &self.view.own;
        match self.incarnation {
            Incarnation::Joining(Some((number, seq)))
                if self.contact.is_current && own.taken.has(number) =>
            {
                match own.joined {
                    Some((joined, stored)) if joined == seq => {
                        let term = Term::begin(number, stored, own, turn.now);
                        self.begin(term, turn);
                    }
                    _ if own.epoch > number => self.supersede(turn),
                    // The log lost it, or did not admit the run below it: try the next slot.
                    _ => self.incarnation = Incarnation::Outside,
                }
            }
            Incarnation::Active(term) if own.epoch > term.epoch => self.supersede(turn),
            // Where our Joined stood, a log that lost it may hold another's.
            Incarnation::Active(term)
                if self.contact.is_current && own.epoch == term.epoch && !term.is_of(own) =>
            {
                turn.warn(format!(
                    "epoch {} is {}'s in the log as it is now, and not this agent's any more",
                    own.epoch, own.instance
                ));
                self.stop(turn);
                self.incarnation = Incarnation::Outside;
            }
            // In a log that lost our Joined nothing we say would count.
            Incarnation::Active(term) if self.contact.is_current && own.epoch < term.epoch => {
                self.incarnation = Incarnation::Outside;
            }
            _ => {}
        }
    }

    fn begin(&mut self, term: Term, turn: &mut Turn) {
        turn.info(format!("{} joined as epoch {}", self.setup.workflow, term.epoch));
        if term.writes_from > turn.now {
            turn.warn(format!(
                "the agent before this one cannot be proven dead: nothing is written before {}",
                term.writes_from
            ));
        }
        if term.epoch > 1 && self.work.is_idle() {
            // What an earlier incarnation was running may have outlived it.
            turn.act(Act::Stop);
        }
        self.incarnation = Incarnation::Active(term);
    }

    fn supersede(&mut self, turn: &mut Turn) {
        let by = self.view.own.epoch;
        turn.warn(format!(
            "epoch {by} ({}) has taken {} over: this agent drops the run",
            self.view.own.instance, self.setup.workflow
        ));
        self.incarnation = Incarnation::Superseded(by);
        self.failure = None;
    }

    /// Takes the lock and, once nobody else can be the incarnation, joins.
    pub(crate) fn seek_epoch(&mut self, turn: &mut Turn) {
        let joining = matches!(self.incarnation, Incarnation::Joining(_));
        if !self.take_lock(turn) || joining || !self.contact.is_current {
            return;
        }
        let own = &self.heard.own;
        if !is_vacant(own, &self.setup.instance) {
            if !self.contact.is_fresh(turn.now) {
                // Who cannot hear the log could not hear a beat either.
                self.quiet.broken(turn.now);
                return;
            }
            let over_at = self.quiet.over_at(own.epoch, turn.now);
            if !turn.is_past(over_at) {
                return;
            }
            turn.warn(format!(
                "epoch {} ({}) has been silent for 15 s: this agent takes {} over",
                own.epoch, own.instance, self.setup.workflow
            ));
        }
        let record = Record::Joined {
            instance: self.setup.instance.clone(),
            version: self.setup.version.clone(),
        };
        if self.report(record, turn) {
            self.incarnation = Incarnation::Joining(None);
        }
    }
}
