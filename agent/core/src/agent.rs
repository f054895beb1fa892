//! The agent itself.

use std::collections::BTreeSet;

use lockstep_shared::{
    id::{Epoch, Sequence},
    subject::Family,
    time::Timestamp,
};

use crate::{
    decision::Decisions,
    event::{Event, Watched},
    setup::Setup,
    standing::{Beat, Standing},
};

/// One workflow's agent in one run.
///
/// Begins with [`Agent::new`] and a first [`Event::Woke`], also after a crash: there is no other
/// way to resume than from the log and the undo mark.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Agent {
    setup: Setup,
}

impl Agent {
    /// An agent that has read nothing yet.
    pub fn new(setup: Setup) -> Self {
        Self { setup }
    }

    /// Takes in what happened and decides what to do. Total: a late, duplicate or foreign event
    /// changes nothing and leaves a note.
    pub fn step(&mut self, event: Event, now: Timestamp) -> Decisions {
        let _ = (event, now);
        Decisions::default()
    }

    /// What the next reading has to ask for (PROTOCOL section 5).
    pub fn filter(&self) -> Vec<Watched> {
        Vec::new()
    }

    /// The position below which a reading does not count: the greatest of this agent's own last
    /// stored record, the bell's, and any position it has had; 0 while nothing is expected.
    pub fn floor(&self) -> Sequence {
        0
    }

    /// The families whose republished copies to listen to; changes as the workflow goes on.
    pub fn bell(&self) -> BTreeSet<Family> {
        BTreeSet::new()
    }

    /// How the work stands.
    pub fn standing(&self, now: Timestamp) -> Standing {
        let _ = now;
        Standing::Working
    }

    /// What to beat every 5 s; `None` unless this is the current incarnation of an open workflow.
    pub fn beat(&self) -> Option<Beat> {
        None
    }

    /// This incarnation, once its Joined was read back.
    pub fn epoch(&self) -> Option<Epoch> {
        None
    }

    /// Where Closed stands, if it has been read.
    pub fn closed(&self) -> Option<Sequence> {
        None
    }

    /// Whether a target may be sent a further write now; a target asks before each one that an
    /// order is made of, and none may take longer than 10 s.
    ///
    /// # Errors
    /// Why not, as a sentence without a full stop.
    pub fn may_write(&self, now: Timestamp) -> Result<(), String> {
        let _ = now;
        Err(format!("{} has not begun", self.setup.workflow))
    }
}
