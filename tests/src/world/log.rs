//! What a world's log says, read by the test itself and folded by the real fold.

use anyhow::{Context, Result};
use lockstep_bus::Bus;
use lockstep_shared::{
    codec::Entry,
    fold::RunFold,
    id::{RunId, RunKey},
    record::{Record, RunResult},
    subject::Family,
};

use super::{SOON, World, until};

impl World {
    /// A connection of the test's own.
    ///
    /// # Errors
    /// If the server cannot be reached.
    pub async fn bus(&self) -> Result<Bus> {
        Ok(Bus::connect(&self.nats.connection(), "test", SOON).await?)
    }

    /// Every record of a run, in stream order.
    ///
    /// # Errors
    /// If the log cannot be read.
    pub async fn entries(&self, bus: &Bus, key: &RunKey) -> Result<Vec<Entry>> {
        let filter = [bus.subjects().run(key)];
        let limit = tokio::time::Instant::now() + SOON;
        Ok(bus.read(&filter, 0, limit).await?.entries)
    }

    /// The run as its log tells it now.
    ///
    /// # Errors
    /// If the log cannot be read.
    pub async fn fold(&self, bus: &Bus, key: &RunKey) -> Result<RunFold> {
        let mut fold = RunFold::new(key.clone());
        for entry in self.entries(bus, key).await? {
            fold.apply(&entry);
        }
        Ok(fold)
    }

    /// The records of a run that are no rubbish, in stream order.
    ///
    /// # Errors
    /// If the log cannot be read.
    pub async fn records(&self, bus: &Bus, key: &RunKey) -> Result<Vec<Record>> {
        let entries = self.entries(bus, key).await?;
        Ok(entries.into_iter().filter_map(|entry| Some(entry.content.ok()?.record)).collect())
    }

    /// Waits until the fold of a run gives something, for at most `limit`.
    ///
    /// # Errors
    /// If it has not by then; the error tells what the run was doing.
    pub async fn wait_for<T>(
        &self,
        bus: &Bus,
        key: &RunKey,
        what: &str,
        limit: std::time::Duration,
        probe: impl Fn(&RunFold) -> Option<T>,
    ) -> Result<T> {
        let probe = &probe;
        until(&format!("{key}: {what}"), limit, || async move {
            let fold = self.fold(bus, key).await.map_err(|error| error.to_string())?;
            probe(&fold).ok_or_else(|| describe(&fold))
        })
        .await
    }

    /// Waits until a run is closed, and tells how it ended. Asks for that record alone, so that
    /// runs of more records than one reading holds can be waited for too.
    ///
    /// # Errors
    /// If it is still open after `limit`; the error tells what a run of that few records was doing.
    pub async fn closed(
        &self,
        bus: &Bus,
        key: &RunKey,
        limit: std::time::Duration,
    ) -> Result<RunResult> {
        let filter = [bus.subjects().family(key, &Family::Closed)];
        let closed = until(&format!("{key} is closed"), limit, || async {
            let by = tokio::time::Instant::now() + SOON;
            let reading = bus.read(&filter, 0, by).await.map_err(|error| error.to_string())?;
            let mut results = reading.entries.iter().filter_map(|entry| match &entry.content {
                Ok(stated) => match &stated.record {
                    Record::Closed { result, .. } => Some(*result),
                    _ => None,
                },
                Err(_) => None,
            });
            results.next().ok_or_else(|| "it is open".to_owned())
        })
        .await;
        match closed {
            Ok(result) => Ok(result),
            Err(error) => Err(match self.fold(bus, key).await {
                Ok(fold) => error.context(describe(&fold)),
                Err(_) => error,
            }),
        }
    }
}

/// The key of a run of a pipeline.
///
/// # Errors
/// If a name is not one.
pub fn key(pipeline: &str, run: &str) -> Result<RunKey> {
    let run: RunId = run.parse().context("the run's id")?;
    Ok(RunKey { pipeline: pipeline.parse().context("the pipeline's name")?, run })
}

fn describe(fold: &RunFold) -> String {
    let workflows = fold.workflows().iter();
    let doing: Vec<String> = workflows
        .map(|(name, state)| {
            let ended = state.ended.as_ref().map(|ended| ended.record.kind());
            format!("{name} (epoch {}) {}, {ended:?}", state.epoch, fold.doing(name, state))
        })
        .collect();
    format!(
        "#{}, {:?}, {:?}; {}; alarm {:?}",
        fold.position(),
        fold.admission(),
        fold.decision(),
        doing.join("; "),
        fold.alarm()
    )
}
