//! The real side: agents in a process of their own, and the foreign party that arrives last.

use std::{
    path::Path,
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context, Result, ensure};
use lockstep_bus::{Appended, Bus};
use lockstep_shared::{
    codec,
    id::{BarrierId, PartyName, RunKey},
    record::{Record, RunResult},
    source::Source,
    subject::Family,
    time::Timestamp,
};

use crate::world::{Process, SOON, World, key, until};

/// How soon the log is looked at again: late enough to leave the processors to the agents.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// One agent process that serves every workflow.
pub struct Agents {
    process: Process,
    /// How much of what it printed has been looked at: looking costs the agents a processor, so
    /// nothing is looked at twice.
    looked_at: u64,
}

impl Agents {
    /// Starts it.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn start(world: &World, parties: usize, folder: &Path) -> Result<Self> {
        let names: Vec<String> = (0..parties).map(|number| format!("w{number}")).collect();
        let state = world.folder().join("state").to_string_lossy().into_owned();
        let mut arguments =
            vec!["serve", "--pipeline", "bench", "--allow-commands", "--state-dir", &state];
        for name in &names {
            arguments.extend(["--workflow", name]);
        }
        let json = [("LOCKSTEP_LOG_FORMAT", "json"), ("RUST_LOG", "info")];
        let process = world.start_as("agents", "lockstep-agent", &arguments, folder, &json)?;
        Ok(Self { process, looked_at: 0 })
    }

    /// The end of what it printed.
    pub fn tail(&self) -> String {
        self.process.tail()
    }

    /// When the last workflow said that it had passed the barrier, which is the one after those
    /// that were asked for before.
    ///
    /// # Errors
    /// If not all of them do.
    pub async fn last_out(
        &mut self,
        run: &str,
        barrier: &str,
        parties: usize,
    ) -> Result<SystemTime> {
        let mut outs = Vec::new();
        let end = Instant::now() + SOON;
        loop {
            let printed = self.process.output_from(self.looked_at);
            // A line that is still being written is looked at the next time.
            let whole = printed.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
            self.looked_at += u64::try_from(whole)?;
            let lines = String::from_utf8_lossy(&printed[..whole]);
            outs.extend(lines.lines().filter_map(|line| passed(line, run, barrier)));
            if outs.len() == parties {
                return outs.into_iter().max().context("a barrier has parties");
            }
            ensure!(
                Instant::now() < end,
                "{} of {parties} workflows passed {barrier}\n{}",
                outs.len(),
                self.tail()
            );
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }
}

/// When this line says that a workflow passed a barrier of a run: JSON with a time to the
/// microsecond.
fn passed(line: &str, run: &str, barrier: &str) -> Option<SystemTime> {
    if !(line.contains(&format!("passed barrier {barrier}\""))
        && line.contains(&format!("\"{run}\"")))
    {
        return None;
    }
    let line: serde_json::Value = serde_json::from_str(line).ok()?;
    let time: jiff::Timestamp = line["timestamp"].as_str()?.parse().ok()?;
    let micros = u64::try_from(time.as_microsecond()).ok()?;
    Some(SystemTime::UNIX_EPOCH + Duration::from_micros(micros))
}

/// The foreign party that arrives when everybody else waits.
pub struct Gate<'a> {
    bus: &'a Bus,
    key: RunKey,
}

impl<'a> Gate<'a> {
    /// The gate of one run.
    ///
    /// # Errors
    /// If the run's id is none.
    pub async fn new(bus: &'a Bus, run: &str) -> Result<Self> {
        Ok(Self { bus, key: key("bench", run)? })
    }

    /// Waits until every workflow's arrival is stored.
    ///
    /// # Errors
    /// If one is not.
    pub async fn everybody_waits(&mut self, barrier: &str, parties: usize) -> Result<()> {
        let barrier: BarrierId = barrier.parse()?;
        let family = Family::Party(barrier, "any".parse()?);
        let filter = [self.bus.subjects().family(&self.key, &family).replace(".any.", ".*.")];
        let limit = tokio::time::Instant::now() + SOON;
        until("everybody waits", SOON, || async {
            let reading = self.bus.read(&filter, 0, limit).await.map_err(|e| e.to_string())?;
            let arrived = reading.entries.len();
            if arrived == parties { Ok(()) } else { Err(format!("{arrived} of {parties} arrived")) }
        })
        .await
    }

    /// The last arrival.
    ///
    /// # Errors
    /// If it is not stored.
    pub async fn arrive(&mut self, barrier: &str) -> Result<()> {
        let party: PartyName = "gate".parse()?;
        let slot = Family::Party(barrier.parse()?, party.clone()).slot(1);
        let by = Some("bench".to_owned());
        let arrived = Record::Arrived { epoch: None, view: None, by, message: None, link: None };
        let source = Source::Party(self.key.pipeline.clone(), party, "bench".to_owned());
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
        let now = Timestamp(u64::try_from(now.as_millis())?);
        let subjects = self.bus.subjects();
        let draft = codec::encode(subjects, &self.key, &slot, &arrived, &source, now, None)?;
        let stored = self.bus.append(&draft, tokio::time::Instant::now() + SOON).await?;
        ensure!(matches!(stored, Appended::Stored(_)), "{stored:?}");
        Ok(())
    }

    /// Waits until the run has succeeded.
    ///
    /// # Errors
    /// If it has not.
    pub async fn closed(&self, world: &World) -> Result<()> {
        let result = world.closed(self.bus, &self.key, Duration::from_secs(120)).await?;
        ensure!(result == RunResult::Succeeded, "{result:?}");
        Ok(())
    }
}
