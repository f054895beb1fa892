//! One open run: its fold, what is on its way there, and whose beats were heard when.

use std::collections::{BTreeMap, BTreeSet};

use lockstep_shared::{
    codec::Entry,
    fold::{Admission, Effect, RunFold, Watch, admission::Standing},
    id::{Epoch, RunKey, WorkflowName},
    record::{Deadline, Record},
    subject::{Family, Slot},
    time::{Span, Timestamp},
};

use crate::{decision::Append, event::Appended, flight::Flights, presence::Presence};

/// How long an agent may be silent (PROTOCOL section 6, "Lost").
pub const SILENT_FOR: Span = Span::seconds(30);

/// How long a workflow may be without an agent after one left on request: long enough to
/// reschedule a pod.
pub const LEFT_FOR: Span = Span::minutes(2);

/// A run that has no Closed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct OpenRun {
    pub(crate) fold: RunFold,
    pub(crate) flights: Flights,
    /// When it is looked at again without being asked for.
    pub(crate) look_at: Option<Timestamp>,
    /// Whose beat was heard when; as of the last review also of whom it is awaited.
    heard: BTreeMap<WorkflowName, Heard>,
    /// Deadlines that somebody recorded too early: when the rest will be over.
    early: BTreeMap<Deadline, Timestamp>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Heard {
    epoch: Epoch,
    at: Timestamp,
}

/// Whether a watch may run out earlier than the last review said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Watches {
    AsBefore,
    Changed,
}

impl Watches {
    /// What a record does to them: who arrives somewhere is alive.
    pub(crate) fn after(entry: &Entry) -> Self {
        match entry.slot.family {
            Family::Party(..) => Self::AsBefore,
            _ => Self::Changed,
        }
    }
}

/// Something for a clock slot.
struct Overdue {
    at: Timestamp,
    record: Record,
}

impl OpenRun {
    pub(crate) fn new(key: RunKey) -> Self {
        Self {
            fold: RunFold::new(key),
            flights: Flights::default(),
            look_at: None,
            heard: BTreeMap::new(),
            early: BTreeMap::new(),
        }
    }

    /// Applies a record; the fold's verdict on it.
    pub(crate) fn apply(&mut self, entry: &Entry, now: Timestamp) -> Effect {
        let effect = self.fold.apply(entry);
        self.flights.shown(&entry.slot);
        if let Effect::Early(deadline, by) = &effect {
            self.early.insert(deadline.clone(), now.after(*by));
        }
        if let Some((workflow, epoch)) = self.author(entry) {
            self.hear(&workflow, epoch, now);
        }
        effect
    }

    /// Takes an append's answer; whether anybody waited for it. What was stored in the slot below
    /// the plan is never told: the answer is all there is to learn of it.
    pub(crate) fn answer(&mut self, slot: &Slot, outcome: Appended, now: Timestamp) -> bool {
        let awaited = self.flights.answer(slot, outcome, now);
        let planned = self.fold.planned().map(|planned| planned.seq);
        if matches!(outcome, Appended::Taken(seq) if planned.is_some_and(|planned| seq < planned)) {
            self.fold.occupy(slot);
            self.flights.shown(slot);
        }
        awaited
    }

    /// A beat, or a record, of an agent; only the current epoch's counts.
    pub(crate) fn hear(&mut self, workflow: &WorkflowName, epoch: Epoch, now: Timestamp) -> bool {
        let current = self.fold.workflows().get(workflow).map(|state| state.epoch);
        if current != Some(epoch) || epoch == 0 {
            return false;
        }
        self.heard.insert(workflow.clone(), Heard { epoch, at: now });
        true
    }

    /// Which incarnation of which workflow's agent shows by this record that it is alive.
    fn author(&self, entry: &Entry) -> Option<(WorkflowName, Epoch)> {
        let record = &entry.content.as_ref().ok()?.record;
        let workflow = match &entry.slot.family {
            Family::Workflow(workflow) => workflow.clone(),
            Family::Party(_, party) => {
                let workflow: WorkflowName = party.as_str().parse().ok()?;
                self.fold.workflows().contains_key(&workflow).then_some(workflow)?
            }
            _ => return None,
        };
        let joined = matches!(record, Record::Joined { .. }).then_some(entry.slot.number);
        Some((workflow, record.epoch().or(joined)?))
    }

