//! An agent's process: for each run a core, told what happened, its decisions carried out in their
//! order: save, send, act, read, wake.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use lockstep_agent_core::{
    Agent, Appended, Decisions, Ending, Event, Reading, Standing, UndoMark, debt::Debt,
};
use lockstep_shared::{
    codec::Entry,
    id::{Epoch, RunKey, WorkflowName},
    source::Source,
    subject::{Family, Slot},
    time::Timestamp,
};

use super::{
    append::Learned,
    judge::{Invariant, Judged, Violation},
    orders::Order,
    process::{Process, Vitals},
    scenario::Post,
    world::{Happening, Message, World, shown},
};

/// How often an agent beats, in milliseconds.
pub(super) const BEAT: u64 = 5_000;

/// What reaches an agent's process.
#[derive(Debug)]
pub(super) enum ToAgent {
    /// An instant that a core named.
    Woke(RunKey, u64),
    /// Something for a core at once.
    Event(RunKey, Box<Event>),
    /// An answer of the log.
    Reading(RunKey, u64, Reading),
    /// No answer came in time.
    NoAnswer(RunKey, u64),
    /// The bell.
    Rang(Box<Entry>),
    /// Another incarnation's beat.
    Beat(RunKey, Epoch),
    /// It is time to beat.
    BeatTime(RunKey),
    /// An order to the target is over.
    OrderOver(RunKey, u64),
    /// Look whether the lock is free.
    TryLock,
    /// Ask which runs are open.
    Discover,
    /// A run was admitted, or is open.
    Found(RunKey),
    /// SIGTERM.
    Terminate,
    /// Whoever has not left by now is not waited for.
    TimeToGo,
}

/// An agent's process.
#[derive(Debug)]
pub(super) struct AgentProcess {
    pub(super) post: Post,
    pub(super) instance: String,
    pub(super) vitals: Vitals<Message>,
    pub(super) has_lock: bool,
    pub(super) is_leaving: bool,
    pub(super) runs: BTreeMap<RunKey, AgentRun>,
    pub(super) ended: BTreeSet<RunKey>,
}

/// One run of it.
#[derive(Debug)]
pub(super) struct AgentRun {
    pub(super) core: Agent,
    pub(super) standing: Standing,
    pub(super) debt: Debt,
    pub(super) wake: Option<Timestamp>,
    wakes: u64,
    pub(super) wants_reading: bool,
    pub(super) awaits: Option<u64>,
    pub(super) tickets: u64,
    pub(super) hears: BTreeSet<Family>,
    pub(super) orders: VecDeque<Order>,
    pub(super) order_number: u64,
    pub(super) unwatched: u64,
}

impl AgentProcess {
    pub(super) fn new(post: Post, ahead: i64) -> Self {
        Self {
            instance: format!("host-{}", post.directory),
            post,
            vitals: Vitals::new(ahead),
            has_lock: false,
            is_leaving: false,
            runs: BTreeMap::new(),
            ended: BTreeSet::new(),
        }
    }

    pub(super) fn workflow(&self) -> &WorkflowName {
        &self.post.workflow
    }

    pub(super) fn is_idle(&self) -> bool {
        self.runs.is_empty()
    }
}

impl AgentRun {
    pub(super) fn new(core: Agent, debt: Debt) -> Self {
        Self {
            core,
            standing: Standing::Working,
            debt,
            wake: None,
            wakes: 0,
            wants_reading: false,
            awaits: None,
            tickets: 0,
            hears: BTreeSet::new(),
            orders: VecDeque::new(),
            order_number: 0,
            unwatched: 0,
        }
    }
}

