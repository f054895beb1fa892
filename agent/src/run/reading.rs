//! Readings of the log, one at a time.

use std::time::Duration;

use futures::{FutureExt, future::BoxFuture};
use lockstep_agent_core::{Agent, Reading, Watched};
use lockstep_bus::{Bus, ReadError, reading::Reading as Read};
use lockstep_shared::{
    id::RunKey,
    time::{Span, Timestamp},
};
use tokio::time::Instant;

use super::windows::Windows;

/// How long one reading may take before it is asked anew, with what is known by then.
const READ_LIMIT: Duration = Duration::from_secs(10);

/// The pause after a reading that the server refused, since somebody has to change something.
const REFUSED_PAUSE: Duration = Duration::from_secs(1);

type Asked = (Vec<Watched>, Timestamp, Result<Read, ReadError>);

/// What became of a reading.
pub(super) enum Answer {
    /// It counts.
    Reading(Reading),
    /// Nothing that the server holds reached as far as what was read before.
    Behind,
    /// There is none yet.
    None,
}

/// What is being read, and whether to read once more after that.
#[derive(Default)]
pub(super) struct Reader {
    wanted: bool,
    under_way: Option<BoxFuture<'static, Asked>>,
    /// Set once whole families held more than one reading may.
    windows: Option<Windows>,
}

impl Reader {
    /// One more reading, after the one that is under way.
    pub(super) fn want(&mut self) {
        self.wanted = true;
    }

    /// Drops the reading under way, since it may be of another log, and wants one anew.
    pub(super) fn begin_anew(&mut self) {
        self.under_way = None;
        self.wanted = true;
    }

    /// Asks, if that is wanted and nothing is under way.
    pub(super) fn start(&mut self, bus: &Bus, key: &RunKey, agent: &Agent, now: Timestamp) {
        if !self.wanted || self.under_way.is_some() {
            return;
        }
        self.wanted = false;
        let asked = agent.filter();
        let subjects = bus.subjects();
        let mut filter = Vec::with_capacity(asked.len());
        for watched in &asked {
            match (watched, &self.windows) {
                (Watched::Slot(slot), _) => filter.push(subjects.slot(key, slot)),
                (Watched::Family(family), None) => filter.push(subjects.family(key, family)),
                (Watched::Family(family), Some(windows)) => {
                    filter.extend(windows.slots(family).map(|slot| subjects.slot(key, &slot)));
                }
            }
        }
        let (bus, floor) = (bus.clone(), agent.floor());
        let reading = async move {
            let read = bus.read(&filter, floor, Instant::now() + READ_LIMIT).await;
            if let Err(ReadError::Denied(_) | ReadError::TooMany) = read {
                tokio::time::sleep(REFUSED_PAUSE).await;
            }
            (asked, now, read)
        };
        self.under_way = Some(reading.boxed());
    }

    /// The next reading; cancel-safe. Waits for ever while nothing is asked.
    ///
    /// # Errors
    /// [`ReadError::Closed`], after which there never is another one.
    pub(super) async fn next(&mut self) -> Result<Answer, ReadError> {
        let Some(reading) = &mut self.under_way else { return std::future::pending().await };
        let (asked, started_at, read) = reading.await;
        self.under_way = None;
        match read {
            Ok(read) => {
                if self.windows.as_mut().is_some_and(|windows| windows.grow(&asked, &read.entries))
                {
                    self.wanted = true;
                    return Ok(Answer::None);
                }
                let asked_at = started_at.after(span(read.asked_after));
                let (upto, entries) = (read.upto, read.entries);
                Ok(Answer::Reading(Reading { asked, asked_at, upto, entries }))
            }
            Err(ReadError::Closed) => Err(ReadError::Closed),
            Err(error) => {
                tracing::warn!(%error, "the log cannot be read; trying again");
                self.wanted = true;
                if matches!(error, ReadError::TooMany) {
                    self.windows.get_or_insert_default();
                }
                let is_behind = matches!(error, ReadError::TimedOut { .. });
                Ok(if is_behind { Answer::Behind } else { Answer::None })
            }
        }
    }
}

/// Whole milliseconds, cut off: a question is never made younger than it is. The timer behind it
/// may stand still while the machine sleeps, which also makes it older.
fn span(passed: Duration) -> Span {
    Span(u64::try_from(passed.as_millis()).unwrap_or(u64::MAX))
}
