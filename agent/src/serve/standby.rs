//! Waiting for a workflow's lock while another agent on the same state directory has it.

use std::time::Duration;

use lockstep_shared::id::WorkflowName;
use tokio_util::sync::CancellationToken;

use super::Base;
use crate::state::{Lock, LockAttempt, StateError};

/// How soon a spare notices that the lock is free: well below what a run notices.
const TRY_AGAIN: Duration = Duration::from_millis(250);

/// The lock, as soon as nobody else holds it; `None` if `stop` was cancelled first. The kernel
/// gives no word when a lock becomes free without holding a thread up, so it is tried again.
pub(super) async fn lock(
    base: &Base,
    workflow: &WorkflowName,
    stop: &CancellationToken,
) -> Result<Option<Lock>, StateError> {
    let pipeline = &base.options.pipeline;
    let mut told = None;
    loop {
        match base.state.lock(pipeline, workflow, &base.instance)? {
            LockAttempt::Held(lock) => {
                if told.is_some() {
                    tracing::info!(%pipeline, %workflow, "taking over");
                }
                return Ok(Some(lock));
            }
            LockAttempt::Busy(holder) => {
                if told.as_ref() != Some(&holder) {
                    tracing::info!(
                        %pipeline, %workflow,
                        "standing by for {holder}, which holds the lock in {}",
                        base.state.path().display()
                    );
                    told = Some(holder);
                }
            }
        }
        tokio::select! {
            () = tokio::time::sleep(TRY_AGAIN) => {}
            () = stop.cancelled() => return Ok(None),
        }
    }
}
