//! Two agents for one workflow: one works, one stands by and takes over; no duel (PARITY 33).

use std::path::PathBuf;

use anyhow::{Result, ensure};
use lockstep_bus::Bus;
use lockstep_shared::{
    fold::RunFold,
    id::RunKey,
    record::{CauseSort, Record, RunResult},
};
use lockstep_tests::world::{Ended, Process, SOON, Signal, World, key};

/// One workflow that writes a file, waits and, if it is undone, takes the file back.
struct Stage {
    world: World,
    bus: Bus,
    key: RunKey,
    folder: PathBuf,
    _coordinator: Process,
}

impl Stage {
    async fn new(steps: &str) -> Result<Self> {
        let world = World::new().await?;
        let folder = world.folder().join("stage");
        std::fs::create_dir(&folder)?;
        let pipeline = format!(
            "apiVersion: lockstep.dev/v1alpha1\nkind: Pipeline\nmetadata: {{ name: solo }}\nspec:\n  \
             workflows:\n    - name: solo\n      target: {{ command: {{}} }}\n      steps:\n{steps}"
        );
        std::fs::write(folder.join("pipeline.yaml"), pipeline)?;
        let coordinator = world.ready_coordinator("coordinator").await?;
        let bus = world.bus().await?;
        Ok(Self { bus, key: key("solo", "r1")?, folder, _coordinator: coordinator, world })
    }

    fn agent(&self, state: &str, name: &str) -> Result<Process> {
        let state = self.world.folder().join(state);
        let state = state.to_string_lossy().into_owned();
        let arguments = [
            "serve",
            "--pipeline",
            "solo",
            "--workflow",
            "solo",
            "--allow-commands",
            "--state-dir",
            &state,
            "--instance",
            name,
        ];
        self.world.start(name, "lockstep-agent", &arguments, &self.folder)
    }

    fn submit(&self) -> Result<Process> {
        let arguments = ["run", "pipeline.yaml", "--run-id", "r1"];
        self.world.start("run", "lockstep", &arguments, &self.folder)
    }

    async fn until<T>(&self, what: &str, probe: impl Fn(&RunFold) -> Option<T>) -> Result<T> {
        self.world.wait_for(&self.bus, &self.key, what, 2 * SOON, probe).await
    }

    async fn in_step(&self, step: usize) -> Result<()> {
        let what = format!("in step {step}");
        self.until(&what, |fold| {
            let state = fold.workflows().values().next()?;
            state.steps.get(&step).map(|_| ())
        })
        .await
    }

    /// The instance of the second incarnation; its epoch is whatever slot was free.
    async fn second_incarnation(&self) -> Result<String> {
        self.until("a second incarnation has joined", |fold| {
            let state = fold.workflows().values().next()?;
            (state.epoch > 1).then(|| state.instance.clone())
        })
        .await
    }

    async fn closed(&self) -> Result<RunResult> {
        self.world.closed(&self.bus, &self.key, 3 * SOON).await
    }

    async fn joins(&self) -> Result<usize> {
        let records = self.world.records(&self.bus, &self.key).await?;
        Ok(records.iter().filter(|record| matches!(record, Record::Joined { .. })).count())
    }

    fn written(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.folder.join("journal")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }
}

const WRITE: &str =
    "        - run: { command: echo did >> journal, undo: echo undid >> journal }\n";

#[tokio::test]
async fn parity_33_the_second_takes_over_when_the_first_is_asked_to_leave() -> Result<()> {
    let stage = Stage::new(&format!("{WRITE}        - wait: 4s\n")).await?;
    let mut first = stage.agent("state", "first")?;
    let submitted = stage.submit();
    stage.in_step(1).await?;
    let second = stage.agent("state", "second")?;
    second.prints("first", SOON).await?;
    first.signal(Signal::TERM)?;
    ensure!(first.end(SOON).await? == Ended::Code(143));
    ensure!(stage.second_incarnation().await? == "second");
    ensure!(stage.closed().await? == RunResult::Succeeded);
    ensure!(submitted?.end(SOON).await? == Ended::Code(0));
    ensure!(stage.written() == ["did"], "{:?}", stage.written());
    ensure!(stage.joins().await? == 2);
    Ok(())
}

#[tokio::test]
async fn parity_33_the_second_takes_over_when_the_first_is_killed() -> Result<()> {
    let stage = Stage::new(&format!("{WRITE}        - wait: 4s\n")).await?;
    let mut first = stage.agent("state", "first")?;
    let submitted = stage.submit();
    stage.in_step(1).await?;
    let _second = stage.agent("state", "second")?;
    first.kill()?;
    ensure!(stage.second_incarnation().await? == "second");
    ensure!(stage.closed().await? == RunResult::Succeeded);
    ensure!(submitted?.end(SOON).await? == Ended::Code(0));
    ensure!(stage.written() == ["did"], "{:?}", stage.written());
    Ok(())
}

#[tokio::test]
async fn parity_33_a_frozen_holder_of_the_lock_is_not_replaced_and_undoes_when_it_goes_on()
-> Result<()> {
    let stage = Stage::new(&format!("{WRITE}        - wait: 5m\n")).await?;
    let first = stage.agent("state", "first")?;
    let submitted = stage.submit();
    stage.in_step(1).await?;
    let _second = stage.agent("state", "second")?;
    first.signal(Signal::STOP)?;
    let sort = stage.until("lost", |fold| Some(fold.first_cause()?.sort)).await;
    ensure!(stage.written() == ["did"], "nobody may write while the lock is held");
    ensure!(stage.joins().await? == 1, "nobody may join while the lock is held");
    first.signal(Signal::CONT)?;
    ensure!(sort? == CauseSort::AgentLost);
    ensure!(stage.closed().await? == RunResult::RolledBack);
    ensure!(submitted?.end(SOON).await? == Ended::Code(4));
    ensure!(stage.written() == ["did", "undid"], "{:?}", stage.written());
    ensure!(stage.joins().await? == 1);
    Ok(())
}

#[tokio::test]
async fn parity_33_a_frozen_holder_that_is_killed_is_undone_by_the_second() -> Result<()> {
    let stage = Stage::new(&format!("{WRITE}        - wait: 5m\n")).await?;
    let mut first = stage.agent("state", "first")?;
    let _submitted = stage.submit()?;
    stage.in_step(1).await?;
    let _second = stage.agent("state", "second")?;
    first.signal(Signal::STOP)?;
    stage.until("lost", |fold| Some(fold.first_cause()?.sort)).await?;
    first.kill()?;
    ensure!(stage.closed().await? == RunResult::RolledBack);
    ensure!(stage.written() == ["did", "undid"], "{:?}", stage.written());
    ensure!(stage.second_incarnation().await? == "second");
    Ok(())
}

#[tokio::test]
async fn parity_33_two_replicas_are_a_spare_not_a_duel() -> Result<()> {
    let stage = Stage::new(&format!("{WRITE}        - wait: 60s\n")).await?;
    let _first = stage.agent("state-1", "first")?;
    let _second = stage.agent("state-2", "second")?;
    let submitted = stage.submit();
    ensure!(stage.closed().await? == RunResult::Succeeded);
    ensure!(submitted?.end(SOON).await? == Ended::Code(0));
    ensure!(stage.joins().await? == 1, "the other one joined as well");
    ensure!(stage.written() == ["did"], "{:?}", stage.written());
    Ok(())
}
