//! A coordinator's process: starts from headings or from the beginning, reads in order and late,
//! hears beats, appends what its core decides.

use lockstep_coordinator_core::{Appended, Coordinator, Decisions, Event};
use lockstep_shared::{
    fold::Moment,
    id::{Epoch, RunKey, Sequence, WorkflowName},
    source::Source,
    subject::{Family, Slot},
    time::{Span, Timestamp},
};

use super::{
    append::Learned,
    judge::{Invariant, Judged, Violation},
    process::{Process, Vitals},
    world::{Happening, Message, World, shown},
};

/// How long the log keeps a record.
const MAX_AGE: Span = Span::minutes(30 * 24 * 60);

/// How often it is looked whether something stored was not delivered, in milliseconds.
const WATCHDOG: u64 = 10_000;

/// What reaches a coordinator's process.
#[derive(Debug)]
pub(super) enum ToCoordinator {
    /// Everything up to a position was delivered.
    Deliver(Sequence),
    /// The instant that its core named.
    Woke(u64),
    /// A beat.
    Beat(RunKey, WorkflowName, Epoch),
    /// It is time to look whether something was not delivered.
    Watchdog,
    /// The next part of a start was read: headings up to a position, then Closed, then open runs.
    Headings,
    Listed(Sequence),
    Runs(Sequence, Vec<RunKey>),
    /// The connection came or went.
    Link(bool),
}

/// A coordinator's process.
#[derive(Debug)]
pub(super) struct CoordinatorProcess {
    instance: String,
    pub(super) vitals: Vitals<Message>,
    pub(super) core: Option<Coordinator>,
    /// How far everything was told.
    applied: Sequence,
    /// Whether the start is over.
    is_started: bool,
    wakes: u64,
}

impl CoordinatorProcess {
    pub(super) fn new(index: usize, ahead: i64) -> Self {
        Self {
            instance: format!("coordinator-{index}"),
            vitals: Vitals::new(ahead),
            core: None,
            applied: 0,
            is_started: false,
            wakes: 0,
        }
    }

    pub(super) fn can_answer(&self) -> bool {
        self.vitals.is_up() && !self.vitals.frozen && self.vitals.linked && self.is_started
    }
}

impl World {
    fn note_coordinator(&mut self, index: usize, delay: u64, message: ToCoordinator) {
        let life = self.life(Process::Coordinator(index));
        self.after(delay, Happening::To(life, Message::Coordinator(message)));
    }

    /// Half of the starts read headings first, as a shell does on a large log.
    pub(super) fn start_coordinator(&mut self, index: usize) -> Judged {
        let coordinator = &mut self.coordinators[index];
        coordinator.core = Some(Coordinator::new(MAX_AGE));
        coordinator.applied = 0;
        coordinator.is_started = false;
        let delay = self.chance.between(1, 500);
        self.note_coordinator(index, WATCHDOG, ToCoordinator::Watchdog);
        if self.chance.percent(50) {
            self.note_coordinator(index, delay, ToCoordinator::Headings);
        } else {
            self.coordinators[index].is_started = true;
            let end = self.log.end();
            self.note_coordinator(index, delay, ToCoordinator::Deliver(end));
        }
        Ok(())
    }

    pub(super) fn coordinator_gets(&mut self, index: usize, message: ToCoordinator) -> Judged {
        match message {
            ToCoordinator::Deliver(upto) => self.deliver(index, upto),
            ToCoordinator::Woke(number) if self.coordinators[index].wakes == number => {
                self.tell_coordinator(index, Event::Woke)
            }
            ToCoordinator::Woke(_) => Ok(()),
            ToCoordinator::Beat(key, workflow, epoch) => {
                self.tell_coordinator(index, Event::Beat { key, workflow, epoch })
            }
            ToCoordinator::Watchdog => {
                self.note_coordinator(index, WATCHDOG, ToCoordinator::Watchdog);
                let end = self.log.end();
                self.deliver(index, end)
            }
            ToCoordinator::Headings => self.read_headings(index),
            ToCoordinator::Listed(upto) => self.read_closed(index, upto),
            ToCoordinator::Runs(upto, keys) => self.read_runs(index, upto, &keys),
            // A break that was over before it was noticed was none.
            ToCoordinator::Link(up) if up != self.coordinators[index].vitals.linked => Ok(()),
            ToCoordinator::Link(true) => {
                self.tell_coordinator(index, Event::Connected)?;
                let end = self.log.end();
                self.deliver(index, end)
            }
            ToCoordinator::Link(false) => self.tell_coordinator(index, Event::Disconnected),
        }
    }

    fn read_headings(&mut self, index: usize) -> Judged {
        let upto = self.log.end();
        let plans = self.log.entries().iter().filter(|entry| entry.slot.family == Family::Plan);
        let headings: Vec<(RunKey, Moment)> = plans
            .map(|entry| (entry.key.clone(), Moment { seq: entry.seq, time: entry.time }))
            .collect();
        for (key, at) in headings {
            self.tell_coordinator(index, Event::Heading { key, at })?;
        }
        let delay = self.chance.between(1, 300);
        self.note_coordinator(index, delay, ToCoordinator::Listed(upto));
        Ok(())
    }

