//! All open runs together: who is reviewed when, and what may be asked.

mod reading;

use std::collections::{BTreeMap, BTreeSet};

use lockstep_shared::{
    fold::{
        Admission, RunFold,
        admission::{PipelineFold, Standing},
    },
    id::{PartyName, PipelineName, RunId, RunKey},
    subject::Slot,
    time::{Span, Timestamp},
};

use crate::{
    decision::{Decisions, Level},
    event::{Appended, Event},
    open_run::{OpenRun, Watches},
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
            Event::Deaf(why) => {
                if self.presence.deaf(now) {
                    let text = format!(
                        "cannot hear whether agents are alive, so none is recorded as lost by \
                         this coordinator: {why}"
                    );
                    decisions.note_all(Level::Error, text);
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
            Event::MaxAge(max_age) => self.keep_for(max_age),
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

    /// Only what is decided from now on goes by it: a record stands whatever it went by.
    fn keep_for(&mut self, max_age: Span) {
        self.max_age = max_age;
        self.pipelines.values_mut().for_each(|pipeline| pipeline.keep_for(max_age));
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
        self.review_after(Watches::Changed, key, now, decisions);
    }

    fn review_after(
        &mut self,
        watches: Watches,
        key: &RunKey,
        now: Timestamp,
        decisions: &mut Decisions,
    ) {
        let Some(run) = self.runs.get_mut(key).filter(|_| self.presence.ready) else { return };
        let pending = *run.fold.admission() == Admission::Pending;
        let pipeline = self.pipelines.get(&key.pipeline).filter(|_| pending);
        let standing = pipeline.and_then(|pipeline| pipeline.standing(&key.run));
        let (send, look_at) = run.review(standing.as_ref(), &self.presence, watches, now);
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

    fn next_wake(&self, now: Timestamp) -> Option<Timestamp> {
        if !self.presence.ready || self.runs.is_empty() {
            return None;
        }
        let heartbeat = now.after(HEARTBEAT);
        Some(self.agenda.first().map_or(heartbeat, |(at, _)| heartbeat.min(*at)))
    }
}

fn takes_part(fold: &RunFold, party: &PartyName) -> bool {
    fold.barriers().values().any(|barrier| barrier.parties.contains(party))
}
