//! What outlives an agent: state directories with locks and undo records, and the targets.

use std::collections::BTreeMap;

use lockstep_agent_core::{UndoMark, debt::Known};
use lockstep_shared::{
    id::{RunKey, StepIndex, WorkflowName},
    time::Timestamp,
};

use super::process::Life;

/// A state directory of one workflow.
#[derive(Debug, Default)]
pub(super) struct Directory {
    /// Who holds the flock.
    pub(super) lock: Option<Life>,
    undo: BTreeMap<RunKey, Known>,
    /// The command that a dead agent left running.
    pub(super) left_over: Option<u64>,
}

impl Directory {
    /// Stores a mark; what is owed never shrinks but by being settled.
    ///
    /// # Errors
    /// A sentence, if there is no record that the mark could be set on.
    pub(super) fn save(
        &mut self,
        run: &RunKey,
        mark: UndoMark,
        now: Timestamp,
    ) -> Result<(), String> {
        match (mark, self.undo.get_mut(run)) {
            (_, Some(known)) => known.mark = known.mark.max(mark),
            (UndoMark::Prepared, None) => {
                let known = Known { run: run.clone(), mark, prepared_at: now };
                self.undo.insert(run.clone(), known);
            }
            (UndoMark::Started, None) => return Err("the undo record is lost".to_owned()),
            (UndoMark::Settled, None) => {}
        }
        Ok(())
    }

    pub(super) fn mark(&self, run: &RunKey) -> Option<UndoMark> {
        self.undo.get(run).map(|known| known.mark)
    }

    pub(super) fn known(&self) -> Vec<Known> {
        self.undo.values().cloned().collect()
    }

    /// The runs that may have left something at the target.
    pub(super) fn debts(&self) -> impl Iterator<Item = &RunKey> {
        let owed = self.undo.values().filter(|known| known.mark == UndoMark::Started);
        owed.map(|known| &known.run)
    }

    /// The runs that an agent joins when it starts.
    pub(super) fn unsettled(&self) -> Vec<RunKey> {
        let open = self.undo.values().filter(|known| known.mark != UndoMark::Settled);
        open.map(|known| known.run.clone()).collect()
    }
}

/// What a workflow's target holds of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Held {
    /// A part of it.
    Half,
    /// All of it.
    Whole,
}

/// What a workflow's steps act on.
#[derive(Debug, Default)]
pub(super) struct Target {
    held: BTreeMap<(RunKey, StepIndex), Held>,
    /// Runs in which a frozen agent's request in hand may have landed late: no fence can recall
    /// it, and the documentation says so.
    pub(super) smeared: std::collections::BTreeSet<RunKey>,
}

impl Target {
    pub(super) fn begin(&mut self, run: &RunKey, step: StepIndex) {
        self.held.entry((run.clone(), step)).or_insert(Held::Half);
    }

    pub(super) fn finish(&mut self, run: &RunKey, step: StepIndex) {
        self.held.insert((run.clone(), step), Held::Whole);
    }

    pub(super) fn undo(&mut self, run: &RunKey, step: StepIndex) {
        self.held.remove(&(run.clone(), step));
    }

    pub(super) fn of(&self, run: &RunKey, step: StepIndex) -> Option<Held> {
        self.held.get(&(run.clone(), step)).copied()
    }

    /// Everything that a run has left here.
    pub(super) fn of_run(&self, run: &RunKey) -> Vec<(StepIndex, Held)> {
        let of = self.held.iter().filter(|((of, _), _)| of == run);
        of.map(|((_, step), held)| (*step, *held)).collect()
    }
}

/// A command that outlived its agent.
#[derive(Debug, Clone)]
pub(super) struct Orphan {
    pub(super) number: u64,
    pub(super) workflow: WorkflowName,
    pub(super) directory: usize,
    pub(super) run: RunKey,
    pub(super) step: StepIndex,
}
