//! Agents that are killed and go on, servers that are killed and come back.

use std::path::Path;

use anyhow::Result;
use lockstep_shared::{
    record::{Record, RunResult},
    subject::Family,
};

use crate::world::{World, barrier, idempotent, plan, run, soon};

#[tokio::test]
async fn a_killed_agent_goes_on_with_an_idempotent_step() -> Result<()> {
    let world = World::new().await?;
    let mut first = world.process("first", "state", &["backend"])?;
    let steps = vec![
        run("one", "echo one >> log", None),
        idempotent(run("two", "echo two >> log; test -e go || sleep 30", None)),
        run("three", "echo three >> log", None),
    ];
    let key = world.submit("r1", plan(&[("backend", steps)])).await?;
    world.wrote("log", "two").await?;
    first.kill()?;
    std::fs::write(world.folder().join("go"), "")?;
    let second = world.process("second", "state", &["backend"])?;
    let (result, fold) = world.closed(&key).await?;
    assert_eq!(result, RunResult::Succeeded, "{}", second.log());
    assert_eq!(world.read("log"), "one\ntwo\ntwo\nthree\n", "a finished step is not begun again");
    let backend = &fold.workflows()[&"backend".parse()?];
    assert!(backend.epoch > 1, "the second incarnation joined");
    Ok(())
}

#[tokio::test]
async fn an_agent_killed_at_a_barrier_or_at_commit_goes_on_there() -> Result<()> {
    let world = World::new().await?;
    let mut first = world.process("first", "a", &["backend"])?;
    let _frontend = world.process("frontend", "b", &["frontend"])?;
    let frontend = vec![run("look", "until test -e go; do sleep 0.05; done", None), barrier("BE")];
    let backend = vec![run("deploy", "echo b >> log", Some("echo undo >> log")), barrier("BE")];
    let key = world.submit("r1", plan(&[("backend", backend), ("frontend", frontend)])).await?;
    let name = "backend".parse()?;
    world
        .until(&key, "the backend stands at BE", |fold| {
            fold.barriers()[&"BE".parse().unwrap()].arrivals.contains_key(&name)
        })
        .await?;
    first.kill()?;
    std::fs::write(world.folder().join("go"), "")?;
    let mut second = world.process("second", "a", &["backend"])?;
    let commit = lockstep_shared::id::BarrierId::commit();
    world
        .until(&key, "the backend stands at the commit", |fold| {
            fold.barriers()[&commit].arrivals.contains_key(&name) || fold.closed().is_some()
        })
        .await?;
    second.kill()?;
    let third = world.process("third", "a", &["backend"])?;
    let (result, _) = world.closed(&key).await?;
    assert_eq!(result, RunResult::Succeeded, "{}", third.log());
    assert_eq!(world.read("log"), "b\n");
    Ok(())
}

#[tokio::test]
async fn a_server_that_is_killed_in_a_wait_at_a_barrier_changes_nothing() -> Result<()> {
    let mut world = World::new().await?;
    let agent = world.process("agent", "state", &["backend", "frontend"])?;
    let frontend = vec![run("look", "until test -e go; do sleep 0.05; done", None), barrier("BE")];
    let backend = vec![run("deploy", "echo b >> log", None), barrier("BE")];
    let key = world.submit("r1", plan(&[("backend", backend), ("frontend", frontend)])).await?;
    let name = "backend".parse()?;
    world
        .until(&key, "the backend stands at BE", |fold| {
            fold.barriers()[&"BE".parse().unwrap()].arrivals.contains_key(&name)
        })
        .await?;
    world.nats.kill();
    std::fs::write(world.folder().join("go"), "")?;
    world.nats.restart().await?;
    let (result, _) = world.closed(&key).await?;
    assert_eq!(result, RunResult::Succeeded, "{}", agent.log());
    assert_eq!(world.read("log"), "b\n");
    Ok(())
}

