//! The end of an agent's work in a run: settle the undo record, drop the lock.

use lockstep_shared::time::Span;

use crate::{agent::Agent, decision::UndoMark, lock::LockHeld, standing::Ending, turn::Turn};

/// How long to wait before a mark that could not be saved is tried again.
const SAVE_AGAIN: Span = Span::seconds(5);

impl Agent {
    /// Ends the work: nothing runs any more, the undo record owes nothing, the lock is free.
    pub(crate) fn settle(&mut self, ending: Ending, turn: &mut Turn) {
        self.unwatch(turn);
        if !self.work.is_idle() {
            return self.stop(turn);
        }
        if ending.settles() && !self.contact.is_current {
            // A reading that left something out may have left out what was started.
            return;
        }
        let owes = matches!(self.mark, Some(UndoMark::Prepared | UndoMark::Started));
        if owes && ending.settles() && !self.settle_mark(turn) {
            return;
        }
        self.finish(ending, turn);
    }

    /// Settles the undo record, which is this agent's business only while it holds the lock;
    /// whether nothing more is to be waited for.
    fn settle_mark(&mut self, turn: &mut Turn) -> bool {
        if self.take_lock(turn) {
            if !turn.is_past(self.save_again_at) {
                return false;
            }
            turn.out.save.push(UndoMark::Settled);
            self.owed = self.mark.replace(UndoMark::Settled);
            return true;
        }
        matches!(self.lock, LockHeld::No(_))
    }

    pub(crate) fn finish(&mut self, ending: Ending, turn: &mut Turn) {
        self.drop_lock(turn);
        turn.info(format!("{}: {}", self.setup.workflow, ending.describe()));
        self.over = Some(ending);
    }

    /// The settled mark was not stored, and the lock not dropped.
    pub(crate) fn unsettled(&mut self, turn: &mut Turn) {
        self.mark = self.owed.take();
        self.lock = LockHeld::Yes;
        self.over = None;
        self.save_again_at = turn.now.after(SAVE_AGAIN);
    }
}

impl Ending {
    /// The ending in a few words.
    pub fn describe(&self) -> String {
        match self {
            Self::Finalized { degraded: None } => "finalized".to_owned(),
            Self::Finalized { degraded: Some(what) } => {
                format!("finalized, degraded after commit: {what}")
            }
            Self::RolledBack { accepted: true, .. } => "kept on an operator's word".to_owned(),
            Self::RolledBack { residue, .. } if residue.is_empty() => "rolled back".to_owned(),
            Self::RolledBack { residue, .. } => {
                format!("rolled back, but for: {}", residue.join(", "))
            }
            Self::NotStarted => "aborted before it started anything".to_owned(),
            Self::Planned => "planned".to_owned(),
            Self::Refused(reason) => format!("the run was refused: {reason}"),
            Self::Closed => "the run is closed and nothing is owed".to_owned(),
            Self::TakesNoPart(reason) => format!("takes no part: {reason}"),
            Self::Superseded { by } => format!("epoch {by} has taken over"),
            Self::Left => "left on request; the next agent goes on".to_owned(),
        }
    }
}
