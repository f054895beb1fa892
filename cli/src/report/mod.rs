//! What `status` says: a pure function of a run's log and of what was heard beside it.
//!
//! Decides how a run's state is told: what it waits for and for whom, since when and until when,
//! what each workflow is doing, why it was aborted, what did not count and why. Deliberately
//! knows neither NATS nor the terminal: the same report is JSON, YAML, text and progress.

mod build;
mod images;
mod parts;
#[cfg(test)]
mod tests;
mod text;
mod waiting;
mod workflow;

use std::collections::{BTreeMap, BTreeSet};

use lockstep_shared::{
    id::{Epoch, PipelineName, RunId, RunKey, Sequence, WorkflowName},
    record::{Cause, RunResult},
    time::{Span, Timestamp},
};
use serde::{Serialize, Serializer};

use crate::exit::Exit;

pub(crate) use build::report;
pub(crate) use parts::*;
pub(crate) use text::card;

/// What was heard beside the log.
#[derive(Debug, Clone, Default)]
pub(crate) struct Heard {
    /// The time here, for what is still running.
    pub(crate) now: Timestamp,
    /// Whether a coordinator answered.
    pub(crate) coordinator: Coordinator,
    /// The latest beat of each workflow's agent.
    pub(crate) beats: BTreeMap<WorkflowName, Beat>,
    /// The open runs of the pipeline that were planned before this one, if that was looked up.
    pub(crate) in_the_way: Vec<RunKey>,
    /// Why some of this could not be heard, each once.
    pub(crate) unheard: BTreeSet<String>,
}

/// Whether a coordinator is there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Coordinator {
    /// Nobody asked yet.
    #[default]
    NotAsked,
    /// One answered.
    Alive,
    /// None answered in time.
    Silent,
    /// It cannot be known: NATS is out of reach, or these credentials may not ask.
    Unknown,
}

/// What an agent last said beside the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Beat {
    /// Its incarnation.
    pub(crate) epoch: Epoch,
    /// One line of progress.
    pub(crate) line: String,
    /// When it was heard here.
    pub(crate) heard: At,
}

/// An instant as reports show it: RFC 3339 in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct At(pub(crate) Timestamp);

impl Serialize for At {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl At {
    /// The time of day, in UTC.
    pub(crate) fn clock(self) -> String {
        self.0.to_string().get(11..19).map_or_else(|| self.0.to_string(), |text| format!("{text}Z"))
    }
}

/// A span as people read it: whole seconds, once it is longer than one.
pub(crate) fn rough(span: Span) -> String {
    if span.0 >= 1000 { Span(span.0 / 1000 * 1000).to_string() } else { span.to_string() }
}

/// Where a run is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Phase {
    /// Its plan is no longer, or never was, in the log.
    Expired,
    /// Its plan speaks a protocol that this build does not know.
    UnknownProtocol,
    /// Planned and not admitted: brand-new, or queued.
    Waiting,
    /// Admitted; agents are missing.
    Joining,
    /// Everybody dry-runs; nothing is written.
    Preparing,
    /// Steps run.
    Running,
    /// Committed; means to go back are given up.
    Finalizing,
    /// Aborted; what was done is undone.
    RollingBack,
    /// Decided for every workflow; some finalize, some go back (each-own).
    Ending,
    /// Over.
    Closed,
}

/// One run, told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RunReport {
    /// The pipeline.
    pub(crate) pipeline: PipelineName,
    /// The run's id.
    pub(crate) run: RunId,
    /// Where it is in its life.
    pub(crate) phase: Phase,
    /// How it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) result: Option<RunResult>,
    /// Whether it was cancelled on request: while it ran, or before it was admitted.
    pub(crate) cancelled: bool,
    /// One sentence for a person.
    pub(crate) summary: String,
    /// Who submitted it, as claimed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) submitted_by: Option<String>,
    /// When its plan was stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) planned: Option<At>,
    /// When it was admitted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) admitted: Option<At>,
    /// When it was closed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) closed: Option<At>,
    /// The record that decided it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) decided_by: Option<Sequence>,
    /// Its parameters.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) params: BTreeMap<String, String>,
    /// The earlier run whose plan this is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) from_run: Option<RunId>,
    /// Codes of the checks that were turned off.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) skipped_checks: Vec<String>,
    /// What it waits for; empty when it is over.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) waiting: Vec<Waiting>,
    /// Its first cause of abort, with the failed step's output.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cause: Option<Cause>,
    /// Every workflow, waived ones included.
    pub(crate) workflows: Vec<WorkflowReport>,
    /// Every barrier, built-in ones included.
    pub(crate) barriers: Vec<BarrierReport>,
    /// What operators asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) requests: Vec<RequestReport>,
    /// Records that changed nothing, and why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) void: Vec<VoidReport>,
    /// How many older void records are not listed.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) void_forgotten: u64,
    /// What a person should know.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) warnings: Vec<String>,
    /// What has to be done about a rollback that did not finish.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) settlement: Option<String>,
    /// The workflows whose rollback is not finished and not settled.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) owing: Vec<WorkflowName>,
    /// Whether a coordinator answered.
    pub(crate) coordinator: Coordinator,
    /// The last record that this report knows.
    pub(crate) last_record: Sequence,
    /// When the report was made, by the clock here.
    pub(crate) as_of: At,
}

impl RunReport {
    /// Everything that a person should know or do beside the state itself.
    pub(crate) fn notices(&self) -> impl Iterator<Item = &String> {
        self.warnings.iter().chain(&self.settlement)
    }

    /// The code that whoever waited for this run ends with.
    pub(crate) fn exit(&self) -> Exit {
        match (self.phase, self.result) {
            (_, Some(_)) if self.result == Some(RunResult::Refused) && self.cancelled => {
                Exit::Cancelled
            }
            // Nothing is left: the run failed, and that is all.
            (_, Some(RunResult::RollbackIncomplete)) if self.owing.is_empty() => Exit::Failed,
            (_, Some(result)) => Exit::of(result),
            (Phase::Expired | Phase::UnknownProtocol, None) => Exit::Unavailable,
            (_, None) => Exit::GaveUp,
        }
    }
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}
