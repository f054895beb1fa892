//! Learning of runs: by the bell on admissions, and by asking which ones are open.

use std::{collections::BTreeSet, time::Duration};

use lockstep_bus::{Bell, ReadError, Ring, pauses};
use lockstep_shared::{
    id::{PartyName, RunKey, WorkflowName},
    record::Record,
};
use tokio::time::Instant;

use super::Base;

/// How often open runs are asked for, lest a bell was missed.
const ASK_EVERY: Duration = Duration::from_secs(30);

/// How soon they are asked for again if nobody answered, and how slowly at last: an agent often
/// starts together with its coordinator.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// How long an answer is waited for.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);

type Pauses = Box<dyn Iterator<Item = Duration> + Send>;

fn fresh() -> Pauses {
    Box::new(pauses(PAUSES.0, PAUSES.1))
}

/// Finds the runs that one workflow is wanted for.
pub(super) struct Discovery {
    base: Base,
    workflow: WorkflowName,
    bell: Bell,
    next_ask: Instant,
    pauses: Pauses,
}

/// What was found.
pub(super) enum Found {
    /// This run was admitted.
    Admitted(RunKey),
    /// These are open, oldest first.
    Open(Vec<RunKey>),
}

impl Discovery {
    pub(super) async fn begin(base: Base, workflow: WorkflowName) -> Self {
        let mut bell = base.bus.bell();
        let admissions = base.bus.subjects().admissions_of(&base.options.pipeline);
        bell.listen(&BTreeSet::from([admissions])).await;
        Self { base, workflow, bell, next_ask: Instant::now(), pauses: fresh() }
    }

    /// The next find. Cancel-safe but for an answer under way, which is asked for again.
    ///
    /// # Errors
    /// [`ReadError::Closed`], or [`ReadError::Denied`] if it is not permitted to ask.
    pub(super) async fn next(&mut self) -> Result<Found, ReadError> {
        loop {
            tokio::select! {
                ring = self.bell.next() => match ring.ok_or(ReadError::Closed)? {
                    Ring::Copy(entry) => {
                        let record = entry.content.as_ref().map(|stated| &stated.record);
                        if let Ok(Record::Admitted {}) = record {
                            return Ok(Found::Admitted(entry.key));
                        }
                    }
                    Ring::Missed => {
                        self.next_ask = Instant::now();
                        self.pauses = fresh();
                    }
                },
                () = tokio::time::sleep_until(self.next_ask) => {
                    if let Some(open) = self.ask_open().await? {
                        self.next_ask = Instant::now() + ASK_EVERY;
                        return Ok(Found::Open(open));
                    }
                    self.next_ask = Instant::now() + self.pauses.next().unwrap_or(PAUSES.1);
                }
            }
        }
    }

    async fn ask_open(&mut self) -> Result<Option<Vec<RunKey>>, ReadError> {
        let pipeline = &self.base.options.pipeline;
        let party = PartyName::from(&self.workflow);
        let until = Instant::now() + ANSWER_LIMIT;
        let runs = self.base.bus.ask_open(pipeline, &party, until).await?;
        let key = |run| RunKey { pipeline: pipeline.clone(), run };
        Ok(runs.map(|runs| runs.into_iter().map(key).collect()))
    }
}
