//! Watching one run: its records as they come, and what is heard beside the log.
//!
//! One place builds the reports that `run`, `status --watch`, `plan --live` and `dev` show; what
//! they do with them is theirs.

use std::time::Duration;

use futures::{FutureExt, future::BoxFuture};
use lockstep_bus::{
    Bus,
    beat::{Beats, Heard as Word},
};
use lockstep_shared::{
    fold::Admission,
    id::{PartyName, RunKey},
};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep};

use crate::{
    failure::Failure,
    find,
    reader::{News, RunReader},
    report::{At, Beat, Coordinator, Heard, RunReport, report},
    story::Event,
    who::now,
};

/// How long a coordinator may take to answer before it counts as silent.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);

/// How long to wait before asking again whether a coordinator is there.
const ASK_AGAIN: Duration = Duration::from_secs(5);

/// How often a report is made anew although nothing was heard: times go by.
const TICK: Duration = Duration::from_millis(500);

/// A run under watch.
pub(crate) struct Watching {
    bus: Bus,
    reader: RunReader,
    beats: Beats,
    heard: Heard,
    asking: Option<BoxFuture<'static, Asked>>,
    tick: Interval,
    current: bool,
}

/// What was asked beside the log.
struct Asked {
    coordinator: Coordinator,
    in_the_way: Option<Vec<RunKey>>,
}

/// What is to be seen.
pub(crate) enum Sight {
    /// A record.
    Event(Box<Event>),
    /// Everything stored so far has been read.
    CaughtUp,
    /// Something was heard beside the log, or time went by.
    Changed,
    /// The log cannot be read just now; it is tried again.
    Trouble(String),
    /// The log lost records; what it holds now follows from the beginning.
    WentBack(String),
}

impl Watching {
    /// Begins to watch a run.
    pub(crate) async fn new(bus: &Bus, key: &RunKey) -> Self {
        let beats = bus.beats_of_run(key).await;
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
        Self {
            bus: bus.clone(),
            reader: RunReader::new(bus, key),
            beats,
            heard: Heard { now: now(), ..Heard::default() },
            asking: None,
            tick,
            current: false,
        }
    }

    /// The run as it is known now.
    pub(crate) fn report(&mut self) -> RunReport {
        self.heard.now = now();
        report(self.reader.fold(), &self.heard)
    }

    /// Whether nothing more will come.
    pub(crate) fn is_final(&self) -> bool {
        let fold = self.reader.fold();
        let over =
            fold.closed().is_some() || fold.foreign_protocol().is_some() || fold.plan().is_none();
        self.current && over
    }

    /// The run's records, folded.
    pub(crate) fn fold(&self) -> &lockstep_shared::fold::RunFold {
        self.reader.fold()
    }

    /// Reads to the present end.
    pub(crate) async fn catch_up(&mut self) -> Result<(), Failure> {
        self.reader.catch_up().await?;
        self.begin();
        Ok(())
    }

    /// Everything stored has been read: what is heard beside the log means something from here on.
    fn begin(&mut self) {
        if !self.current {
            self.current = true;
            self.begin_asking(Duration::ZERO);
        }
    }

    /// Whether everything that was stored when the watch began has been read.
    pub(crate) fn is_current(&self) -> bool {
        self.current
    }

    /// Asks once whether a coordinator is there and, meanwhile, hears who beats.
    pub(crate) async fn listen_once(&mut self) {
        if self.reader.fold().closed().is_some() {
            return;
        }
        self.begin_asking(Duration::ZERO);
        while self.heard.coordinator == Coordinator::NotAsked {
            if self.next().await.is_none() {
                return;
            }
        }
    }

    /// What is to be seen next; `None` once the connection was closed. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Option<Sight> {
        loop {
            tokio::select! {
                biased;
                news = self.reader.next() => return Some(self.seen(news?)),
                asked = pending_unless(&mut self.asking) => {
                    self.heard.coordinator = asked.coordinator;
                    if let Some(in_the_way) = asked.in_the_way {
                        self.heard.in_the_way = in_the_way;
                    }
                    self.begin_asking(ASK_AGAIN);
                    return Some(Sight::Changed);
                }
                // Who may not hear them is told so by the connection, and sees the rest.
                Some(word) = self.beats.next() => if let Word::Beat(_, workflow, beat) = word {
                    let line = beat.progress;
                    let beat = Beat { epoch: beat.epoch, line, heard: At(now()) };
                    self.heard.beats.insert(workflow, beat);
                    return Some(Sight::Changed);
                },
                _ = self.tick.tick() => return Some(Sight::Changed),
            }
        }
    }

    fn seen(&mut self, news: News) -> Sight {
        match news {
            News::Entry(entry, effect) => {
                if !matches!(self.reader.fold().admission(), Admission::Pending) {
                    self.heard.in_the_way.clear();
                }
                Sight::Event(Box::new(Event::new(&entry, &effect, self.reader.fold())))
            }
            News::CaughtUp => {
                self.begin();
                Sight::CaughtUp
            }
            News::Trouble(why) => Sight::Trouble(why),
            News::WentBack(why) => {
                self.current = false;
                Sight::WentBack(why)
            }
        }
    }

    fn begin_asking(&mut self, after: Duration) {
        let fold = self.reader.fold();
        if fold.closed().is_some() {
            self.asking = None;
            return;
        }
        let pending = fold.plan().is_some() && *fold.admission() == Admission::Pending;
        let party = fold.workflows().keys().next().map(PartyName::from);
        let (bus, key) = (self.bus.clone(), fold.key().clone());
        self.asking = Some(ask(bus, key, party, pending, after).boxed());
    }
}

async fn pending_unless(asking: &mut Option<BoxFuture<'static, Asked>>) -> Asked {
    match asking {
        Some(future) => {
            let asked = future.await;
            *asking = None;
            asked
        }
        None => std::future::pending().await,
    }
}

async fn ask(
    bus: Bus,
    key: RunKey,
    party: Option<PartyName>,
    pending: bool,
    after: Duration,
) -> Asked {
    sleep(after).await;
    let coordinator = coordinator(&bus, &key, party).await;
    let in_the_way =
        if pending { find::open_before(&bus, &key.pipeline, &key.run).await.ok() } else { None };
    Asked { coordinator, in_the_way }
}

/// Whether a coordinator that has read to the end answers.
pub(crate) async fn coordinator(bus: &Bus, key: &RunKey, party: Option<PartyName>) -> Coordinator {
    // Any party will do: it is the answer that counts, not what it says.
    let party = party.unwrap_or_else(|| "anybody".parse().expect("a valid party name"));
    match bus.ask_open(&key.pipeline, &party, Instant::now() + ANSWER_LIMIT).await {
        Ok(Some(_)) => Coordinator::Alive,
        Ok(None) => Coordinator::Silent,
        Err(_) => Coordinator::NotAsked,
    }
}