impl World {
    pub(super) fn agent_gets(&mut self, index: usize, message: ToAgent) -> Judged {
        match message {
            ToAgent::Woke(key, number) => {
                let run = self.agents[index].runs.get(&key);
                if run.is_some_and(|run| run.wakes == number) {
                    return self.tell_agent(index, &key, Event::Woke);
                }
                Ok(())
            }
            ToAgent::Event(key, event) => self.tell_agent(index, &key, *event),
            ToAgent::Reading(key, ticket, reading) => {
                let Some(run) = self.agents[index].runs.get_mut(&key) else { return Ok(()) };
                if run.awaits != Some(ticket) {
                    return Ok(());
                }
                run.awaits = None;
                self.tell_agent(index, &key, Event::Reading(reading))?;
                self.start_reading(index, &key);
                Ok(())
            }
            ToAgent::NoAnswer(key, ticket) => {
                let Some(run) = self.agents[index].runs.get_mut(&key) else { return Ok(()) };
                if run.awaits == Some(ticket) {
                    run.awaits = None;
                    run.wants_reading = true;
                    self.start_reading(index, &key);
                }
                Ok(())
            }
            ToAgent::Rang(entry) => {
                let key = entry.key.clone();
                self.tell_agent(index, &key, Event::Rang(*entry))
            }
            ToAgent::Beat(key, epoch) => {
                let run = self.agents[index].runs.get(&key);
                if run.is_some_and(|run| matches!(run.standing, Standing::StandingBy(_))) {
                    return self.tell_agent(index, &key, Event::Beat { epoch });
                }
                Ok(())
            }
            ToAgent::BeatTime(key) => {
                self.beat(index, &key);
                Ok(())
            }
            ToAgent::OrderOver(key, number) => self.order_over(index, &key, number),
            ToAgent::TryLock => self.try_lock(index),
            ToAgent::Discover => self.discover(index),
            ToAgent::Found(key) => self.found(index, &key),
            ToAgent::Terminate => self.terminate(index),
            ToAgent::TimeToGo => self.go(index),
        }
    }

    /// Tells a core what happened and carries its decisions out.
    pub(super) fn tell_agent(&mut self, index: usize, key: &RunKey, event: Event) -> Judged {
        let said = if self.has_transcript() { event_line(&event) } else { String::new() };
        let agent = &mut self.agents[index];
        let now = agent.vitals.clock(self.now);
        let Some(run) = agent.runs.get_mut(key) else { return Ok(()) };
        let mut decisions = run.core.step(event, now);
        if let Some(sabotage) = self.sabotage {
            sabotage.decided(&mut decisions);
        }
        self.say(|world| {
            let workflow = world.agents[index].workflow();
            format!("agent {index} ({workflow} in {}): {said}{}", key.run, decided(&decisions))
        });
        self.carry_out(index, key, decisions)
    }

    fn carry_out(&mut self, index: usize, key: &RunKey, decisions: Decisions) -> Judged {
        let Decisions { recall, save, send, act, read, wake, .. } = decisions;
        if recall {
            self.recall(index, key);
        }
        for mark in save {
            if let Err(error) = self.save(index, key, mark)? {
                self.wake_agent(index, key, wake);
                return self.tell_agent(index, key, Event::SaveFailed { mark, error });
            }
        }
        for append in send {
            let agent = &self.agents[index];
            let (workflow, instance) = (agent.workflow().clone(), agent.instance.clone());
            let source = Source::Agent(key.pipeline.clone(), workflow, instance);
            self.append(Process::Agent(index), key, &append.slot, &append.record, &source)?;
        }
        for order in act {
            self.order(index, key, order)?;
        }
        if let Some(run) = self.agents[index].runs.get_mut(key) {
            run.hears = run.core.bell();
            run.wants_reading |= read;
        }
        self.wake_agent(index, key, wake);
        self.start_reading(index, key);
        self.look(index, key)
    }

    /// Stores a mark, or says why it could not.
    fn save(
        &mut self,
        index: usize,
        key: &RunKey,
        mark: UndoMark,
    ) -> Result<Result<(), String>, Violation> {
        let directory = self.agents[index].post.directory;
        let now = self.agents[index].vitals.clock(self.now);
        let fails = !self.is_calm && self.chance.percent(self.scenario.storm.bad_saves);
        let saved = if fails {
            self.struck("save failed");
            Err("the disk is full".to_owned())
        } else {
            self.directories[directory].save(key, mark, now)
        };
        self.judge.saved(key, mark)?;
        Ok(saved)
    }

