//! A log in memory with a coordinator beside it, as the tests script it.

use std::collections::{BTreeMap, BTreeSet};

use lockstep_shared::{
    codec::{Entry, Rubbish, Stated},
    fold::{Moment, RunFold, TakenSlots},
    id::{BarrierId, RunKey, Sequence, WorkflowName},
    plan::{
        Action, Barrier, Command, Concurrency, OnFailure, Plan, RunCommand, Step, Target, Timeouts,
        Workflow,
    },
    record::Record,
    source::Source,
    subject::{Family, Slot},
    time::{Span, Timestamp},
};

use crate::{Append, Appended, Coordinator, Decisions, Event, Level};

pub(super) const MAX_AGE: Span = Span::minutes(30 * 24 * 60);

/// When every test begins.
const BEGIN: Timestamp = Timestamp(1_700_000_000_000);

/// The log: every record at the next sequence, each slot once.
#[derive(Clone)]
pub(super) struct Log {
    pub(super) entries: Vec<Entry>,
    pub(super) now: Timestamp,
    taken: BTreeMap<RunKey, TakenSlots>,
    written: BTreeSet<(RunKey, Slot)>,
}

/// One coordinator that reads the log as it grows.
pub(super) struct Bench {
    pub(super) log: Log,
    pub(super) core: Coordinator,
    pub(super) decisions: Decisions,
}

pub(super) fn key(run: &str) -> RunKey {
    RunKey { pipeline: "shop".parse().unwrap(), run: run.parse().unwrap() }
}

pub(super) fn barrier(name: &str) -> BarrierId {
    name.parse().unwrap()
}

pub(super) fn workflow(name: &str) -> WorkflowName {
    name.parse().unwrap()
}

/// A plan from lines like `("backend", "deploy @BE @FE")`: `@` marks a barrier, all else a command.
pub(super) fn plan(lines: &[(&str, &str)]) -> Plan {
    let mut barriers: BTreeMap<BarrierId, Barrier> = BTreeMap::new();
    let mut workflows = BTreeMap::new();
    for (name, words) in lines {
        let steps: Vec<Step> = words.split_whitespace().map(step).collect();
        for step in &steps {
            if let Action::Barrier(id) = &step.action {
                let declared = barriers.entry(id.clone()).or_insert_with(open_barrier);
                declared.workflows.insert(workflow(name));
            }
        }
        let target = Target::Command {};
        let taking_part =
            Workflow { target, steps, waived: false, waived_steps: Vec::new(), bundle: None };
        workflows.insert(workflow(name), taking_part);
    }
    Plan {
        protocol: 1,
        pipeline: "shop".parse().unwrap(),
        params: BTreeMap::new(),
        on_failure: OnFailure::RollbackAll,
        concurrency: Concurrency::Queue,
        plan_only: false,
        narrowed: false,
        timeouts: Timeouts::default(),
        barriers,
        workflows,
        skipped_checks: BTreeSet::new(),
        from_run: None,
    }
}

fn step(word: &str) -> Step {
    let action = match word.strip_prefix('@') {
        Some(id) => Action::Barrier(barrier(id)),
        None => Action::Run(RunCommand {
            command: Command::Shell(word.to_owned()),
            undo: None,
            env: BTreeMap::new(),
            workdir: None,
            idempotent: false,
        }),
    };
    let timeout = Span::minutes(5);
    Step { name: word.to_owned(), action, timeout, retries: 0, tolerated: false }
}

fn open_barrier() -> Barrier {
    Barrier {
        title: None,
        timeout: Span::minutes(10),
        workflows: BTreeSet::new(),
        foreign: BTreeSet::new(),
        waived: BTreeSet::new(),
    }
}

pub(super) fn reference() -> Plan {
    plan(&[("backend", "deploy @BE @FE"), ("frontend", "@BE deploy @FE")])
}

impl Log {
    pub(super) fn new() -> Self {
        let (taken, written) = (BTreeMap::new(), BTreeSet::new());
        Self { entries: Vec::new(), now: BEGIN, taken, written }
    }

    pub(super) fn next_slot(&self, key: &RunKey, family: &Family) -> Slot {
        self.taken.get(key).map_or(family.clone().slot(1), |taken| taken.next(family))
    }

