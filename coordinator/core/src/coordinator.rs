//! All open runs together: who reads what, who is reviewed when, what is forgotten.

use std::collections::{BTreeMap, BTreeSet};

use lockstep_shared::{
    codec::{Entry, Rubbish},
    fold::{
        Admission, Effect, RunFold,
        admission::{PipelineFold, Standing},
    },
    id::{PartyName, PipelineName, RunId, RunKey},
    plan::PROTOCOL,
    subject::{Family, Slot},
    time::{Span, Timestamp},
};

use crate::{
    decision::{Decisions, Level, Unread},
    event::{Appended, Event},
    open_run::OpenRun,
    presence::{HEARTBEAT, LATE, Presence},
};

/// A coordinator: every open run as the log tells it, and what is on its way to the log.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Coordinator {
    /// How long the log keeps a record.
    max_age: Span,
    presence: Presence,
    pipelines: BTreeMap<PipelineName, PipelineFold>,
    runs: BTreeMap<RunKey, OpenRun>,
    /// When which run is looked at again.
    agenda: BTreeSet<(Timestamp, RunKey)>,
    /// When the shell was told to call again.
    wake: Option<Timestamp>,
}

impl Coordinator {
    /// A coordinator that has read nothing; `max_age` is how long the log keeps a record.
    pub fn new(max_age: Span) -> Self {
        Self {
            max_age,
            presence: Presence::default(),
            pipelines: BTreeMap::new(),
            runs: BTreeMap::new(),
            agenda: BTreeSet::new(),
            wake: None,
        }
    }

    /// Takes an event and says what follows from it. `now` is the time as the log counts it.
    pub fn step(&mut self, event: Event, now: Timestamp) -> Decisions {
        let mut decisions = Decisions::default();
        self.notice_pause(now, &mut decisions);
        match event {
            Event::Woke => self.look_at_due(now, &mut decisions),
            Event::Heading { key, at } => self.pipeline(&key.pipeline).heading(&key.run, at),
            Event::Entry(entry) => self.read(&entry, now, &mut decisions),
            Event::Listed => decisions.read = self.unread(),
            Event::CaughtUp => self.caught_up(now, &mut decisions),
            Event::Beat { key, workflow, epoch } => {
                let run = self.runs.get_mut(&key);
                if !run.is_some_and(|run| run.hear(&workflow, epoch, now)) {
                    let text = format!("a beat of {workflow} in epoch {epoch} is not awaited");
                    decisions.note(Level::Debug, &key, text);
                }
            }
            Event::Connected => {
                self.presence.connected = true;
                self.presence.since = now;
                self.review_all(now, &mut decisions);
            }
            Event::Disconnected => self.presence.connected = false,
            Event::Appended { key, slot, outcome } => {
                self.answered(&key, &slot, outcome, now, &mut decisions);
            }
            Event::WentBack(why) => self.begin_anew(&why, &mut decisions),
        }
        decisions.wake = self.next_wake(now);
        self.wake = decisions.wake;
        decisions
    }

    /// Whether the log has been read to the end.
    pub fn is_ready(&self) -> bool {
        self.presence.ready
    }

    /// Every open run, by pipeline and run.
    pub fn runs(&self) -> impl Iterator<Item = &RunFold> {
        self.runs.values().map(|run| &run.fold)
    }

    /// Where an open run stands among the runs of its pipeline.
    pub fn standing(&self, key: &RunKey) -> Option<Standing> {
        self.pipelines.get(&key.pipeline)?.standing(&key.run)
    }

    /// The open runs in which a workflow or foreign party takes part, oldest first, queued ones
    /// included; `None` unless the log has been read to the end.
    pub fn open_runs(&self, pipeline: &PipelineName, party: &PartyName) -> Option<Vec<RunId>> {
        let runs = self.runs.iter().filter(|(key, run)| {
            key.pipeline == *pipeline
                && !matches!(run.fold.admission(), Admission::Refused { .. })
                && takes_part(&run.fold, party)
        });
        let mut found: Vec<_> = runs.map(|(key, run)| (run.fold.planned(), &key.run)).collect();
        found.sort();
        self.can_answer().then(|| found.into_iter().map(|(_, run)| run.clone()).collect())
    }

    fn can_answer(&self) -> bool {
        self.presence.ready && self.presence.connected
    }

