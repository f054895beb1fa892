//! Until when a request that nobody waits for any more may still be carried out (rule 8).
//!
//! Every write names the version that it is for, so a late one finds another version and does
//! nothing. Only a create has nothing to find: what it makes has to be looked for once more.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use lockstep_shared::id::Epoch;
use tokio::time::Instant;

/// How long after it was given up a request may still be carried out: the longest write.
const LATE: Duration = Duration::from_secs(10);

/// What may still be on its way in one run; clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Late(Arc<Mutex<Known>>);

#[derive(Debug, Default)]
struct Known {
    epoch: Epoch,
    until: Option<Instant>,
}

impl Late {
    /// A write was not answered.
    pub(crate) fn unanswered(&self) {
        self.known().until = Some(Instant::now() + LATE);
    }

    /// This incarnation writes now; what one before it had sent may be on its way.
    pub(crate) fn taken_over(&self, epoch: Epoch) {
        let mut known = self.known();
        if epoch > known.epoch.max(1) {
            *known = Known { epoch, until: Some(Instant::now() + LATE) };
        }
    }

    /// How long something may still come; `None` if nothing does any more.
    pub(crate) fn rest(&self) -> Option<Duration> {
        let rest = self.known().until?.saturating_duration_since(Instant::now());
        (!rest.is_zero()).then_some(rest)
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_took_over_or_got_no_answer_expects_something_late_for_a_while() {
        let late = Late::default();
        late.taken_over(1);
        assert_eq!(late.rest(), None, "nobody wrote before the first");
        late.taken_over(2);
        assert_eq!(late.rest(), Some(LATE));
        tokio::time::advance(LATE / 2).await;
        late.taken_over(2);
        assert_eq!(late.rest(), Some(LATE / 2), "a term is begun once");
        tokio::time::advance(LATE / 2).await;
        assert_eq!(late.rest(), None);
        late.clone().unanswered();
        assert_eq!(late.rest(), Some(LATE));
    }
}
