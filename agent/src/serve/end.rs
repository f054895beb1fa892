//! How taking part in one run ended, as an exit code (the table of all programs).

use std::time::Duration;

use lockstep_agent_core::Ending;
use lockstep_bus::{Bus, ReadError};
use lockstep_shared::{
    id::RunKey,
    record::{Record, RunResult},
    subject::Family,
};
use tokio::time::Instant;

use super::AgentError;

/// How long Closed is looked for once this agent has nothing left to do: it has read it before.
const CLOSED_LIMIT: Duration = Duration::from_secs(10);

const ASK_AGAIN: Duration = Duration::from_millis(200);

/// How taking part in one run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RunEnd {
    /// The run is done, or planned.
    Done,
    /// It failed; all that had to roll back did.
    Failed,
    /// It was cancelled and rolled back.
    Cancelled,
    /// It failed, and a rollback did not finish.
    RollbackIncomplete,
    /// It was refused at admission.
    Refused,
    /// This agent cannot take part in it.
    TakesNoPart,
    /// Another agent has taken over; the run goes on.
    GaveUp,
    /// This agent was asked to end; the run goes on.
    Left,
}

impl RunEnd {
    /// The exit code.
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::TakesNoPart => 3,
            Self::Failed => 4,
            Self::RollbackIncomplete => 5,
            Self::Cancelled => 6,
            Self::GaveUp => 7,
            Self::Refused => 8,
            Self::Left => 143,
        }
    }

    pub(super) fn of(ending: &Ending) -> Self {
        match ending {
            Ending::Finalized { .. } | Ending::Planned | Ending::Closed => Self::Done,
            Ending::RolledBack { .. } | Ending::NotStarted => Self::Failed,
            Ending::Refused(_) => Self::Refused,
            Ending::TakesNoPart(_) => Self::TakesNoPart,
            Ending::Superseded { .. } => Self::GaveUp,
            Ending::Left => Self::Left,
        }
    }

    /// Of two workflows of one run the one that says more.
    pub(super) fn worse(self, other: Self) -> Self {
        self.max(other)
    }
}

impl From<RunResult> for RunEnd {
    fn from(result: RunResult) -> Self {
        match result {
            RunResult::Succeeded | RunResult::Planned => Self::Done,
            RunResult::RolledBack | RunResult::Partial => Self::Failed,
            RunResult::RollbackIncomplete => Self::RollbackIncomplete,
            RunResult::Cancelled => Self::Cancelled,
            RunResult::Refused => Self::Refused,
        }
    }
}

/// The run's own end, where this agent stayed until then; else how it ended for this agent.
pub(super) async fn of_run(bus: &Bus, key: &RunKey, own: RunEnd) -> Result<RunEnd, AgentError> {
    if matches!(own, RunEnd::Left | RunEnd::GaveUp | RunEnd::TakesNoPart) {
        return Ok(own);
    }
    let until = Instant::now() + CLOSED_LIMIT;
    let filter = [bus.subjects().family(key, &Family::Closed)];
    while Instant::now() < until {
        match bus.read(&filter, 0, until).await {
            Ok(read) => {
                let closed = read.entries.iter().find_map(|entry| match &entry.content {
                    Ok(stated) => match &stated.record {
                        Record::Closed { result, .. } => Some(*result),
                        _ => None,
                    },
                    Err(_) => None,
                });
                if let Some(result) = closed {
                    return Ok(result.into());
                }
            }
            Err(ReadError::Closed) => break,
            Err(error) => tracing::debug!(run = %key.run, %error, "Closed cannot be read yet"),
        }
        tokio::time::sleep(ASK_AGAIN).await;
    }
    Ok(own)
}
