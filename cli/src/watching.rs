//! Watching one run: its records as they come, and what is heard beside the log.
//!
//! One place builds the reports that `run`, `status --watch`, `plan --live` and `dev` show; what
//! they do with them is theirs.

use std::time::Duration;

use futures::{FutureExt, future::BoxFuture};
use lockstep_bus::{
    Bus, ReadError,
    beat::{Beats, Heard as Word},
};
use lockstep_shared::{
    fold::Admission,
    id::{PartyName, RunKey},
};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep, timeout_at};

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

/// How long one look listens at most: it answers, whatever is missing.
const LISTEN_LIMIT: Duration = Duration::from_secs(5);

/// What is said while there is no connection.
const OUT_OF_REACH: &str = "NATS is out of reach; this program goes on trying, and the run does \
                            not depend on it";

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
    told: Told,
    in_the_way: Option<Vec<RunKey>>,
}

/// Whether a coordinator is there, as far as that can be known.
pub(crate) struct Told {
    pub(crate) coordinator: Coordinator,
    /// Why it is not known.
    pub(crate) why: Option<String>,
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
        let limit = Instant::now() + LISTEN_LIMIT;
        while self.heard.coordinator == Coordinator::NotAsked {
            match timeout_at(limit, self.next()).await {
                Ok(Some(_)) => {}
                Ok(None) => return,
                Err(_) => {
                    self.heard.coordinator = Coordinator::Unknown;
                    self.heard.unheard.insert("nobody could be asked in time".to_owned());
                }
            }
        }
    }

    /// What is to be seen next; `None` once the connection was closed. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Option<Sight> {
        tokio::select! {
            biased;
            news = self.reader.next() => Some(self.seen(news?)),
            // Before the answer: that beats cannot be heard came first, and one look ends with it.
            Some(word) = self.beats.next() => {
                match word {
                    Word::Beat(_, workflow, beat) => {
                        let line = beat.progress;
                        let beat = Beat { epoch: beat.epoch, line, heard: At(now()) };
                        self.heard.beats.insert(workflow, beat);
                    }
                    Word::Deaf(denial) => drop(self.heard.unheard.insert(denial.to_string())),
                }
                Some(Sight::Changed)
            }
            asked = pending_unless(&mut self.asking) => {
                self.heard.coordinator = asked.told.coordinator;
                match asked.told.why {
                    Some(why) => drop(self.heard.unheard.insert(why)),
                    None => self.heard.unheard.retain(|why| why != OUT_OF_REACH),
                }
                if let Some(in_the_way) = asked.in_the_way {
                    self.heard.in_the_way = in_the_way;
                }
                self.begin_asking(ASK_AGAIN);
                Some(Sight::Changed)
            }
            _ = self.tick.tick() => Some(Sight::Changed),
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
    let told = coordinator(&bus, &key, party).await;
    let in_the_way =
        if pending { find::open_before(&bus, &key.pipeline, &key.run).await.ok() } else { None };
    Asked { told, in_the_way }
}

/// Whether a coordinator that has read to the end answers.
pub(crate) async fn coordinator(bus: &Bus, key: &RunKey, party: Option<PartyName>) -> Told {
    // Any party will do: it is the answer that counts, not what it says.
    let party = party.unwrap_or_else(|| "anybody".parse().expect("a valid party name"));
    let answer = bus.ask_open(&key.pipeline, &party, Instant::now() + ANSWER_LIMIT).await;
    let told = |coordinator, why: Option<String>| Told { coordinator, why };
    match answer {
        Ok(Some(_)) => told(Coordinator::Alive, None),
        // Without a connection silence says nothing of coordinators.
        Ok(None) if !bus.link().borrow().up => {
            told(Coordinator::Unknown, Some(OUT_OF_REACH.to_owned()))
        }
        Ok(None) => told(Coordinator::Silent, None),
        Err(ReadError::Denied(denial)) => told(Coordinator::Unknown, Some(denial.to_string())),
        Err(error) => told(Coordinator::Unknown, Some(error.to_string())),
    }
}
