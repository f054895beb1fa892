//! A log of write-once slots with a fold beside it, one agent, and a target that does what a test
//! says. Whatever the agent orders is held against the log at once.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use lockstep_shared::{
    codec::{Entry, Rubbish, Stated},
    fold::RunFold,
    id::{PartyName, RunKey, Sequence},
    plan::Plan,
    record::Record,
    source::Source,
    subject::{Family, Slot},
    time::{Span, Timestamp},
};

use super::{
    judge::{line, order},
    plans::{barrier, key, workflow},
};
use crate::{
    Act, Agent, Append, Appended, Decisions, Event, Level, Lock, PlanFound, Reading, Report, Setup,
    Standing, UndoMark, Watched, debt::Debt,
};

pub(super) struct World {
    pub(super) key: RunKey,
    pub(super) plan: Plan,
    pub(super) log: Vec<Entry>,
    pub(super) slots: BTreeMap<Slot, usize>,
    pub(super) fold: RunFold,
    pub(super) seq: Sequence,
    pub(super) now: Timestamp,
    /// How far the server's clock is ahead of the agent's.
    pub(super) skew: Span,
    pub(super) agent: Agent,
    pub(super) disk: Option<UndoMark>,
    pub(super) instance: &'static str,
    /// What the agent decided, a line each, since it was last asked for.
    lines: Vec<String>,
    pub(super) notes: Vec<(Level, String)>,
    /// Appends that the test answers itself.
    pub(super) held: VecDeque<Append>,
    pub(super) hold_appends: bool,
    /// Whether the log can be read.
    pub(super) readable: bool,
    pub(super) lock_is_free: bool,
    pub(super) saves: bool,
    /// Every attempt at a command that was ever begun, by any incarnation.
    pub(super) begun: BTreeSet<(usize, u32)>,
    /// Orders that a report has to answer.
    pub(super) orders: VecDeque<Act>,
    pub(super) wake: Option<Timestamp>,
    /// The first reading only once the test asks for it.
    pub(super) wants_reading: bool,
}

impl World {
    /// A run with this plan, admitted, and an agent for `backend` that has not been called.
    pub(super) fn new(plan: Plan) -> Self {
        let mut world = Self::submitted(plan);
        world.write(Family::Admission, Record::Admitted {});
        world
    }

    /// A run with this plan that nobody has admitted.
    pub(super) fn submitted(plan: Plan) -> Self {
        let key = key("r1");
        let mut world = Self {
            fold: RunFold::new(key.clone()),
            agent: Agent::new(Setup {
                key: key.clone(),
                workflow: workflow("backend"),
                instance: "host-1".to_owned(),
                version: "test".to_owned(),
                plan: PlanFound::Foreign(0),
                undo: None,
                debt: Debt::None,
            }),
            key,
            plan: plan.clone(),
            log: Vec::new(),
            slots: BTreeMap::new(),
            seq: 0,
            now: Timestamp(1_000_000),
            skew: Span(0),
            disk: None,
            instance: "host-1",
            lines: Vec::new(),
            notes: Vec::new(),
            held: VecDeque::new(),
            hold_appends: false,
            readable: true,
            lock_is_free: true,
            saves: true,
            begun: BTreeSet::new(),
            orders: VecDeque::new(),
            wake: None,
            wants_reading: false,
        };
        world
            .write(Family::Plan, Record::Plan { plan: Box::new(plan), submitted_by: "ada".into() });
        world.restart();
        world
    }

    /// The agent's process is gone; a new one begins with what is on disk. It is not called yet.
    pub(super) fn restart(&mut self) {
        let plan = PlanFound::Planned { seq: 1, plan: self.plan.clone().into() };
        self.restart_with(plan, Debt::None);
    }

    pub(super) fn restart_with(&mut self, plan: PlanFound, debt: Debt) {
        self.held.clear();
        self.orders.clear();
        self.lines.clear();
        self.wants_reading = false;
        self.agent = Agent::new(Setup {
            key: self.key.clone(),
            workflow: workflow("backend"),
            instance: self.instance.to_owned(),
            version: "test".to_owned(),
            plan,
            undo: self.disk,
            debt,
        });
    }

    /// Stores a record in the family's next slot and rings the bell, without calling the agent
    /// otherwise.
    pub(super) fn write(&mut self, family: Family, record: Record) -> Sequence {
        let number = (1..).find(|n| !self.slots.contains_key(&family.clone().slot(*n))).unwrap();
        self.store(family.slot(number), record)
    }

