//! The undo record that an earlier incarnation made after this agent began: where records are not
//! kept in a state directory, a spare on another machine finds it there.

use lockstep_shared::id::BarrierId;

use crate::{agent::Agent, decision::Act, decision::UndoMark, turn::Turn};

/// Whether this run's undo record was looked for since the agent began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) enum Recall {
    /// It was not, and need not be yet.
    #[default]
    Unasked,
    /// It is being looked for.
    Asked,
    /// It was.
    Answered,
}

impl Agent {
    /// Has a record looked for that the log tells of and this agent does not know; whether that is
    /// under way. Asked for by the current incarnation only: whatever its predecessor stored before
    /// it said so in the log is there now.
    pub(crate) fn recall(&mut self, turn: &mut Turn) -> bool {
        if self.recall == Recall::Unasked
            && self.mark.is_none()
            && self.term().is_some()
            && self.was_prepared()
        {
            self.recall = Recall::Asked;
            turn.act(Act::Recall);
        }
        self.recall == Recall::Asked && self.term().is_some()
    }

    /// Whether the log says that there has to be a record.
    fn was_prepared(&self) -> bool {
        let plan_only = self.plan().is_some_and(|plan| plan.plan_only);
        let arrived = self.view.has_arrived(&BarrierId::prepare());
        !plan_only && (arrived || !self.view.own.steps.is_empty())
    }

    pub(crate) fn recalled(&mut self, found: Option<UndoMark>, turn: &mut Turn) {
        if self.recall != Recall::Asked {
            return turn.ignore("the undo record was not asked for");
        }
        self.recall = Recall::Answered;
        self.mark = self.mark.max(found);
    }
}
