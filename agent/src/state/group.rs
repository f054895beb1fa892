//! Which process group an attempt runs in, written before it may act.
//!
//! A successor finds here what its predecessor left running. The start time tells the group from
//! a later one that was given the same number.

use std::path::PathBuf;

use lockstep_shared::id::{PipelineName, RunId, StepIndex, WorkflowName};
use serde::{Deserialize, Serialize};

use super::{StateDirectory, StateError, atomic};

/// A process group that an attempt runs in, or ran in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GroupRecord {
    /// The run that it works for.
    pub run: RunId,
    /// The step that it works for.
    pub step: StepIndex,
    /// The step's name, as the group's processes have it in their environment.
    pub step_name: String,
    /// The attempt; 0 for what undoes the step.
    pub attempt: u32,
    /// The group's number, which is its first process's.
    pub group: i32,
    /// When that process began, in the system's own counting.
    pub started: String,
}

impl StateDirectory {
    /// Remembers the group that a workflow's command runs in; it runs one at a time.
    ///
    /// # Errors
    /// [`StateError::Io`] if it cannot be stored.
    pub fn save_group(
        &self,
        pipeline: &PipelineName,
        workflow: &WorkflowName,
        group: &GroupRecord,
    ) -> Result<(), StateError> {
        atomic::write(&self.group_path(pipeline, workflow), group)
    }

    /// The group that was not forgotten, because its agent died first.
    ///
    /// # Errors
    /// [`StateError`] if the file is there and cannot be read.
    pub fn group(
        &self,
        pipeline: &PipelineName,
        workflow: &WorkflowName,
    ) -> Result<Option<GroupRecord>, StateError> {
        atomic::read(&self.group_path(pipeline, workflow))
    }

    /// Forgets the group, since its command is over. Should it come back after a power loss, then
    /// with a start time that no process has.
    ///
    /// # Errors
    /// [`StateError::Io`] if the file cannot be removed.
    pub fn forget_group(
        &self,
        pipeline: &PipelineName,
        workflow: &WorkflowName,
    ) -> Result<(), StateError> {
        atomic::forget(&self.group_path(pipeline, workflow))
    }

    fn group_path(&self, pipeline: &PipelineName, workflow: &WorkflowName) -> PathBuf {
        self.workflow_folder(pipeline, workflow).join("group.json")
    }
}
