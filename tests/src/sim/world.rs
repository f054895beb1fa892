//! The world of one story: everything that is, and the loop that lets things happen.

use std::collections::BTreeMap;

use lockstep_shared::{
    codec::Entry,
    id::{RunKey, WorkflowName},
    record::Record,
    time::Timestamp,
};

use super::{
    Sabotage, Scenario, Told,
    agents::AgentProcess,
    append::Publish,
    coordinators::CoordinatorProcess,
    judge::{Invariant, Judge, Judged, Violation},
    process::{Life, Process, Weather},
    queue::Queue,
    target::{Directory, Orphan, Target},
};
use crate::{chance::Chance, log::Log};

/// A story that has more events than this has got into a circle.
const MAX_EVENTS: u64 = 3_000_000;

/// How long after the storm the last run must be closed and every debt settled, in milliseconds:
/// three runs one after another, each with its clocks and an operator's help.
const PATIENCE: u64 = 90 * 60_000;

/// Something that is going to happen.
#[derive(Debug)]
pub(super) enum Happening {
    /// Something reaches one life of a process.
    To(Life, Message),
    /// A copy of a publish reaches the log.
    Publish(u64),
    /// A question reaches the log.
    Read(Life, super::read::Question),
    /// What a dead agent's command was doing is done.
    Land(Orphan),
    /// A run is submitted.
    Submit(usize),
    /// A process is started.
    Start(Process),
    /// A frozen process goes on.
    Thaw(Process),
    /// A link is mended.
    Mend(Process),
    /// The next fault strikes.
    Fault,
    /// The storm is over.
    Calm,
    /// Foreign parties and operators do what is theirs.
    People,
}

/// What reaches a process.
#[derive(Debug)]
pub(super) enum Message {
    /// To an agent.
    Agent(super::agents::ToAgent),
    /// To a coordinator.
    Coordinator(super::coordinators::ToCoordinator),
    /// The answer to a publish.
    Answer(u64, crate::log::Published),
    /// A publish has not been answered for a while.
    Unanswered(u64),
}

pub(super) struct World {
    pub(super) now: Timestamp,
    pub(super) chance: Chance,
    pub(super) scenario: Scenario,
    pub(super) sabotage: Option<Sabotage>,
    pub(super) log: Log,
    pub(super) queue: Queue<Happening>,
    pub(super) agents: Vec<AgentProcess>,
    pub(super) coordinators: Vec<CoordinatorProcess>,
    pub(super) directories: Vec<Directory>,
    pub(super) targets: BTreeMap<WorkflowName, Target>,
    pub(super) publishes: BTreeMap<u64, Publish>,
    pub(super) judge: Judge,
    pub(super) is_calm: bool,
    pub(super) told: Told,
    transcript: Option<Vec<String>>,
}

impl World {
    pub(super) fn new(scenario: Scenario, sabotage: Option<Sabotage>, aloud: bool) -> Self {
        let mut chance = Chance::of_seed(scenario.seed ^ 0x5eed);
        let skew = scenario.storm.skew;
        let mut ahead = |limit: u64| {
            let skew = chance.between(0, 2 * limit);
            i64::try_from(skew).unwrap_or(0) - i64::try_from(limit).unwrap_or(0)
        };
        let agents =
            scenario.agents.iter().map(|post| AgentProcess::new(post.clone(), ahead(skew)));
        let agents: Vec<AgentProcess> = agents.collect();
        let coordinators = (0..scenario.coordinators)
            .map(|index| CoordinatorProcess::new(index, ahead(skew.min(10_000))))
            .collect();
        let directories = agents.iter().map(|agent| agent.post.directory + 1).max().unwrap_or(0);
        Self {
            now: Timestamp(1_000_000_000),
            chance,
            sabotage,
            log: Log::default(),
            queue: Queue::new(),
            agents,
            coordinators,
            directories: (0..directories).map(|_| Directory::default()).collect(),
            targets: BTreeMap::new(),
            publishes: BTreeMap::new(),
            judge: Judge::default(),
            is_calm: scenario.storm.until == 0,
            told: Told::default(),
            transcript: aloud.then(Vec::new),
            scenario,
        }
    }

    pub(super) fn tell(mut self) -> Result<Told, Violation> {
        self.tell_on()
    }

    pub(super) fn tell_on(&mut self) -> Result<Told, Violation> {
        self.begin();
        let end = self.now.0 + self.scenario.storm.until + PATIENCE;
        while let Some((at, happening)) = self.queue.next() {
            self.now = self.now.max(at);
            self.told.events += 1;
            self.happen(happening)?;
            if self.told.events.is_multiple_of(64) && self.is_over() {
                return self.conclude();
            }
            if self.told.events > MAX_EVENTS || self.now.0 > end {
                return self.stuck();
            }
        }
        if self.is_over() { self.conclude() } else { self.stuck() }
    }

    fn begin(&mut self) {
        for index in 0..self.scenario.runs.len() {
            self.after(self.scenario.runs[index].2, Happening::Submit(index));
        }
        for index in 0..self.coordinators.len() {
            self.after(0, Happening::Start(Process::Coordinator(index)));
        }
        for index in 0..self.agents.len() {
            let starts = self.agents[index].post.starts;
            self.after(starts, Happening::Start(Process::Agent(index)));
        }
        self.after(self.scenario.storm.until, Happening::Calm);
        if self.scenario.storm.pause > 0 {
            self.after(self.scenario.storm.pause, Happening::Fault);
        }
        self.after(1_000, Happening::People);
    }