    /// Stores a message if its slot is empty.
    pub(super) fn store(
        &mut self,
        key: &RunKey,
        slot: Slot,
        content: Result<Record, Rubbish>,
    ) -> Option<Entry> {
        if !self.written.insert((key.clone(), slot.clone())) {
            return None;
        }
        self.taken.entry(key.clone()).or_default().take(&slot);
        let seq = self.entries.len() as Sequence + 1;
        let source = Source::Operator("test".to_owned());
        let content = content.map(|record| Stated { event: format!("e{seq}"), source, record });
        let entry = Entry { seq, time: self.now, key: key.clone(), slot, content };
        self.entries.push(entry.clone());
        Some(entry)
    }

    /// Where what stands in a slot was stored.
    pub(super) fn holder(&self, key: &RunKey, slot: &Slot) -> Sequence {
        let holder = self.entries.iter().find(|entry| entry.key == *key && entry.slot == *slot);
        holder.expect("the slot is taken").seq
    }
}

impl Bench {
    /// A coordinator that has read an empty log to its end.
    pub(super) fn new() -> Self {
        let mut bench = Self::starting(Log::new());
        bench.tell(Event::CaughtUp);
        bench
    }

    /// A coordinator that has read nothing of this log.
    pub(super) fn starting(log: Log) -> Self {
        Self { log, core: Coordinator::new(MAX_AGE), decisions: Decisions::default() }
    }

    /// A coordinator that starts as a shell starts it.
    pub(super) fn started(log: Log) -> Self {
        let mut bench = Self::starting(log);
        let entries = bench.log.entries.clone();
        for entry in entries.iter().filter(|entry| entry.slot.family == Family::Plan) {
            let at = Moment { seq: entry.seq, time: entry.time };
            bench.tell(Event::Heading { key: entry.key.clone(), at });
        }
        for entry in entries.iter().filter(|entry| entry.slot.family == Family::Closed) {
            bench.tell(Event::Entry(Box::new(entry.clone())));
        }
        let unread = bench.tell(Event::Listed).read;
        for entry in entries {
            let wanted = unread.iter().find(|unread| unread.key == entry.key);
            if wanted.is_some_and(|unread| unread.from <= entry.seq) {
                bench.tell(Event::Entry(Box::new(entry)));
            }
        }
        bench.tell(Event::CaughtUp);
        bench
    }

    /// A run of this plan, admitted, joined and prepared.
    pub(super) fn prepared(plan: Plan) -> Self {
        let mut bench = Self::new();
        bench.prepare("r1", plan);
        bench
    }

    pub(super) fn prepare(&mut self, run: &str, plan: Plan) {
        let names: Vec<String> = plan.workflows.keys().map(ToString::to_string).collect();
        self.plan(run, plan);
        self.settle();
        names.iter().for_each(|name| self.join(run, name));
        names.iter().for_each(|name| self.arrive(run, "_prepare", name));
        self.settle();
    }

    pub(super) fn tell(&mut self, event: Event) -> Decisions {
        let decisions = self.core.step(event, self.log.now);
        self.decisions.send.extend(decisions.send.iter().cloned());
        self.decisions.notes.extend(decisions.notes.iter().cloned());
        self.decisions.wake = decisions.wake;
        decisions
    }

    /// Stores a record in its family's next slot and tells it.
    pub(super) fn store(&mut self, run: &str, family: Family, record: Record) -> Sequence {
        let slot = self.log.next_slot(&key(run), &family);
        let entry = self.log.store(&key(run), slot, Ok(record)).expect("the slot is free");
        let seq = entry.seq;
        self.tell(Event::Entry(Box::new(entry)));
        seq
    }

    pub(super) fn plan(&mut self, run: &str, plan: Plan) {
        let plan = Box::new(plan);
        self.store(run, Family::Plan, Record::Plan { plan, submitted_by: "ada".to_owned() });
    }

    pub(super) fn own(&mut self, run: &str, name: &str, record: Record) -> Sequence {
        self.store(run, Family::Workflow(workflow(name)), record)
    }

    pub(super) fn join(&mut self, run: &str, name: &str) {
        let (instance, version) = ("i".to_owned(), "v".to_owned());
        self.own(run, name, Record::Joined { instance, version });
    }

    pub(super) fn start_step(&mut self, run: &str, name: &str, step: usize) {
        self.own(run, name, Record::StepStarted { epoch: 1, step, attempt: 1 });
    }

    pub(super) fn fail(&mut self, run: &str, name: &str) -> Sequence {
        let (error, output) = ("exit status 1".to_owned(), "boom".to_owned());
        self.own(run, name, Record::Failed { epoch: 1, step: Some(0), error, output })
    }

