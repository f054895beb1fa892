//! In which clusters a workflow has kept undo records.
//!
//! A plan names its context, but the log may be gone, and the next run may name another one: what
//! was noted here is looked at for debts all the same. In a pod there is nothing to note, since its
//! cluster is always the same.

use lockstep_shared::id::{PipelineName, WorkflowName};
use serde::{Deserialize, Serialize};

use super::{StateDirectory, StateError, atomic};

/// How many are remembered, the latest: more than one workflow is ever deployed to.
const MAX_HOMES: usize = 64;

/// Where in a cluster undo records are kept.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Home {
    /// The context of the kubeconfig.
    pub context: String,
    /// The namespace.
    pub namespace: String,
}

impl StateDirectory {
    /// All that was noted for a workflow, the latest last.
    ///
    /// # Errors
    /// [`StateError`] if it cannot be read.
    pub fn homes(
        &self,
        pipeline: &PipelineName,
        workflow: &WorkflowName,
    ) -> Result<Vec<Home>, StateError> {
        let path = self.workflow_folder(pipeline, workflow).join("homes.json");
        Ok(atomic::read(&path)?.unwrap_or_default())
    }

    /// Notes one, durably.
    ///
    /// # Errors
    /// [`StateError`] if it cannot be stored; nothing may be written to that cluster then.
    pub fn note_home(
        &self,
        pipeline: &PipelineName,
        workflow: &WorkflowName,
        home: &Home,
    ) -> Result<(), StateError> {
        let mut homes = self.homes(pipeline, workflow)?;
        if homes.contains(home) {
            return Ok(());
        }
        homes.push(home.clone());
        homes.drain(..homes.len().saturating_sub(MAX_HOMES));
        atomic::write(&self.workflow_folder(pipeline, workflow).join("homes.json"), &homes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_home_is_noted_once_and_the_latest_are_remembered() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDirectory::open(folder.path()).unwrap();
        let (pipeline, workflow) = ("shop".parse().unwrap(), "backend".parse().unwrap());
        assert_eq!(state.homes(&pipeline, &workflow).unwrap(), []);
        let home = |number| Home { context: format!("c{number}"), namespace: "shop".to_owned() };
        for number in (0..=MAX_HOMES).chain(5..10) {
            state.note_home(&pipeline, &workflow, &home(number)).unwrap();
        }
        let homes = state.homes(&pipeline, &workflow).unwrap();
        assert_eq!(homes, (1..=MAX_HOMES).map(home).collect::<Vec<_>>());
        let other = "frontend".parse().unwrap();
        assert_eq!(state.homes(&pipeline, &other).unwrap(), []);
    }
}
