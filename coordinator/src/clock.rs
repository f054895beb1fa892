//! The time as the log counts it: this machine's clock, set forward where a stored time shows
//! that the server's is ahead.

use std::time::{Duration, SystemTime};

use lockstep_shared::time::{Span, Timestamp};

/// What time it is.
///
/// A clock that is behind the server's would record every deadline late. One that is ahead costs
/// a void record, which says by how much; that is the core's business.
#[derive(Debug, Default)]
pub(crate) struct Clock {
    ahead: Span,
}

impl Clock {
    /// The time at the log, as far as this machine can know it.
    pub(crate) fn now(&self) -> Timestamp {
        wall().after(self.ahead)
    }

    /// A record was stored at that time, so it is at least as late.
    pub(crate) fn notice(&mut self, stored: Timestamp) {
        self.ahead = Span(self.ahead.0 + stored.since(self.now()).0);
    }

    /// How long it is until then.
    pub(crate) fn until(&self, then: Timestamp) -> Duration {
        then.since(self.now()).into()
    }
}

/// This machine's time.
pub(crate) fn wall() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stored_time_sets_the_clock_forward_and_never_back() {
        let mut clock = Clock::default();
        clock.notice(wall().after(Span::minutes(1)));
        assert!(clock.now().since(wall()) > Span::seconds(59));
        clock.notice(Timestamp(1));
        assert!(clock.now().since(wall()) > Span::seconds(59));
        assert!(clock.until(wall().after(Span::minutes(2))) <= Duration::from_secs(61));
    }
}
