//! Appends under way, beside each other and bounded in number.

use std::{collections::VecDeque, time::Duration};

use lockstep_bus::{AppendError, Appended as Written, Bus, Gate, Passage};
use lockstep_coordinator_core::{Append, Appended, Event};
use lockstep_shared::{codec, source::Source};
use tokio::task::JoinSet;

use crate::clock::wall;

/// How long one append is tried; the core decides whether it is still due afterwards.
const TRIED_FOR: Duration = Duration::from_secs(10);

/// How many appends are under way at once; further ones wait for a place.
const AT_ONCE: usize = 256;

/// Appends under way and waiting: at most one for each slot that is due, since the core repeats
/// none before its answer.
///
/// What was decided from one log must not be stored in another. So a lost connection ends what is
/// under way, and nothing goes out before the reader has found the same log behind the new one.
pub(crate) struct Appends {
    bus: Bus,
    source: Source,
    tasks: JoinSet<Event>,
    waiting: VecDeque<Append>,
    released: bool,
    gate: Gate,
}

impl Appends {
    /// None yet, and held until the log has been read.
    pub(crate) fn new(bus: &Bus, instance: &str) -> Self {
        Self {
            bus: bus.clone(),
            source: Source::Coordinator(instance.to_owned()),
            tasks: JoinSet::new(),
            waiting: VecDeque::new(),
            released: false,
            gate: Gate::closed(bus),
        }
    }

    /// Sends a record on its way, once that may be.
    pub(crate) fn send(&mut self, append: Append) {
        self.waiting.push_back(append);
        self.begin_waiting();
    }

    /// Ends what is under way, as in doubt, and holds what comes.
    pub(crate) fn hold(&mut self) {
        self.released = false;
        self.gate.close();
        self.gate.recall();
    }

    /// The log behind this connection is the one that was read. What goes out does so over that
    /// connection alone, also before anybody has noticed that there is another one.
    pub(crate) fn release(&mut self, generation: u64) {
        self.released = true;
        self.gate.open(generation);
        self.begin_waiting();
    }

    /// The log is another one: what was decided from the old one is void.
    pub(crate) fn forget(&mut self) {
        self.hold();
        self.waiting.clear();
    }

    /// The next answer; cancel-safe, and never while nothing is under way.
    pub(crate) async fn next(&mut self) -> Event {
        match self.tasks.join_next().await {
            Some(answer) => {
                self.begin_waiting();
                answer.expect("an append neither panics nor is aborted")
            }
            None => std::future::pending().await,
        }
    }

    /// How many are on their way.
    #[cfg(test)]
    pub(crate) fn under_way(&self) -> usize {
        self.tasks.len()
    }

    fn begin_waiting(&mut self) {
        while self.released && self.tasks.len() < AT_ONCE {
            let Some(append) = self.waiting.pop_front() else { return };
            let passage = self.gate.passage();
            self.tasks.spawn(write(self.bus.clone(), self.source.clone(), append, passage));
        }
    }
}

async fn write(bus: Bus, source: Source, append: Append, mut passage: Passage) -> Event {
    let Append { key, slot, record } = append;
    let kind = record.kind();
    let outcome = match codec::encode(bus.subjects(), &key, &slot, &record, &source, wall(), None) {
        Ok(draft) => {
            let recalled = passage.recalled();
            let answer = tokio::select! {
                biased;
                () = recalled => None,
                answer = passage.append(&bus, &draft, TRIED_FOR) => answer,
            };
            match answer {
                Some(Ok(Written::Stored(seq))) => {
                    tracing::info!(%key, %slot, kind, seq, "recorded");
                    Appended::Stored(seq)
                }
                Some(Ok(Written::Taken(entry))) => {
                    tracing::debug!(%key, %slot, kind, by = entry.seq, "the slot is taken");
                    Appended::Taken(entry.seq)
                }
                Some(Err(error)) => {
                    complain(&error);
                    Appended::InDoubt
                }
                None => {
                    tracing::debug!(%key, %slot, kind, "the connection was lost meanwhile");
                    Appended::InDoubt
                }
            }
        }
        Err(error) => {
            tracing::error!(%key, %slot, %error, "a defect: this record can never be written");
            Appended::InDoubt
        }
    };
    Event::Appended { key, slot, outcome }
}

