//! What an agent keeps on its own disk: the lock, its identity, its debts and where they are, what
//! it is running.
//!
//! Decides how these files are named, written and read back. Deliberately knows nothing of the
//! log and of what the debts mean: a file that cannot be read is reported, never guessed at.

mod atomic;
mod error;
mod group;
mod homes;
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
pub use homes::Home;
pub use lock::{Lock, LockAttempt};
pub use undo::{Mark, UndoRecord};

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

/// Creates a folder and those above it, so that they are there after a power loss too: a file is
/// no safer than the way to it.
fn create_folder(path: &Path) -> Result<(), StateError> {
    let made: Vec<&Path> = missing(path);
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|e| StateError::io("create", path, e))?;
    // From the outermost in: each is named by the one above it.
    made.into_iter().rev().try_for_each(|folder| atomic::sync_folder(&atomic::folder_of(folder)))
}

/// The folders on the way that are not there yet, innermost first.
fn missing(path: &Path) -> Vec<&Path> {
    let ancestors = path.ancestors().filter(|folder| !folder.as_os_str().is_empty());
    ancestors.take_while(|folder| !folder.exists()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_folder_that_is_made_is_brought_to_the_disk_in_the_one_above() {
        let folder = tempfile::tempdir().unwrap();
        let deep = folder.path().join("a/b/c");
        let made = [deep.clone(), folder.path().join("a/b"), folder.path().join("a")];
        assert_eq!(missing(&deep), made.iter().map(PathBuf::as_path).collect::<Vec<_>>());
        create_folder(&deep).unwrap();
        assert!(deep.is_dir() && missing(&deep).is_empty());
        assert_eq!(missing(Path::new("no-such-folder/b")).len(), 2);
        assert_eq!(atomic::folder_of(Path::new("no-such-folder")), Path::new("."));
    }

    #[test]
    fn agents_that_start_at_once_on_a_new_folder_are_one_instance() {
        for _ in 0..20 {
            let folder = tempfile::tempdir().unwrap();
            let root = folder.path().join("state");
            let start = std::sync::Barrier::new(8);
            let names: Vec<String> = std::thread::scope(|scope| {
                let begin = || {
                    start.wait();
                    StateDirectory::open(&root).and_then(|state| state.instance()).unwrap()
                };
                let agents: Vec<_> = (0..8).map(|_| scope.spawn(begin)).collect();
                agents.into_iter().map(|agent| agent.join().unwrap()).collect()
            });
            assert!(names.iter().all(|name| *name == names[0]), "{names:?}");
        }
    }
}
