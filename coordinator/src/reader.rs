//! Reading the log: the cheap start, and everything live after it (PROTOCOL section 5).

use std::collections::VecDeque;

use lockstep_bus::{Bus, Follow, Follower};
use lockstep_coordinator_core::{Event, Unread};
use lockstep_shared::{fold::Moment, id::Sequence};

/// How many runs one consumer reads at the start.
const RUNS_PER_CONSUMER: usize = 32;

/// What comes of reading.
#[derive(Debug)]
pub(crate) enum News {
    /// Something for the core.
    Event(Event),
    /// Everything has been told, as the log stood behind this connection.
    CaughtUp { generation: u64 },
}

/// Reads the log stage by stage.
pub(crate) struct Reader {
    bus: Bus,
    stage: Stage,
    follower: Follower,
}

enum Stage {
    /// Every plan's place; nothing below the end of these is read again but open runs.
    Headings,
    /// Every Closed.
    Ends { live_from: Sequence },
    /// Waiting to be told which runs are open.
    Listed { live_from: Sequence },
    /// The open runs, whole.
    Open { live_from: Sequence, rest: VecDeque<Unread> },
    /// Everything from where the headings ended.
    Live { from: Sequence },
}

impl Reader {
    /// A reader at the log's beginning.
    pub(crate) fn new(bus: &Bus) -> Self {
        let plans = vec![bus.subjects().all_plans()];
        Self { bus: bus.clone(), stage: Stage::Headings, follower: bus.follow_headings(plans, 1) }
    }

    /// What comes next; cancel-safe. `None` once the connection was closed.
    pub(crate) async fn next(&mut self) -> Option<News> {
        loop {
            if matches!(self.stage, Stage::Listed { .. }) {
                return std::future::pending().await;
            }
            let report = self.follower.next().await?;
            if let Some(news) = self.take(report) {
                return Some(news);
            }
        }
    }

    fn take(&mut self, report: Follow) -> Option<News> {
        match report {
            Follow::Entry(entry) => Some(News::Event(Event::Entry(entry))),
            Follow::Heading(heading) => Some(News::Event(Event::Heading {
                key: heading.key,
                at: Moment { seq: heading.seq, time: heading.time },
            })),
            Follow::CaughtUp { upto, generation } => self.caught_up(upto, generation),
            Follow::LogWentBack { why } => Some(self.begin_anew(why)),
            Follow::Rebuilt { why } => {
                tracing::info!(why, "the consumer was made again");
                None
            }
            Follow::Trouble { why } => {
                tracing::warn!(why, "the log cannot be read; trying again");
                None
            }
        }
    }

    /// The end of a stage, or, live, the confirmation that nothing is missing of the same log.
    fn caught_up(&mut self, upto: Sequence, generation: u64) -> Option<News> {
        match &mut self.stage {
            Stage::Headings => {
                self.stage = Stage::Ends { live_from: upto + 1 };
                let ends = vec![self.bus.subjects().all_closed()];
                self.follower = self.bus.follow(ends, 1);
                None
            }
            Stage::Ends { live_from } => {
                self.stage = Stage::Listed { live_from: *live_from };
                Some(News::Event(Event::Listed))
            }
            Stage::Listed { .. } => None,
            Stage::Open { .. } => {
                self.read_next();
                None
            }
            // Each consumer knows only the log that it found when it began.
            Stage::Live { from } if upto + 1 < *from => {
                let had = *from - 1;
                let why = format!("the log ends at #{upto}, but #{had} had been read");
                Some(self.begin_anew(why))
            }
            Stage::Live { .. } => Some(News::CaughtUp { generation }),
        }
    }

    fn begin_anew(&mut self, why: String) -> News {
        *self = Self::new(&self.bus.clone());
        News::Event(Event::WentBack(why))
    }

    /// These runs are open: they are read whole, then everything live.
    pub(crate) fn read(&mut self, open: Vec<Unread>) {
        if let Stage::Listed { live_from } = self.stage {
            self.stage = Stage::Open { live_from, rest: open.into() };
            self.read_next();
        }
    }

    fn read_next(&mut self) {
        let Stage::Open { live_from, rest } = &mut self.stage else { return };
        let next: Vec<Unread> = rest.drain(..rest.len().min(RUNS_PER_CONSUMER)).collect();
        let Some(from) = next.iter().map(|run| run.from).min() else {
            let everything = vec![self.bus.subjects().all_runs()];
            self.follower = self.bus.follow(everything, *live_from);
            self.stage = Stage::Live { from: *live_from };
            return;
        };
        let filters = next.iter().map(|unread| self.bus.subjects().run(&unread.key)).collect();
        self.follower = self.bus.follow(filters, from);
    }
}