    /// What to append now, and when to look again without being asked for.
    ///
    /// Watches are looked at only where they may have become shorter: hundreds of arrivals in a
    /// row must not each go through hundreds of watches.
    pub(crate) fn review(
        &mut self,
        standing: Option<&Standing>,
        presence: &Presence,
        watches: Watches,
        now: Timestamp,
    ) -> (Vec<Append>, Option<Timestamp>) {
        let mut due = self.due_admission(standing);
        due.extend(self.fold.due());
        let (overdue, mut look_at) = match watches {
            _ if !presence.can_judge() => (None, None),
            Watches::AsBefore => (self.first_passed(presence), self.look_at),
            Watches::Changed => (self.first_overdue(presence, now), None),
        };
        if let Some(overdue) = overdue {
            if overdue.at <= now {
                due.push((self.fold.next_slot(&Family::Clock), overdue.record));
            } else {
                look_at = Some(look_at.map_or(overdue.at, |before| before.min(overdue.at)));
            }
        }
        let key = self.fold.key();
        let send = due
            .into_iter()
            .filter(|(slot, _)| self.flights.begin(slot, now))
            .map(|(slot, record)| Append { key: key.clone(), slot, record })
            .collect();
        let look_at = [look_at, self.flights.next_retry(now)].into_iter().flatten().min();
        (send, look_at)
    }

    fn due_admission(&self, standing: Option<&Standing>) -> Vec<(Slot, Record)> {
        let pending = *self.fold.admission() == Admission::Pending;
        let record = standing.filter(|_| pending).and_then(Standing::record);
        let at_slot = |record| (self.fold.next_slot(&Family::Admission), record);
        record.map(at_slot).into_iter().collect()
    }

    /// The clock or watch that runs out first. One at a time: after each the fold says anew what
    /// still runs.
    fn first_overdue(&mut self, presence: &Presence, now: Timestamp) -> Option<Overdue> {
        let watches = self.fold.watches();
        self.await_only(&watches, now);
        let lost = watches.into_iter().filter_map(|watch| {
            let at = match watch.left {
                Some(left) => {
                    // By the stored time; and by the own clock, which may be ahead of that.
                    let heard = self.heard.get(&watch.workflow)?.at.max(presence.hearing_since());
                    presence.not_before(left.after(LEFT_FOR)).max(heard.after(LEFT_FOR))
                }
                None => {
                    let heard = self.heard.get(&watch.workflow)?.at.max(presence.hearing_since());
                    heard.after(SILENT_FOR)
                }
            };
            let Watch { workflow, epoch, last, .. } = watch;
            Some(Overdue { at, record: Record::AgentLost { workflow, epoch, last } })
        });
        self.first_passed(presence).into_iter().chain(lost).min_by_key(|overdue| overdue.at)
    }

    fn first_passed(&self, presence: &Presence) -> Option<Overdue> {
        let passed = self.fold.clocks().into_iter().map(|clock| {
            let rest = self.early.get(&clock.deadline).copied().unwrap_or_default();
            let at = presence.not_before(clock.due).max(rest);
            Overdue { at, record: Record::DeadlinePassed { deadline: clock.deadline } }
        });
        passed.min_by_key(|overdue| overdue.at)
    }

    /// A watch begins when its Joined is read.
    fn await_only(&mut self, watches: &[Watch], now: Timestamp) {
        if self.heard.len() > watches.len() {
            let awaited: BTreeSet<&WorkflowName> =
                watches.iter().map(|watch| &watch.workflow).collect();
            self.heard.retain(|name, _| awaited.contains(name));
        }
        for watch in watches {
            let heard = self.heard.get(&watch.workflow);
            if heard.is_none_or(|heard| heard.epoch != watch.epoch) {
                let heard = Heard { epoch: watch.epoch, at: now };
                self.heard.insert(watch.workflow.clone(), heard);
            }
        }
    }
}
