//! The log in a normal form: records that nobody can tell the order of stand in a fixed one.

use std::sync::Arc;

use lockstep_shared::{
    codec::{Entry, Stated},
    id::{RunKey, Sequence, WorkflowName},
    plan::OnFailure,
    record::Record,
    source::Source,
    subject::{Family, Slot},
    time::Timestamp,
};

/// More writers than there are: the agents, and everybody else.
const WRITERS: Sequence = 8;

/// Whose record it is, as far as anybody's reading can tell: 0 for what everybody may read.
pub(super) type Writer = usize;

/// A log of one run.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Ledger {
    /// By sequence; shared with the logs that this one grew from and those that grow from it.
    entries: Vec<Arc<Entry>>,
}

/// What a record says, as far as its order to another writer's records matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sort {
    /// Joined, StepStarted, RollingBack, Left: of its own workflow only.
    Own,
    /// An arrival or a failure: which comes first decides the run. Under `each-own` also the end
    /// of a step.
    Decisive,
    /// RolledBack, RollbackFailed, Finalized: the last one is named by Closed.
    Last,
    /// What everybody reads.
    Public,
}

impl Ledger {
    /// A log with a plan and nothing else.
    pub(super) fn new(key: &RunKey, plan: Record, time: Timestamp) -> Self {
        let mut ledger = Self { entries: Vec::new() };
        ledger.append(key, Family::Plan.slot(1), plan, time, 0, OnFailure::RollbackAll);
        ledger
    }

    /// Every record, by sequence.
    pub(super) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().map(Arc::as_ref)
    }

    /// What a slot holds.
    pub(super) fn slot(&self, slot: &Slot) -> Option<&Entry> {
        self.entries().find(|entry| entry.slot == *slot)
    }

    /// The greatest stored time.
    pub(super) fn time(&self) -> Timestamp {
        self.entries.iter().map(|entry| entry.time).max().unwrap_or_default()
    }

    /// The position of the last record that a writer may read.
    pub(super) fn end_for(&self, writer: Writer) -> Sequence {
        let readable = |entry: &&Arc<Entry>| [0, writer].contains(&writer_of(entry.seq));
        self.entries.iter().rfind(readable).map_or(0, |entry| entry.seq)
    }

    /// Stores a record; its sequence.
    pub(super) fn append(
        &mut self,
        key: &RunKey,
        slot: Slot,
        record: Record,
        time: Timestamp,
        writer: Writer,
        on_failure: OnFailure,
    ) -> Sequence {
        let entry = self.next(key, slot, record, time, writer, on_failure);
        let seq = entry.seq;
        let at = self.entries.partition_point(|other| other.seq < seq);
        self.entries.insert(at, Arc::new(entry));
        seq
    }

    /// A record at the lowest place above all that it can be told from.
    pub(super) fn next(
        &self,
        key: &RunKey,
        slot: Slot,
        record: Record,
        time: Timestamp,
        writer: Writer,
        on_failure: OnFailure,
    ) -> Entry {
        let sort = sort_of(&record, on_failure);
        let below = self.entries.iter().filter(|entry| {
            let other = writer_of(entry.seq);
            let other_sort =
                record_of(entry).map_or(Sort::Public, |record| sort_of(record, on_failure));
            other == writer || are_told_apart(sort, other_sort)
        });
        let layer = below.map(|entry| entry.seq / WRITERS).max().unwrap_or(0) + 1;
        let seq = layer * WRITERS + writer as Sequence;
        let source = Source::Operator("model".to_owned());
        let content = Ok(Stated { event: format!("e{seq}"), source, record });
        Entry { seq, time, key: key.clone(), slot, content }
    }
}

/// Who wrote the record at a position.
fn writer_of(seq: Sequence) -> Writer {
    usize::try_from(seq % WRITERS).unwrap_or(0)
}

/// The writer of an agent's records, from its place among the workflows.
pub(super) fn writer(index: usize) -> Writer {
    index + 1
}

/// Whether two records may stand in either order without anybody noticing.
///
/// Only records of two different workflows' own slots ever can.
pub(super) fn commute(first: &Entry, second: &Entry, on_failure: OnFailure) -> bool {
    let sort = |entry: &Entry| record_of(entry).map_or(Sort::Public, |it| sort_of(it, on_failure));
    let (Some(one), Some(other)) = (workflow_of(first), workflow_of(second)) else { return false };
    one != other && !are_told_apart(sort(first), sort(second))
}

/// What an entry says, unless it is rubbish.
pub(super) fn record_of(entry: &Entry) -> Option<&Record> {
    entry.content.as_ref().ok().map(|stated| &stated.record)
}

fn workflow_of(entry: &Entry) -> Option<WorkflowName> {
    match &entry.slot.family {
        Family::Workflow(workflow) => Some(workflow.clone()),
        Family::Party(_, party) => party.as_str().parse().ok(),
        _ => None,
    }
}

fn are_told_apart(one: Sort, other: Sort) -> bool {
    match (one, other) {
        (Sort::Public, _) | (_, Sort::Public) => true,
        (one, other) => one == other && one != Sort::Own,
    }
}

fn sort_of(record: &Record, on_failure: OnFailure) -> Sort {
    match record {
        Record::Joined { .. }
        | Record::StepStarted { .. }
        | Record::RollingBack { .. }
        | Record::Left { .. } => Sort::Own,
        Record::StepFinished { .. } if on_failure == OnFailure::RollbackAll => Sort::Own,
        Record::StepFinished { .. } | Record::Arrived { .. } | Record::Failed { .. } => {
            Sort::Decisive
        }
        Record::RolledBack { .. } | Record::RollbackFailed { .. } | Record::Finalized { .. } => {
            Sort::Last
        }
        _ => Sort::Public,
    }
}
