//! Real runs of the shop under kill -9 at random points of the log: each ends in the verdict that
//! its log implies, and the served pages never show a mixture (PARITY 15, 16, 17).

#![expect(clippy::print_stdout, reason = "figures that a test shows")]

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use lockstep_bus::{Bell, Ring};
use lockstep_shared::{fold::Decision, record::RunResult};
use lockstep_tests::world::{Ended, Process, SOON, Site, World, key, until};
use rand::{RngExt, SeedableRng, rngs::StdRng};

/// Who is killed.
#[derive(Debug, Clone, Copy)]
enum Victim {
    Backend,
    Frontend,
    Coordinator,
    Server,
}

/// The programs of one shop, each started again by the same command.
struct Shop {
    world: World,
    site: Site,
    backend: Process,
    frontend: Process,
    coordinator: Process,
}

impl Shop {
    async fn open() -> Result<Self> {
        let world = World::new().await?;
        let site = Site::new(&world)?;
        site.deploy_by_hand("v1")?;
        let coordinator = world.ready_coordinator("coordinator").await?;
        let backend = world.agent("shop", &["backend"], site.folder(), "state-backend")?;
        let frontend = world.agent("shop", &["frontend"], site.folder(), "state-frontend")?;
        Ok(Self { world, site, backend, frontend, coordinator })
    }

    /// Kills one and starts it again after a pause.
    async fn strike(&mut self, victim: Victim, pause: Duration) -> Result<()> {
        match victim {
            Victim::Backend => self.backend.kill()?,
            Victim::Frontend => self.frontend.kill()?,
            Victim::Coordinator => self.coordinator.kill()?,
            Victim::Server => self.world.nats.kill(),
        }
        // How long somebody is away is part of the point at which it is struck.
        tokio::time::sleep(pause).await;
        let folder = self.site.folder();
        match victim {
            Victim::Backend => {
                self.backend = self.world.agent("shop", &["backend"], folder, "state-backend")?;
            }
            Victim::Frontend => {
                self.frontend =
                    self.world.agent("shop", &["frontend"], folder, "state-frontend")?;
            }
            Victim::Coordinator => self.coordinator = self.world.coordinator("coordinator")?,
            Victim::Server => self.world.nats.restart().await?,
        }
        Ok(())
    }

    fn submit(&self, run: &str, versions: &[String; 2]) -> Result<Process> {
        let mut arguments = vec!["run", "pipeline.yaml", "--run-id", run];
        let params = self.site.params(&versions[0], &versions[1]);
        arguments.extend(params.iter().map(String::as_str));
        self.world.start(&format!("run-{run}"), "lockstep", &arguments, self.site.folder())
    }
}

/// Waits until the bell has rung this often, or for 20 s: a run that ends with fewer records is
/// struck when it is over.
async fn rings(bell: &mut Bell, records: usize) {
    let count = async {
        let mut seen = 0;
        while seen < records {
            match bell.next().await {
                Some(Ring::Copy(_)) => seen += 1,
                Some(Ring::Missed) => {}
                None => return,
            }
        }
    };
    let _ = tokio::time::timeout(Duration::from_secs(20), count).await;
}

async fn run_under_kills(first_seed: u64, runs: u64) -> Result<()> {
    let mut shop = Shop::open().await?;
    let mut ends = std::collections::BTreeMap::<String, u32>::new();
    for seed in first_seed..first_seed + runs {
        let mut dice = StdRng::seed_from_u64(seed);
        let before = shop.site.versions().await?;
        let next = if before[0] == "v1" { "v2" } else { "v1" };
        let fails = dice.random_bool(0.3);
        let frontend = if fails { "v3-broken" } else { next };
        let wanted = [next.to_owned(), frontend.to_owned()];
        let victims = [Victim::Backend, Victim::Frontend, Victim::Coordinator, Victim::Server];
        let victim = victims[dice.random_range(0..victims.len())];
        let at = dice.random_range(1..30);
        let pause = Duration::from_millis(dice.random_range(0..1500));
        let point = format!("seed {seed}: {victim:?} killed at record {at}, away for {pause:?}");

        let run = format!("kill-{seed}");
        let bus = shop.world.bus().await?;
        let key = key("shop", &run)?;
        let mut bell = bus.bell();
        bell.listen(&[bus.subjects().run(&key)].into()).await;
        let mut submitted = shop.submit(&run, &wanted)?;
        rings(&mut bell, at).await;
        shop.strike(victim, pause).await.with_context(|| point.clone())?;

        let result = shop.world.closed(&bus, &key, 3 * SOON).await;
        let result = result.with_context(|| {
            let logs = [&shop.backend, &shop.frontend, &shop.coordinator, &submitted];
            format!("{point}\n{}", logs.map(Process::tail).concat())
        })?;
        let fold = shop.world.fold(&bus, &key).await?;
        ensure!(fold.alarm().is_none(), "{point}: {:?}", fold.alarm());
        let implied = match fold.decision() {
            Decision::Committed { .. } => &wanted,
            Decision::Aborted(_) => &before,
            other => bail!("{point}: closed while {other:?}"),
        };
        ensure!(!fails || implied == &before, "{point}: a broken release was committed");
        let served = shop.site.versions().await.with_context(|| point.clone())?;
        ensure!(
            served == *implied,
            "{point}: {result:?}, but {served:?} is served instead of {implied:?}\n{}{}",
            shop.backend.tail(),
            shop.frontend.tail()
        );
        let code = match (result, submitted.end(SOON).await.with_context(|| point.clone())?) {
            (RunResult::Succeeded, Ended::Code(0)) => 0,
            (RunResult::RolledBack, Ended::Code(4)) => 4,
            (result, ended) => bail!(
                "{point}: {result:?} but `lockstep run` ended with {ended:?}\n{}",
                submitted.tail()
            ),
        };
        *ends.entry(format!("{victim:?} -> exit {code}")).or_default() += 1;
        until("every undo record is settled", SOON, || async {
            let debts = unsettled(shop.world.folder());
            if debts.is_empty() { Ok(()) } else { Err(debts.join(", ")) }
        })
        .await
        .with_context(|| point.clone())?;
    }
    println!("{runs} runs under kill -9: {ends:?}");
    Ok(())
}

/// The undo records in the world's state folders that still say `started`.
fn unsettled(world: &std::path::Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![world.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "json")
                && std::fs::read_to_string(&path).is_ok_and(|text| text.contains("\"started\""))
            {
                found.push(path.display().to_string());
            }
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parity_15_parity_16_parity_17_fifty_kills_at_random_points() -> Result<()> {
    // Series side by side, each with programs of its own.
    let all = (0..10).map(|series| run_under_kills(1000 * series, 5));
    futures::future::try_join_all(all).await.map(drop)
}
