//! docs/protocol.md is complete enough for a client in another language: docs/stranger.py, written
//! from it with nothing but Python's standard library, takes part in real runs.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use lockstep_shared::record::RunResult;
use lockstep_tests::world::{SOON, World, key};
use tokio::process::Command;

const PIPELINE: &str = "
apiVersion: lockstep.dev/v1alpha1
kind: Pipeline
metadata: { name: shop }
spec:
  barriers:
    go-live: { title: QA has looked at it, parties: [qa], timeout: 1m }
  workflows:
    - name: backend
      target: { command: {} }
      steps:
        - run: { command: 'STEP', undo: 'true' }
        - barrier: go-live
";

/// Submits the story with this step and lets the stranger arrive; what it said, and the result.
async fn play(step: &str) -> Result<(Option<i32>, String, RunResult)> {
    let world = World::new().await?;
    let folder = world.folder().to_owned();
    std::fs::write(folder.join("pipeline.yaml"), PIPELINE.replace("STEP", step))?;
    let _coordinator = world.ready_coordinator("coordinator").await?;
    let _agent = world.agent("shop", &["backend"], &folder, "state")?;
    let submitted = world.lockstep(&["run", "pipeline.yaml", "--run-id", "r1", "--detach"]).await?;
    let said = String::from_utf8_lossy(&submitted.stderr).into_owned();
    ensure!(submitted.status.success(), "the run was not submitted: {said}");

    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/stranger.py");
    let stranger = Command::new("python3")
        .arg("-B")
        .arg(program)
        .args([world.nats.url(), "shop", "r1", "go-live", "qa", "looks", "good"])
        .kill_on_drop(true)
        .output();
    let stranger = tokio::time::timeout(SOON * 2, stranger).await;
    let stranger = stranger.context("the stranger did not end")??;
    let said = String::from_utf8_lossy(&[stranger.stdout, stranger.stderr].concat()).into_owned();

    let bus = world.bus().await?;
    let result = world.closed(&bus, &key("shop", "r1")?, SOON).await?;
    Ok((stranger.status.code(), said, result))
}

#[tokio::test]
async fn a_stranger_in_another_language_stands_at_a_barrier_and_hears_of_the_release() -> Result<()>
{
    let (code, said, result) = play("true").await?;
    assert_eq!(code, Some(0), "{said}");
    ensure!(said.contains("arrived as #") && said.contains("released at #"), "it said: {said}");
    assert_eq!(result, RunResult::Succeeded);
    Ok(())
}

#[tokio::test]
async fn parity_28_a_stranger_is_told_whose_failure_it_was() -> Result<()> {
    let (code, said, result) = play("echo the disk is full; exit 7").await?;
    assert_eq!(code, Some(4), "{said}");
    ensure!(said.contains("backend"), "it does not name the workflow: {said}");
    assert_eq!(result, RunResult::RolledBack);
    Ok(())
}
