//! Runs that fail, and how they are taken back.

use anyhow::{Context, Result};
use lockstep_shared::record::{Outcome, Record, RunResult};
use rustix::process::Signal;

use crate::world::{World, barrier, idempotent, plan, run, verify};

#[tokio::test]
async fn a_failure_is_undone_last_step_first_and_so_is_its_peer() -> Result<()> {
    let world = World::new().await?;
    let agent = world.serve(world.options(&["backend", "frontend"], "state")).await?;
    let backend = vec![
        run("one", "echo b1 >> log", Some("echo undo b1 >> log")),
        run("two", "echo b2 >> log", Some("echo undo b2 >> log")),
        barrier("BE"),
    ];
    let frontend = vec![
        barrier("BE"),
        run("deploy", "echo broken >&2; exit 4", Some("echo undo f >> frontend.log")),
    ];
    let key = world.submit("r1", plan(&[("backend", backend), ("frontend", frontend)])).await?;
    let (result, fold) = world.closed(&key).await?;
    assert_eq!(result, RunResult::RolledBack);
    assert_eq!(world.read("log"), "b1\nb2\nundo b2\nundo b1\n");
    assert_eq!(world.read("frontend.log"), "undo f\n", "half a step is undone too");
    let cause = fold.closed().and_then(|closed| closed.cause.clone()).context("a cause")?;
    assert!(cause.text.contains("frontend") && cause.text.contains("deploy"), "{}", cause.text);
    assert!(cause.text.contains("exit status 4"), "{}", cause.text);
    assert_eq!(cause.output, "broken");
    agent.stop().await
}

#[tokio::test]
async fn a_service_that_degrades_while_others_work_takes_everything_back() -> Result<()> {
    let world = World::new().await?;
    let agent = world.serve(world.options(&["backend", "frontend"], "state")).await?;
    std::fs::write(world.folder().join("up"), "")?;
    let backend = vec![
        run("deploy", "echo b >> log", Some("echo undo b >> log")),
        verify("healthy", "test -e up"),
        barrier("BE"),
    ];
    let frontend = vec![run("look", "until test -e go; do sleep 0.05; done", None), barrier("BE")];
    let key = world.submit("r1", plan(&[("backend", backend), ("frontend", frontend)])).await?;
    let backend = "backend".parse()?;
    world
        .until(&key, "the backend is healthy", |fold| {
            fold.workflows()[&backend].steps.get(&1).is_some_and(|step| step.finished.is_some())
        })
        .await?;
    std::fs::remove_file(world.folder().join("up"))?;
    let (result, fold) = world.closed(&key).await?;
    assert_eq!(result, RunResult::RolledBack);
    let cause = fold.closed().and_then(|closed| closed.cause.clone()).context("a cause")?;
    assert!(cause.text.contains("healthy"), "{}", cause.text);
    assert_eq!(world.read("log"), "b\nundo b\n");
    agent.stop().await
}

#[tokio::test]
async fn an_undo_that_fails_is_a_debt_until_an_operator_resumes_it() -> Result<()> {
    let world = World::new().await?;
    let agent = world.serve(world.options(&["backend"], "state")).await?;
    let steps = vec![
        run("deploy", "echo x >> log", Some("test -e repaired && echo undone >> log")),
        run("break", "false", None),
    ];
    let key = world.submit("r1", plan(&[("backend", steps)])).await?;
    let (result, fold) = world.closed(&key).await?;
    assert_eq!(result, RunResult::RollbackIncomplete);
    let outcome = &fold.closed().context("closed")?.outcomes[&"backend".parse()?];
    assert!(
        matches!(outcome, Outcome::Failed { error } if error.contains("deploy")),
        "{outcome:?}"
    );

    // A newer run refuses in prepare, naming the debt.
    let next =
        world.submit("r2", plan(&[("backend", vec![run("d", "echo y >> log", None)])])).await?;
    let (result, fold) = world.closed(&next).await?;
    assert_eq!(result, RunResult::RolledBack);
    let cause = fold.closed().and_then(|closed| closed.cause.clone()).context("a cause")?;
    assert!(cause.text.contains("r1") && cause.text.contains("rollback"), "{}", cause.text);

    std::fs::write(world.folder().join("repaired"), "")?;
    let resume = Record::ResumeRequested {
        by: "test".to_owned(),
        reason: "repaired".to_owned(),
        workflow: None,
    };
    world.request(&key, resume).await?;
    world.wrote("log", "undone").await?;
    let third =
        world.submit("r3", plan(&[("backend", vec![run("d", "echo z >> log", None)])])).await?;
    assert_eq!(world.closed(&third).await?.0, RunResult::Succeeded);
    assert_eq!(world.read("log"), "x\nundone\nz\n");
    agent.stop().await
}

