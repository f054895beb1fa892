//! What an earlier run left undone, and a newer run that must not write over it.

use anyhow::Result;
use lockstep_shared::{id::BarrierId, plan::Concurrency};

use crate::world::{World, plan, run};

#[tokio::test]
async fn a_queued_run_learns_of_a_debt_that_grew_while_it_waited() -> Result<()> {
    let world = World::coordinated().await?;
    let first = world.serve(world.options(&["backend"], "a")).await?;
    let backend = vec![run("deploy", "echo b1 >> log", Some("echo undo-fails >> log; exit 1"))];
    let breaks = "until grep -q b1 log; do sleep 0.05; done; exit 7";
    let plan_of_r1 = plan(&[("backend", backend), ("frontend", vec![run("f", breaks, None)])]);
    let r1 = world.submit("r1", plan_of_r1).await?;
    let (name, prepare) = ("backend".parse()?, BarrierId::prepare());
    world
        .until(&r1, "backend is prepared", |fold| {
            let barrier = fold.barriers().get(&prepare);
            barrier.is_some_and(|barrier| barrier.arrivals.contains_key(&name))
        })
        .await?;
    first.stop().await?;
    let backend = vec![run("deploy", "echo b2 >> log", Some("echo undo b2 >> log"))];
    let mut second = plan(&[("backend", backend), ("frontend", vec![run("f", "true", None)])]);
    second.concurrency = Concurrency::Queue;
    let r2 = world.submit("r2", second).await?;
    // On the same state directory: it takes the first run up as well, which owes nothing yet.
    let _backend = world.run(world.options(&["backend"], "a"), &r2).await?;
    let workflow = "backend".parse()?;
    world.until(&r1, "it goes on", |fold| fold.workflows()[&workflow].epoch > 1).await?;
    let _frontend = world.serve(world.options(&["frontend"], "b")).await?;
    world.closed(&r1).await?;
    let (_, fold) = world.closed(&r2).await?;
    let log = world.read("log");
    assert!(!log.contains("b2"), "r2 wrote over what r1 left: {log}");
    let cause = fold.closed().and_then(|closed| closed.cause.clone());
    assert!(cause.is_some_and(|cause| cause.text.contains("r1")), "it names the earlier run");
    Ok(())
}

#[tokio::test]
async fn an_agent_for_one_run_exits_when_its_rollback_failed() -> Result<()> {
    let world = World::coordinated().await?;
    let steps = vec![run("deploy", "echo x >> log", Some("exit 1")), run("break", "false", None)];
    let key = world.submit("r1", plan(&[("backend", steps)])).await?;
    let agent = world.run(world.options(&["backend"], "a"), &key).await?;
    world.closed(&key).await?;
    let ended = tokio::time::timeout(std::time::Duration::from_secs(60), agent).await;
    assert_eq!(ended.expect("it goes on after Closed")??.code(), 5);
    Ok(())
}
