//! An agent is killed before and after every single write of a run, and another one goes on.

use anyhow::{Context, Result, ensure};
use futures::{StreamExt, stream};
use lockstep_tests::{
    proxy::{When, Write},
    stage::Objects,
    world::SOON,
};
use serde_json::Value;

use crate::site::{DEPLOY, Site};

/// How many runs there are at once: most of their time they wait.
const AT_ONCE: usize = 8;

/// How a run ends, whatever happens to its agent.
#[derive(Clone, Copy)]
struct Story {
    /// The version that is deployed.
    tag: &'static str,
    /// The only step.
    step: &'static str,
    /// The exit code.
    code: i32,
}

const GOOD: Story = Story { tag: "2", step: DEPLOY, code: 0 };

/// It fails when everything has been written.
const BAD: Story =
    Story { tag: "2-unready", step: "{ manifests: [web.yaml], timeout: 3s, settle: 1s }", code: 4 };

/// Which write is disturbed: its number among those that are done.
#[derive(Debug, Clone, Copy)]
struct Point {
    number: usize,
    when: When,
}

#[tokio::test]
async fn parity_15_an_agent_killed_at_any_write_of_a_rollout_goes_on_with_it() -> Result<()> {
    GOOD.at_every_write().await
}

#[tokio::test]
async fn parity_15_an_agent_killed_at_any_write_of_a_rollback_gives_back_what_was_live()
-> Result<()> {
    BAD.at_every_write().await
}

impl Story {
    async fn at_every_write(self) -> Result<()> {
        let writes = self.undisturbed().await.context("undisturbed")?;
        let points = (1..=writes.len()).flat_map(|number| {
            [When::Before, When::After].into_iter().map(move |when| Point { number, when })
        });
        let runs = points.map(|point| self.disturbed_at(point));
        let ended: Vec<Result<()>> = stream::iter(runs).buffer_unordered(AT_ONCE).collect().await;
        let wrong: Vec<String> =
            ended.into_iter().filter_map(|run| Some(format!("{:#}", run.err()?))).collect();
        let writes: Vec<String> = writes.iter().map(Write::to_string).collect();
        ensure!(wrong.is_empty(), "writes:\n{}\n\n{}", writes.join("\n"), wrong.join("\n\n"));
        Ok(())
    }

    /// What is written when nothing goes wrong.
    async fn undisturbed(self) -> Result<Vec<Write>> {
        let site = self.site().await?;
        let before = site.objects().await?;
        let agent = site.agent().await?;
        let ended = async {
            site.stage.run(&[]).await?.expect(self.code)?;
            self.ended_well(&site, &before).await
        };
        site.explained(ended.await, &[&agent])?;
        // The Lease is given up last.
        let leases = ["leases", "-n", &site.namespace];
        let none = |seen: &Value| seen["items"].as_array()?.is_empty().then_some(());
        site.stage.cluster.sees("the lock is given up", &leases, none).await?;
        let counts = |write: &Write| write.is_done() && !write.is_renewal();
        Ok(site.proxy.writes().into_iter().filter(counts).collect())
    }

    async fn disturbed_at(self, point: Point) -> Result<()> {
        let site = self.site().await?;
        let before = site.objects().await?;
        let held = site.proxy.hold(point.when, move |_, number| number == point.number);
        let mut agent = site.agent().await?;
        let strike = async {
            held.reached(2 * SOON).await?;
            agent.kill()?;
            site.agent().await
        };
        let (run, again) = tokio::join!(site.stage.run(&[]), strike);
        let ended = async {
            run?.expect(self.code)?;
            self.ended_well(&site, &before).await
        };
        let again = again.with_context(|| format!("{point:?}: {}", site.told(&[&agent])))?;
        site.explained(ended.await, &[&again]).with_context(|| format!("{point:?}"))
    }

    async fn site(self) -> Result<Site> {
        Site::open(self.tag, &[&format!("deploy: {}", self.step)]).await
    }

    async fn ended_well(self, site: &Site, before: &Objects) -> Result<()> {
        match self.code {
            0 => site.is_new(self.tag).await?,
            _ => {
                site.steady("1").await?;
                site.objects().await?.must_be(before)?;
            }
        }
        site.settled().await
    }
}
