//! What an agent is given when it begins, for the first time or again.

use lockstep_shared::{
    fold::SharedPlan,
    id::{RunKey, Sequence, WorkflowName},
    plan::Workflow,
};

use crate::{debt::Debt, decision::UndoMark};

/// What is known of a run before its log is read.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Setup {
    /// The run.
    pub key: RunKey,
    /// The workflow that this agent is for.
    pub workflow: WorkflowName,
    /// Who this agent is; the same name is the same state directory, and so the same lock.
    pub instance: String,
    /// The build.
    pub version: String,
    /// The run's plan, read once by direct get.
    pub plan: PlanFound,
    /// The mark of this run's undo record, if the state directory holds one.
    pub undo: Option<UndoMark>,
    /// Whether an earlier run's debt stands in the way ([`crate::debt::first`]).
    pub debt: Debt,
}

/// What stands in a run's plan slot.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum PlanFound {
    /// A plan that this build understands.
    Planned {
        /// Where it stands.
        seq: Sequence,
        /// The plan.
        plan: SharedPlan,
    },
    /// A plan of another protocol.
    Foreign(u32),
    /// Rubbish, for this reason: there is no such run.
    Rubbish(String),
    /// Nothing: the log does not hold it any more. All that is known comes from the undo record.
    Missing {
        /// The workflow as planned, from the undo record, if there is one.
        workflow: Option<Box<Workflow>>,
    },
}
