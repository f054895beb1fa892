//! One state of the whole: a log, the agents, what coordinators may yet write, what may go wrong.

use lockstep_shared::{record::Record, subject::Slot, time::Timestamp};

use super::Budget;

/// The most agents.
pub(super) const AGENTS: usize = 2;

/// A state, in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct State {
    /// Its log.
    pub(super) log: u32,
    /// Its agents.
    pub(super) cells: [u32; AGENTS],
    /// What some coordinator has decided to write and may yet reach the log.
    pub(super) offers: u32,
    pub(super) budget: Budget,
}

/// A record that a coordinator has sent.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Offer {
    pub(super) slot: Slot,
    /// Its content.
    pub(super) record: u32,
}

/// Something that may happen in a state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Move {
    /// Something happens to one agent.
    Agent(usize, Step),
    /// A coordinator's record reaches the log.
    Offer(Offer),
    /// A clock record reaches the log.
    Clock(Slot, Box<Record>, Timestamp),
    /// An operator asks for an abort.
    Abort,
}

/// Something that may happen to one agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Step {
    /// It reads.
    Read,
    /// What it sent reaches the log, and the answer reaches it if it waits for it.
    Land(usize),
    /// It is told that nobody knows what became of its record.
    Doubt(usize),
    /// Its record was stored, and it is told that nobody knows.
    LandInDoubt(usize),
    /// Its order is over; whether it succeeded.
    Report(bool),
    /// It is killed; whether the order in hand was carried out.
    Crash(bool),
    /// It is started again.
    Restart,
    /// Its clock moves on.
    Pause,
}

impl Move {
    /// Whether it is something that goes wrong, and so need never happen.
    pub(super) fn is_fault(&self) -> bool {
        match self {
            Self::Agent(_, step) => match step {
                Step::Doubt(_) | Step::LandInDoubt(_) | Step::Crash(_) | Step::Report(false) => {
                    true
                }
                Step::Read | Step::Land(_) | Step::Report(true) | Step::Restart | Step::Pause => {
                    false
                }
            },
            Self::Clock(..) | Self::Abort => true,
            Self::Offer(_) => false,
        }
    }
}
