//! How an agent's work stands, for whoever runs it.

use lockstep_shared::id::{Epoch, StepIndex};

/// How the work stands.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Standing {
    /// It has not begun: the log is not read yet, or the run is not admitted.
    Waiting(String),
    /// Another incarnation, or another run's agent, has the workflow: for whom it stands by.
    StandingBy(String),
    /// It is joining, preparing, running, waiting at a barrier or undoing.
    Working,
    /// It does nothing until the log can be read, the lock is back, or the run is decided: why.
    Holding(String),
    /// Something is left at the target that only an operator's `resume` or `accept` can settle.
    Owing(String),
    /// There is nothing left to do for this workflow. The agent still reads until it has read
    /// Closed; after that [`Decisions::wake`] is `None`.
    ///
    /// [`Decisions::wake`]: crate::Decisions::wake
    Over(Ending),
}

/// How it ended for this agent.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Ending {
    /// The workflow is committed and finalized.
    Finalized {
        /// What stopped being healthy after the commit, if anything did.
        degraded: Option<String>,
    },
    /// The workflow undid what it did.
    RolledBack {
        /// What could not be given back; each a sentence.
        residue: Vec<String>,
        /// Whether an operator kept what was left.
        accepted: bool,
    },
    /// The run went back before the workflow started a step.
    NotStarted,
    /// A plan-only run is prepared everywhere.
    Planned,
    /// The run was refused, for this reason.
    Refused(String),
    /// The run is closed, and this agent owes nothing.
    Closed,
    /// This agent takes no part, for this reason.
    TakesNoPart(String),
    /// A newer incarnation has taken over; this one never goes on with the run.
    Superseded {
        /// The newer one.
        by: Epoch,
    },
    /// It left on request (exit 143); the run stays open for the next incarnation.
    Left,
}

/// What a beat says (PROTOCOL section 6).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Beat {
    /// The incarnation.
    pub epoch: Epoch,
    /// The step it is at, if it is at one.
    pub step: Option<StepIndex>,
    /// One line for a person: what it is doing now.
    pub progress: String,
}
