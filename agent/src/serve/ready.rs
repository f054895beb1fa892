//! Whether an agent that was started could carry out a run, said before one needs it.

use std::time::Duration;

use lockstep_bus::ReadError;
use lockstep_shared::id::WorkflowName;
use tokio::time::Instant;

use super::Base;

/// How long the log is waited for until it is said that it is not there.
const LOOK_LIMIT: Duration = Duration::from_secs(2);

/// How soon it is looked for again.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// The look for the log of an agent that has just begun.
pub(super) struct Readiness {
    base: Base,
    workflow: WorkflowName,
    is_told: bool,
    is_ready: bool,
}

impl Readiness {
    /// Says what is known to fail.
    pub(super) fn new(base: &Base, workflow: &WorkflowName) -> Self {
        let options = &base.options;
        // An agent in a cluster usually has none to run.
        if !options.allow_commands && options.cluster.is_none() {
            tracing::warn!(
                pipeline = %options.pipeline, %workflow,
                "commands are not run here: a run in which {workflow} has one fails while it is \
                 prepared, and is rolled back; start this agent with --allow-commands if it shall \
                 run what a plan says"
            );
        }
        Self { base: base.clone(), workflow: workflow.clone(), is_told: false, is_ready: false }
    }

    /// Ends once the log can be read, and after that never again; cancel-safe.
    ///
    /// # Errors
    /// [`ReadError::Denied`] or [`ReadError::Closed`]: it never can.
    pub(super) async fn next(&mut self) -> Result<(), ReadError> {
        if self.is_ready {
            return std::future::pending().await;
        }
        loop {
            match self.base.bus.log_report(Instant::now() + LOOK_LIMIT).await {
                Ok(_) => {
                    self.is_ready = true;
                    return Ok(());
                }
                Err(error @ (ReadError::Denied(_) | ReadError::Closed)) => return Err(error),
                Err(error) if !self.is_told => {
                    self.is_told = true;
                    tracing::warn!(
                        workflow = %self.workflow, %error,
                        "no run can be carried out yet, since there is no log to read; \
                         waiting for it. A lockstep-coordinator creates it, and JetStream has to \
                         be enabled"
                    );
                }
                Err(_) => {}
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }
}
