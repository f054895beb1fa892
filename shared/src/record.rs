//! The records of the log: facts that somebody stated and the server stored.
//!
//! A record says what happened, never what to do about it; that is the fold's business.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{
    id::{BarrierId, Epoch, PartyName, Sequence, StepIndex, WorkflowName},
    plan::Plan,
};

/// The largest output tail that a record carries, in bytes (PROTOCOL section 2, sizes).
pub const MAX_OUTPUT_BYTES: usize = 8 * 1024;

/// The largest tail that a rollback's record carries, in bytes: beside it stands a list of what
/// is left.
pub const MAX_UNDO_OUTPUT_BYTES: usize = 4 * 1024;

/// The longest cause text that a verdict carries, in bytes.
pub const MAX_CAUSE_BYTES: usize = 4 * 1024;

/// The largest record but the plan and Closed, in bytes as stored.
pub const MAX_RECORD_BYTES: usize = 16 * 1024;

/// The largest Closed, in bytes as stored.
pub const MAX_CLOSED_BYTES: usize = 256 * 1024;

/// How many names a list in a text shows before it only counts.
pub const MAX_LISTED: usize = 10;

/// The digests that run of each image, as manifests write its reference. More than one means that a
/// tag was moved, or that platforms differ.
pub type Images = BTreeMap<String, BTreeSet<String>>;

/// One fact of a run.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all_fields = "camelCase")]
pub enum Record {
    /// The run exists and this is what it does.
    Plan {
        /// What everybody does.
        plan: Box<Plan>,
        /// Who submitted it, as claimed.
        submitted_by: String,
    },
    /// The run may begin.
    Admitted {},
    /// The run may not begin.
    Refused {
        /// Why, for a person.
        reason: String,
        /// Whether somebody asked for it to be cancelled while it was queued.
        #[serde(default)]
        cancelled: bool,
        /// What decided it: its plan, the abort request, or the Closed that would have freed it.
        /// Until there it waited.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        at: Option<Sequence>,
    },
    /// An incarnation of a workflow's agent began; its slot number is its epoch.
    Joined {
        /// The agent's instance: the same one may take over from itself at once.
        instance: String,
        /// The build that runs it.
        version: String,
    },
    /// A step's attempt is about to act.
    StepStarted {
        /// The writer's incarnation.
        epoch: Epoch,
        /// Which step.
        step: StepIndex,
        /// Which attempt, counted from 1 over all incarnations.
        attempt: u32,
    },
    /// A step is over.
    StepFinished {
        /// The writer's incarnation.
        epoch: Epoch,
        /// Which step.
        step: StepIndex,
        /// The error that `onFailure: continue` tolerates, if the step failed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ignored: Option<String>,
        /// The tail of what it printed.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        output: String,
        /// Which images run now of what it deployed.
        #[serde(default, skip_serializing_if = "Images::is_empty")]
        images: Images,
    },
    /// A workflow cannot go on.
    Failed {
        /// The writer's incarnation.
        epoch: Epoch,
        /// The step that failed, if it was one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        step: Option<StepIndex>,
        /// What went wrong, for a person.
        error: String,
        /// The tail of what the step printed.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        output: String,
    },
    /// A workflow began to undo what it did.
    RollingBack {
        /// The writer's incarnation.
        epoch: Epoch,
    },
    /// A workflow undid what it did.
    RolledBack {
        /// The writer's incarnation.
        epoch: Epoch,
        /// What could not be given back, or was kept on purpose; each a sentence.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        residue: Vec<String>,
        /// Whether an operator settled it by keeping what is there.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        accepted: bool,
        /// The tail of what the undos printed.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        output: String,
    },
    /// A workflow could not undo what it did.
    RollbackFailed {
        /// The writer's incarnation.
        epoch: Epoch,
        /// What went wrong.
        error: String,
        /// What is left; each a sentence.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        left: Vec<String>,
        /// The tail of what the undos printed.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        output: String,
    },
    /// A workflow of a committed run gave up its means to go back.
    Finalized {
        /// The writer's incarnation.
        epoch: Epoch,
        /// What stopped being healthy after the commit, if anything did.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        degraded: Option<String>,
        /// What could not be tidied up; each a sentence.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        warnings: Vec<String>,
    },
    /// An incarnation ended on request; another may go on at once.
    Left {
        /// The writer's incarnation.
        epoch: Epoch,
    },
    /// A party stands at a barrier.
    Arrived {
        /// The writer's incarnation, if the party is a workflow.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        epoch: Option<Epoch>,
        /// The digest of the agent's view of the plan, at `_prepare` only.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        view: Option<String>,
        /// Who says so, as claimed, if the party is foreign.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<String>,
        /// A foreign party's message.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        message: Option<String>,
        /// A foreign party's link.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        link: Option<String>,
    },
    /// A foreign party says no.
    PartyFailed {
        /// Who says so, as claimed.
        by: String,
        /// Why.
        message: String,
        /// Where to read more.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        link: Option<String>,
    },
    /// A barrier is released.
    Released {
        /// The arrival that completed it.
        at: Sequence,
    },
    /// A barrier, a run or (each-own) a workflow is aborted.
    Aborted {
        /// The first cause.
        at: Sequence,
        /// What the cause says, for a person.
        cause: Cause,
    },
    /// A run or (each-own) a workflow is committed.
    Committed {
        /// The record that decided it.
        at: Sequence,
    },
    /// A clock ran out.
    DeadlinePassed {
        /// Which one.
        deadline: Deadline,
    },
    /// A workflow's agent has been silent for too long.
    AgentLost {
        /// Whose agent.
        workflow: WorkflowName,
        /// The silent incarnation.
        epoch: Epoch,
        /// The workflow's last record that the writer had seen.
        last: Sequence,
    },
    /// An operator wants the run aborted.
    AbortRequested {
        /// Who, as claimed.
        by: String,
        /// Why.
        reason: String,
    },
    /// An operator wants an unfinished rollback tried again.
    ResumeRequested {
        /// Who, as claimed.
        by: String,
        /// Why.
        reason: String,
        /// One workflow, or all that have something unfinished.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        workflow: Option<WorkflowName>,
    },
    /// An operator keeps what an unfinished rollback left.
    AcceptRequested {
        /// Who, as claimed.
        by: String,
        /// Why.
        reason: String,
        /// One workflow, or all that have something unfinished.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        workflow: Option<WorkflowName>,
    },
    /// The run is over.
    Closed {
        /// The record that made it so; everything here is computed from the log up to it.
        at: Sequence,
        /// How the run ended.
        result: RunResult,
        /// How each workflow ended.
        outcomes: BTreeMap<WorkflowName, Outcome>,
        /// The run's first cause, where it has one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cause: Option<Cause>,
    },
}

