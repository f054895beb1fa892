//! The workflow's lock, and when a target may be written to at all (PROTOCOL section 6).

use lockstep_shared::time::Timestamp;

use crate::{agent::Agent, decision::Act, event::Lock, turn::Turn};

/// Whether this process holds the workflow's lock.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) enum LockHeld {
    /// Nobody asked for it.
    #[default]
    Unasked,
    /// Asked for, and no answer yet.
    Asked,
    /// Not now: who has it, or why not.
    No(String),
    Yes,
}

impl Agent {
    /// Takes the lock if it was not asked for; whether it is held.
    pub(crate) fn take_lock(&mut self, turn: &mut Turn) -> bool {
        if self.lock == LockHeld::Unasked {
            self.lock = LockHeld::Asked;
            turn.act(Act::TakeLock);
        }
        self.lock == LockHeld::Yes
    }

    pub(crate) fn drop_lock(&mut self, turn: &mut Turn) {
        if self.lock != LockHeld::Unasked {
            self.lock = LockHeld::Unasked;
            turn.act(Act::DropLock);
        }
    }

    pub(crate) fn locked(&mut self, lock: Lock, turn: &mut Turn) {
        if self.lock == LockHeld::Unasked {
            return turn.ignore("the lock is not needed any more");
        }
        self.lock = match lock {
            Lock::Held => LockHeld::Yes,
            Lock::NotHeld(why) => LockHeld::No(why),
        };
    }

    /// Whether a target may be sent a further write now; a target asks before each one that an
    /// order is made of, and none may take longer than 10 s.
    ///
    /// # Errors
    /// Why not, as a sentence without a full stop.
    pub fn may_write(&self, now: Timestamp) -> Result<(), String> {
        let Some(term) = self.term() else {
            return Err("this agent is not the workflow's current incarnation".to_owned());
        };
        if self.heard.own.epoch > term.epoch {
            return Err(format!("epoch {} has taken over", self.heard.own.epoch));
        }
        if self.over.is_some() {
            return Err("the workflow's work in this run is over".to_owned());
        }
        match &self.lock {
            LockHeld::Yes => {}
            LockHeld::No(why) => return Err(format!("the workflow's lock is not held: {why}")),
            LockHeld::Unasked | LockHeld::Asked => {
                return Err("the workflow's lock is not held".to_owned());
            }
        }
        if !self.contact.is_fresh(now) {
            return Err(NOT_HEARD.to_owned());
        }
        if now < term.writes_from {
            return Err(format!(
                "the agent before this one may still have a request on its way (until {})",
                term.writes_from
            ));
        }
        Ok(())
    }

    /// Whether an order that writes may be given now: that, and the last reading was whole.
    pub(crate) fn may_order(&self, turn: &mut Turn) -> bool {
        if let Some(term) = self.term()
            && turn.now < term.writes_from
        {
            turn.wake_at(term.writes_from);
        }
        self.contact.is_current && self.may_write(turn.now).is_ok()
    }
}

/// Why nothing is done while the log is silent.
pub(crate) const NOT_HEARD: &str = "the log has not been heard for 10 s: nothing is written and \
                                    nothing undone until it is; check the connection to NATS";
