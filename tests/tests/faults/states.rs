//! An agent is killed, or asked to leave, in every state that a workflow can be in, and the next
//! one goes on (PARITY 15 and 33).

use anyhow::{Context, Result, ensure};
use futures::{StreamExt, stream};
use lockstep_shared::{
    fold::RunFold,
    id::{BarrierId, RunKey},
};
use lockstep_tests::{
    proxy::{Held, When},
    stage::{Objects, Seat},
    world::{Ended, Process, SOON, Signal, key},
};

use crate::site::{BAD, DEPLOY, FAIL, GOOD, Site, brings};

/// How many runs there are at once.
const AT_ONCE: usize = 6;

/// Barriers that open when the test says so, and a workflow of commands that holds up the commit.
const MORE: &str = "  barriers:
    gate: { parties: [test], timeout: 5m }
    end: { parties: [test], timeout: 5m }
";
const OTHER: &str = "    - name: other
      target: { command: {} }
      steps:
        - barrier: end
";

/// The place of the last step: what comes behind the barrier.
const LAST: usize = 3;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    BeforeArriving,
    Deploying,
    Waiting,
    Released,
    RollingBack,
    AtTheCommit,
}

const STATES: [State; 6] = [
    State::BeforeArriving,
    State::Deploying,
    State::Waiting,
    State::Released,
    State::RollingBack,
    State::AtTheCommit,
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Killed,
    Asked,
}

#[tokio::test]
async fn parity_15_an_agent_killed_in_any_state_is_followed_by_the_next() -> Result<()> {
    in_every_state(End::Killed).await
}

#[tokio::test]
async fn parity_33_an_agent_asked_to_leave_in_any_state_is_followed_by_the_next() -> Result<()> {
    in_every_state(End::Asked).await
}

async fn in_every_state(end: End) -> Result<()> {
    let stories = STATES.map(|state| async move {
        state.play(end).await.with_context(|| format!("{state:?}, {end:?}"))
    });
    let ended: Vec<Result<()>> = stream::iter(stories).buffer_unordered(AT_ONCE).collect().await;
    let wrong: Vec<String> =
        ended.into_iter().filter_map(|story| Some(format!("{:#}", story.err()?))).collect();
    ensure!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    Ok(())
}

impl State {
    async fn play(self, end: End) -> Result<()> {
        let (tag, deploy, code) = match self {
            Self::RollingBack => (BAD, FAIL, 4),
            _ => (GOOD, DEPLOY, 0),
        };
        let wait = |state| if self == state { "wait: 6s" } else { "wait: 1s" };
        let steps = [wait(Self::BeforeArriving), deploy, "barrier: gate", wait(Self::Released)];
        let site = Site::with(tag, &steps, (MORE, OTHER)).await?;
        let story = Story { before: site.objects().await?, key: key("shop", "r1")?, site };
        let mut agent = story.site.agent().await?;
        let other = story.other().await?;
        let (run, again) = tokio::join!(
            story.site.stage.run(&["--run-id", "r1"]),
            story.follow(self, end, &mut agent)
        );
        let again = story.site.explained(again, &[&agent])?;
        let ended = async {
            run?.expect(code)?;
            story.site.ended_well(tag, &story.before).await
        };
        story.site.explained(ended.await, &[&again, &other])
    }

    /// The write that an agent in this state is about to do.
    fn held(self, site: &Site) -> Option<Held> {
        let tag = match self {
            Self::Deploying => GOOD,
            Self::RollingBack => "1",
            _ => return None,
        };
        Some(site.proxy.hold(When::Before, move |write, _| brings(write, tag)))
    }
}

/// One run, and what was live before it.
struct Story {
    site: Site,
    before: Objects,
    key: RunKey,
}

impl Story {
    /// The other workflow's agent, which has nothing to do in the cluster.
    async fn other(&self) -> Result<Process> {
        let account = self.site.stage.account("web", &self.site.namespace).await?;
        let seat = Seat {
            workflow: "other",
            namespace: &self.site.namespace,
            kubeconfig: &self.site.proxy.kubeconfig(&account)?,
            called: "other",
            more: &["--allow-commands"],
        };
        self.site.stage.seat(&seat).await
    }

    /// Ends the agent in a state, starts the next one, and lets the run go on.
    async fn follow(&self, state: State, end: End, agent: &mut Process) -> Result<Process> {
        let held = state.held(&self.site);
        match (state, &held) {
            (_, Some(held)) => drop(held.reached(2 * SOON).await?),
            (State::BeforeArriving, _) => self.is_in_step(0).await?,
            (State::Waiting, _) => self.has_arrived("gate").await?,
            (State::Released, _) => {
                self.site.arrive("gate", "test").await?;
                self.is_in_step(LAST).await?;
            }
            _ => {
                self.site.arrive("gate", "test").await?;
                self.has_arrived("_commit").await?;
            }
        }
        match end {
            End::Killed => agent.kill()?,
            End::Asked => {
                agent.signal(Signal::TERM)?;
                // The request in hand is finished.
                held.iter().for_each(Held::let_go);
                let ended = agent.end(SOON).await?;
                ensure!(ended == Ended::Code(143), "it ended with {ended:?}");
            }
        }
        let again = self.site.agent().await?;
        if matches!(state, State::BeforeArriving | State::Deploying | State::Waiting) {
            self.site.arrive("gate", "test").await?;
        }
        if state != State::RollingBack {
            self.site.arrive("end", "test").await?;
        }
        Ok(again)
    }

    async fn is_in_step(&self, step: usize) -> Result<()> {
        self.until(&format!("web is in step {step}"), |fold| {
            let (_, web) = fold.workflows().iter().find(|(name, _)| name.as_str() == "web")?;
            web.steps.get(&step).filter(|step| step.finished.is_none()).map(drop)
        })
        .await
    }

    async fn has_arrived(&self, barrier: &str) -> Result<()> {
        self.until(&format!("web has arrived at {barrier}"), |fold| {
            let found = |(id, _): &(&BarrierId, &_)| id.to_string() == barrier;
            let (_, barrier) = fold.barriers().iter().find(found)?;
            barrier.arrivals.keys().any(|party| party.as_str() == "web").then_some(())
        })
        .await
    }

    async fn until(&self, what: &str, probe: impl Fn(&RunFold) -> Option<()>) -> Result<()> {
        let world = &self.site.stage.world;
        world.wait_for(&world.bus().await?, &self.key, what, SOON, probe).await
    }
}
