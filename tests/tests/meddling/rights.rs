//! Somebody takes an agent's rights away while a run is held, and gives them back.

use anyhow::{Result, bail};
use lockstep_tests::{
    stage::{FILE, Objects},
    world::{Process, SOON},
};

use super::{PIPELINE, Service, Tester, nothing};

/// A service with its agent, and what binds that to its Role.
struct Bound {
    service: Service,
    agent: Process,
    binding: String,
    before: Objects,
}

impl Bound {
    async fn open() -> Result<Self> {
        let (service, agent) = Service::open().await?;
        let binding = service.kubectl("get rolebinding lockstep.shop.backend -o json").await?;
        let before = service.objects().await?;
        Ok(Self { service, agent, binding, before })
    }

    /// Takes the rights away, and waits until the agent knows.
    async fn take(&self) -> Result<()> {
        self.service.kubectl("delete rolebinding lockstep.shop.backend").await?;
        self.agent.prints("holds: the workflow's lock is not held", SOON).await
    }

    async fn give_back(&self) -> Result<()> {
        self.service.stage.cluster.apply(&self.service.namespace, &self.binding).await
    }

    /// Waits until the status of a run says all of this.
    async fn says(&self, run: &str, wanted: &[&str]) -> Result<()> {
        let status = ["status", run];
        let seen = async {
            loop {
                let said = self.service.stage.lockstep(&status).await?.expect(0)?;
                if wanted.iter().all(|wanted| said.contains(wanted)) {
                    return anyhow::Ok(());
                }
            }
        };
        match tokio::time::timeout(SOON, seen).await {
            Ok(seen) => seen,
            Err(_) => {
                let said = self.service.stage.lockstep(&status).await?.expect(0)?;
                bail!("{wanted:?} are not all said in\n{said}\n{}", self.agent.tail())
            }
        }
    }

    async fn next_run_commits(&self) -> Result<()> {
        let next = self.service.play("next", nothing(), nothing(), Tester::Lets).await?;
        next.expect(0)?;
        self.service.steady("2").await
    }
}

#[tokio::test]
async fn an_agent_without_its_rights_says_so_and_rolls_back_once_it_has_them_again() -> Result<()> {
    let bound = Bound::open().await?;
    let given = async {
        bound.service.stage.stands("taken", "backend", "end").await?;
        bound.says("taken", &["rolling back", "forbidden"]).await?;
        bound.give_back().await
    };
    let played = bound.service.play("taken", nothing(), bound.take(), Tester::Refuses);
    let (played, given) = tokio::join!(played, given);
    given?;
    played?.expect(4)?;
    bound.service.objects().await?.must_be(&bound.before)?;
    bound.next_run_commits().await
}

#[tokio::test]
async fn what_was_accepted_while_an_agent_had_no_rights_is_settled_before_the_next_run()
-> Result<()> {
    let bound = Bound::open().await?;
    let pipeline = PIPELINE.replace("NAMESPACE", &bound.service.namespace).replace("STEP", "");
    let hasty = pipeline.replacen("spec:", "spec:\n  timeouts: { rollback: 5s }", 1);
    bound.service.stage.write(FILE, &hasty)?;
    bound.service.play("taken", nothing(), bound.take(), Tester::Refuses).await?.expect(5)?;
    let accept = ["rollback", "accept", "taken", "--reason", "version 2 is as good", "--wait"];
    bound.service.stage.lockstep(&accept).await?.expect(0)?;
    bound.give_back().await?;
    bound.next_run_commits().await
}
