//! Two agents of one workflow on two machines: one works and is frozen with a write on its way, the
//! other takes over, and what the first has sent comes too late (PARITY 33).

use anyhow::{Context, Result, ensure};
use lockstep_tests::{
    cluster::Cluster,
    proxy::{Held, Proxy, When, Write},
    stage::Played,
    world::{Process, SOON, Signal, until},
};

use crate::site::{DEPLOY, GOOD, Site, brings};

/// Both agents wait for this until both are there.
const GATE: &str = "  barriers: { gate: { parties: [test] } }\n";

/// A workflow with an agent that works and one that stands by, each behind a proxy of its own.
struct Machines {
    site: Site,
    other: Proxy,
    /// A write of the working agent.
    late: Held,
}

/// An agent that was frozen, and who has taken its place.
struct Frozen {
    old: Process,
    spare: Process,
}

impl Machines {
    async fn open(late: fn(&Write) -> bool) -> Result<Self> {
        let site = Site::with(GOOD, &["barrier: gate", DEPLOY], (GATE, "")).await?;
        let other = Proxy::before(Cluster::shared().await?).await?;
        let late = site.proxy.hold(When::Before, move |write, _| late(write));
        Ok(Self { site, other, late })
    }

    /// Has the second agent stand by for the first, and freezes the first in the middle of its
    /// write.
    async fn freeze(&self) -> Result<Frozen> {
        let old = self.site.agent().await?;
        old.prints("joined as epoch 1", SOON).await?;
        let spare = self.site.agent_called("spare", &self.other).await?;
        spare.prints("standing by", SOON).await?;
        self.site.arrive("gate", "test").await?;
        self.late.reached(SOON).await?;
        old.signal(Signal::STOP)?;
        Ok(Frozen { old, spare })
    }

    /// Aborts the run, whoever works at it.
    async fn abort(&self) -> Result<()> {
        let aborted = self.site.stage.lockstep(&["abort", "shop", "--reason", "test"]);
        aborted.await?.expect(0).map(drop)
    }

    /// Lets the write through: what the API server answers.
    async fn comes_late(&self, answer: u16) -> Result<()> {
        let code = self.late.goes_on(SOON).await?;
        ensure!(code == answer, "the late write was answered with {code}, not {answer}");
        Ok(())
    }

    /// Wakes the frozen agent, and sees that it writes nothing any more.
    async fn wakes(&self, frozen: &Frozen) -> Result<()> {
        let written = || {
            let writes = self.site.proxy.writes().into_iter();
            writes.filter(Write::is_of_user).map(|write| write.to_string()).collect::<Vec<_>>()
        };
        let before = written();
        frozen.old.signal(Signal::CONT)?;
        frozen.old.prints("has taken over", SOON).await?;
        ensure!(written() == before, "it wrote on: {:?}", written());
        ensure!(frozen.spare.output().matches("joined as epoch").count() == 1, "a duel");
        Ok(())
    }

    fn explained<T>(&self, result: Result<T>, frozen: &Frozen) -> Result<T> {
        let writes = self.other.writes();
        let writes: String = writes.iter().map(|write| format!("{write}\n")).collect();
        let result = result.with_context(|| format!("--- writes of the spare\n{writes}"));
        self.site.explained(result, &[&frozen.old, &frozen.spare])
    }
}

#[tokio::test]
async fn parity_33_a_spare_elsewhere_goes_on_and_the_frozen_ones_late_update_changes_nothing()
-> Result<()> {
    let machines = Machines::open(|write| brings(write, GOOD)).await?;
    let (run, frozen) = tokio::join!(machines.site.stage.run(&[]), machines.freeze());
    let frozen = frozen.with_context(|| machines.site.told(&[]))?;
    let ended = async {
        run?.expect(0)?;
        machines.site.is_new(GOOD).await?;
        let after = machines.site.objects().await?;
        machines.comes_late(409).await?;
        machines.wakes(&frozen).await?;
        machines.site.objects().await?.must_be(&after)?;
        machines.site.settled().await
    };
    machines.explained(ended.await, &frozen)
}

#[tokio::test]
async fn parity_33_a_spare_elsewhere_rolls_back_and_the_frozen_ones_late_update_changes_nothing()
-> Result<()> {
    // The first write of all to it: its successor finds it as it was, and has to mark it all the same.
    let machines = Machines::open(|write| write.path.ends_with("/deployments/web")).await?;
    let before = machines.site.objects().await?;
    let freeze_and_abort = async {
        let frozen = machines.freeze().await?;
        machines.abort().await?;
        anyhow::Ok(frozen)
    };
    let (run, frozen): (Result<Played>, _) =
        tokio::join!(machines.site.stage.run(&[]), freeze_and_abort);
    let frozen = frozen.with_context(|| machines.site.told(&[]))?;
    let ended = async {
        run?.expect(6)?;
        machines.site.is_as(&before).await?;
        machines.comes_late(422).await?;
        machines.wakes(&frozen).await?;
        machines.site.is_as(&before).await?;
        machines.site.settled().await
    };
    machines.explained(ended.await, &frozen)
}

/// The object that the run makes.
const CREATED: &str = "/configmaps/extra";

#[tokio::test]
async fn parity_33_a_spare_elsewhere_goes_on_and_the_frozen_ones_late_create_changes_nothing()
-> Result<()> {
    let machines = Machines::open(|write| write.path.ends_with(CREATED)).await?;
    let (run, frozen) = tokio::join!(machines.site.stage.run(&[]), machines.freeze());
    let frozen = frozen.with_context(|| machines.site.told(&[]))?;
    let ended = async {
        run?.expect(0)?;
        machines.site.is_new(GOOD).await?;
        let (cluster, namespace) = (machines.site.stage.cluster, machines.site.namespace.as_str());
        let edit = r#"{"data":{"a":"theirs"}}"#;
        cluster.kubectl(&["patch", "configmap", "extra", "-n", namespace, "-p", edit]).await?;
        let after = machines.site.objects().await?;
        machines.comes_late(409).await?;
        machines.wakes(&frozen).await?;
        machines.site.objects().await?.must_be(&after)?;
        machines.site.settled().await
    };
    machines.explained(ended.await, &frozen)
}

#[tokio::test]
async fn parity_33_a_spare_elsewhere_rolls_back_and_deletes_what_the_frozen_one_creates_late()
-> Result<()> {
    let machines = Machines::open(|write| write.path.ends_with(CREATED)).await?;
    let before = machines.site.objects().await?;
    let freeze_and_abort = async {
        let frozen = machines.freeze().await?;
        machines.abort().await?;
        // Its mark on the Deployment, then what takes that away again; then it looks for what it has
        // to delete, and finds nothing.
        until("the spare has given everything back", SOON, || async {
            let writes = machines.other.writes();
            let is_back =
                |write: &&Write| write.path.ends_with("/deployments/web") && write.is_done();
            let is_over =
                writes.iter().filter(is_back).count() > 1 && machines.other.has_read(CREATED);
            if is_over { Ok(()) } else { Err(format!("{writes:?}")) }
        })
        .await?;
        machines.comes_late(201).await?;
        anyhow::Ok(frozen)
    };
    let (run, frozen): (Result<Played>, _) =
        tokio::join!(machines.site.stage.run(&[]), freeze_and_abort);
    let frozen = frozen.with_context(|| machines.site.told(&[]))?;
    let ended = async {
        run?.expect(6)?;
        machines.site.is_as(&before).await?;
        machines.wakes(&frozen).await?;
        machines.site.is_as(&before).await?;
        machines.site.settled().await
    };
    machines.explained(ended.await, &frozen)
}
