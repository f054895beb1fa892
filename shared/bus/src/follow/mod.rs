//! Following: an ordered push consumer for readers of whole runs (PROTOCOL section 5).
//!
//! Own code over the client library's subscriptions: its ordered consumer may replay from the
//! beginning, and never gets past a stored message whose writer gave it a status line.

mod consumer;
mod step_over;
mod watchdog;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use lockstep_shared::{
    codec::{self, Entry, RawMessage},
    id::{RunKey, Sequence},
    subject::{STREAM, Slot},
    time::Timestamp,
};
use tokio::{sync::mpsc, time::Instant};
use tokio_util::task::AbortOnDropHandle;

use crate::{
    connect::Bus,
    history::{Continuity, Landmark, LogState},
    reading::ReadError,
    unreadable::SUSPICIOUS,
};

/// How many reports wait to be taken; then the server is asked to wait.
const REPORTS_KEPT: usize = 1024;

/// How long making a consumer and asking for the log's state may take.
const BUILD_WITHIN: Duration = Duration::from_secs(10);

/// The pause after a consumer could not be made.
const AFTER_TROUBLE: Duration = Duration::from_millis(500);

/// The pause before a connection is tried again that will end at the same record.
const AFTER_REFUSAL: Duration = Duration::from_secs(5);

/// What a follower reports, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Follow {
    /// The next record, rubbish included; never twice.
    Entry(Box<Entry>),
    /// The next record's place, if only headings were asked for.
    Heading(Heading),
    /// Everything up to this position has been reported; said after each (re)build and whenever
    /// the watchdog has confirmed it.
    CaughtUp {
        /// The position.
        upto: Sequence,
        /// The connection on which that was asked; it says nothing of the log behind a later one.
        generation: u64,
    },
    /// The consumer was lost and made again; nothing was missed. `CaughtUp` follows.
    Rebuilt {
        /// Why it was made again.
        why: String,
    },
    /// The log lost records: forget everything; what it holds now follows from its beginning.
    LogWentBack {
        /// How that shows, for a person.
        why: String,
    },
    /// It cannot be read just now; tried again without end.
    Trouble {
        /// What failed.
        why: String,
    },
}

/// Where a record stands, without what it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heading {
    /// Its position in the stream.
    pub seq: Sequence,
    /// When the server stored it.
    pub time: Timestamp,
    /// The run it belongs to.
    pub key: RunKey,
    /// Its slot in that run.
    pub slot: Slot,
}

/// A running consumer; it ends when this is dropped.
pub struct Follower {
    reports: mpsc::Receiver<Follow>,
    _task: AbortOnDropHandle<()>,
}

impl Bus {
    /// Follows the filters (stored subjects, wildcards allowed, not overlapping) from sequence
    /// `from` (1 = the beginning) on, without end.
    pub fn follow(&self, filters: Vec<String>, from: Sequence) -> Follower {
        self.start_following(filters, from, Content::Whole)
    }

    /// Follows headings only: cheap for plans.
    pub fn follow_headings(&self, filters: Vec<String>, from: Sequence) -> Follower {
        self.start_following(filters, from, Content::Headings)
    }

    fn start_following(&self, filters: Vec<String>, from: Sequence, content: Content) -> Follower {
        let (sender, reports) = mpsc::channel(REPORTS_KEPT);
        let task = FollowTask {
            bus: self.clone(),
            filters,
            content,
            reports: sender,
            applied: Arc::new(AtomicU64::new(from.saturating_sub(1))),
            landmark: None,
            before: None,
        };
        Follower { reports, _task: AbortOnDropHandle::new(tokio::spawn(task.run())) }
    }
}

impl Follower {
    /// The next report; cancel-safe. `None` once the connection was closed.
    pub async fn next(&mut self) -> Option<Follow> {
        self.reports.recv().await
    }
}

/// How much of each record is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Content {
    Whole,
    Headings,
}

/// Why one consumer came to its end.
#[derive(Debug)]
enum End {
    /// It has to be made again.
    Lost(String),
    /// It could not even be made.
    Trouble(String),
    /// Nobody listens any more, or the connection was closed.
    Over,
}

struct FollowTask {
    bus: Bus,
    filters: Vec<String>,
    content: Content,
    reports: mpsc::Sender<Follow>,
    /// The highest position reported; the watchdog looks at it too.
    applied: Arc<AtomicU64>,
    landmark: Option<Landmark>,
    /// The log as it was when the last consumer was made.
    before: Option<LogState>,
}

