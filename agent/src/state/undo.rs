//! Undo records: what an agent owes its target, run by run.
//!
//! A record holds all that is needed to undo a workflow's commands, so that an operator's `resume`
//! can be obeyed also when the log no longer holds the run's plan.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use lockstep_shared::{
    id::{Epoch, PipelineName, RunId, RunKey, WorkflowName},
    plan::Workflow,
    time::Timestamp,
};
use serde::{Deserialize, Serialize};

use super::{StateDirectory, StateError, atomic};

/// The format that this build writes.
const FORMAT: u32 = 1;

/// How far a debt has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mark {
    /// Nothing has been written to the target.
    Prepared,
    /// Something may have been written: this must be undone or finalized.
    Started,
    /// Nothing is owed any more.
    Settled,
}

/// One workflow's debt from one run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UndoRecord {
    format: u32,
    /// The run.
    pub key: RunKey,
    /// The workflow.
    pub workflow: WorkflowName,
    /// How far it has come.
    pub mark: Mark,
    /// The incarnation that prepared it.
    pub epoch: Epoch,
    /// When it was prepared.
    pub prepared_at: Timestamp,
    /// The run's parameters, for the environment of what undoes it.
    pub params: BTreeMap<String, String>,
    /// The workflow as planned, with what undoes each step.
    pub plan: Workflow,
}

#[derive(Deserialize)]
struct Format {
    format: u32,
}

impl UndoRecord {
    /// A debt at its beginning, when nothing has been written.
    pub fn prepared(
        key: RunKey,
        workflow: WorkflowName,
        epoch: Epoch,
        prepared_at: Timestamp,
        params: BTreeMap<String, String>,
        plan: Workflow,
    ) -> Self {
        let mark = Mark::Prepared;
        Self { format: FORMAT, key, workflow, mark, epoch, prepared_at, params, plan }
    }
}

impl StateDirectory {
    /// Stores a record over its earlier state.
    ///
    /// # Errors
    /// [`StateError::Io`] if it cannot be stored; nothing may be written to the target then.
    pub fn save_undo(&self, record: &UndoRecord) -> Result<(), StateError> {
        let folder = self.undo_folder(&record.key.pipeline, &record.workflow);
        atomic::write(&undo_path(&folder, &record.key.run), record)
    }

    /// One run's record, if there is one.
    ///
    /// # Errors
    /// [`StateError`] if it is there and cannot be read.
    pub fn undo(
        &self,
        key: &RunKey,
        workflow: &WorkflowName,
    ) -> Result<Option<UndoRecord>, StateError> {
        read(&undo_path(&self.undo_folder(&key.pipeline, workflow), &key.run))
    }

    /// All of a workflow's records, the oldest run first.
    ///
    /// # Errors
    /// [`StateError`] if one of them cannot be read: it might be a debt.
    pub fn undo_records(
        &self,
        pipeline: &PipelineName,
        workflow: &WorkflowName,
    ) -> Result<Vec<UndoRecord>, StateError> {
        let folder = self.undo_folder(pipeline, workflow);
        let entries = match std::fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(StateError::io("read", &folder, error)),
        };
        let mut records = Vec::new();
        for entry in entries {
            let path = entry.map_err(|e| StateError::io("read", &folder, e))?.path();
            // What is not called so is a temporary file of a writer that died.
            if path.extension().is_some_and(|extension| extension == "json") {
                records.extend(read(&path)?);
            }
        }
        records.sort_by(|a, b| (a.prepared_at, &a.key).cmp(&(b.prepared_at, &b.key)));
        Ok(records)
    }

    /// Removes the records of all but the latest `kept` runs that owe nothing.
    ///
    /// # Errors
    /// [`StateError`] if a record cannot be read or removed.
    pub fn prune_undo(
        &self,
        pipeline: &PipelineName,
        workflow: &WorkflowName,
        kept: usize,
    ) -> Result<(), StateError> {
        let folder = self.undo_folder(pipeline, workflow);
        let mut settled = self.undo_records(pipeline, workflow)?;
        settled.retain(|record| record.mark == Mark::Settled);
        let surplus = settled.len().saturating_sub(kept);
        for record in &settled[..surplus] {
            atomic::forget(&undo_path(&folder, &record.key.run))?;
        }
        Ok(())
    }

    fn undo_folder(&self, pipeline: &PipelineName, workflow: &WorkflowName) -> PathBuf {
        self.workflow_folder(pipeline, workflow).join("undo")
    }
}