fn complain(error: &AppendError) {
    match error {
        AppendError::InDoubt { .. } | AppendError::Refused { .. } => {
            tracing::warn!(%error, "not recorded yet; it is tried again");
        }
        _ => tracing::error!(%error, "not recorded; it is tried again"),
    }
}

#[cfg(test)]
mod tests {
    use lockstep_bus::{DevServer, StreamOptions};
    use lockstep_shared::{
        id::RunKey,
        record::Record,
        subject::{Family, Slot},
    };

    use super::*;

    const LIMIT: Duration = Duration::from_secs(20);

    fn append(slot: Slot) -> Append {
        let key = RunKey { pipeline: "shop".parse().unwrap(), run: "r1".parse().unwrap() };
        Append { key, slot, record: Record::Admitted {} }
    }

    #[tokio::test]
    async fn what_was_decided_from_a_lost_log_is_never_stored() {
        let server = DevServer::start().await.unwrap();
        let bus = Bus::connect(&server.connection(), "test", LIMIT).await.unwrap();
        let until = tokio::time::Instant::now() + LIMIT;
        bus.ensure_streams(&StreamOptions::dev(), until).await.unwrap();
        let generation = bus.link().borrow().generation;
        let mut appends = Appends::new(&bus, "c1");
        appends.send(append(Family::Admission.slot(1)));
        assert!(appends.under_way() == 0, "it went out before the log was read");
        appends.forget();
        appends.release(generation);
        appends.send(append(Family::Admission.slot(2)));
        let Event::Appended { slot, outcome, .. } = appends.next().await else { panic!() };
        assert_eq!((slot.number, outcome), (2, Appended::Stored(1)));
        appends.send(append(Family::Admission.slot(3)));
        appends.hold();
        let Event::Appended { slot, outcome, .. } = appends.next().await else { panic!() };
        assert_eq!((slot.number, outcome), (3, Appended::InDoubt));
        let stored = bus.read(&[bus.subjects().all_runs()], 0, until).await.unwrap().entries;
        let slots: Vec<u32> = stored.iter().map(|entry| entry.slot.number).collect();
        assert_eq!(slots, [2]);
    }

    #[tokio::test]
    async fn nothing_goes_out_over_a_connection_that_nobody_has_noticed_yet() {
        let mut server = DevServer::start().await.unwrap();
        let bus = Bus::connect(&server.connection(), "test", LIMIT).await.unwrap();
        let until = tokio::time::Instant::now() + LIMIT;
        bus.ensure_streams(&StreamOptions::dev(), until).await.unwrap();
        let mut appends = Appends::new(&bus, "c1");
        let mut link = bus.link();
        let before = link.borrow_and_update().generation;
        appends.release(before);
        server.kill();
        link.wait_for(|link| !link.up).await.unwrap();
        appends.send(append(Family::Admission.slot(1)));
        server.restart().await.unwrap();
        link.wait_for(|link| link.up && link.generation > before).await.unwrap();
        // The reader has compared nothing behind the new connection, and the loop has not said so.
        let draft = |slot: Slot| {
            let Append { key, slot, record } = append(slot);
            let source = Source::Coordinator("c2".to_owned());
            codec::encode(bus.subjects(), &key, &slot, &record, &source, wall(), None).unwrap()
        };
        bus.append(&draft(Family::Admission.slot(2)), until).await.unwrap();
        let read = bus.read(&[bus.subjects().all_runs()], 0, until).await.unwrap();
        let slots: Vec<u32> = read.entries.iter().map(|entry| entry.slot.number).collect();
        assert_eq!(slots, [2], "it was stored behind a connection that was not compared");
        appends.hold();
        let Event::Appended { slot, outcome, .. } = appends.next().await else { panic!() };
        assert_eq!((slot.number, outcome), (1, Appended::InDoubt));
    }
}
