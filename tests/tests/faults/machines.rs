//! Two agents of one workflow on two machines: one works and is frozen with a write on its way, the
//! other takes over, and what the first has sent comes too late (PARITY 33).

use anyhow::{Context, Result, ensure};
use lockstep_tests::{
    cluster::Cluster,
    proxy::{Held, Proxy, When, Write},
    stage::Played,
    world::{Process, SOON, Signal},
};

use crate::site::{DEPLOY, GOOD, Site, brings};

/// Both agents wait for this until both are there.
const GATE: &str = "  barriers: { gate: { parties: [test] } }\n";

/// A workflow with an agent that works and one that stands by, each behind a proxy of its own.
struct Machines {
    site: Site,
    other: Proxy,
    /// A write of the working agent to the Deployment.
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

    /// Lets the write through, wakes its sender, and sees that nothing comes of either.
    async fn is_too_late(&self, frozen: &Frozen, refusal: u16) -> Result<()> {
        let written = || {
            let writes = self.site.proxy.writes().into_iter();
            writes.filter(Write::is_of_user).map(|write| write.to_string()).collect::<Vec<_>>()
        };
        let code = self.late.goes_on(SOON).await?;
        ensure!(code == refusal, "the late write was answered with {code}, not {refusal}");
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
        machines.is_too_late(&frozen, 409).await?;
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
        let aborted = machines.site.stage.lockstep(&["abort", "shop", "--reason", "test"]);
        aborted.await?.expect(0)?;
        anyhow::Ok(frozen)
    };
    let (run, frozen): (Result<Played>, _) =
        tokio::join!(machines.site.stage.run(&[]), freeze_and_abort);
    let frozen = frozen.with_context(|| machines.site.told(&[]))?;
    let ended = async {
        run?.expect(6)?;
        machines.site.is_as(&before).await?;
        machines.is_too_late(&frozen, 422).await?;
        machines.site.is_as(&before).await?;
        machines.site.settled().await
    };
    machines.explained(ended.await, &frozen)
}