#[tokio::test]
async fn what_a_killed_agent_left_running_is_ended_before_it_is_undone() -> Result<()> {
    let world = World::new().await?;
    let mut agent = world.process("first", "state", &["backend"])?;
    let steps = vec![run(
        "deploy",
        "echo $$ > pid; echo begun >> log; sleep 5; echo late >> log",
        Some("echo undone >> log"),
    )];
    let key = world.submit("r1", plan(&[("backend", steps)])).await?;
    world.wrote("log", "begun").await?;
    agent.kill()?;
    let second = world.process("second", "state", &["backend"])?;
    let (result, fold) = world.closed(&key).await?;
    assert_eq!(result, RunResult::RolledBack, "{}", second.log());
    let cause = fold.closed().and_then(|closed| closed.cause.clone()).context("a cause")?;
    assert!(cause.text.contains("deploy"), "{}", cause.text);
    assert_eq!(world.read("log"), "begun\nundone\n");
    let pid: i32 = world.read("pid").trim().parse()?;
    let pid = rustix::process::Pid::from_raw(pid).context("a process id")?;
    assert!(rustix::process::test_kill_process_group(pid).is_err(), "the command still runs");
    Ok(())
}

#[tokio::test]
async fn a_command_is_stopped_and_left_for_the_next_agent_at_sigterm() -> Result<()> {
    let world = World::new().await?;
    let mut agent = world.process("first", "state", &["backend"])?;
    let step = run("deploy", "echo begun >> log; test -e go || sleep 30; echo end >> log", None);
    let key = world.submit("r1", plan(&[("backend", vec![idempotent(step)])])).await?;
    world.wrote("log", "begun").await?;
    agent.signal(Signal::TERM)?;
    assert_eq!(agent.exit().await?, Some(143), "{}", agent.log());
    let backend = "backend".parse()?;
    world.until(&key, "it has left", |fold| fold.workflows()[&backend].left.is_some()).await?;
    std::fs::write(world.folder().join("go"), "")?;
    let second = world.process("second", "state", &["backend"])?;
    let (result, fold) = world.closed(&key).await?;
    assert_eq!(result, RunResult::Succeeded, "{}", second.log());
    assert!(fold.workflows()[&backend].epoch > 1);
    assert_eq!(world.read("log"), "begun\nbegun\nend\n");
    Ok(())
}

#[tokio::test]
async fn however_much_is_owed_a_run_begins_and_says_what_stands_in_its_way() -> Result<()> {
    let world = World::new().await?;
    let newer = plan(&[("backend", vec![run("deploy", "echo new >> log", None)])]);
    for number in 0..20 {
        world.owe("state", &format!("r0-{number:02}"), &newer)?;
    }
    let key = world.submit("r1", newer).await?;
    let agent = world.run(world.options(&["backend"], "state"), &key).await?;
    let (result, fold) = world.closed(&key).await?;
    assert_eq!(result, RunResult::RolledBack);
    let cause = fold.closed().and_then(|closed| closed.cause.clone()).context("a cause")?;
    assert!(cause.text.contains("r0-00"), "{}", cause.text);
    assert_eq!(agent.await??, lockstep_agent::RunEnd::Failed);
    assert_eq!(world.read("log"), "");
    Ok(())
}

#[tokio::test]
async fn a_debt_from_an_expired_run_waits_for_an_operators_word() -> Result<()> {
    let world = World::new().await?;
    let steps = vec![run("deploy", "echo new >> log", Some("echo undone >> log"))];
    let newer = plan(&[("backend", steps)]);
    let old = world.owe("state", "r0", &newer)?;
    let agent = world.serve(world.options(&["backend"], "state")).await?;
    let key = world.submit("r1", newer.clone()).await?;
    let (result, fold) = world.closed(&key).await?;
    assert_eq!(result, RunResult::RolledBack);
    let cause = fold.closed().and_then(|closed| closed.cause.clone()).context("a cause")?;
    assert!(cause.text.contains("r0"), "{}", cause.text);
    assert_eq!(world.read("log"), "", "it does nothing by itself");

    let resume = Record::ResumeRequested {
        by: "test".to_owned(),
        reason: "take it back".to_owned(),
        workflow: None,
    };
    world.request(&old, resume).await?;
    world.wrote("log", "undone").await?;
    let key = world.submit("r2", newer).await?;
    assert_eq!(world.closed(&key).await?.0, RunResult::Succeeded);
    assert_eq!(world.read("log"), "undone\nnew\n");
    agent.stop().await
}
