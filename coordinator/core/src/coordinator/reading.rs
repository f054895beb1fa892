//! What is read: into whose fold it goes, who else it concerns, what is left alone.

use lockstep_shared::{
    codec::{Entry, Rubbish},
    fold::{Effect, admission::PipelineFold},
    id::{PipelineName, RunKey},
    plan::PROTOCOL,
    subject::Family,
    time::Timestamp,
};

use super::Coordinator;
use crate::{
    decision::{Decisions, Level, Unread},
    open_run::{OpenRun, Watches},
    presence::Presence,
};

impl Coordinator {
    pub(super) fn read(&mut self, entry: &Entry, now: Timestamp, decisions: &mut Decisions) {
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
            self.review_after(Watches::after(entry), key, now, decisions);
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

    pub(super) fn unread(&self) -> Vec<Unread> {
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

    pub(super) fn caught_up(&mut self, now: Timestamp, decisions: &mut Decisions) {
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

    pub(super) fn begin_anew(&mut self, why: &str, decisions: &mut Decisions) {
        let presence = std::mem::take(&mut self.presence);
        *self = Self::new(self.max_age);
        self.presence = Presence { ready: false, ..presence };
        let text = format!(
            "the log lost records: {why}. Everything is read anew; check what is deployed against \
             the last good run, since the log cannot know what it forgot"
        );
        decisions.note_all(Level::Error, text);
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

    pub(super) fn pipeline(&mut self, name: &PipelineName) -> &mut PipelineFold {
        let max_age = self.max_age;
        self.pipelines.entry(name.clone()).or_insert_with(|| PipelineFold::new(max_age))
    }
}

fn concerns_admission(family: &Family) -> bool {
    matches!(family, Family::Plan | Family::Admission | Family::Request | Family::Closed)
}