#[tokio::test]
async fn while_no_coordinator_writes_verdicts_everybody_holds() -> Result<()> {
    let world = World::new().await?;
    let agent = world.serve(world.options(&["backend", "frontend"], "state")).await?;
    let backend = vec![barrier("BE"), run("deploy", "echo b >> log", None)];
    let frontend = vec![run("look", "until test -e go; do sleep 0.05; done", None), barrier("BE")];
    let key = world.submit("r1", plan(&[("backend", backend), ("frontend", frontend)])).await?;
    let (be, name) = ("BE".parse()?, "backend".parse()?);
    world
        .until(&key, "it arrived", |fold| fold.barriers()[&be].arrivals.contains_key(&name))
        .await?;
    world.scribe.pause(true);
    std::fs::write(world.folder().join("go"), "")?;
    world
        .until(&key, "the barrier is complete", |fold| fold.barriers()[&be].missing().count() == 0)
        .await?;
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    assert_eq!(world.read("log"), "", "the log decides, but only what is written down is obeyed");
    world.scribe.pause(false);
    assert_eq!(world.closed(&key).await?.0, RunResult::Succeeded);
    assert_eq!(world.read("log"), "b\n");
    agent.stop().await
}

#[tokio::test]
async fn in_a_log_that_lost_records_an_agent_goes_no_step_forward_and_obeys_an_abort() -> Result<()>
{
    let mut world = World::new().await?;
    let agent = world.process("agent", "state", &["backend", "frontend"])?;
    let text = "echo f >> log; until test -e go; do sleep 0.05; done";
    let frontend = vec![run("look", text, Some("echo undo f >> log")), barrier("BE")];
    let backend = vec![barrier("BE"), run("deploy", "echo b >> log; sleep 60", None)];
    let key = world.submit("r1", plan(&[("backend", backend), ("frontend", frontend)])).await?;
    world.wrote("log", "f").await?;
    let backup = world.folder().join("backup");
    world.nats.stop().await?;
    copy(world.nats.store(), &backup)?;
    world.nats.restart().await?;
    std::fs::write(world.folder().join("go"), "")?;
    world.wrote("log", "b").await?;

    // The older store comes back: what was stored since is gone.
    world.scribe.pause(true);
    world.nats.stop().await?;
    std::fs::remove_dir_all(world.nats.store())?;
    copy(&backup, world.nats.store())?;
    world.nats.restart().await?;
    agent.logged("lost records").await?;
    world.scribe.pause(false);

    let abort = Record::AbortRequested { by: "test".to_owned(), reason: "enough".to_owned() };
    world.request(&key, abort).await?;
    world.wrote("log", "undo f").await?;
    assert_eq!(world.read("log").matches("b\n").count(), 1, "a step was begun again");
    Ok(())
}

#[tokio::test]
async fn what_was_under_way_while_the_log_was_away_never_reaches_an_older_one() -> Result<()> {
    let mut world = World::new().await?;
    let agent = world.process("agent", "state", &["backend"])?;
    let one = "echo one >> log; until test -e go1; do sleep 0.05; done";
    let two = "echo two >> log; until test -e go2; do sleep 0.05; done; echo over >> log";
    let steps = vec![run("one", one, Some("echo undo one >> log")), run("two", two, None)];
    let key = world.submit("r1", plan(&[("backend", steps)])).await?;
    world.wrote("log", "one").await?;
    let backup = world.folder().join("backup");
    world.nats.stop().await?;
    copy(world.nats.store(), &backup)?;
    world.nats.restart().await?;
    std::fs::write(world.folder().join("go1"), "")?;
    world.wrote("log", "two").await?;

    // The second step ends while nobody can be told, and an older store comes back.
    world.scribe.pause(true);
    world.nats.stop().await?;
    std::fs::write(world.folder().join("go2"), "")?;
    world.wrote("log", "over").await?;
    agent.logged("step \"two\" is finished").await?;
    std::fs::remove_dir_all(world.nats.store())?;
    copy(&backup, world.nats.store())?;
    world.nats.restart().await?;
    agent.logged("is given up: the log lost records").await?;
    world.scribe.pause(false);

    let abort = Record::AbortRequested { by: "test".to_owned(), reason: "enough".to_owned() };
    world.request(&key, abort).await?;
    world.wrote("log", "undo one").await?;
    // Joined, the first StepStarted and StepFinished, the second StepStarted, and then this.
    let finished = Family::Workflow("backend".parse()?).slot(5);
    let subject = world.bus.subjects().slot(&key, &finished);
    let found = world.bus.get_one(&subject, soon()).await?;
    assert_eq!(found, None, "it was stored in a log that it was not meant for");
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
