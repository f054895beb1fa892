//! Coordinators that are away, several at once, and runs that wait for their turn
//! (PARITY 16, 17, 19).

use std::{path::PathBuf, time::Duration};

use anyhow::{Result, ensure};
use lockstep_shared::{
    fold::{Admission, BarrierFate, RunFold},
    id::RunKey,
    record::{CauseSort, RunResult},
};
use lockstep_tests::world::{Ended, Process, SOON, World, key};

fn write_pipeline(world: &World, name: &str, spec: &str) -> Result<PathBuf> {
    let folder = world.folder().join(name);
    std::fs::create_dir(&folder)?;
    let text = format!(
        "apiVersion: lockstep.dev/v1alpha1\nkind: Pipeline\nmetadata: {{ name: {name} }}\nspec:\n{spec}"
    );
    std::fs::write(folder.join("pipeline.yaml"), text)?;
    Ok(folder)
}

fn submit(world: &World, folder: &std::path::Path, run: &str) -> Result<Process> {
    world.start(run, "lockstep", &["run", "pipeline.yaml", "--run-id", run], folder)
}

const PAIR: &str = "  barriers: { B: { timeout: 20s } }\n  workflows:\n    \
    - { name: a, target: { command: {} }, steps: [ { barrier: B }, { run: 'true' } ] }\n    \
    - { name: b, target: { command: {} }, steps: [ { run: 'sleep ${{ params.delay }}' }, { barrier: B } ] }\n  \
    params: { delay: { default: '0' } }\n";

async fn arrived(world: &World, key: &RunKey, party: &str) -> Result<()> {
    let bus = world.bus().await?;
    let probe = |fold: &RunFold| {
        let barrier = fold.barriers().iter().find(|(id, _)| id.as_str() == "B")?.1;
        barrier.arrivals.keys().any(|name| name.as_str() == party).then_some(())
    };
    world.wait_for(&bus, key, "arrived", SOON, probe).await
}

#[tokio::test]
async fn parity_16_all_coordinators_down_for_a_minute_across_a_deadline() -> Result<()> {
    let world = World::new().await?;
    let bus = world.bus().await?;
    let late = write_pipeline(&world, "late", PAIR)?;
    let stuck = write_pipeline(&world, "stuck", PAIR)?;
    let _agents = (
        world.agent("late", &["a", "b"], &late, "state-late")?,
        world.agent("stuck", &["a", "b"], &stuck, "state-stuck")?,
    );
    let mut coordinators =
        [world.ready_coordinator("one").await?, world.ready_coordinator("two").await?];
    let mut runs = Vec::new();
    for (folder, name, delay) in [(&late, "late", "30"), (&stuck, "stuck", "100")] {
        let delay = format!("delay={delay}");
        let arguments = ["run", "pipeline.yaml", "--run-id", name, "--param", &delay];
        runs.push(world.start(&format!("run-{name}"), "lockstep", &arguments, folder)?);
    }
    let [late, stuck] = [key("late", "late")?, key("stuck", "stuck")?];
    arrived(&world, &late, "a").await?;
    arrived(&world, &stuck, "a").await?;
    for coordinator in &mut coordinators {
        coordinator.kill()?;
    }
    // The outage itself: nothing can be polled for while nobody decides.
    tokio::time::sleep(Duration::from_secs(60)).await;
    for key in [&late, &stuck] {
        ensure!(world.fold(&bus, key).await?.first_cause().is_none(), "{key}: a deadline passed");
    }
    let _back = [world.coordinator("three")?, world.coordinator("four")?];
    // Complete, though late by the clock: released. Incomplete: timed out.
    ensure!(world.closed(&bus, &late, 2 * SOON).await? == RunResult::Succeeded);
    let fold = world.fold(&bus, &late).await?;
    let barrier = &fold.barriers()[&"B".parse()?];
    ensure!(matches!(barrier.fate, BarrierFate::Complete { .. }));
    ensure!(world.closed(&bus, &stuck, 2 * SOON).await? == RunResult::RolledBack);
    let cause = world.fold(&bus, &stuck).await?.first_cause().cloned();
    ensure!(cause.is_some_and(|cause| cause.sort == CauseSort::DeadlinePassed));
    ensure!(runs[0].end(SOON).await? == Ended::Code(0));
    ensure!(runs[1].end(SOON).await? == Ended::Code(4));
    Ok(())
}

#[tokio::test]
async fn parity_19_a_queue_of_five_runs_in_the_order_of_their_plans() -> Result<()> {
    let world = World::new().await?;
    let bus = world.bus().await?;
    let spec = "  concurrency: queue\n  workflows:\n    - { name: a, target: { command: {} }, \
                steps: [ { run: 'echo $LOCKSTEP_RUN >> order; sleep 1' } ] }\n";
    let folder = write_pipeline(&world, "line", spec)?;
    let _agent = world.agent("line", &["a"], &folder, "state")?;
    let _coordinators =
        [world.ready_coordinator("one").await?, world.ready_coordinator("two").await?];
    let mut runs = Vec::new();
    for number in 1..=5 {
        let run = format!("r{number}");
        runs.push(submit(&world, &folder, &run)?);
        let planned = |fold: &RunFold| fold.plan().map(|_| ());
        world.wait_for(&bus, &key("line", &run)?, "planned", SOON, planned).await?;
    }
    for (number, run) in runs.iter_mut().enumerate() {
        ensure!(run.end(2 * SOON).await? == Ended::Code(0), "r{}: {}", number + 1, run.tail());
    }
    let order = std::fs::read_to_string(folder.join("order"))?;
    ensure!(order.lines().eq(["r1", "r2", "r3", "r4", "r5"]), "{order:?}");
    let mut free = 0;
    for number in 1..=5 {
        let fold = world.fold(&bus, &key("line", &format!("r{number}"))?).await?;
        let Admission::Admitted(moment) = fold.admission() else {
            anyhow::bail!("r{number} was not admitted")
        };
        ensure!(moment.seq > free, "r{number} was admitted while another one was open");
        free = fold.closed().map_or(u64::MAX, |closed| closed.moment.seq);
    }
    Ok(())
}

#[tokio::test]
async fn parity_19_the_second_run_is_refused_and_names_the_first() -> Result<()> {
    let world = World::new().await?;
    let bus = world.bus().await?;
    let spec =
        "  workflows:\n    - { name: a, target: { command: {} }, steps: [ { wait: 8s } ] }\n";
    let folder = write_pipeline(&world, "busy", spec)?;
    let _agent = world.agent("busy", &["a"], &folder, "state")?;
    let _coordinator = world.ready_coordinator("one").await?;
    let mut first = submit(&world, &folder, "r1")?;
    let admitted =
        |fold: &RunFold| matches!(fold.admission(), Admission::Admitted(_)).then_some(());
    world.wait_for(&bus, &key("busy", "r1")?, "admitted", SOON, admitted).await?;
    let mut second = submit(&world, &folder, "r2")?;
    ensure!(second.end(SOON).await? == Ended::Code(8), "{}", second.tail());
    ensure!(second.output().contains("r1"), "{}", second.tail());
    ensure!(world.closed(&bus, &key("busy", "r2")?, SOON).await? == RunResult::Refused);
    ensure!(first.end(SOON).await? == Ended::Code(0), "{}", first.tail());
    Ok(())
}