    /// A call that comes much later than it was asked for: the process was paused, and beats that
    /// it did not take prove nothing.
    fn notice_pause(&mut self, now: Timestamp, decisions: &mut Decisions) {
        let Some(late) = self.wake.map(|wake| now.since(wake)).filter(|late| *late > LATE) else {
            return;
        };
        self.presence.since = now;
        let text = format!("this process was paused for {late}; every watch starts anew");
        decisions.note_all(Level::Warn, text);
    }

    fn look_at_due(&mut self, now: Timestamp, decisions: &mut Decisions) {
        while let Some((at, key)) = self.agenda.first().cloned() {
            if at > now {
                return;
            }
            self.agenda.pop_first();
            if let Some(run) = self.runs.get_mut(&key) {
                run.look_at = None;
            }
            self.review(&key, now, decisions);
        }
    }

    fn read(&mut self, entry: &Entry, now: Timestamp, decisions: &mut Decisions) {
        let key = &entry.key;
        let starts = entry.slot.family == Family::Plan && entry.content.is_ok();
        if starts && !self.runs.contains_key(key) {
            self.runs.insert(key.clone(), OpenRun::new(key.clone()));
        }
        if concerns_admission(&entry.slot.family) {
            self.read_for_admission(entry, decisions);
        }
        let Some(run) = self.runs.get_mut(key) else {
            self.leave_alone(entry, decisions);
            return;
        };
        let alarmed = run.fold.alarm().is_some();
        let effect = run.apply(entry, now);
        if let Some(alarm) = run.fold.alarm().filter(|_| !alarmed) {
            decisions.note(Level::Error, key, alarm);
        }
        let closed = run.fold.closed().is_some();
        self.tell(entry, &effect, decisions);
        if closed {
            self.forget(key);
        } else {
            self.review(key, now, decisions);
        }
        if concerns_admission(&entry.slot.family) {
            self.review_pipeline(&key.pipeline, now, decisions);
        }
    }

    fn read_for_admission(&mut self, entry: &Entry, decisions: &mut Decisions) {
        let pipeline = self.pipeline(&entry.key.pipeline);
        let recorded = entry.slot.family == Family::Admission;
        let before = if recorded { pipeline.alarm() } else { None };
        pipeline.apply(entry);
        let alarm = if recorded { pipeline.alarm() } else { None };
        if let Some(alarm) = alarm.filter(|_| before.is_none()) {
            decisions.note(Level::Error, &entry.key, alarm);
        }
    }

    /// A record of a run that is closed, or that this build cannot know.
    fn leave_alone(&mut self, entry: &Entry, decisions: &mut Decisions) {
        self.drop_idle_pipeline(&entry.key.pipeline);
        let (level, text) = match (&entry.slot.family, &entry.content) {
            (Family::Plan, Err(Rubbish::Protocol(version))) => (
                Level::Warn,
                format!(
                    "the run speaks protocol {version} and this build speaks {PROTOCOL}; it is \
                     left alone. A newer lockstep-coordinator serves it"
                ),
            ),
            (Family::Plan, Err(rubbish)) => {
                (Level::Warn, format!("there is no such run, since its plan is rubbish: {rubbish}"))
            }
            _ if !self.presence.ready => return,
            _ => {
                let text = format!("#{} in {} belongs to no open run", entry.seq, entry.slot);
                (Level::Debug, text)
            }
        };
        decisions.note(level, &entry.key, text);
    }

    /// What is void or rubbish has a reason; while the past is read, nobody needs to hear it.
    fn tell(&self, entry: &Entry, effect: &Effect, decisions: &mut Decisions) {
        let (level, reason) = match effect {
            Effect::Counted => return,
            Effect::Early(_, by) => (Level::Info, format!("it was recorded {by} too early")),
            Effect::Void(reason) => (Level::Info, reason.clone()),
            Effect::Skipped(reason) if entry.content.is_err() => (Level::Warn, reason.clone()),
            Effect::Skipped(reason) => (Level::Debug, reason.clone()),
        };
        let level = if self.presence.ready { level } else { Level::Debug };
        let what = entry.content.as_ref().map_or("rubbish", |stated| stated.record.kind());
        let text = format!("{what} #{} in {} changes nothing: {reason}", entry.seq, entry.slot);
        decisions.note(level, &entry.key, text);
    }

    fn unread(&self) -> Vec<Unread> {
        let open = self.pipelines.iter().flat_map(|(pipeline, fold)| {
            fold.open().map(|(run, from)| {
                let key = RunKey { pipeline: pipeline.clone(), run: run.clone() };
                Unread { key, from }
            })
        });
        let mut unread: Vec<Unread> =
            open.filter(|unread| !self.runs.contains_key(&unread.key)).collect();
        unread.sort_by_key(|unread| unread.from);
        unread
    }

