//! Leave to write to the user's objects, asked for right before each write (PROTOCOL section 6).

use std::time::Duration;

use super::{client::Pass, lease::Lease};
use crate::command::Permit;

/// How long a renewal of the Lease is waited for before a write is given up.
const RENEWAL_LIMIT: Duration = Duration::from_secs(10);

/// Lets writes through while this agent is the workflow's current incarnation, has heard from the
/// log, and holds the Lease for longer than the write may take.
#[derive(Clone)]
pub(crate) struct Fence {
    permit: Permit,
    lease: Lease,
}

/// Why a write was not sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("nothing more is written: {0}")]
pub(crate) struct Fenced(pub(crate) String);

impl Fence {
    pub(crate) fn new(permit: Permit, lease: Lease) -> Self {
        Self { permit, lease }
    }

    /// Leave for one write, now.
    ///
    /// # Errors
    /// [`Fenced`] if this agent may not write any more, or not now.
    pub(crate) async fn pass(&self) -> Result<Pass, Fenced> {
        // The Lease may take a moment to be renewed, so the permit is the last thing asked.
        self.lease.held(RENEWAL_LIMIT).await.map_err(Fenced)?;
        self.permit.ask().await.map_err(Fenced)?;
        // Asking may have taken long.
        self.lease.held(Duration::ZERO).await.map_err(Fenced)?;
        Ok(Pass::fenced())
    }
}
