//! The time that the core is given: it never goes back, and it passes while the machine sleeps.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lockstep_shared::time::Timestamp;
use rustix::time::{ClockId, clock_gettime};
use tokio::time::Instant;

/// A clock set once by the system's, and going on by itself: a corrected system clock cannot make
/// an agent believe that it has heard from the log when it has not.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    set: Timestamp,
    at: Duration,
}

impl Clock {
    pub(crate) fn new() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let set = Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX));
        Self { set, at: elapsed() }
    }

    pub(crate) fn now(&self) -> Timestamp {
        let passed = elapsed().saturating_sub(self.at).as_millis();
        Timestamp(self.set.0.saturating_add(u64::try_from(passed).unwrap_or(u64::MAX)))
    }

    /// When a timer has to go off to be called at `when`.
    pub(crate) fn instant(&self, when: Timestamp) -> Instant {
        // Whole milliseconds are cut off, so one more lest the timer goes off too early.
        let left = Duration::from_millis(when.0.saturating_sub(self.now().0).saturating_add(1));
        Instant::now() + left.min(Duration::from_secs(3600))
    }
}

/// The time since the machine started, sleep included.
fn elapsed() -> Duration {
    #[cfg(target_os = "linux")]
    const CLOCK: ClockId = ClockId::Boottime;
    #[cfg(not(target_os = "linux"))]
    const CLOCK: ClockId = ClockId::Monotonic;
    let now = clock_gettime(CLOCK);
    let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
    Duration::new(seconds, u32::try_from(now.tv_nsec).unwrap_or_default())
}
