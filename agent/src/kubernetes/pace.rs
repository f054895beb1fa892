//! How long an order may take, and whether it is still wanted.
//!
//! Looked at between requests, never in the middle of one: a write that was sent is waited for,
//! so that nothing lands behind the back of what comes next.

use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// The limits of one order.
#[derive(Debug, Clone)]
pub(crate) struct Pace {
    until: Instant,
    limit: Duration,
    stop: CancellationToken,
}

/// Why an order is not carried on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Ended {
    #[error("it was stopped")]
    Stopped,
    #[error("it took longer than {} s", .0.as_secs_f64())]
    TimedOut(Duration),
}

impl Pace {
    pub(crate) fn new(limit: Duration, stop: &CancellationToken) -> Self {
        Self { until: Instant::now() + limit, limit, stop: stop.clone() }
    }

    /// Whether to go on.
    ///
    /// # Errors
    /// [`Ended`] if not.
    pub(crate) fn check(&self) -> Result<(), Ended> {
        if self.stop.is_cancelled() {
            return Err(Ended::Stopped);
        }
        if Instant::now() >= self.until {
            return Err(Ended::TimedOut(self.limit));
        }
        Ok(())
    }

    /// Lets time pass, and says whether to go on then.
    ///
    /// # Errors
    /// [`Ended`] as soon as not.
    pub(crate) async fn pause(&self, time: Duration) -> Result<(), Ended> {
        tokio::select! {
            () = tokio::time::sleep(time) => {}
            () = tokio::time::sleep_until(self.until) => {}
            () = self.stop.cancelled() => {}
        }
        self.check()
    }

    /// Something that may be dropped anywhere, unless it takes too long.
    ///
    /// # Errors
    /// [`Ended`] if it does, or is not wanted any more.
    pub(crate) async fn within<T>(&self, work: impl Future<Output = T>) -> Result<T, Ended> {
        tokio::select! {
            done = work => Ok(done),
            () = tokio::time::sleep_until(self.until) => Err(Ended::TimedOut(self.limit)),
            () = self.stop.cancelled() => Err(Ended::Stopped),
        }
    }
}
