//! An agent is killed before and after every single write of a run, and another one goes on. What was
//! held of the first comes when all is over, and is too late.

use anyhow::{Context, Result, ensure};
use futures::{StreamExt, stream};
use lockstep_tests::{
    proxy::{When, Write},
    stage::Objects,
    world::{Process, SOON},
};

use crate::{
    mixed, plain,
    site::{RUN, Site},
};

/// How many runs there are at once: most of their time they wait.
const AT_ONCE: usize = 8;

/// A run, and how it ends whatever happens to its agent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Story {
    pub(crate) place: Place,
    /// Whether it commits.
    pub(crate) is_good: bool,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Place {
    /// What a person has applied is changed, and something is created.
    Plain,
    /// All else that a run may have to write.
    Mixed,
}

/// Which write is disturbed: its number among those that are done.
#[derive(Debug, Clone, Copy)]
struct Point {
    number: usize,
    when: When,
}

/// What came of a run that nobody disturbed.
struct Undisturbed {
    writes: Vec<Write>,
    after: Objects,
}

/// A site that a run is about to change.
struct Scene {
    site: Site,
    agent: Process,
    before: Objects,
}

#[tokio::test]
async fn parity_15_an_agent_killed_at_any_write_of_a_mixed_rollout_goes_on_with_it() -> Result<()> {
    Story { place: Place::Mixed, is_good: true }.at_every_write().await
}

#[tokio::test]
async fn parity_15_an_agent_killed_at_any_write_of_a_mixed_rollback_gives_back_what_was_live()
-> Result<()> {
    Story { place: Place::Mixed, is_good: false }.at_every_write().await
}

impl Story {
    pub(crate) async fn at_every_write(self) -> Result<()> {
        let undisturbed = self.undisturbed().await.context("undisturbed")?;
        let Undisturbed { writes, after } = &undisturbed;
        let points = self.disturbed(writes).flat_map(|number| {
            [When::Before, When::After].into_iter().map(move |when| Point { number, when })
        });
        let runs = points.map(|point| async move {
            self.disturbed_at(point, after).await.with_context(|| format!("{point:?}"))
        });
        let ended: Vec<Result<()>> = stream::iter(runs).buffer_unordered(AT_ONCE).collect().await;
        let wrong: Vec<String> =
            ended.into_iter().filter_map(|run| Some(format!("{:#}", run.err()?))).collect();
        let writes: Vec<String> = writes.iter().map(Write::to_string).collect();
        ensure!(wrong.is_empty(), "writes:\n{}\n\n{}", writes.join("\n"), wrong.join("\n\n"));
        Ok(())
    }

    /// The numbers of the writes to be disturbed. What every run begins and ends with is in the plain
    /// one.
    fn disturbed(self, writes: &[Write]) -> std::ops::RangeInclusive<usize> {
        let first = writes.iter().position(Write::is_of_user).unwrap_or_default();
        let last = writes.iter().rposition(|write| !write.is_of_lease()).unwrap_or_default();
        match self.place {
            Place::Plain => 1..=writes.len(),
            Place::Mixed => first + 1..=last + 1,
        }
    }

    /// What is written when nothing goes wrong, and what is there then.
    async fn undisturbed(self) -> Result<Undisturbed> {
        let Scene { site, agent, before } = self.open().await?;
        let earlier = site.proxy.writes().len();
        let (run, before) = tokio::join!(site.stage.run_as(RUN), self.meanwhile(&site, before));
        let ended = async {
            run?.expect(self.code())?;
            site.settled().await?;
            self.ended_well(&site, &before?).await
        };
        let after = site.explained(ended.await, &[&agent])?;
        let counts = |write: &Write| write.is_done() && !write.is_renewal();
        let writes: Vec<_> = site.proxy.writes().into_iter().skip(earlier).filter(counts).collect();
        if let (Place::Mixed, false) = (self.place, self.is_good) {
            goes_back_in_order(&writes)?;
        }
        Ok(Undisturbed { writes, after })
    }