fn undo_path(folder: &Path, run: &RunId) -> PathBuf {
    folder.join(format!("{run}.json"))
}

/// A newer format is told apart from damage, since the remedy is another one.
fn read(path: &Path) -> Result<Option<UndoRecord>, StateError> {
    if let Some(Format { format }) = atomic::read::<Format>(path)?
        && format > FORMAT
    {
        return Err(StateError::Format { path: path.to_owned(), found: format, known: FORMAT });
    }
    atomic::read(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockstep_shared::plan::Target;

    fn state() -> (tempfile::TempDir, StateDirectory) {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDirectory::open(folder.path()).unwrap();
        (folder, state)
    }

    fn record(run: &str, at: u64) -> UndoRecord {
        let key = RunKey { pipeline: "shop".parse().unwrap(), run: run.parse().unwrap() };
        let plan = Workflow {
            target: Target::Command {},
            steps: Vec::new(),
            waived: false,
            waived_steps: Vec::new(),
            bundle: None,
        };
        let workflow = "backend".parse().unwrap();
        UndoRecord::prepared(key, workflow, 1, Timestamp(at), BTreeMap::new(), plan)
    }

    #[test]
    fn a_debt_is_read_back_as_it_was_stored_and_the_oldest_comes_first() {
        let (_folder, state) = state();
        let (mut first, second) = (record("b", 1), record("a", 2));
        state.save_undo(&second).unwrap();
        state.save_undo(&first).unwrap();
        first.mark = Mark::Started;
        state.save_undo(&first).unwrap();
        let pipeline = first.key.pipeline.clone();
        let found = state.undo_records(&pipeline, &first.workflow).unwrap();
        assert_eq!(found, vec![first.clone(), second]);
        assert_eq!(state.undo(&first.key, &first.workflow).unwrap(), Some(first));
    }

    #[test]
    fn only_settled_records_are_pruned_and_the_latest_three_stay() {
        let (_folder, state) = state();
        for number in 1..=6 {
            let mut record = record(&format!("r{number}"), number);
            record.mark = if number == 1 { Mark::Started } else { Mark::Settled };
            state.save_undo(&record).unwrap();
        }
        let (pipeline, workflow) = ("shop".parse().unwrap(), "backend".parse().unwrap());
        state.prune_undo(&pipeline, &workflow, 3).unwrap();
        let left = state.undo_records(&pipeline, &workflow).unwrap();
        let left: Vec<&str> = left.iter().map(|record| record.key.run.as_str()).collect();
        assert_eq!(left, ["r1", "r4", "r5", "r6"]);
    }

    #[test]
    fn a_damaged_record_is_an_error_that_names_the_file_and_never_a_guess() {
        let (folder, state) = state();
        let record = record("r1", 1);
        state.save_undo(&record).unwrap();
        let path = folder.path().join("shop.backend/undo/r1.json");
        std::fs::write(&path, b"{\"format\":1,\"key\":").unwrap();
        let error = state.undo_records(&record.key.pipeline, &record.workflow).unwrap_err();
        assert!(matches!(error, StateError::Damaged { .. }), "{error}");
        assert!(error.to_string().contains("undo/r1.json"), "{error}");
        std::fs::write(&path, b"{\"format\":9}").unwrap();
        let error = state.undo(&record.key, &record.workflow).unwrap_err();
        assert!(matches!(error, StateError::Format { found: 9, .. }), "{error}");
    }
}
