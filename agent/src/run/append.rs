//! Appending a record until it is known what its slot holds.

use std::time::Duration;

use futures::{future::BoxFuture, stream::FuturesUnordered};
use lockstep_agent_core::{Append, Appended};
use lockstep_bus::{AppendError, Appended as Held, Bus, Passage, pauses};
use lockstep_shared::{
    codec::{Draft, TooLarge, encode},
    fold,
    id::RunKey,
    record::Record,
    source::Source,
    subject::Slot,
    time::Timestamp,
};
/// How long one attempt goes on before it is said that it takes long.
const ATTEMPT: Duration = Duration::from_secs(10);

/// The first and the longest pause after an attempt that the server refused, since somebody has
/// to change something.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(15));

/// Appends under way.
pub(super) type Appends = FuturesUnordered<BoxFuture<'static, (Slot, Appended)>>;

/// Who appends, and where.
#[derive(Debug, Clone)]
pub(super) struct Pen {
    pub(super) key: RunKey,
    pub(super) source: Source,
    pub(super) traceparent: Option<String>,
}

impl Pen {
    /// The record as it is published, encoded once: a retry has the same bytes and the same id.
    pub(super) fn draft(
        &self,
        bus: &Bus,
        append: &Append,
        now: Timestamp,
    ) -> Result<Draft, TooLarge> {
        let draft = |record: &Record| {
            let traceparent = self.traceparent.as_deref();
            encode(bus.subjects(), &self.key, &append.slot, record, &self.source, now, traceparent)
        };
        draft(&append.record).or_else(|_| draft(&shortened(append.record.clone())))
    }
}

/// Retries without end: as long as the run is open its log is the only place to say this, and as
/// long as the log cannot be reached there is nothing else to do.
///
/// Only the loop's recall ends it; and a connection over which the log was not compared yet ends
/// the attempt, lest what was meant for one log is stored in an older one that was restored.
pub(super) async fn append(
    bus: Bus,
    slot: Slot,
    draft: Draft,
    passage: Passage,
) -> (Slot, Appended) {
    let outcome = tokio::select! {
        // Looked at before each attempt to go on.
        biased;
        () = passage.recalled() => {
            tracing::warn!(%slot, "this append is given up: the log lost records");
            Appended::InDoubt
        }
        outcome = publish(&bus, &slot, &draft, passage) => outcome,
    };
    (slot, outcome)
}

async fn publish(bus: &Bus, slot: &Slot, draft: &Draft, mut passage: Passage) -> Appended {
    let mut pauses = pauses(PAUSES.0, PAUSES.1);
    loop {
        let Some(attempt) = passage.append(bus, draft, ATTEMPT).await else { continue };
        match attempt {
            Ok(Held::Stored(seq)) => return Appended::Stored(seq),
            Ok(Held::Taken(entry)) => return Appended::Taken(entry.seq),
            Err(AppendError::InDoubt { reason, .. }) => {
                tracing::warn!(%slot, reason, "the log does not answer; appending again");
            }
            Err(error) => {
                tracing::error!(%slot, %error, "the log does not take a record; trying again");
                tokio::time::sleep(pauses.next().unwrap_or(PAUSES.1)).await;
            }
        }
    }
}

/// A record whose texts do not fit, with less of them: that something failed must be sayable.
fn shortened(record: Record) -> Record {
    const MAX_TEXT: usize = 1024;
    let few = |texts: Vec<String>| -> Vec<String> {
        let count = texts.len();
        let mut kept: Vec<String> =
            texts.into_iter().take(9).map(|text| fold::cut(&text, MAX_TEXT / 2)).collect();
        if count > kept.len() {
            kept.push(format!("and {} more", count - kept.len()));
        }
        kept
    };
    let end = |output: String| fold::tail(&output, MAX_TEXT).to_owned();
    let cut = |text: String| fold::cut(&text, MAX_TEXT);
    match record {
        Record::StepFinished { epoch, step, ignored, output, images } => {
            let (ignored, output) = (ignored.map(cut), end(output));
            Record::StepFinished { epoch, step, ignored, output, images }
        }
        Record::Failed { epoch, step, error, output } => {
            Record::Failed { epoch, step, error: cut(error), output: end(output) }
        }
        Record::RolledBack { epoch, residue, accepted, output } => {
            Record::RolledBack { epoch, residue: few(residue), accepted, output: end(output) }
        }
        Record::RollbackFailed { epoch, error, left, output } => {
            let (error, left, output) = (cut(error), few(left), end(output));
            Record::RollbackFailed { epoch, error, left, output }
        }
        Record::Finalized { epoch, degraded, warnings } => {
            Record::Finalized { epoch, degraded: degraded.map(cut), warnings: few(warnings) }
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockstep_shared::{subject::Family, subject::Subjects};

    #[test]
    fn however_much_is_left_it_can_be_said() {
        let pipeline = "shop".parse().unwrap();
        let workflow: lockstep_shared::id::WorkflowName = "backend".parse().unwrap();
        let key = RunKey { pipeline, run: "r1".parse().unwrap() };
        let source = Source::Agent(key.pipeline.clone(), workflow.clone(), "host".to_owned());
        let slot = Family::Workflow(workflow).slot(7);
        let left = vec!["x".repeat(9000); 50];
        let record = Record::RollbackFailed {
            epoch: 1,
            error: "\"".repeat(90_000),
            left,
            output: String::new(),
        };
        let encoded = |record: &Record| {
            encode(&Subjects::default(), &key, &slot, record, &source, Timestamp(0), None)
        };
        assert!(encoded(&record).is_err());
        let short = shortened(record);
        assert!(encoded(&short).is_ok());
        let Record::RollbackFailed { left, .. } = short else { panic!() };
        assert_eq!(left.last().map(String::as_str), Some("and 41 more"));
    }
}
