//! Gates: barriers with a foreign party, the tester, at which a test holds a run while it meddles.

use anyhow::Result;
use lockstep_shared::id::{BarrierId, PartyName};

use super::{PIPELINE, Stage};
use crate::world::{SOON, key};

/// The foreign party of every gate.
pub const TESTER: &str = "tester";

impl Stage {
    /// Waits until a workflow stands at a barrier.
    ///
    /// # Errors
    /// If it does not; the error tells what the run was doing.
    pub async fn stands(&self, run: &str, workflow: &str, barrier: &str) -> Result<()> {
        let (bus, key) = (self.world.bus().await?, key(PIPELINE, run)?);
        let (party, id): (PartyName, BarrierId) = (workflow.parse()?, barrier.parse()?);
        let what = format!("{workflow} stands at {barrier}");
        let there = |fold: &lockstep_shared::fold::RunFold| {
            fold.barriers().get(&id)?.arrivals.contains_key(&party).then_some(())
        };
        self.world.wait_for(&bus, &key, &what, SOON, there).await
    }

    /// The tester lets a run through a gate.
    ///
    /// # Errors
    /// If it may not.
    pub async fn open(&self, run: &str, gate: &str) -> Result<()> {
        let arrive = ["barrier", "arrive", gate, "--party", TESTER, "--run", run];
        self.lockstep(&arrive).await?.expect(0).map(drop)
    }

    /// The tester says no at a gate: everybody goes back.
    ///
    /// # Errors
    /// If it may not.
    pub async fn refuse(&self, run: &str, gate: &str) -> Result<()> {
        let fail = ["barrier", "fail", gate, "--party", TESTER, "--run", run, "-m", "no"];
        self.lockstep(&fail).await?.expect(0).map(drop)
    }
}