    fn caught_up(&mut self, now: Timestamp, decisions: &mut Decisions) {
        if self.presence.ready {
            return;
        }
        self.presence.ready = true;
        self.presence.since = now;
        self.pipelines.values_mut().for_each(PipelineFold::settle);
        self.pipelines.retain(|_, pipeline| !pipeline.is_empty());
        let text = format!("read the log to its end; {} runs are open", self.runs.len());
        decisions.note_all(Level::Info, text);
        self.review_all(now, decisions);
    }

    fn answered(
        &mut self,
        key: &RunKey,
        slot: &Slot,
        outcome: Appended,
        now: Timestamp,
        decisions: &mut Decisions,
    ) {
        let run = self.runs.get_mut(key);
        if run.is_some_and(|run| run.answer(slot, outcome, now)) {
            self.review(key, now, decisions);
        } else {
            decisions.note(Level::Debug, key, format!("nobody waits for the append to {slot}"));
        }
    }

    fn begin_anew(&mut self, why: &str, decisions: &mut Decisions) {
        let connected = self.presence.connected;
        *self = Self::new(self.max_age);
        self.presence.connected = connected;
        let text = format!(
            "the log lost records: {why}. Everything is read anew; check what is deployed against \
             the last good run, since the log cannot know what it forgot"
        );
        decisions.note_all(Level::Error, text);
    }

    fn review_all(&mut self, now: Timestamp, decisions: &mut Decisions) {
        let keys: Vec<RunKey> = self.runs.keys().cloned().collect();
        for key in keys {
            self.review(&key, now, decisions);
        }
    }

    /// Looks at the runs of a pipeline that are not admitted yet.
    fn review_pipeline(
        &mut self,
        pipeline: &PipelineName,
        now: Timestamp,
        decisions: &mut Decisions,
    ) {
        let pending = |run: &OpenRun| *run.fold.admission() == Admission::Pending;
        let runs = self.runs.iter().filter(|(key, _)| key.pipeline == *pipeline);
        let keys: Vec<RunKey> =
            runs.filter(|(_, run)| pending(run)).map(|(key, _)| key.clone()).collect();
        for key in keys {
            self.review(&key, now, decisions);
        }
    }

    fn review(&mut self, key: &RunKey, now: Timestamp, decisions: &mut Decisions) {
        let Some(run) = self.runs.get_mut(key).filter(|_| self.presence.ready) else { return };
        let pending = *run.fold.admission() == Admission::Pending;
        let pipeline = self.pipelines.get(&key.pipeline).filter(|_| pending);
        let standing = pipeline.and_then(|pipeline| pipeline.standing(&key.run));
        let (send, look_at) = run.review(standing.as_ref(), &self.presence, now);
        decisions.send.extend(send);
        if run.look_at == look_at {
            return;
        }
        if let Some(at) = run.look_at {
            self.agenda.remove(&(at, key.clone()));
        }
        run.look_at = look_at;
        self.agenda.extend(look_at.map(|at| (at, key.clone())));
    }

    /// A closed run leaves memory; nothing after Closed is decided.
    fn forget(&mut self, key: &RunKey) {
        if let Some(at) = self.runs.remove(key).and_then(|run| run.look_at) {
            self.agenda.remove(&(at, key.clone()));
        }
        if self.presence.ready {
            self.pipeline(&key.pipeline).settle();
            self.drop_idle_pipeline(&key.pipeline);
        }
    }

    fn drop_idle_pipeline(&mut self, name: &PipelineName) {
        if self.pipelines.get(name).is_some_and(PipelineFold::is_empty) {
            self.pipelines.remove(name);
        }
    }

    fn pipeline(&mut self, name: &PipelineName) -> &mut PipelineFold {
        let max_age = self.max_age;
        self.pipelines.entry(name.clone()).or_insert_with(|| PipelineFold::new(max_age))
    }

    fn next_wake(&self, now: Timestamp) -> Option<Timestamp> {
        if !self.presence.ready || self.runs.is_empty() {
            return None;
        }
        let heartbeat = now.after(HEARTBEAT);
        Some(self.agenda.first().map_or(heartbeat, |(at, _)| heartbeat.min(*at)))
    }
}

fn concerns_admission(family: &Family) -> bool {
    matches!(family, Family::Plan | Family::Admission | Family::Request | Family::Closed)
}

fn takes_part(fold: &RunFold, party: &PartyName) -> bool {
    fold.barriers().values().any(|barrier| barrier.parties.contains(party))
}
