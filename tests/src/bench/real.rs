//! The real side: agents in a process of their own, and the foreign party that arrives last.

use std::{
    path::Path,
    time::{Duration, SystemTime},
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

/// One agent process that serves every workflow.
pub struct Agents(Process);

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
        world.start_as("agents", "lockstep-agent", &arguments, folder, &json).map(Self)
    }

    /// The end of what it printed.
    pub fn tail(&self) -> String {
        self.0.tail()
    }

    /// When the last workflow said that it had passed the barrier.
    ///
    /// # Errors
    /// If not all of them do.
    pub async fn last_out(&self, run: &str, barrier: &str, parties: usize) -> Result<SystemTime> {
        let what = format!("{parties} workflows pass {barrier}");
        let outs = until(&what, SOON, || async {
            let outs = passed(&self.0.output(), run, barrier);
            if outs.len() == parties { Ok(outs) } else { Err(format!("{} have", outs.len())) }
        })
        .await
        .with_context(|| self.tail())?;
        outs.into_iter().max().context("a barrier has parties")
    }
}

/// When each workflow logged that it passed a barrier of a run: lines of JSON with a time to the
/// microsecond.
fn passed(log: &str, run: &str, barrier: &str) -> Vec<SystemTime> {
    let passed = |line: &str| -> Option<SystemTime> {
        let line: serde_json::Value = serde_json::from_str(line).ok()?;
        let text = line.to_string();
        let about = |needle: &str| text.contains(&format!("\"{needle}\""));
        if !(about(run) && text.contains(&format!("passed barrier {barrier}\""))) {
            return None;
        }
        let time: jiff::Timestamp = line["timestamp"].as_str()?.parse().ok()?;
        let micros = u64::try_from(time.as_microsecond()).ok()?;
        Some(SystemTime::UNIX_EPOCH + Duration::from_micros(micros))
    };
    log.lines().rev().map_while(|line| Some(passed(line))).flatten().collect()
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
