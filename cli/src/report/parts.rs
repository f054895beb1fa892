//! What a report is made of: waits, workflows with their steps, barriers, requests, void records.

use lockstep_shared::{
    id::{Epoch, Sequence, WorkflowName},
    record::{Cause, Outcome},
};
use serde::Serialize;

use super::{At, Beat};

/// Something that the run waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Waiting {
    /// What, as the end of "waiting ...": "for everybody to join", "at barrier BE".
    pub(crate) what: String,
    /// For whom, and what each is doing instead.
    pub(crate) missing: Vec<Missing>,
    /// Since when.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) since: Option<At>,
    /// Until when; absent where no clock runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) until: Option<At>,
}

/// Somebody who is waited for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Missing {
    /// A workflow, a foreign party, or a program.
    pub(crate) who: String,
    /// What it is doing now.
    pub(crate) doing: String,
}

/// What stage a workflow is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Stage {
    /// Taken out by `when`.
    Waived,
    /// Its agent is not there yet.
    NotJoined,
    /// Its agent dry-runs its steps.
    Preparing,
    /// In a step, or between two.
    Working,
    /// Waiting for others at a barrier.
    AtBarrier,
    /// Its agent left, and none has come back.
    Left,
    /// It failed and waits for the verdict.
    Failed,
    /// Committed and tidying up.
    Finalizing,
    /// Done.
    Finalized,
    /// It has to undo what it did, or does so.
    RollingBack,
    /// It undid what it did.
    RolledBack,
    /// It could not undo what it did.
    RollbackFailed,
    /// Nothing to do and nothing done.
    NotStarted,
    /// Nobody reported its end.
    Unknown,
}

/// One workflow, told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct WorkflowReport {
    /// Its name.
    pub(crate) name: WorkflowName,
    /// Where it acts: `command`, `kubernetes` or `external`.
    pub(crate) target: &'static str,
    /// Its stage.
    pub(crate) stage: Stage,
    /// What it is doing now, for a person.
    pub(crate) doing: String,
    /// Since when.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) since: Option<At>,
    /// Its steps.
    pub(crate) steps: Vec<StepReport>,
    /// The incarnation of its agent; 0 before the first.
    pub(crate) epoch: Epoch,
    /// That agent's instance, as it named itself.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) instance: String,
    /// That agent's build.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) version: String,
    /// What its agent last said beside the log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) beat: Option<Beat>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
    /// What made it go back or keeps it from going forward: its own failure or another's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) broken_by: Option<Cause>,
    /// What was left behind or kept on purpose.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) left: Vec<String>,
    /// How it ended, once the run is closed; this never changes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) outcome: Option<Outcome>,
    /// How what it left was settled since.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) settled: Option<SettledReport>,
}

/// How a debt was settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Settled {
    /// It was undone after all.
    RolledBack,
    /// An operator kept what is there.
    Kept,
    /// It was finalized after all.
    Finalized,
}

/// A debt that is settled, told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SettledReport {
    /// How.
    pub(crate) how: Settled,
    /// The agent's report.
    pub(crate) record: Sequence,
    /// When.
    pub(crate) at: At,
    /// The request that asked for it, if an operator did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) request: Option<RequestReport>,
}

impl SettledReport {
    /// Who settled it, where and why, and what that means.
    pub(crate) fn text(&self) -> String {
        let how = match self.how {
            Settled::RolledBack => "rolled back",
            Settled::Kept => "what is there was kept",
            Settled::Finalized => "finalized",
        };
        match &self.request {
            Some(request) if request.reason.is_empty() => {
                format!("settled by {} (#{}): {how}", request.by, request.record)
            }
            Some(request) => {
                format!(
                    "settled by {} (#{}): {}; {how}",
                    request.by, request.record, request.reason
                )
            }
            None => format!("settled by its agent (#{}): {how}", self.record),
        }
    }
}

/// How far a step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum StepStage {
    /// Not begun.
    Pending,
    /// An attempt runs, or the next one is about to.
    Started,
    /// Over.
    Finished,
    /// Failed, and `onFailure: continue` lets the workflow go on.
    Ignored,
    /// Failed.
    Failed,
}

/// One step, told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StepReport {
    /// Its name.
    pub(crate) name: String,
    /// What it does: `run`, `verify`, `wait`, `barrier` or `deploy`.
    pub(crate) kind: &'static str,
    /// How far it is.
    pub(crate) stage: StepStage,
    /// Its latest attempt; 0 before the first.
    pub(crate) attempt: u32,
    /// When that began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) started: Option<At>,
    /// When it was over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) finished: Option<At>,
    /// The failure that was tolerated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ignored: Option<String>,
}

/// What became of a barrier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum BarrierStage {
    /// Parties may still meet.
    Open,
    /// Everybody arrived.
    Released,
    /// Not everybody will.
    Aborted,
}

/// One barrier, told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct BarrierReport {
    /// Its identifier.
    pub(crate) id: String,
    /// What it is called in front of people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) title: Option<String>,
    /// What became of it.
    pub(crate) stage: BarrierStage,
    /// Who arrived.
    pub(crate) arrived: Vec<ArrivalReport>,
    /// Who has not.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) missing: Vec<String>,
    /// Workflows that `when` excused.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) waived: Vec<String>,
    /// When its clock runs out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) until: Option<At>,
    /// The record that completed or aborted it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) decided_by: Option<Sequence>,
}

/// One arrival, told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ArrivalReport {
    /// Who.
    pub(crate) party: String,
    /// When.
    pub(crate) at: At,
    /// A foreign party's claimed author.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) by: Option<String>,
    /// A foreign party's message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) message: Option<String>,
    /// A foreign party's link.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) link: Option<String>,
}

/// One request, told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RequestReport {
    /// Where it stands.
    pub(crate) record: Sequence,
    /// When.
    pub(crate) at: At,
    /// `abort`, `resume` or `accept`.
    pub(crate) what: &'static str,
    /// Who, as claimed.
    pub(crate) by: String,
    /// Why.
    pub(crate) reason: String,
    /// One workflow, if it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) workflow: Option<WorkflowName>,
}

/// One record that changed nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct VoidReport {
    /// Where it stands.
    pub(crate) record: Sequence,
    /// When.
    pub(crate) at: At,
    /// Its slot.
    pub(crate) slot: String,
    /// What it was.
    pub(crate) kind: &'static str,
    /// Why it changed nothing.
    pub(crate) reason: String,
}
