//! What an order is doing, in one line: for beats and for the log.

use std::sync::{Arc, Mutex, PoisonError};

use lockstep_shared::id::WorkflowName;

/// The line; clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Progress {
    workflow: WorkflowName,
    line: Arc<Mutex<Option<String>>>,
}

impl Progress {
    pub(crate) fn new(workflow: WorkflowName) -> Self {
        Self { workflow, line: Arc::default() }
    }

    /// Says what is going on, and logs it if it is new.
    pub(crate) fn tell(&self, line: &str) {
        let mut known = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        if known.as_deref() != Some(line) {
            tracing::info!(workflow = %self.workflow, "{line}");
            *known = Some(line.to_owned());
        }
    }

    /// Nothing is going on any more.
    pub(crate) fn clear(&self) {
        *self.line.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// What was said last.
    pub(crate) fn line(&self) -> Option<String> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
