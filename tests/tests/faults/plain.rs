//! A namespace in which a run changes what a person has applied, and creates something.

use anyhow::Result;
use lockstep_tests::world::Process;

use crate::{
    every_write::{Place, Story},
    site::{BAD, DEPLOY, FAIL, GOOD, Site},
};

#[tokio::test]
async fn parity_15_an_agent_killed_at_any_write_of_a_rollout_goes_on_with_it() -> Result<()> {
    Story { place: Place::Plain, is_good: true }.at_every_write().await
}

#[tokio::test]
async fn parity_15_an_agent_killed_at_any_write_of_a_rollback_gives_back_what_was_live()
-> Result<()> {
    Story { place: Place::Plain, is_good: false }.at_every_write().await
}

/// What a person has applied, and an agent.
pub(crate) async fn open(is_good: bool) -> Result<(Site, Process)> {
    let (tag, step) = if is_good { (GOOD, DEPLOY) } else { (BAD, FAIL) };
    let site = Site::open(tag, &[step]).await?;
    let agent = site.agent().await?;
    Ok((site, agent))
}

/// Waits until everything is new.
pub(crate) async fn is_new(site: &Site) -> Result<()> {
    site.is_new(GOOD).await
}

/// Waits until everything runs what it ran before.
pub(crate) async fn is_back(site: &Site) -> Result<()> {
    site.steady("1").await
}
