//! An agent with everything that is its own: its core, its undo mark, its target, what it has
//! sent and what it was ordered to do.

use lockstep_agent_core::{Act, UndoMark};
use lockstep_shared::{
    id::{Sequence, StepIndex},
    record::Record,
    subject::Slot,
};

/// One workflow's agent, from one life to the next.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Cell {
    /// Its workflow's place.
    pub(super) index: usize,
    /// The number of its core's state; nothing while it is dead.
    pub(super) core: Option<u32>,
    pub(super) mark: Option<UndoMark>,
    /// What its target holds.
    pub(super) held: Vec<Held>,
    /// What the target was ordered to do, and whether it was told to stop.
    pub(super) order: Option<(Act, bool)>,
    /// What is on its way to the log.
    pub(super) sent: Vec<Sent>,
    /// How far it has read what it may read.
    pub(super) read: Sequence,
    /// Whether it asked for a reading.
    pub(super) wants_reading: bool,
    /// How often its clock has moved on, in pauses.
    pub(super) pauses: u8,
    /// How many further pauses may matter to it.
    pub(super) pauses_left: u8,
}

/// What a target holds of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Held {
    Nothing,
    Half,
    Whole,
}

/// A record on its way.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Sent {
    pub(super) slot: Slot,
    pub(super) record: Record,
    /// Whether its writer still waits for an answer.
    pub(super) awaited: bool,
}

impl Cell {
    pub(super) fn new(index: usize, steps: usize) -> Self {
        Self {
            index,
            core: None,
            mark: None,
            held: vec![Held::Nothing; steps],
            order: None,
            sent: Vec::new(),
            read: 0,
            wants_reading: false,
            pauses: 0,
            pauses_left: 0,
        }
    }

    pub(super) fn hold(&mut self, step: StepIndex, held: Held) {
        if let Some(of) = self.held.get_mut(step) {
            *of = held;
        }
    }

    pub(super) fn is_clean(&self) -> bool {
        self.held.iter().all(|held| *held == Held::Nothing)
    }
}
