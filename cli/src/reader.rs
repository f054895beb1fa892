//! Reading one run from its first record on, and folding what is read.

use std::time::Duration;

use lockstep_bus::{Bus, Follow, Follower};
use lockstep_shared::{
    codec::Entry,
    fold::{Effect, RunFold},
    id::RunKey,
};
use tokio::time::{Instant, timeout_at};

use crate::{exit::Exit, failure::Failure, online::ASK_LIMIT, output::say, terminal::line};

/// A run that is being read.
pub(crate) struct RunReader {
    follower: Follower,
    fold: RunFold,
    trouble: Option<String>,
}

/// What the log brought.
pub(crate) enum News {
    /// The next record, and what it changed.
    Entry(Box<Entry>, Effect),
    /// Everything stored so far has been read.
    CaughtUp,
    /// It cannot be read just now; it is tried again.
    Trouble(String),
    /// The log lost records; what it holds now follows from the beginning.
    WentBack(String),
}

impl RunReader {
    /// Begins to read a run.
    pub(crate) fn new(bus: &Bus, key: &RunKey) -> Self {
        let follower = bus.follow(vec![bus.subjects().run(key)], 1);
        Self { follower, fold: RunFold::new(key.clone()), trouble: None }
    }

    /// What has been read, folded.
    pub(crate) fn fold(&self) -> &RunFold {
        &self.fold
    }

    /// What the log brings next; `None` once the connection was closed. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Option<News> {
        loop {
            match self.follower.next().await? {
                Follow::Entry(entry) => {
                    self.trouble = None;
                    let effect = self.fold.apply(&entry);
                    return Some(News::Entry(entry, effect));
                }
                Follow::CaughtUp { .. } => {
                    self.trouble = None;
                    return Some(News::CaughtUp);
                }
                Follow::Trouble { why } => {
                    self.trouble = Some(why.clone());
                    return Some(News::Trouble(why));
                }
                Follow::LogWentBack { why } => {
                    self.fold = RunFold::new(self.fold.key().clone());
                    return Some(News::WentBack(why));
                }
                Follow::Heading(_) | Follow::Rebuilt { .. } => {}
            }
        }
    }

    /// Reads to the present end, and shows each record on the way with the state that it made.
    pub(crate) async fn catch_up_with(
        &mut self,
        mut show: impl FnMut(&Entry, &Effect, &RunFold),
    ) -> Result<(), Failure> {
        let limit = Instant::now() + ASK_LIMIT;
        loop {
            match timeout_at(limit, self.next()).await {
                Ok(Some(News::Entry(entry, effect))) => show(&entry, &effect, &self.fold),
                Ok(Some(News::CaughtUp)) => return Ok(()),
                Ok(Some(News::Trouble(_) | News::WentBack(_))) => {}
                Ok(None) | Err(_) => return Err(self.unreadable()),
            }
        }
    }

    /// Reads to the present end.
    pub(crate) async fn catch_up(&mut self) -> Result<(), Failure> {
        self.catch_up_with(|_, _, _| {}).await
    }

    /// Reads on until `wanted` says so or the time is over; whether it did.
    pub(crate) async fn until(
        &mut self,
        limit: Duration,
        mut wanted: impl FnMut(&RunFold) -> bool,
    ) -> Result<bool, Failure> {
        let limit = Instant::now() + limit;
        loop {
            if wanted(&self.fold) {
                return Ok(true);
            }
            match timeout_at(limit, self.next()).await {
                // It is tried again, but nobody waits for minutes without knowing why.
                Ok(Some(News::Trouble(why))) => {
                    say(&format!("the log cannot be read just now, trying again: {}", line(&why)));
                }
                Ok(Some(_)) => {}
                Ok(None) => return Err(self.unreadable()),
                Err(_) if self.trouble.is_some() => return Err(self.unreadable()),
                Err(_) => return Ok(false),
            }
        }
    }

    fn unreadable(&self) -> Failure {
        let why = self.trouble.as_deref().unwrap_or("the server sends nothing");
        Failure::new(
            Exit::Unavailable,
            format!("cannot read run {} to its end: {why}", self.fold.key()),
        )
        .help("`lockstep doctor` says whether the server, JetStream and the stream are there")
    }
}
