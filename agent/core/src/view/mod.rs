//! What an agent knows of its run's log: only what its filter shows it (PROTOCOL section 5).
//!
//! Decides which record of a family counts, by the rules of the fold (PROTOCOL section 3), so that
//! both come to the same facts from the same records. Deliberately draws no conclusions from them.

mod own;
mod slots;

use std::collections::BTreeMap;

use lockstep_shared::{
    codec::Entry,
    id::{BarrierId, Sequence, WorkflowName},
    record::Record,
    subject::{Family, Slot},
};
pub(crate) use own::{EndedSeen, FailedSeen, Own, StepSeen};
pub(crate) use slots::Taken;

use crate::setup::{PlanFound, Setup};

/// How many requests are kept, as in the fold; further ones mean nothing.
const MAX_REQUESTS: usize = lockstep_shared::fold::MAX_REQUESTS;

/// The facts of one run that concern one workflow.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct View {
    workflow: WorkflowName,
    /// Where the plan stands; what stands below it means nothing.
    planned: Sequence,
    pub(crate) admission: Option<Admission>,
    verdict: Option<Ruling>,
    outcome: Option<Ruling>,
    pub(crate) closed: Option<Sequence>,
    meetings: BTreeMap<BarrierId, Meeting>,
    pub(crate) own: Own,
    requests: BTreeMap<Sequence, Request>,
}

/// Whether the run may begin.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Admission {
    Admitted(Sequence),
    Refused { seq: Sequence, reason: String },
}

/// A verdict or outcome that this workflow obeys.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Ruling {
    pub(crate) seq: Sequence,
    /// The record that decided it.
    pub(crate) at: Sequence,
    /// The cause's text, if it is an abort.
    pub(crate) cause: Option<String>,
}

/// A barrier as one of its parties sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Meeting {
    /// Where this workflow arrived, by whatever incarnation.
    pub(crate) arrival: Option<Sequence>,
    pub(crate) verdict: Option<Ruling>,
    pub(crate) taken: Taken,
}

impl Meeting {
    /// Whether it is released for this workflow: only if its own arrival is not above the record
    /// that completed it.
    pub(crate) fn is_released(&self) -> bool {
        match (self.arrival, &self.verdict) {
            (Some(arrival), Some(verdict)) => verdict.cause.is_none() && arrival <= verdict.at,
            _ => false,
        }
    }

    /// Whether a Released stands there that this workflow must not follow.
    pub(crate) fn is_doubtful(&self) -> bool {
        self.arrival.is_some()
            && self.verdict.as_ref().is_some_and(|verdict| verdict.cause.is_none())
            && !self.is_released()
    }
}

/// What an operator asked of this workflow.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Request {
    Resume,
    Accept,
}

impl View {
    /// Nothing yet.
    pub(crate) fn of(setup: &Setup) -> Self {
        let planned = match &setup.plan {
            PlanFound::Planned { seq, .. } => *seq,
            _ => 0,
        };
        Self {
            workflow: setup.workflow.clone(),
            planned,
            admission: None,
            verdict: None,
            outcome: None,
            closed: None,
            meetings: BTreeMap::new(),
            own: Own::default(),
            requests: BTreeMap::new(),
        }
    }

    /// The run's verdict, or this workflow's outcome: the first of them in the log.
    pub(crate) fn ruling(&self) -> Option<&Ruling> {
        self.verdict.iter().chain(&self.outcome).min_by_key(|ruling| ruling.seq)
    }

    pub(crate) fn meeting(&self, barrier: &BarrierId) -> Option<&Meeting> {
        self.meetings.get(barrier)
    }

    pub(crate) fn has_arrived(&self, barrier: &BarrierId) -> bool {
        self.meeting(barrier).is_some_and(|meeting| meeting.arrival.is_some())
    }

    pub(crate) fn is_released(&self, barrier: &BarrierId) -> bool {
        self.meeting(barrier).is_some_and(Meeting::is_released)
    }

    /// The requests above a position, oldest first.
    pub(crate) fn requests_above(
        &self,
        seq: Sequence,
    ) -> impl Iterator<Item = (Sequence, &Request)> {
        self.requests.range(seq + 1..).map(|(seq, request)| (*seq, request))
    }

    /// Whether one of this agent's own slots is taken.
    pub(crate) fn is_taken(&self, slot: &Slot) -> bool {
        match &slot.family {
            Family::Workflow(_) => self.own.taken.has(slot.number),
            Family::Party(barrier, _) => {
                self.meeting(barrier).is_some_and(|meeting| meeting.taken.has(slot.number))
            }
            _ => false,
        }
    }

    /// The slot that this agent's next record of a family goes to.
    pub(crate) fn next_slot(&self, family: Family) -> Slot {
        let number = match &family {
            Family::Party(barrier, _) => {
                self.meeting(barrier).map_or(1, |meeting| meeting.taken.next())
            }
            _ => self.own.taken.next(),
        };
        family.slot(number)
    }

