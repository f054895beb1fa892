//! The lock that keeps a workflow's second agent on this folder standing by.
//!
//! The kernel gives it up when its holder dies, however it dies: it is what proves to a successor
//! on the same folder that nobody else is still writing.

use std::{
    fs::{File, OpenOptions},
    io::{Read, Seek, Write},
    os::unix::fs::OpenOptionsExt,
};

use lockstep_shared::id::{PipelineName, WorkflowName};
use rustix::fs::{FlockOperation, flock};

use super::{StateDirectory, StateError};

/// The lock, held until it is dropped.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// What became of an attempt to take the lock.
#[derive(Debug)]
pub enum LockAttempt {
    /// It is held now.
    Held(Lock),
    /// Somebody else holds it, who called himself this.
    Busy(String),
}

impl StateDirectory {
    /// Takes the lock for a workflow, if nobody holds it.
    ///
    /// # Errors
    /// [`StateError::Io`] if the lock file cannot be opened or locked.
    pub fn lock(
        &self,
        pipeline: &PipelineName,
        workflow: &WorkflowName,
        instance: &str,
    ) -> Result<LockAttempt, StateError> {
        let path = self.root.join(format!("{pipeline}.{workflow}.lock"));
        let failed = |e: std::io::Error| StateError::io("lock", &path, e);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(failed)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {
                // Only for people: who reads it has not got the lock.
                let holder = format!("{instance}, process {}\n", std::process::id());
                file.set_len(0).and_then(|()| file.rewind()).map_err(failed)?;
                file.write_all(holder.as_bytes()).map_err(failed)?;
                Ok(LockAttempt::Held(Lock { _file: file }))
            }
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut holder = String::new();
                // Its text is a courtesy; that the lock is taken is known without it.
                let _ = file.take(256).read_to_string(&mut holder);
                let holder = holder.trim();
                Ok(LockAttempt::Busy(
                    if holder.is_empty() { "another agent" } else { holder }.into(),
                ))
            }
            Err(error) => Err(failed(error.into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_holder_stands_by_and_is_told_for_whom() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDirectory::open(folder.path()).unwrap();
        let (pipeline, workflow) = ("shop".parse().unwrap(), "backend".parse().unwrap());
        let first = state.lock(&pipeline, &workflow, "host-1").unwrap();
        assert!(matches!(first, LockAttempt::Held(_)));
        let LockAttempt::Busy(holder) = state.lock(&pipeline, &workflow, "host-2").unwrap() else {
            panic!("two hold the lock");
        };
        assert!(holder.starts_with("host-1, process "), "{holder}");
        drop(first);
        assert!(matches!(state.lock(&pipeline, &workflow, "host-2"), Ok(LockAttempt::Held(_))));
    }

    #[test]
    fn the_instance_is_the_same_after_a_restart_and_the_folder_is_private() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b");
        let state = StateDirectory::open(&path).unwrap();
        let first = state.instance().unwrap();
        assert_eq!(StateDirectory::open(&path).unwrap().instance().unwrap(), first);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
    }
}
