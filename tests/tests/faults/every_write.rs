//! An agent is killed before and after every single write of a run, and another one goes on.

use anyhow::{Context, Result, ensure};
use futures::{StreamExt, stream};
use lockstep_tests::{
    proxy::{When, Write},
    world::SOON,
};
use serde_json::Value;

use crate::site::{BAD, DEPLOY, FAIL, GOOD, Site};

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

const ROLLOUT: Story = Story { tag: GOOD, step: DEPLOY, code: 0 };
const ROLLBACK: Story = Story { tag: BAD, step: FAIL, code: 4 };

/// Which write is disturbed: its number among those that are done.
#[derive(Debug, Clone, Copy)]
struct Point {
    number: usize,
    when: When,
}

#[tokio::test]
async fn parity_15_an_agent_killed_at_any_write_of_a_rollout_goes_on_with_it() -> Result<()> {
    ROLLOUT.at_every_write().await
}

#[tokio::test]
async fn parity_15_an_agent_killed_at_any_write_of_a_rollback_gives_back_what_was_live()
-> Result<()> {
    ROLLBACK.at_every_write().await
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
        let site = Site::open(self.tag, &[self.step]).await?;
        let before = site.objects().await?;
        let agent = site.agent().await?;
        let ended = async {
            site.stage.run(&[]).await?.expect(self.code)?;
            site.ended_well(self.tag, &before).await
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
        let site = Site::open(self.tag, &[self.step]).await?;
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
            site.ended_well(self.tag, &before).await
        };
        let again = again.with_context(|| format!("{point:?}: {}", site.told(&[&agent])))?;
        site.explained(ended.await, &[&again]).with_context(|| format!("{point:?}"))
    }
}