    fn read_closed(&mut self, index: usize, upto: Sequence) -> Judged {
        let closed = self.log.entries().iter().filter(|e| e.slot.family == Family::Closed);
        for entry in closed.cloned().collect::<Vec<_>>() {
            self.tell_coordinator(index, Event::Entry(Box::new(entry)))?;
        }
        let decisions = self.step_coordinator(index, Event::Listed);
        let keys = decisions.read.iter().map(|unread| unread.key.clone()).collect();
        self.carry_out_coordinator(index, decisions)?;
        let delay = self.chance.between(1, 300);
        self.note_coordinator(index, delay, ToCoordinator::Runs(upto, keys));
        Ok(())
    }

    fn read_runs(&mut self, index: usize, upto: Sequence, keys: &[RunKey]) -> Judged {
        for key in keys {
            let of_run = self.log.entries().iter().filter(|entry| entry.key == *key);
            for entry in of_run.cloned().collect::<Vec<_>>() {
                self.tell_coordinator(index, Event::Entry(Box::new(entry)))?;
            }
        }
        self.coordinators[index].applied = upto;
        self.coordinators[index].is_started = true;
        let end = self.log.end();
        self.deliver(index, end)
    }

    /// Tells the core what it has not been told, in order.
    fn deliver(&mut self, index: usize, upto: Sequence) -> Judged {
        let coordinator = &self.coordinators[index];
        if !coordinator.vitals.linked || !coordinator.is_started {
            return Ok(());
        }
        let from = coordinator.applied;
        if upto > from {
            self.coordinators[index].applied = upto;
            let entries = self.log.up_to(upto)[usize::try_from(from).unwrap_or(0)..].to_vec();
            for entry in entries {
                if self.sabotage.is_none_or(|sabotage| sabotage.tells(&entry, index)) {
                    self.tell_coordinator(index, Event::Entry(Box::new(entry)))?;
                }
            }
        }
        let ready = self.coordinators[index].core.as_ref().is_some_and(Coordinator::is_ready);
        if !ready && self.coordinators[index].applied == self.log.end() {
            self.tell_coordinator(index, Event::CaughtUp)?;
        } else if !ready {
            let end = self.log.end();
            self.note_coordinator(index, 50, ToCoordinator::Deliver(end));
        }
        if let Some(core) = &self.coordinators[index].core {
            self.judge.read_by_coordinator(index, core)?;
        }
        Ok(())
    }

    fn tell_coordinator(&mut self, index: usize, event: Event) -> Judged {
        let decisions = self.step_coordinator(index, event);
        self.carry_out_coordinator(index, decisions)
    }

    fn step_coordinator(&mut self, index: usize, event: Event) -> Decisions {
        let coordinator = &mut self.coordinators[index];
        let now = coordinator.vitals.clock(self.now);
        let Some(core) = &mut coordinator.core else { return Decisions::default() };
        let mut decisions = core.step(event, now);
        if let Some(sabotage) = self.sabotage {
            sabotage.coordinated(&mut decisions, index);
        }
        decisions
    }

    fn carry_out_coordinator(&mut self, index: usize, decisions: Decisions) -> Judged {
        for append in decisions.send {
            self.say(|_| {
                let (slot, record) = (&append.slot, shown(&append.record));
                format!("coordinator {index}: sends {}/{slot} {record}", append.key.run)
            });
            let source = Source::Coordinator(self.coordinators[index].instance.clone());
            let process = Process::Coordinator(index);
            self.append(process, &append.key, &append.slot, &append.record, &source)?;
        }
        let life = self.life(Process::Coordinator(index));
        let coordinator = &mut self.coordinators[index];
        coordinator.wakes += 1;
        let number = coordinator.wakes;
        let open = coordinator.core.as_ref().is_some_and(|c| c.is_ready() && c.runs().count() > 0);
        match decisions.wake {
            Some(wake) => {
                let at = coordinator.vitals.instant(wake).max(Timestamp(self.now.0 + 1));
                let woke = Message::Coordinator(ToCoordinator::Woke(number));
                self.queue.plan(at, Happening::To(life, woke));
                Ok(())
            }
            None if open => Err(Violation::of(
                Invariant::SomethingIsAwaited,
                format!("coordinator {index} has open runs and waits for nothing"),
            )),
            None => Ok(()),
        }
    }

    pub(super) fn coordinator_learned(
        &mut self,
        index: usize,
        key: RunKey,
        slot: Slot,
        learned: Learned,
    ) -> Judged {
        let outcome = match learned {
            Learned::Stored(seq) => Appended::Stored(seq),
            Learned::Taken(seq) => Appended::Taken(seq),
            Learned::InDoubt => Appended::InDoubt,
        };
        self.tell_coordinator(index, Event::Appended { key, slot, outcome })
    }

    pub(super) fn beat_to_coordinator(
        &mut self,
        index: usize,
        key: &RunKey,
        workflow: &WorkflowName,
        epoch: Epoch,
    ) {
        for delay in self.weather().delays(&mut self.chance) {
            let beat = ToCoordinator::Beat(key.clone(), workflow.clone(), epoch);
            self.note_coordinator(index, delay, beat);
        }
    }

    /// Something was stored: every coordinator is sent it, sooner or later.
    pub(super) fn tell_coordinators(&mut self) {
        let end = self.log.end();
        for index in 0..self.coordinators.len() {
            for delay in self.weather().delays(&mut self.chance) {
                self.note_coordinator(index, delay, ToCoordinator::Deliver(end));
            }
        }
    }
}
