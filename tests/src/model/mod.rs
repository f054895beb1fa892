//! The model check: every reachable state of the real cores for two workflows and two barriers.
//!
//! The cores are the real ones, called through their only door. What is left out, and why nothing
//! is lost by it:
//!
//! *Coordinators have no state here.* What a coordinator appends follows from the prefix that it
//! has read, and from the time. So instead of two coordinators there are all of them: whatever a
//! fresh core would send at a state of the log is put among the offers of `state::State` and stays
//! there until its slot is taken; it may reach the log at any later moment, or never. That is any
//! number of coordinators, each as far behind as it likes, with any number of crashes.
//!
//! *Records that nobody can tell the order of have none.* Two workflows' own records (joined,
//! started, finished) are read by nobody in common but coordinators, and the fold comes to the
//! same whichever stands first. The `ledger` gives each record the lowest place above all that
//! it could be told from, so that logs which differ only in such an order are one log (Foata's
//! normal form). That the fold is indifferent is checked at every append: nothing that was decided
//! may change by a record that is put below others; and on real logs by [`swap_neighbours`].
//!
//! *An agent reads its whole filter at once,* at any moment. A slow reading is an earlier one whose
//! consequences come later, and these are events of their own: a publish reaches the log at any
//! time after it was sent, a report at any time after its order.
//!
//! *Time has three classes.* A clock that runs may be recorded at any moment or never; which of
//! several runs out first is the plan's choice, so each may. At every log each is tried before it
//! is due, where it must mean nothing, when it is due, and after, where it must mean the same; the
//! story goes on with the second. An agent that is watched may be recorded as lost at any moment:
//! beats are left out, and a record that was true when it was sent may come late. What means
//! nothing to anybody leaves the state as it was: no agent reads clocks.
//!
//! *Closed lands at once.* What it says is settled by the record that decided it, nobody but agents
//! reads it, and one that reads late is the same as one to which it comes late. After it nothing is
//! decided, so agents cannot tell the order of each other's steps, and go one after the other.
//!
//! *States are stored once.* Agents' states, logs and records are numbered, and what a core answers
//! to an event in a state is asked once.

mod agents;
mod cell;
mod explore;
mod intern;
mod ledger;
mod moves;
mod offers;
mod order;
mod state;
mod steps;

pub use explore::{Counted, Counterexample, explore};
pub use order::swap_neighbours;

use crate::{plans::Sketch, sim::Sabotage};

/// What is explored.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The plan.
    pub sketch: Sketch,
    /// How much may go wrong.
    pub budget: Budget,
    /// Whether time passes: every clock and every watch may run out at any moment, or never.
    pub time: bool,
    /// More states than this are a failure: the check would be no check.
    pub cap: usize,
    /// Something broken on purpose.
    pub sabotage: Option<Sabotage>,
}

/// How often each thing may go wrong in one story.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Budget {
    /// A step, a preparation or an undo fails.
    pub failures: u8,
    /// An agent is killed; it is started again at any moment, or never.
    pub crashes: u8,
    /// An append gives up; its record may still come.
    pub doubts: u8,
    /// An operator asks for an abort.
    pub aborts: u8,
}