    pub(super) fn rolled_back(&mut self, run: &str, name: &str) {
        let residue = Vec::new();
        self.own(
            run,
            name,
            Record::RolledBack { epoch: 1, residue, accepted: false, output: String::new() },
        );
    }

    pub(super) fn finalized(&mut self, run: &str, name: &str) {
        let warnings = Vec::new();
        self.own(run, name, Record::Finalized { epoch: 1, degraded: None, warnings });
    }

    pub(super) fn arrive(&mut self, run: &str, at: &str, party: &str) {
        let family = Family::Party(barrier(at), party.parse().unwrap());
        let (view, by, message, link) = (None, None, None, None);
        self.store(run, family, Record::Arrived { epoch: Some(1), view, by, message, link });
    }

    pub(super) fn abort(&mut self, run: &str) -> Sequence {
        let record = Record::AbortRequested { by: "ada".to_owned(), reason: "no".to_owned() };
        self.store(run, Family::Request, record)
    }

    /// Commits and finalizes a prepared run whose plan has one workflow, `a`.
    pub(super) fn finish(&mut self, run: &str) {
        self.arrive(run, "_commit", "a");
        self.settle();
        self.finalized(run, "a");
        self.settle();
    }

    /// What was decided to append since the last call, as `run slot kind`.
    pub(super) fn sent(&mut self) -> Vec<String> {
        let sent = std::mem::take(&mut self.decisions.send);
        sent.iter().map(shown).collect()
    }

    /// Carries out what was decided, and what follows from that, until nothing does.
    pub(super) fn settle(&mut self) -> Vec<String> {
        let mut all = Vec::new();
        while !self.decisions.send.is_empty() {
            for append in std::mem::take(&mut self.decisions.send) {
                all.push(shown(&append));
                self.carry_out(append);
            }
        }
        all
    }

    pub(super) fn carry_out(&mut self, append: Append) {
        let Append { key, slot, record } = append;
        let stored = self.log.store(&key, slot.clone(), Ok(record));
        let outcome = match &stored {
            Some(entry) => Appended::Stored(entry.seq),
            None => Appended::Taken(self.log.holder(&key, &slot)),
        };
        if let Some(entry) = stored {
            self.tell(Event::Entry(Box::new(entry)));
        }
        self.tell(Event::Appended { key, slot, outcome });
    }

    /// Lets time pass as a shell does: a call whenever one was asked for.
    pub(super) fn pass(&mut self, span: Span) {
        let end = self.log.now.after(span);
        while let Some(wake) = self.decisions.wake.filter(|wake| *wake <= end) {
            self.log.now = self.log.now.max(wake);
            self.tell(Event::Woke);
            let again = self.decisions.wake;
            assert!(again.is_none_or(|again| again > self.log.now), "it asks to be called at once");
        }
        self.log.now = end;
    }

    /// The same, with a beat of everybody's first incarnation every five seconds.
    pub(super) fn pass_beating(&mut self, run: &str, names: &[&str], span: Span) {
        let end = self.log.now.after(span);
        while self.log.now < end {
            for name in names {
                self.beat(run, name, 1);
            }
            let rest = end.since(self.log.now);
            self.pass(rest.min(Span::seconds(5)));
        }
    }

    pub(super) fn beat(&mut self, run: &str, name: &str, epoch: u32) {
        let workflow = workflow(name);
        self.tell(Event::Beat { key: key(run), workflow, epoch });
    }

    /// What was said since the last call, at this level or louder.
    pub(super) fn said(&mut self, level: Level) -> Vec<String> {
        let notes = std::mem::take(&mut self.decisions.notes);
        notes.into_iter().filter(|note| note.level >= level).map(|note| note.text).collect()
    }

    pub(super) fn fold(&self, run: &str) -> &RunFold {
        self.core.runs().find(|fold| *fold.key() == key(run)).expect("the run is open")
    }
}

pub(super) fn shown(append: &Append) -> String {
    let Append { key, slot, record } = append;
    let rest = match record {
        Record::Released { at } | Record::Committed { at } => format!(" at #{at}"),
        Record::Aborted { at, cause } => format!(" at #{at}: {}", cause.text),
        Record::DeadlinePassed { deadline } => format!(" {deadline:?}"),
        Record::AgentLost { workflow, epoch, .. } => format!(" {workflow}/{epoch}"),
        Record::Refused { cancelled: true, .. } => " cancelled".to_owned(),
        Record::Closed { result, .. } => format!(" {result:?}"),
        _ => String::new(),
    };
    format!("{} {slot} {}{rest}", key.run, record.kind())
}
