//! Two agents for one workflow: one works, one stands by.

use anyhow::{Context, Result};
use lockstep_shared::record::RunResult;
use rustix::process::Signal;

use crate::world::{Process, World, idempotent, plan, run};

#[tokio::test]
async fn a_spare_on_one_state_directory_takes_over_after_sigterm_and_after_kill() -> Result<()> {
    let world = World::new().await?;
    let mut agents = vec![world.process("a0", "state", &["backend"])?];
    agents[0].logged("ready").await?;
    for number in 1..3 {
        agents.push(world.process(&format!("a{number}"), "state", &["backend"])?);
        agents[number].logged("standing by for").await?;
    }
    let text = "echo begun >> log; until test -e go; do sleep 0.05; done";
    let steps = vec![idempotent(run("deploy", text, None))];
    let key = world.submit("r1", plan(&[("backend", steps)])).await?;
    world.wrote("log", "begun\n").await?;

    agents[0].signal(Signal::TERM)?;
    assert_eq!(agents[0].exit().await?, Some(143), "{}", agents[0].log());
    world.wrote("log", &"begun\n".repeat(2)).await?;

    let took_over = |agent: &Process| agent.log().contains("taking over");
    let holder = agents.iter().position(took_over).context("nobody took over")?;
    agents[holder].kill()?;
    world.wrote("log", &"begun\n".repeat(3)).await?;
    assert_eq!(world.read("log"), "begun\n".repeat(3), "two agents were at it at once");

    std::fs::write(world.folder().join("go"), "")?;
    let (result, fold) = world.closed(&key).await?;
    assert_eq!(result, RunResult::Succeeded);
    assert!(fold.workflows()[&"backend".parse()?].epoch > 2);
    Ok(())
}

#[tokio::test]
async fn a_frozen_agent_that_holds_the_lock_is_not_taken_over() -> Result<()> {
    let world = World::new().await?;
    let first = world.process("first", "state", &["backend"])?;
    first.logged("ready").await?;
    let second = world.process("second", "state", &["backend"])?;
    second.logged("standing by for").await?;
    let steps = vec![run("deploy", "echo begun >> log; sleep 1; echo end >> log", None)];
    let key = world.submit("r1", plan(&[("backend", steps)])).await?;
    world.wrote("log", "begun").await?;
    first.signal(Signal::STOP)?;
    world.wrote("log", "end").await?;
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    assert!(!second.log().contains("taking over"), "{}", second.log());
    first.signal(Signal::CONT)?;
    assert_eq!(world.closed(&key).await?.0, RunResult::Succeeded, "{}", first.log());
    assert_eq!(world.read("log"), "begun\nend\n");
    Ok(())
}

#[tokio::test]
async fn on_another_directory_a_spare_takes_over_from_a_silent_agent_which_then_drops_the_run()
-> Result<()> {
    let world = World::new().await?;
    let step = |text: &str| vec![run("deploy", text, None)];
    let both = plan(&[("backend", step("echo b >> log")), ("frontend", step("echo f >> log"))]);
    // What it owes from an older run has to be looked for first: it joins and does not prepare.
    world.owe("a", "r0", &both)?;
    let first = world.process("first", "a", &["backend"])?;
    first.logged("ready").await?;
    let key = world.submit("r1", both).await?;
    let backend = "backend".parse()?;
    world.until(&key, "the first joined", |fold| fold.workflows()[&backend].epoch == 1).await?;

    let second = world.process("second", "b", &["backend"])?;
    second.logged("standing by").await?;
    first.signal(Signal::STOP)?;
    let frozen = std::time::Instant::now();
    world.until(&key, "the second joined", |fold| fold.workflows()[&backend].epoch == 2).await?;
    let silent = frozen.elapsed().as_secs();
    assert!((9..25).contains(&silent), "it took over after {silent} s");

    first.signal(Signal::CONT)?;
    first.logged("has taken over").await?;
    let _frontend = world.process("frontend", "c", &["frontend"])?;
    let (result, fold) = world.closed(&key).await?;
    assert_eq!(result, RunResult::Succeeded, "{}\n{}", first.log(), second.log());
    assert_eq!(fold.workflows()[&backend].epoch, 2, "they fought for it");
    let mut lines: Vec<String> = world.read("log").lines().map(str::to_owned).collect();
    lines.sort();
    assert_eq!(lines, ["b", "f"]);
    Ok(())
}
