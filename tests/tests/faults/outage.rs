//! The API server is out of reach for longer than a Lease lasts, in the middle of a run.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lockstep_tests::{
    proxy::{When, Write},
    world::SOON,
};

use crate::site::{BAD, DEPLOY, FAIL, GOOD, Site, brings};

/// Twice as long as the Lease lasts.
const OUTAGE: Duration = Duration::from_secs(30);

/// A run in whose middle the API server is out of reach.
struct Story {
    tag: &'static str,
    step: &'static str,
    code: i32,
    /// What becomes of the write at which it begins.
    when: When,
    /// Which write that is.
    chosen: fn(&Write) -> bool,
}

/// The update of the Deployment never arrives.
const ROLLOUT: Story = Story {
    tag: GOOD,
    step: DEPLOY,
    code: 0,
    when: When::Before,
    chosen: |write| brings(write, GOOD),
};

/// The Deployment is restored, and nobody is told.
const ROLLBACK: Story =
    Story { tag: BAD, step: FAIL, code: 4, when: When::After, chosen: |write| brings(write, "1") };

#[tokio::test]
async fn an_api_server_out_of_reach_for_longer_than_a_lease_ends_neither_rollout_nor_rollback()
-> Result<()> {
    let (rollout, rollback) = tokio::join!(ROLLOUT.play(), ROLLBACK.play());
    rollout.context("rollout")?;
    rollback.context("rollback")
}

impl Story {
    async fn play(self) -> Result<()> {
        let site = Site::open(self.tag, &[self.step]).await?;
        let before = site.objects().await?;
        let chosen = self.chosen;
        let held = site.proxy.hold(self.when, move |write, _| chosen(write));
        let agent = site.agent().await?;
        let outage = async {
            held.reached(2 * SOON).await?;
            site.proxy.shut().await?;
            // How long it is away is the point.
            tokio::time::sleep(OUTAGE).await;
            let so_far = site.proxy.writes().len();
            site.proxy.open().await?;
            anyhow::Ok(so_far)
        };
        let (run, so_far) = tokio::join!(site.stage.run(&[]), outage);
        let ended = async {
            let so_far = so_far?;
            run?.expect(self.code)?;
            only_with_the_lease(&site.proxy.writes()[so_far..])?;
            site.ended_well(self.tag, &before).await
        };
        site.explained(ended.await, &[&agent])
    }
}

/// Whether the Lease, which ran out meanwhile, was renewed before anything of the user's was
/// written.
fn only_with_the_lease(writes: &[Write]) -> Result<()> {
    let renewed = writes.iter().position(|write| write.is_of_lease() && write.is_done());
    let written = writes.iter().position(Write::is_of_user);
    let written = written.context("nothing was written after the outage")?;
    ensure!(renewed.is_some_and(|renewed| renewed < written), "written without the Lease");
    Ok(())
}
