//! The agent beside the real coordinator.

use anyhow::{Context, Result};
use lockstep_shared::record::{Outcome, Record, RunResult};

use crate::world::{World, barrier, plan, run, verify};

fn two(frontend: &str) -> lockstep_shared::plan::Plan {
    let backend = vec![
        run("deploy", "echo b >> backend.log", Some("echo undo b >> backend.log")),
        verify("healthy", "test -e backend.log"),
        barrier("BE"),
        barrier("FE"),
    ];
    let frontend = vec![
        barrier("BE"),
        run("deploy", frontend, Some("echo undo f >> frontend.log")),
        barrier("FE"),
    ];
    plan(&[("backend", backend), ("frontend", frontend)])
}

#[tokio::test]
async fn two_agents_meet_at_barriers_and_commit() -> Result<()> {
    let world = World::coordinated().await?;
    let backend = world.serve(world.options(&["backend"], "a")).await?;
    let frontend = world.serve(world.options(&["frontend"], "b")).await?;
    let key = world.submit("r1", two("echo f >> frontend.log")).await?;
    let (result, fold) = world.closed(&key).await?;
    assert_eq!(result, RunResult::Succeeded);
    assert_eq!(
        (world.read("backend.log"), world.read("frontend.log")),
        ("b\n".into(), "f\n".into())
    );
    let outcomes = &fold.closed().context("closed")?.outcomes;
    assert!(outcomes.values().all(|outcome| *outcome == Outcome::Finalized { degraded: None }));
    backend.stop().await?;
    frontend.stop().await
}

#[tokio::test]
async fn a_failing_frontend_takes_the_backend_back_and_the_next_run_succeeds() -> Result<()> {
    let world = World::coordinated().await?;
    let backend = world.serve(world.options(&["backend"], "a")).await?;
    let frontend = world.serve(world.options(&["frontend"], "b")).await?;
    let key = world.submit("r1", two("echo no such image; exit 7")).await?;
    let (result, fold) = world.closed(&key).await?;
    assert_eq!(result, RunResult::RolledBack);
    assert_eq!(world.read("backend.log"), "b\nundo b\n");
    let cause = fold.closed().and_then(|closed| closed.cause.clone()).context("a cause")?;
    assert!(cause.text.contains("frontend") && cause.output == "no such image", "{cause:?}");
    let key = world.submit("r2", two("echo f >> frontend.log")).await?;
    assert_eq!(world.closed(&key).await?.0, RunResult::Succeeded);
    backend.stop().await?;
    frontend.stop().await
}

#[tokio::test]
async fn an_abort_request_stops_a_running_command_and_undoes_it() -> Result<()> {
    let world = World::coordinated().await?;
    let agent = world.serve(world.options(&["backend"], "a")).await?;
    let text = "echo begun >> log; sleep 60; echo late >> log";
    let steps = vec![run("deploy", text, Some("echo undone >> log"))];
    let key = world.submit("r1", plan(&[("backend", steps)])).await?;
    world.wrote("log", "begun").await?;
    let abort = Record::AbortRequested { by: "test".to_owned(), reason: "enough".to_owned() };
    world.request(&key, abort).await?;
    assert_eq!(world.closed(&key).await?.0, RunResult::Cancelled);
    assert_eq!(world.read("log"), "begun\nundone\n");
    agent.stop().await
}
