//! What an agent keeps on its own disk: the lock, its identity, its debts, what it is running.
//!
//! Decides how these files are named, written and read back. Deliberately knows nothing of the
//! log and of what the debts mean: a file that cannot be read is reported, never guessed at.

mod atomic;
mod error;
mod group;
mod instance;
mod lock;
mod undo;

use std::{
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

pub use error::StateError;
pub use group::GroupRecord;
pub use lock::{Lock, LockAttempt};
pub use undo::{KEPT_RUNS, Mark, UndoRecord};

use lockstep_shared::id::{PipelineName, WorkflowName};

/// The folder that an agent keeps its state in.
#[derive(Debug, Clone)]
pub struct StateDirectory {
    root: Arc<Path>,
}

impl StateDirectory {
    /// Opens the folder, and creates it for its owner alone if it does not exist.
    ///
    /// # Errors
    /// [`StateError::Io`] if it cannot be created or is no folder.
    pub fn open(root: &Path) -> Result<Self, StateError> {
        create_folder(root)?;
        let found = std::fs::metadata(root).map_err(|e| StateError::io("look at", root, e))?;
        if found.permissions().mode() & 0o022 != 0 {
            tracing::warn!(
                path = %root.display(),
                "other users can write to the state directory, and so make this agent undo the \
                 wrong things; give it to this user alone (chmod 700)"
            );
        }
        Ok(Self { root: root.into() })
    }

    /// `$XDG_STATE_HOME/lockstep`, or `~/.local/state/lockstep`.
    pub fn default_path() -> Option<PathBuf> {
        let absolute = |name: &str| {
            std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute())
        };
        absolute("XDG_STATE_HOME")
            .or_else(|| absolute("HOME").map(|home| home.join(".local/state")))
            .map(|folder| folder.join("lockstep"))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.root
    }

    /// The folder for one workflow; neither name can hold a dot, so no two share one.
    fn workflow_folder(&self, pipeline: &PipelineName, workflow: &WorkflowName) -> PathBuf {
        self.root.join(format!("{pipeline}.{workflow}"))
    }
}

fn create_folder(path: &Path) -> Result<(), StateError> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|e| StateError::io("create", path, e))
}