    pub(super) fn store(&mut self, slot: Slot, record: Record) -> Sequence {
        let (pipeline, who) = (self.key.pipeline.clone(), "w".to_owned());
        let source = match &slot.family {
            Family::Plan => Source::Submitter(who),
            Family::Request => Source::Operator(who),
            Family::Workflow(name) => Source::Agent(pipeline, name.clone(), who),
            Family::Party(_, name) => Source::Party(pipeline, name.clone(), who),
            _ => Source::Coordinator(who),
        };
        self.push(slot, Ok(Stated { event: format!("e{}", self.seq + 1), source, record }))
    }

    pub(super) fn litter(&mut self, slot: Slot) -> Sequence {
        self.push(slot, Err(Rubbish::Header("ce-id")))
    }

    fn push(&mut self, slot: Slot, content: Result<Stated, Rubbish>) -> Sequence {
        assert!(!self.slots.contains_key(&slot), "{slot} is taken");
        self.seq += 1;
        let (key, time) = (self.key.clone(), self.now.after(self.skew));
        let entry = Entry { seq: self.seq, time, key, slot: slot.clone(), content };
        self.slots.insert(slot, self.log.len());
        self.fold.apply(&entry);
        self.log.push(entry);
        self.seq
    }

    /// What a coordinator would write now, until nothing is due; then the agent hears of it.
    pub(super) fn coordinate(&mut self) {
        self.record_due();
        self.ring();
    }

    /// The same without a word to the agent.
    pub(super) fn record_due(&mut self) {
        while let Some((slot, record)) = self.fold.due().into_iter().next() {
            self.store(slot, record);
        }
    }

    /// Lets the agent read.
    pub(super) fn ring(&mut self) {
        self.call(Event::Connected);
    }

    pub(super) fn others_arrive(&mut self, id: &str, party: &str) -> Sequence {
        let epoch = Some(self.fold.workflows()[&workflow(party)].epoch);
        let record = Record::Arrived { epoch, view: None, by: None, message: None, link: None };
        self.write(Family::Party(barrier(id), party.parse().unwrap()), record)
    }

    pub(super) fn others_write(&mut self, party: &str, record: Record) -> Sequence {
        self.write(Family::Workflow(workflow(party)), record)
    }

    pub(super) fn others_join(&mut self, party: &str, instance: &str) -> Sequence {
        let record = Record::Joined { instance: instance.into(), version: "test".into() };
        self.others_write(party, record)
    }

    /// Time passes, and the agent is called whenever it asked to be.
    pub(super) fn let_pass(&mut self, span: Span) {
        let end = self.now.after(span);
        while let Some(wake) = self.wake.filter(|wake| *wake <= end) {
            self.now = self.now.max(wake);
            self.call(Event::Woke);
        }
        self.now = end;
        self.call(Event::Woke);
    }

    pub(super) fn report(&mut self, report: Report) {
        self.orders.clear();
        self.call(Event::Reported(report));
    }

    pub(super) fn finish(&mut self, step: usize, attempt: u32) {
        self.report(Report::Finished { step, attempt, told: "done".to_owned().into() });
    }

    pub(super) fn break_down(&mut self, step: usize, attempt: u32) {
        let (error, output) = ("boom".to_owned(), "tail".to_owned());
        self.report(Report::Failed { step, attempt, error, output });
    }

    pub(super) fn prepared(&mut self) {
        self.report(Report::Prepared { view: Some("v1".to_owned()) });
    }

    /// Joined, prepared, and everybody else with it.
    pub(super) fn ready(plan: Plan) -> Self {
        let mut world = Self::new(plan);
        world.get_ready();
        world
    }

    pub(super) fn get_ready(&mut self) {
        self.call(Event::Woke);
        let others: Vec<PartyName> = self
            .plan
            .active()
            .map(|(name, _)| PartyName::from(name))
            .filter(|name| name.as_str() != "backend")
            .collect();
        for other in &others {
            self.others_join(other.as_str(), "elsewhere");
        }
        for other in &others {
            self.others_arrive("_prepare", other.as_str());
        }
        self.prepared();
        self.coordinate();
    }

    /// Ready, and the first step's command is running.
    pub(super) fn running(plan: Plan) -> Self {
        let mut world = Self::ready(plan);
        assert_eq!(world.lines().last().unwrap(), "act Start 0/1");
        world
    }

    pub(super) fn call(&mut self, event: Event) {
        let mut events = VecDeque::from([event]);
        let mut budget = 200;
        while let Some(event) = events.pop_front() {
            budget -= 1;
            assert!(budget > 0, "it never comes to rest: {:?}", self.lines);
            let decisions = self.agent.step(event, self.now);
            self.carry_out(decisions, &mut events);
        }
    }