    async fn disturbed_at(self, point: Point, undisturbed: &Objects) -> Result<()> {
        let Scene { site, mut agent, before } = self.open().await?;
        let held = site.proxy.hold(point.when, move |_, number| number == point.number);
        let strike = async {
            let write = held.reached(2 * SOON).await?;
            agent.kill()?;
            // Both print to one file.
            let joined = joins(&agent);
            anyhow::Ok((write, joined, site.agent().await?))
        };
        let (run, before, struck) =
            tokio::join!(site.stage.run_as(RUN), self.meanwhile(&site, before), strike);
        let (write, joined, again) = struck.with_context(|| site.told(&[&agent]))?;
        let ended = async {
            run?.expect(self.code())?;
            // Whoever does not even join found everything done.
            match joins(&again) > joined {
                true => site.settled().await?,
                false => site.settled_but_for_the_lock().await?,
            }
            let after = self.ended_well(&site, &before?).await?;
            // A rollback gave back what was there before, which is another thing elsewhere.
            if self.is_good {
                after.must_be(undisturbed)?;
            }
            if point.when == When::Before && self.has_to_be_refused(&write) {
                let code = held.goes_on(SOON).await?;
                ensure!(code >= 400, "it came late, and was answered with {code}");
            }
            Ok(())
        };
        site.explained(ended.await, &[&again])
    }

    /// Whether a write changes nothing when everything is over. One that creates finds nothing after a
    /// rollback; nobody sends it that late.
    fn has_to_be_refused(self, write: &Write) -> bool {
        let creates = write.body["metadata"]["resourceVersion"] == "1";
        write.is_of_user() && (self.is_good || !creates)
    }

    async fn open(self) -> Result<Scene> {
        let (site, agent) = match self.place {
            Place::Plain => plain::open(self.is_good).await?,
            Place::Mixed => mixed::open(self.is_good).await?,
        };
        let before = site.objects().await?;
        Ok(Scene { site, agent, before })
    }

    fn code(self) -> i32 {
        if self.is_good { 0 } else { 4 }
    }

    /// What others do while it runs; what was before, as they have left it.
    async fn meanwhile(self, site: &Site, before: Objects) -> Result<Objects> {
        match self.place {
            Place::Plain => Ok(before),
            Place::Mixed => mixed::test(site, self.is_good, before).await,
        }
    }

    /// Sees that everything is new, or as it was before; what is there, as it would be in any namespace
    /// after any run.
    async fn ended_well(self, site: &Site, before: &Objects) -> Result<Objects> {
        match (self.place, self.is_good) {
            (Place::Plain, true) => plain::is_new(site).await?,
            (Place::Mixed, true) => mixed::is_new(site).await?,
            (Place::Plain, false) => plain::is_back(site).await?,
            (Place::Mixed, false) => mixed::is_back(site).await?,
        }
        let objects = site.objects().await?;
        if self.is_good {
            site.is_in_the_inventory(&objects).await?;
        } else {
            objects.must_be(before)?;
        }
        objects.whoever_wrote_them().of_a_twin(&site.namespace)
    }
}

/// Sees that the last step was undone first, and in a step what is read before who reads it (rule
/// 24).
fn goes_back_in_order(writes: &[Write]) -> Result<()> {
    let last = |path: &&str| writes.iter().rposition(|write| write.path.ends_with(path));
    let paths = ["/statefulsets/store", "/configmaps/shared", "/deployments/web"];
    let order: Option<Vec<usize>> = paths.iter().map(last).collect();
    ensure!(order.is_some_and(|order| order.is_sorted()), "not {paths:?} one after the other");
    Ok(())
}

/// How often agents have joined, by what one of them prints.
fn joins(agent: &Process) -> usize {
    agent.output().matches("joined as epoch").count()
}
