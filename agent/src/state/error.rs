//! What can be wrong with a file of the state directory.

use std::path::{Path, PathBuf};

/// Why the state directory could not be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The system refused an operation.
    #[error(
        "cannot {verb} {}; see that this user may write there, or choose another folder with \
         --state-dir", path.display()
    )]
    Io {
        /// What was tried.
        verb: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file holds something that this build did not write.
    #[error(
        "{} is damaged, so what it says cannot be relied on; restore it from a backup, or, if you \
         have made sure by hand that nothing of that run is left to undo, remove it",
        path.display()
    )]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// A file was written by a newer build.
    #[error(
        "{} is of format {found}, and this build knows {known}; use the newer build",
        path.display()
    )]
    Format {
        /// Which file.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The newest format that this build knows.
        known: u32,
    },
}

impl StateError {
    pub(super) fn io(verb: &'static str, path: &Path, source: std::io::Error) -> Self {
        Self::Io { verb, path: path.to_owned(), source }
    }
}