    fn carry_out(&mut self, decisions: Decisions, events: &mut VecDeque<Event>) {
        self.wake = decisions.wake;
        if decisions.recall {
            self.lines.push("recall".to_owned());
            for append in self.held.drain(..) {
                let (slot, outcome) = (append.slot, Appended::InDoubt);
                events.push_back(Event::Appended { slot, outcome });
            }
        }
        let notes = decisions.notes.into_iter().map(|note| (note.level, note.text));
        self.notes.extend(notes);
        for mark in decisions.save {
            if !self.saves {
                self.lines.push(format!("lose {mark:?}"));
                let error = "disk full".to_owned();
                return events.push_back(Event::SaveFailed { mark, error });
            }
            self.lines.push(format!("save {mark:?}"));
            self.disk = Some(mark);
        }
        for append in decisions.send {
            self.lines.push(format!("send {}", line(&append)));
            self.check_append(&append);
            if self.hold_appends {
                self.held.push_back(append);
            } else {
                events.push_back(self.deliver(append));
            }
        }
        for act in decisions.act {
            self.lines.push(format!("act {}", order(&act)));
            self.check_act(&act);
            if matches!(act, Act::Prepare | Act::Start { .. } | Act::Undo { .. } | Act::Finalize) {
                self.orders.push_back(act.clone());
                assert!(self.orders.len() == 1, "two orders at once: {:?}", self.orders);
            }
            if act == Act::Recall {
                events.push_back(Event::Recalled(self.disk));
            }
            if act == Act::TakeLock {
                events.push_back(Event::Lock(if self.lock_is_free {
                    Lock::Held
                } else {
                    Lock::NotHeld("process 7".to_owned())
                }));
            }
        }
        self.wants_reading |= decisions.read;
        if self.wants_reading && self.readable {
            self.wants_reading = false;
            events.push_back(Event::Reading(self.reading()));
        }
    }

    /// Stores an append, or finds its slot taken.
    pub(super) fn deliver(&mut self, append: Append) -> Event {
        let outcome = match self.slots.get(&append.slot) {
            Some(at) => Appended::Taken(self.log[*at].seq),
            None => Appended::Stored(self.store(append.slot.clone(), append.record)),
        };
        Event::Appended { slot: append.slot, outcome }
    }

    /// Stores the held append and says so.
    pub(super) fn deliver_held(&mut self) {
        let append = self.held.pop_front().unwrap();
        let event = self.deliver(append);
        self.call(event);
    }

    /// The held append is stored or not, and nobody knows.
    pub(super) fn doubt_held(&mut self, stored: bool) {
        let append = self.held.pop_front().unwrap();
        let slot = append.slot.clone();
        if stored {
            self.deliver(append);
        }
        self.call(Event::Appended { slot, outcome: Appended::InDoubt });
    }

    pub(super) fn reading(&self) -> Reading {
        self.reading_up_to(self.seq, self.agent.filter())
    }

    pub(super) fn reading_up_to(&self, upto: Sequence, asked: Vec<Watched>) -> Reading {
        let matches = |entry: &&Entry| {
            asked.iter().any(|item| match item {
                Watched::Family(family) => entry.slot.family == *family,
                Watched::Slot(slot) => entry.slot == *slot,
            })
        };
        let entries = self.log.iter().filter(|entry| entry.seq <= upto).filter(matches);
        let entries = entries.cloned().collect();
        Reading { asked: asked.clone(), asked_at: self.now, upto, entries }
    }

    /// What the agent decided since the last call of this, without the lock's part.
    pub(super) fn lines(&mut self) -> Vec<String> {
        let lock = |line: &String| line.ends_with("Lock");
        std::mem::take(&mut self.lines).into_iter().filter(|line| !lock(line)).collect()
    }

    /// The same without the stops that each new incarnation orders.
    pub(super) fn lines_but_stop(&mut self) -> Vec<String> {
        self.lines().into_iter().filter(|line| line != "act Stop").collect()
    }

    /// Sees that the agent decided exactly this, one line each.
    pub(super) fn expect(&mut self, expected: &[&str]) {
        assert_eq!(self.lines(), expected, "notes: {:#?}", self.notes);
    }

    pub(super) fn standing(&self) -> Standing {
        self.agent.standing(self.now)
    }

    pub(super) fn has_note(&self, text: &str) -> bool {
        self.notes.iter().any(|(_, note)| note.contains(text))
    }
}