    /// Takes a reading in. Of the own slots it shows those up to the first empty one; what somebody
    /// wrote out of turn behind that waits until its turn has come.
    pub(crate) fn read<'a>(&mut self, entries: impl Iterator<Item = &'a Entry>) {
        let mut own = BTreeMap::new();
        for entry in entries {
            match &entry.slot.family {
                Family::Workflow(_) => {
                    own.insert(entry.slot.number, entry);
                }
                _ => self.apply(entry),
            }
        }
        let mut next = self.own.taken.next();
        let mut in_turn = Vec::new();
        while let Some(entry) = own.remove(&next) {
            in_turn.push(entry);
            next += 1;
        }
        in_turn.sort_by_key(|entry| entry.seq);
        for entry in in_turn {
            self.apply(entry);
        }
    }

    /// Takes a record in. Of a family in which one record counts, the first one applied does:
    /// a reading shows all of a family up to a position, in stream order.
    pub(crate) fn apply(&mut self, entry: &Entry) {
        let seq = entry.seq;
        if self.is_taken(&entry.slot) {
            return;
        }
        self.take(&entry.slot);
        let Ok(stated) = &entry.content else { return };
        if seq < self.planned {
            return;
        }
        match (&entry.slot.family, &stated.record) {
            (Family::Admission, Record::Admitted {}) => {
                self.admission.get_or_insert(Admission::Admitted(seq));
            }
            (Family::Admission, Record::Refused { reason, .. }) => {
                self.admission
                    .get_or_insert_with(|| Admission::Refused { seq, reason: reason.clone() });
            }
            (Family::Verdict, record) => keep_first(&mut self.verdict, seq, record),
            (Family::Outcome(workflow), record) if *workflow == self.workflow => {
                keep_first(&mut self.outcome, seq, record);
            }
            (Family::Closed, Record::Closed { .. }) => {
                self.closed.get_or_insert(seq);
            }
            (Family::BarrierVerdict(barrier), record) => {
                let meeting = self.meetings.entry(barrier.clone()).or_default();
                keep_first(&mut meeting.verdict, seq, record);
            }
            (Family::Party(barrier, party), Record::Arrived { .. })
                if party.as_str() == self.workflow.as_str() =>
            {
                let meeting = self.meetings.entry(barrier.clone()).or_default();
                meeting.arrival.get_or_insert(seq);
            }
            (Family::Workflow(workflow), record) if *workflow == self.workflow => {
                self.reported(entry, record);
            }
            (Family::Request, record) => self.requested(seq, record),
            _ => {}
        }
    }

    fn take(&mut self, slot: &Slot) {
        match &slot.family {
            Family::Workflow(workflow) if *workflow == self.workflow => {
                self.own.taken.take(slot.number);
            }
            Family::Party(barrier, party) if party.as_str() == self.workflow.as_str() => {
                self.meetings.entry(barrier.clone()).or_default().taken.take(slot.number);
            }
            _ => {}
        }
    }

    /// A workflow's records mean nothing before the run is admitted. Without the plan the log has
    /// lost its beginning, admission included, and what is left is a debt.
    fn reported(&mut self, entry: &Entry, record: &Record) {
        let admitted = match self.admission {
            Some(Admission::Admitted(seq)) => seq < entry.seq,
            Some(Admission::Refused { .. }) => false,
            None => self.planned == 0,
        };
        if admitted {
            let ruled = self.ruling().map(|ruling| ruling.seq).filter(|seq| *seq < entry.seq);
            self.own.apply(entry, record, ruled.is_some());
        }
    }

    fn requested(&mut self, seq: Sequence, record: &Record) {
        let (request, concerned) = match record {
            Record::ResumeRequested { workflow, .. } => (Request::Resume, workflow),
            Record::AcceptRequested { workflow, .. } => (Request::Accept, workflow),
            _ => return,
        };
        let concerned = concerned.as_ref().is_none_or(|workflow| *workflow == self.workflow);
        if concerned && self.requests.len() < MAX_REQUESTS {
            self.requests.insert(seq, request);
        }
    }

    /// The positions of the records behind the facts that every reading shows again, with what
    /// each is called; a reading that lacks one shows that the log lost it.
    pub(crate) fn landmarks(&self) -> impl Iterator<Item = (Family, Sequence)> {
        let admission = self.admission.as_ref().map(|admission| match admission {
            Admission::Admitted(seq) | Admission::Refused { seq, .. } => (Family::Admission, *seq),
        });
        let verdict = self.verdict.as_ref().map(|ruling| (Family::Verdict, ruling.seq));
        let own = Family::Outcome(self.workflow.clone());
        let outcome = self.outcome.as_ref().map(|ruling| (own, ruling.seq));
        let closed = self.closed.map(|seq| (Family::Closed, seq));
        admission.into_iter().chain(verdict).chain(outcome).chain(closed)
    }
}

fn keep_first(kept: &mut Option<Ruling>, seq: Sequence, record: &Record) {
    let (at, cause) = match record {
        Record::Released { at } | Record::Committed { at } => (*at, None),
        Record::Aborted { at, cause } => (*at, Some(cause.text.clone())),
        _ => return,
    };
    kept.get_or_insert(Ruling { seq, at, cause });
}
