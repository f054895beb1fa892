//! Programs of two builds in one run, and an upgrade in the middle of it (PARITY 32).

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use lockstep_shared::{
    fold::RunFold,
    record::{Record, RunResult},
};
use lockstep_tests::world::{Ended, Process, SOON, Signal, World, key};

const SPEC: &str = "apiVersion: lockstep.dev/v1alpha1\nkind: Pipeline\nmetadata: { name: shop }\nspec:\n  \
    barriers: { BE: {} }\n  workflows:\n    \
    - { name: backend, target: { command: {} }, steps: [ { run: 'true' }, { wait: 4s }, { barrier: BE } ] }\n    \
    - { name: frontend, target: { command: {} }, steps: [ { barrier: BE }, { run: 'true' } ] }\n";

struct Stage {
    world: World,
    folder: std::path::PathBuf,
}

impl Stage {
    fn agent(&self, program: &str, workflow: &str) -> Result<Process> {
        let state = self.world.folder().join(workflow).to_string_lossy().into_owned();
        let serve = ["serve", "--pipeline", "shop", "--workflow", workflow, "--allow-commands"];
        let arguments = [&serve[..], &["--state-dir", &state]].concat();
        self.world.start(&format!("{program}-{workflow}"), program, &arguments, &self.folder)
    }
}

#[tokio::test]
async fn parity_32_coordinator_and_agents_of_two_builds_share_a_run() -> Result<()> {
    let world = World::new().await?;
    let folder = world.folder().join("shop");
    std::fs::create_dir(&folder)?;
    std::fs::write(folder.join("pipeline.yaml"), SPEC)?;
    let _coordinator = world.ready_coordinator("coordinator").await?;
    let stage = Stage { world, folder };
    let mut backend = stage.agent("earlier-agent", "backend")?;
    let _frontend = stage.agent("earlier-agent", "frontend")?;
    let run = ["run", "pipeline.yaml", "--run-id", "r1"];
    let mut run = stage.world.start("run", "lockstep", &run, &stage.folder)?;
    let (bus, key) = (stage.world.bus().await?, key("shop", "r1")?);
    let waits = |fold: &RunFold| {
        let backend = fold.workflows().iter().find(|(name, _)| name.as_str() == "backend")?.1;
        backend.steps.get(&1).map(|_| ())
    };
    stage.world.wait_for(&bus, &key, "the backend is in its second step", SOON, waits).await?;
    // Upgraded in the middle of the run.
    backend.signal(Signal::TERM)?;
    ensure!(backend.end(SOON).await? == Ended::Code(143), "{}", backend.tail());
    let backend = stage.agent("lockstep-agent", "backend")?;
    ensure!(run.end(2 * SOON).await? == Ended::Code(0), "{}{}", run.tail(), backend.tail());
    ensure!(stage.world.closed(&bus, &key, SOON).await? == RunResult::Succeeded);
    let records = stage.world.records(&bus, &key).await?;
    let versions: BTreeSet<&str> = records
        .iter()
        .filter_map(|record| match record {
            Record::Joined { version, .. } => Some(version.as_str()),
            _ => None,
        })
        .collect();
    ensure!(versions == BTreeSet::from(["0.0.9", env!("CARGO_PKG_VERSION")]), "{versions:?}");
    Ok(())
}
