//! Appends under way, beside each other and bounded in number.

use std::{collections::VecDeque, time::Duration};

use lockstep_bus::{AppendError, Appended as Written, Bus};
use lockstep_coordinator_core::{Append, Appended, Event};
use lockstep_shared::{codec, source::Source, time::Timestamp};
use tokio::{task::JoinSet, time::Instant};

/// How long one append is tried; the core decides whether it is still due afterwards.
const TRIED_FOR: Duration = Duration::from_secs(10);

/// How many appends are under way at once; further ones wait for a place.
const AT_ONCE: usize = 256;

/// Appends under way and waiting.
pub(crate) struct Appends {
    bus: Bus,
    source: Source,
    tasks: JoinSet<Event>,
    waiting: VecDeque<Append>,
}

impl Appends {
    pub(crate) fn new(bus: &Bus, instance: &str) -> Self {
        let source = Source::Coordinator(instance.to_owned());
        Self { bus: bus.clone(), source, tasks: JoinSet::new(), waiting: VecDeque::new() }
    }

    /// Sends a record on its way.
    pub(crate) fn send(&mut self, append: Append, now: Timestamp) {
        if self.tasks.len() < AT_ONCE {
            self.tasks.spawn(write(self.bus.clone(), self.source.clone(), append, now));
        } else {
            self.waiting.push_back(append);
        }
    }

    /// The next answer; cancel-safe, and never while nothing is under way.
    pub(crate) async fn next(&mut self, now: impl Fn() -> Timestamp) -> Event {
        loop {
            match self.tasks.join_next().await {
                Some(answer) => {
                    if let Some(append) = self.waiting.pop_front() {
                        self.send(append, now());
                    }
                    return answer.expect("an append neither panics nor is cancelled");
                }
                None => std::future::pending().await,
            }
        }
    }
}

async fn write(bus: Bus, source: Source, append: Append, now: Timestamp) -> Event {
    let Append { key, slot, record } = append;
    let kind = record.kind();
    let outcome = match codec::encode(bus.subjects(), &key, &slot, &record, &source, now, None) {
        Ok(draft) => match bus.append(&draft, Instant::now() + TRIED_FOR).await {
            Ok(Written::Stored(seq)) => {
                tracing::info!(%key, %slot, kind, seq, "recorded");
                Appended::Stored(seq)
            }
            Ok(Written::Taken(entry)) => {
                tracing::debug!(%key, %slot, kind, by = entry.seq, "the slot is taken");
                Appended::Taken
            }
            Err(error) => {
                complain(&error);
                Appended::InDoubt
            }
        },
        Err(error) => {
            tracing::error!(%key, %slot, %error, "a defect: this record is never written");
            Appended::InDoubt
        }
    };
    Event::Appended { key, slot, outcome }
}

fn complain(error: &AppendError) {
    match error {
        AppendError::InDoubt { .. } | AppendError::Refused { .. } => {
            tracing::warn!(%error, "not recorded yet");
        }
        _ => tracing::error!(%error, "not recorded; it is tried again"),
    }
}
