//! Beats: an agent's unstored word that it is alive (PROTOCOL section 6).

use lockstep_shared::id::{Epoch, RunKey, StepIndex, WorkflowName};
use serde::{Deserialize, Serialize};

use crate::connect::Bus;

/// What a beat says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beat {
    /// The incarnation that beats; 0 before it has joined.
    pub epoch: Epoch,
    /// The step it is at, if it is at one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<StepIndex>,
    /// One line for a person: what it is doing now.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub progress: String,
}

/// A subscription to beats.
pub struct Beats {}

impl Bus {
    /// Says that a workflow's agent is alive; lost without a word if the connection is down.
    pub async fn beat(&self, _key: &RunKey, _workflow: &WorkflowName, _beat: &Beat) {
        panic!("being written")
    }

    /// Every agent's beats.
    pub async fn all_beats(&self) -> Beats {
        panic!("being written")
    }

    /// One workflow's beats in one run: for an incarnation that stands by.
    pub async fn beats_of(&self, _key: &RunKey, _workflow: &WorkflowName) -> Beats {
        panic!("being written")
    }
}

impl Beats {
    /// The next beat; cancel-safe. `None` once the connection was closed.
    pub async fn next(&mut self) -> Option<(RunKey, WorkflowName, Beat)> {
        panic!("being written")
    }
}