impl FollowTask {
    async fn run(mut self) {
        let mut lost: Option<String> = None;
        let mut told: Option<String> = None;
        let mut fruitless = 0;
        loop {
            if !self.wait_until_up().await {
                return;
            }
            if fruitless >= SUSPICIOUS
                && let Err(why) = self.step_over().await
            {
                // Told as what it is, and not again by what follows from it.
                if told.as_ref() != Some(&why) {
                    told = Some(why.clone());
                    if !self.report(Follow::Trouble { why }).await {
                        return;
                    }
                }
                tokio::time::sleep(AFTER_REFUSAL).await;
            }
            let before = self.place();
            let end = self.follow_once(lost.take()).await;
            let after = self.place();
            let in_vain = after.0 != before.0 && after.1 == before.1;
            fruitless = if in_vain { fruitless + 1 } else { 0 };
            match end {
                End::Over => return,
                End::Lost(why) => {
                    tracing::debug!(why, "the consumer is lost; making another");
                    lost = Some(why);
                    if !in_vain {
                        told = None;
                    }
                }
                End::Trouble(why) => {
                    // Said once, not at every attempt.
                    if told.as_ref() != Some(&why) {
                        told = Some(why.clone());
                        if !self.report(Follow::Trouble { why: why.clone() }).await {
                            return;
                        }
                    }
                    lost = Some(why);
                    tokio::time::sleep(AFTER_TROUBLE).await;
                }
            }
        }
    }

    /// Which connection this is, and how far it got.
    fn place(&self) -> (u64, Sequence) {
        let link = self.bus.link().borrow().clone();
        // A connection that is down is no longer the one it was.
        let connection = link.generation * 2 + u64::from(!link.up);
        (connection, self.applied.load(Ordering::Acquire))
    }

    async fn wait_until_up(&self) -> bool {
        let mut link = self.bus.link();
        let up = link.wait_for(|link| link.up || link.closed).await;
        up.is_ok_and(|link| link.up)
    }

    /// From the check of the log until the consumer is lost.
    async fn follow_once(&mut self, lost: Option<String>) -> End {
        let deadline = Instant::now() + BUILD_WITHIN;
        // Read before the first question: what comes of it may be of a later connection, never
        // of an earlier one.
        let generation = self.bus.link().borrow().generation;
        let last = match self.check_log(deadline).await {
            Ok(last) => last,
            Err(end) => return end,
        };
        let applied = self.applied.load(Ordering::Acquire);
        let made = self.make_consumer(applied + 1, generation, deadline).await;
        let consumer = match made {
            Ok(consumer) => consumer,
            Err(why) => return End::Trouble(why),
        };
        if let Some(why) = lost
            && !self.report(Follow::Rebuilt { why }).await
        {
            return End::Over;
        }
        let watchdog = watchdog::watch(
            self.bus.clone(),
            self.filters.clone(),
            self.applied.clone(),
            self.before.clone(),
            generation,
            self.reports.clone(),
        );
        let name = consumer.name.clone();
        let end = tokio::select! {
            end = self.deliver(consumer, last) => end,
            why = watchdog => End::Lost(why),
        };
        self.drop_consumer(&name).await;
        end
    }

    /// Whether the log is still the one that was followed; its last position now.
    async fn check_log(&mut self, deadline: Instant) -> Result<Sequence, End> {
        let trouble = |error: ReadError| match error {
            ReadError::Closed => End::Over,
            // Whoever tells it says what could not be done.
            ReadError::TimedOut { reason } => End::Trouble(reason),
            ReadError::Denied(denial) => End::Trouble(denial.to_string()),
            ReadError::TooMany => End::Trouble(error.to_string()),
        };
        let Some(before) = &self.before else {
            let now = self.bus.log_state(deadline).await.map_err(trouble)?;
            let last = now.last;
            self.before = Some(now);
            return Ok(last);
        };
        let applied = self.applied.load(Ordering::Acquire);
        let compared =
            self.bus.check_history(before, applied, self.landmark.as_ref(), deadline).await;
        let (continuity, now) = compared.map_err(trouble)?;
        let last = now.last;
        self.before = Some(now);
        if let Continuity::WentBack(why) = continuity {
            tracing::error!(stream = STREAM, why, "the log lost records; reading it anew");
            self.applied.store(0, Ordering::Release);
            self.landmark = None;
            if !self.report(Follow::LogWentBack { why }).await {
                return Err(End::Over);
            }
        }
        Ok(last)
    }

    /// Reports a delivered message, once; whether anybody still listens.
    async fn apply(&mut self, stored: RawMessage) -> bool {
        if stored.seq <= self.applied.load(Ordering::Acquire) {
            return true;
        }
        let seq = stored.seq;
        let event = None;
        self.landmark = Some(Landmark { seq, time: stored.time, event });
        let report = match self.content {
            Content::Whole => codec::decode(self.bus.subjects(), &stored).map(|entry| {
                self.landmark = Some(Landmark::of(&entry));
                Follow::Entry(Box::new(entry))
            }),
            Content::Headings => {
                self.bus.subjects().parse(&stored.subject).map(|(key, slot)| {
                    Follow::Heading(Heading { seq, time: stored.time, key, slot })
                })
            }
        };
        if let Some(report) = report
            && !self.report(report).await
        {
            return false;
        }
        self.applied.store(seq, Ordering::Release);
        true
    }

    async fn report(&self, report: Follow) -> bool {
        self.reports.send(report).await.is_ok()
    }
}