    fn happen(&mut self, happening: Happening) -> Judged {
        match happening {
            Happening::To(life, message) => return self.reach(life, message),
            Happening::Publish(number) => return self.publish_arrives(number),
            Happening::Read(life, question) => self.question_arrives(life, question),
            Happening::Land(orphan) => return self.land(orphan),
            Happening::Submit(index) => return self.submit(index),
            Happening::Start(process) => return self.start(process),
            Happening::Thaw(process) => return self.thaw(process),
            Happening::Mend(process) => return self.mend(process),
            Happening::Fault => return self.fault(),
            Happening::Calm => return self.calm(),
            Happening::People => return self.people(),
        }
        Ok(())
    }

    /// Delivers a message, unless its life is over; a frozen process gets it later.
    pub(super) fn reach(&mut self, life: Life, message: Message) -> Judged {
        let vitals = self.vitals(life.process);
        if vitals.life != life.number {
            return Ok(());
        }
        if vitals.frozen {
            vitals.missed.push_back(message);
            return Ok(());
        }
        match (life.process, message) {
            (Process::Agent(index), Message::Agent(message)) => self.agent_gets(index, message),
            (Process::Coordinator(index), Message::Coordinator(message)) => {
                self.coordinator_gets(index, message)
            }
            (_, Message::Answer(number, published)) => self.answered(number, published),
            (_, Message::Unanswered(number)) => self.unanswered(number),
            _ => Ok(()),
        }
    }

    pub(super) fn vitals(&mut self, process: Process) -> &mut super::process::Vitals<Message> {
        match process {
            Process::Agent(index) => &mut self.agents[index].vitals,
            Process::Coordinator(index) => &mut self.coordinators[index].vitals,
        }
    }

    pub(super) fn life(&mut self, process: Process) -> Life {
        Life { process, number: self.vitals(process).life }
    }

    pub(super) fn after(&mut self, delay: u64, happening: Happening) {
        self.queue.plan(Timestamp(self.now.0 + delay), happening);
    }

    pub(super) fn weather(&self) -> Weather {
        if self.is_calm { Weather::CALM } else { self.scenario.storm.weather }
    }

    /// A line of the transcript, which is only put into words if somebody reads it.
    pub(super) fn say(&mut self, line: impl FnOnce(&Self) -> String) {
        if self.transcript.is_some() {
            let since = self.now.0 - 1_000_000_000;
            let line = format!("{:>6}.{:03} {}", since / 1000, since % 1000, line(self));
            self.transcript.get_or_insert_default().push(line);
        }
    }

    pub(super) fn has_transcript(&self) -> bool {
        self.transcript.is_some()
    }

    pub(super) fn take_transcript(&mut self) -> Vec<String> {
        self.transcript.take().unwrap_or_default()
    }

    /// A record is in the log: it is judged, the bell rings, coordinators are sent it.
    pub(super) fn stored(&mut self, entry: &Entry) -> Judged {
        self.told.records += 1;
        self.say(|_| {
            let content = match &entry.content {
                Ok(stated) => shown(&stated.record),
                Err(rubbish) => format!("rubbish: {rubbish}"),
            };
            format!("LOG #{} {}/{} {content}", entry.seq, entry.key.run, entry.slot)
        });
        self.judge.appended(entry)?;
        self.check_report(entry)?;
        self.ring(entry);
        self.tell_coordinators();
        Ok(())
    }

    fn submit(&mut self, index: usize) -> Judged {
        let (key, plan, _) = self.scenario.runs[index].clone();
        let record = Record::Plan { plan: Box::new(plan), submitted_by: "ada".to_owned() };
        let source = lockstep_shared::source::Source::Submitter("ada".to_owned());
        self.state(&key, &lockstep_shared::subject::Family::Plan, &record, &source)
    }

    /// Whether nothing is left to happen but time.
    fn is_over(&self) -> bool {
        self.is_calm
            && self.scenario.runs.iter().all(|(key, ..)| self.judge.is_closed(key))
            && self.agents.iter().all(|agent| !agent.vitals.is_up() || agent.is_idle())
            && self.directories.iter().all(|directory| directory.debts().next().is_none())
    }

    fn conclude(&mut self) -> Result<Told, Violation> {
        for (key, ..) in self.scenario.runs.clone() {
            self.check_targets(&key)?;
            let result = self.judge.result(&key);
            *self.told.results.entry(result).or_default() += 1;
        }
        self.told.log = self.log.entries().to_vec();
        Ok(self.told.clone())
    }

    fn stuck(&mut self) -> Result<Told, Violation> {
        let open = self.scenario.runs.iter().map(|(key, ..)| key);
        let open: Vec<String> =
            open.filter(|key| !self.judge.is_closed(key)).map(ToString::to_string).collect();
        let busy = self.agents.iter().enumerate().flat_map(|(index, agent)| {
            agent
                .runs
                .iter()
                .map(move |(key, run)| format!("agent {index} in {}: {:?}", key.run, run.standing))
        });
        let busy: Vec<String> = busy.collect();
        let owed = self.directories.iter().flat_map(Directory::debts).map(ToString::to_string);
        let owed: Vec<String> = owed.collect();
        Err(Violation::of(
            Invariant::EveryRunCloses,
            format!("still open: {open:?}; agents: {busy:?}; owed: {owed:?}"),
        ))
    }

    pub(super) fn struck(&mut self, fault: &'static str) {
        *self.told.faults.entry(fault).or_default() += 1;
    }

    pub(super) fn plan_of(&self, key: &RunKey) -> Option<&lockstep_shared::plan::Plan> {
        self.judge.fold(key)?.plan()
    }
}

/// A record in one line.
pub(super) fn shown(record: &Record) -> String {
    match record {
        Record::Plan { .. } => "Plan".to_owned(),
        other => format!("{other:?}"),
    }
}
