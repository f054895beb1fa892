//! Whether the log is still the one that was read before (PROTOCOL section 5).

use std::time::Duration;

use futures::{FutureExt, future::BoxFuture};
use lockstep_agent_core::{Event, Reading};
use lockstep_bus::{Bus, Continuity, Gate, Landmark, LogState, ReadError};
use lockstep_shared::{
    codec::Entry,
    id::{Sequence, WorkflowName},
    subject::Family,
};
use tokio::time::Instant;

/// How long one comparison may take before it is begun anew.
const LIMIT: Duration = Duration::from_secs(10);

const REFUSED_PAUSE: Duration = Duration::from_secs(5);

/// The connection that was asked over, and what the comparison says.
type Compared = (u64, Result<(Continuity, LogState), ReadError>);

/// What was known of the log when it was last compared, and what was read since.
pub(super) struct History {
    known: LogState,
    applied: Sequence,
    landmark: Option<Landmark>,
    comparing: Option<BoxFuture<'static, Compared>>,
    /// Open for appends only over a connection whose log was compared.
    pub(super) gate: Gate,
}

impl History {
    /// Asks what the log is now, for as long as nobody answers.
    ///
    /// # Errors
    /// [`ReadError`] if it is not permitted to ask, or the connection was closed.
    pub(super) async fn begin(bus: &Bus, gate: Gate) -> Result<Self, ReadError> {
        loop {
            match bus.log_state(Instant::now() + LIMIT).await {
                Ok(known) => {
                    return Ok(Self { known, applied: 0, landmark: None, comparing: None, gate });
                }
                Err(error @ (ReadError::Closed | ReadError::Denied(_))) => return Err(error),
                Err(error) => tracing::warn!(%error, "the log does not answer; trying again"),
            }
        }
    }

    /// Remembers how far the log was read, and the latest record to find again: this workflow's
    /// own last one if the reading has one.
    pub(super) fn learn(&mut self, reading: &Reading, workflow: &WorkflowName) {
        self.applied = self.applied.max(reading.upto);
        self.landmark = later(self.landmark.take(), &reading.entries, workflow);
    }

    /// Compares what was known with what is there; until that is done nothing is read and nothing
    /// appended.
    pub(super) fn compare(&mut self, bus: &Bus) {
        self.gate.close();
        let generation = self.gate.generation();
        let bus = bus.clone();
        let (known, applied, landmark) = (self.known.clone(), self.applied, self.landmark.clone());
        let comparing = async move {
            let until = Instant::now() + LIMIT;
            let compared = bus.check_history(&known, applied, landmark.as_ref(), until).await;
            if compared.is_err() {
                tokio::time::sleep(REFUSED_PAUSE).await;
            }
            (generation, compared)
        };
        self.comparing = Some(comparing.boxed());
    }

    /// Whether it is not known yet if this is the log that was read before.
    pub(super) fn is_comparing(&self) -> bool {
        self.comparing.is_some()
    }

    /// What the comparison showed, if it shows that records are lost; cancel-safe.
    ///
    /// # Errors
    /// [`ReadError::Closed`], after which there is never an answer.
    pub(super) async fn next(&mut self, bus: &Bus) -> Result<Option<Event>, ReadError> {
        let Some(comparing) = &mut self.comparing else { return std::future::pending().await };
        let (generation, compared) = comparing.await;
        self.comparing = None;
        match compared {
            Ok((Continuity::Same, now)) => {
                self.known = now;
                self.gate.open(generation);
                Ok(None)
            }
            Ok((Continuity::WentBack(text), now)) => {
                self.known = now;
                self.applied = 0;
                self.landmark = None;
                // What is under way is recalled before anything passes.
                self.gate.open(generation);
                Ok(Some(Event::WentBack(text)))
            }
            Err(ReadError::Closed) => Err(ReadError::Closed),
            Err(error) => {
                tracing::warn!(%error, "cannot see whether this is the same log; trying again");
                self.compare(bus);
                Ok(None)
            }
        }
    }
}

/// The landmark after a reading. Later readings show less and less of what was read before.
fn later(known: Option<Landmark>, entries: &[Entry], workflow: &WorkflowName) -> Option<Landmark> {
    let own = Family::Workflow(workflow.clone());
    // Rubbish may be what only another way of reading shows.
    let mut valid = entries.iter().filter(|entry| entry.content.is_ok());
    let last = valid.clone().rfind(|entry| entry.slot.family == own).or(valid.next_back());
    let above = known.as_ref().map_or(0, |landmark| landmark.seq);
    last.filter(|entry| entry.seq > above).map(Landmark::of).or(known)
}

#[cfg(test)]
mod tests {
    use lockstep_shared::{
        codec::Stated, id::RunKey, record::Record, source::Source, subject::Slot, time::Timestamp,
    };

    use super::*;

    fn entry(seq: Sequence, slot: Slot, record: Record) -> Entry {
        let key = RunKey { pipeline: "shop".parse().unwrap(), run: "r1".parse().unwrap() };
        let source = Source::Coordinator("c".to_owned());
        let content = Ok(Stated { event: format!("e{seq}"), source, record });
        Entry { seq, time: Timestamp(seq), key, slot, content }
    }

    #[test]
    fn the_landmark_never_goes_back() {
        let workflow: WorkflowName = "backend".parse().unwrap();
        let admitted = entry(40, Family::Admission.slot(1), Record::Admitted {});
        let own = Family::Workflow(workflow.clone()).slot(2);
        let started = entry(90, own, Record::StepStarted { epoch: 1, step: 0, attempt: 1 });
        let mut landmark = None;
        landmark = later(landmark, &[admitted.clone(), started], &workflow);
        assert_eq!(landmark.as_ref().map(|landmark| landmark.seq), Some(90));
        // Own slots are asked for from the next one on, so the next reading shows families only.
        landmark = later(landmark, &[admitted], &workflow);
        assert_eq!(landmark.map(|landmark| landmark.seq), Some(90));
    }
}