    fn wake_agent(&mut self, index: usize, key: &RunKey, wake: Option<Timestamp>) {
        let life = self.life(Process::Agent(index));
        let Some(run) = self.agents[index].runs.get_mut(key) else { return };
        run.wakes += 1;
        run.wake = wake;
        let number = run.wakes;
        if let Some(wake) = wake {
            let at = self.agents[index].vitals.instant(wake).max(Timestamp(self.now.0 + 1));
            let woke = Message::Agent(ToAgent::Woke(key.clone(), number));
            self.queue.plan(at, Happening::To(life, woke));
        }
    }

    /// Looks how the work stands after a call: whether it is over, and what that means for others.
    fn look(&mut self, index: usize, key: &RunKey) -> Judged {
        let now = self.agents[index].vitals.clock(self.now);
        let Some(run) = self.agents[index].runs.get_mut(key) else { return Ok(()) };
        let standing = run.core.standing(now);
        let moved = standing != run.standing;
        run.standing = standing.clone();
        if run.wake.is_none() {
            if let Standing::Over(ending) = standing {
                self.run_ended(index, key, &ending)?;
            } else {
                let text = format!("agent {index} waits for nothing in {key}: {standing:?}");
                return Err(Violation::of(Invariant::SomethingIsAwaited, text));
            }
        }
        if moved { self.debts_moved(index) } else { Ok(()) }
    }

    pub(super) fn at_once(&mut self, index: usize, key: &RunKey, event: Event) {
        let life = self.life(Process::Agent(index));
        let event = Message::Agent(ToAgent::Event(key.clone(), Box::new(event)));
        self.after(0, Happening::To(life, event));
    }

    pub(super) fn agent_learned(
        &mut self,
        index: usize,
        key: &RunKey,
        slot: Slot,
        learned: Learned,
    ) -> Judged {
        let outcome = match learned {
            Learned::Stored(seq) => Appended::Stored(seq),
            Learned::Taken(seq) => Appended::Taken(seq),
            Learned::InDoubt => Appended::InDoubt,
        };
        self.tell_agent(index, key, Event::Appended { slot, outcome })
    }

    /// Says that the agent is alive, to whoever listens.
    fn beat(&mut self, index: usize, key: &RunKey) {
        let life = self.life(Process::Agent(index));
        let Some(run) = self.agents[index].runs.get(key) else { return };
        let beat = run.core.beat();
        self.after(BEAT, Happening::To(life, Message::Agent(ToAgent::BeatTime(key.clone()))));
        let Some(beat) = beat.filter(|_| self.agents[index].vitals.linked) else { return };
        self.send_beat(index, key, beat.epoch);
    }

    fn run_ended(&mut self, index: usize, key: &RunKey, ending: &Ending) -> Judged {
        self.say(|_| format!("agent {index} is done with {}: {}", key.run, ending.describe()));
        self.agents[index].runs.remove(key);
        self.agents[index].ended.insert(key.clone());
        self.debts_moved(index)?;
        if self.agents[index].is_leaving && self.agents[index].is_idle() {
            return self.go(index);
        }
        Ok(())
    }
}

fn event_line(event: &Event) -> String {
    match event {
        Event::Reading(reading) => {
            let shown = reading.entries.iter().map(|entry| entry.seq.to_string());
            format!("reads up to #{}: {}", reading.upto, shown.collect::<Vec<_>>().join(" "))
        }
        Event::Rang(entry) => format!("hears #{}", entry.seq),
        other => format!("{other:?}"),
    }
}

/// What an agent decided, on one line.
pub(super) fn decided(decisions: &Decisions) -> String {
    let mut text = String::new();
    for mark in &decisions.save {
        text += &format!("; saves {mark:?}");
    }
    for append in &decisions.send {
        text += &format!("; sends {} {}", append.slot, shown(&append.record));
    }
    for act in &decisions.act {
        text += &format!("; orders {act:?}");
    }
    for note in &decisions.notes {
        text += &format!("; says {:?}", note.text);
    }
    text
}