impl Record {
    /// Every kind, in the order in which a run meets them.
    pub const KINDS: [&str; 23] = [
        "Plan",
        "Admitted",
        "Refused",
        "Joined",
        "StepStarted",
        "StepFinished",
        "Failed",
        "RollingBack",
        "RolledBack",
        "RollbackFailed",
        "Finalized",
        "Left",
        "Arrived",
        "PartyFailed",
        "Released",
        "Aborted",
        "Committed",
        "DeadlinePassed",
        "AgentLost",
        "AbortRequested",
        "ResumeRequested",
        "AcceptRequested",
        "Closed",
    ];

    /// The record's kind as it stands in its body and, behind `dev.lockstep.`, in `ce-type`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Plan { .. } => "Plan",
            Self::Admitted {} => "Admitted",
            Self::Refused { .. } => "Refused",
            Self::Joined { .. } => "Joined",
            Self::StepStarted { .. } => "StepStarted",
            Self::StepFinished { .. } => "StepFinished",
            Self::Failed { .. } => "Failed",
            Self::RollingBack { .. } => "RollingBack",
            Self::RolledBack { .. } => "RolledBack",
            Self::RollbackFailed { .. } => "RollbackFailed",
            Self::Finalized { .. } => "Finalized",
            Self::Left { .. } => "Left",
            Self::Arrived { .. } => "Arrived",
            Self::PartyFailed { .. } => "PartyFailed",
            Self::Released { .. } => "Released",
            Self::Aborted { .. } => "Aborted",
            Self::Committed { .. } => "Committed",
            Self::DeadlinePassed { .. } => "DeadlinePassed",
            Self::AgentLost { .. } => "AgentLost",
            Self::AbortRequested { .. } => "AbortRequested",
            Self::ResumeRequested { .. } => "ResumeRequested",
            Self::AcceptRequested { .. } => "AcceptRequested",
            Self::Closed { .. } => "Closed",
        }
    }

    /// The incarnation that a workflow's record claims to be of; a Joined's is its slot number.
    pub fn epoch(&self) -> Option<Epoch> {
        match self {
            Self::StepStarted { epoch, .. }
            | Self::StepFinished { epoch, .. }
            | Self::Failed { epoch, .. }
            | Self::RollingBack { epoch }
            | Self::RolledBack { epoch, .. }
            | Self::RollbackFailed { epoch, .. }
            | Self::Finalized { epoch, .. }
            | Self::Left { epoch } => Some(*epoch),
            Self::Arrived { epoch, .. } => *epoch,
            _ => None,
        }
    }
}

/// A clock of the run.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Deadline {
    /// Until everybody has joined.
    Join,
    /// Until everybody is prepared.
    Prepare,
    /// Until a barrier is complete.
    Barrier(BarrierId),
    /// Until the run is decided.
    Run,
    /// Until everybody has finalized or rolled back.
    Ending,
}

/// What aborted a run, a barrier or a workflow.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cause {
    /// The sequence of the record that is the cause.
    pub at: Sequence,
    /// What sort of record it was.
    pub sort: CauseSort,
    /// The workflow it is about, if it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workflow: Option<WorkflowName>,
    /// The foreign party it is about, if it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub party: Option<PartyName>,
    /// The name of the step it is about, if it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// The barrier it is about, if it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub barrier: Option<BarrierId>,
    /// One self-contained sentence for a person: who, which step, what went wrong.
    pub text: String,
    /// The tail of what the failed step printed; with `text` at most [`MAX_CAUSE_BYTES`].
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub output: String,
}

/// The sorts of causes of abort (PROTOCOL section 1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CauseSort {
    /// A workflow failed.
    Failed,
    /// A foreign party failed.
    PartyFailed,
    /// A deadline passed.
    DeadlinePassed,
    /// An agent was lost.
    AgentLost,
    /// An operator asked for it.
    Requested,
    /// Workflows wait for each other in a circle.
    Deadlock,
    /// A party of the barrier was broken by another cause (each-own).
    Broken,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunResult {
    /// Committed; finalized or not.
    Succeeded,
    /// A plan-only run was prepared everywhere.
    Planned,
    /// Aborted; everything that had to roll back did.
    RolledBack,
    /// Aborted; a rollback failed or is unknown.
    RollbackIncomplete,
    /// Aborted on request; everything that had to roll back did.
    Cancelled,
    /// Each-own: some workflows stand and some went back.
    Partial,
    /// Never admitted.
    Refused,
}

/// How a workflow ended.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "state")]
pub enum Outcome {
    /// `when` took it out of the run.
    Waived,
    /// It stands and has given up its means to go back.
    Finalized {
        /// What stopped being healthy after the commit, if anything did.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        degraded: Option<String>,
    },
    /// It was prepared in a plan-only run.
    Planned,
    /// It wrote nothing.
    NotStarted,
    /// It undid what it did.
    RolledBack,
    /// It undid what it did, but for what is listed.
    Residue {
        /// The first few things left, each a sentence.
        left: Vec<String>,
    },
    /// It could not undo what it did.
    Failed {
        /// What went wrong.
        error: String,
    },
    /// Nobody reported before the deadline.
    Unknown,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_kinds_is_the_list_of_records() {
        let wrong = serde_json::from_str::<Record>(r#"{"kind":"nope"}"#).unwrap_err().to_string();
        let known: Vec<&str> = wrong.split('`').skip(3).step_by(2).collect();
        assert_eq!(known, Record::KINDS, "{wrong}");
    }
}
