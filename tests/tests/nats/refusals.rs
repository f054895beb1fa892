//! What the programs say when NATS is not what they need: what, where, why, and what to do; they
//! never hang.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use async_nats::jetstream;
use lockstep_bus::dev_server::DevServerOptions;
use lockstep_shared::{fold::RunFold, record::RunResult};
use lockstep_tests::world::{Ended, Process, SOON, World, free_port, key, until};

const SPEC: &str = "apiVersion: lockstep.dev/v1alpha1\nkind: Pipeline\nmetadata: { name: one }\nspec:\n  \
    workflows:\n    - { name: a, target: { command: {} }, steps: [ { run: 'true' } ] }\n";

fn pipeline(world: &World) -> Result<PathBuf> {
    let folder = world.folder().join("one");
    std::fs::create_dir(&folder)?;
    std::fs::write(folder.join("pipeline.yaml"), SPEC)?;
    Ok(folder)
}

/// Runs every program that has to reach the log against a server, and expects each to end with
/// exit code 8, saying `words`. An agent needs no stream of its own account: it is asked for only
/// where the server itself is out of reach.
async fn all_refuse(
    world: &World,
    agent: bool,
    environment: &[(&str, &str)],
    words: &[&str],
) -> Result<()> {
    let folder = pipeline(world)?;
    let state = world.folder().join("state").to_string_lossy().into_owned();
    let serve = ["serve", "--pipeline", "one", "--workflow", "a", "--state-dir", &state];
    let programs: [(&str, &str, &[&str]); 4] = [
        ("run", "lockstep", &["run", "pipeline.yaml"]),
        ("status", "lockstep", &["ls"]),
        ("coordinator", "lockstep-coordinator", &[]),
        ("agent", "lockstep-agent", &serve),
    ];
    for (name, program, arguments) in programs.into_iter().take(if agent { 4 } else { 3 }) {
        let mut process = world.start_as(name, program, arguments, &folder, environment)?;
        let ended = process.end(2 * SOON).await?;
        ensure!(ended == Ended::Code(8), "{name}: {ended:?}\n{}", process.tail());
        for word in words {
            ensure!(
                process.output().contains(word),
                "{name} never says {word:?}\n{}",
                process.tail()
            );
        }
    }
    Ok(())
}

#[tokio::test]
async fn an_absent_server_is_named_with_its_address() -> Result<()> {
    let world = World::new().await?;
    let url = format!("nats://127.0.0.1:{}", free_port()?);
    all_refuse(&world, true, &[("NATS_URL", &url)], &[&url["nats://".len()..]]).await
}

#[tokio::test]
async fn wrong_credentials_are_told_apart_from_an_absent_server() -> Result<()> {
    let config = "authorization { users: [ { user: good, password: right } ] }\n".to_owned();
    let world = World::with(DevServerOptions { config, ..Default::default() }).await?;
    let wrong = [("NATS_USER", "good"), ("NATS_PASSWORD", "wrong-secret-text")];
    all_refuse(&world, true, &wrong, &["refuses", "NATS_CREDS"]).await?;
    for name in ["run", "coordinator", "agent"] {
        let log = std::fs::read_to_string(world.folder().join(format!("{name}.log")))?;
        ensure!(!log.contains("wrong-secret-text"), "{name} prints the password");
    }
    Ok(())
}

#[tokio::test]
async fn a_server_without_jetstream_is_named() -> Result<()> {
    let options = DevServerOptions { without_jetstream: true, ..Default::default() };
    all_refuse(&World::with(options).await?, false, &[], &["JetStream"]).await
}

#[tokio::test]
async fn an_agent_says_at_its_start_what_will_fail() -> Result<()> {
    let options = DevServerOptions { without_jetstream: true, ..Default::default() };
    let world = World::with(options).await?;
    let state = world.folder().join("state").to_string_lossy().into_owned();
    let serve = ["serve", "--pipeline", "one", "--workflow", "a", "--state-dir", &state];
    let serving = world.start("serving", "lockstep-agent", &serve, world.folder())?;
    serving.prints("no run can be carried out yet", SOON).await?;
    serving.prints("--allow-commands", SOON).await?;
    ensure!(!serving.output().contains(": ready"), "{}", serving.tail());
    // For one run, that it cannot be looked up is no wrong usage.
    let state = world.folder().join("state-2").to_string_lossy().into_owned();
    let run = ["run", "--run", "r1", "--workflow", "a", "--state-dir", &state];
    let mut running = world.start("running", "lockstep-agent", &run, world.folder())?;
    ensure!(running.end(SOON).await? == Ended::Code(8), "{}", running.tail());
    Ok(())
}

#[tokio::test]
async fn an_agent_is_ready_once_there_is_a_log() -> Result<()> {
    let world = World::new().await?;
    let agent = world.agent("one", &["a"], world.folder(), "state")?;
    agent.prints("no run can be carried out yet", SOON).await?;
    let _coordinator = world.ready_coordinator("coordinator").await?;
    agent.prints("ready", SOON).await
}

#[tokio::test]
async fn a_stream_of_that_name_with_another_configuration_is_refused_with_the_difference()
-> Result<()> {
    let world = World::new().await?;
    let context = jetstream::new(async_nats::connect(world.nats.url()).await?);
    let foreign = jetstream::stream::Config {
        name: "LOCKSTEP".to_owned(),
        subjects: vec!["lockstep.run.>".to_owned()],
        ..Default::default()
    };
    context.create_stream(foreign).await?;
    let mut coordinator = world.coordinator("coordinator")?;
    let ended = coordinator.end(SOON).await?;
    ensure!(ended == Ended::Code(3) || ended == Ended::Code(8), "{ended:?}");
    for field in ["max_messages_per_subject", "deny_delete", "allow_direct"] {
        let short = field.replace("messages", "msgs");
        let output = coordinator.output();
        ensure!(output.contains(field) || output.contains(&short), "{}", coordinator.tail());
    }
    Ok(())
}

#[tokio::test]
async fn a_missing_permission_is_reported_as_what_it_is() -> Result<()> {
    let config = "authorization {\n  users: [\n    { user: all, password: p }\n    \
        { user: watcher, password: p, permissions: { publish: { deny: [\"lockstep.run.>\"] } } }\n  ]\n}\n\
        no_auth_user: all\n";
    let options = DevServerOptions { config: config.to_owned(), ..Default::default() };
    let world = World::with(options).await?;
    let folder = pipeline(&world)?;
    let _coordinator = world.ready_coordinator("coordinator").await?;
    let agent = world.agent("one", &["a"], &folder, "state")?;
    let watcher = [("NATS_USER", "watcher"), ("NATS_PASSWORD", "p")];
    let arguments = ["run", "pipeline.yaml", "--run-id", "r1"];
    let mut run = world.start_as("run", "lockstep", &arguments, &folder, &watcher)?;
    ensure!(run.end(SOON).await? == Ended::Code(8), "{}", run.tail());
    ensure!(run.output().contains("does not permit"), "{}", run.tail());
    ensure!(run.output().contains("lockstep.run.one.r1.plan"), "{}", run.tail());
    drop(agent);
    // An agent that may not write its own slots says so, and the run aborts for want of it.
    let state = world.folder().join("state-2").to_string_lossy().into_owned();
    let serve = [
        "serve",
        "--pipeline",
        "one",
        "--workflow",
        "a",
        "--allow-commands",
        "--state-dir",
        &state,
    ];
    let agent = world.start_as("mute", "lockstep-agent", &serve, &folder, &watcher)?;
    let _run = world.start("run-2", "lockstep", &["run", "pipeline.yaml"], &folder)?;
    agent.prints("lockstep.run.one.", SOON).await?;
    ensure!(agent.output().contains("does not permit"), "{}", agent.tail());
    Ok(())
}

/// A stream with little room, otherwise as Lockstep makes it.
async fn shrink(world: &World, bytes: i64) -> Result<()> {
    let context = jetstream::new(async_nats::connect(world.nats.url()).await?);
    let stream = until("the stream exists", SOON, || async {
        context.get_stream("LOCKSTEP").await.map_err(|error| error.to_string())
    })
    .await?;
    let mut config = stream.cached_info().config.clone();
    config.max_bytes = bytes;
    context.update_stream(config).await.context("shrinking the stream")?;
    Ok(())
}

#[tokio::test]
async fn a_full_stream_accepts_no_new_plan() -> Result<()> {
    let world = World::new().await?;
    let folder = pipeline(&world)?;
    let coordinator = world.ready_coordinator("coordinator").await?;
    let _agent = world.agent("one", &["a"], &folder, "state")?;
    shrink(&world, 64 * 1024).await.with_context(|| coordinator.tail())?;
    let client = async_nats::connect(world.nats.url()).await?;
    for number in 1..=56 {
        let subject = format!("lockstep.run.filler.x{number}.request.1");
        client.publish(subject, vec![b'x'; 1024].into()).await?;
    }
    client.flush().await?;
    let mut run = world.start("run", "lockstep", &["run", "pipeline.yaml"], &folder)?;
    ensure!(run.end(SOON).await? == Ended::Code(8), "{}", run.tail());
    ensure!(run.output().contains("full"), "{}", run.tail());
    Ok(())
}

#[tokio::test]
async fn a_log_restored_from_an_older_copy_is_noticed_and_nobody_goes_forward() -> Result<()> {
    let mut world = World::new().await?;
    let folder = world.folder().join("one");
    std::fs::create_dir(&folder)?;
    let spec = SPEC.replace(
        "[ { run: 'true' } ]",
        "[ { wait: 1s }, { run: { command: echo did >> journal, undo: echo undid >> journal } }, { wait: 20s }, { run: echo later >> journal } ]",
    );
    std::fs::write(folder.join("pipeline.yaml"), spec)?;
    let coordinator = world.ready_coordinator("coordinator").await?;
    let agent = world.agent("one", &["a"], &folder, "state")?;
    let mut run = submit(&world, &folder)?;
    let bus = world.bus().await?;
    let key = key("one", "r1")?;
    let in_step = |step: usize| {
        move |fold: &RunFold| fold.workflows().values().next()?.steps.get(&step).map(|_| ())
    };
    world.wait_for(&bus, &key, "in its first step", SOON, in_step(0)).await?;
    world.nats.stop().await?;
    let store = world.nats.store().to_owned();
    let copy = world.folder().join("backup");
    copy_all(&store, &copy)?;
    world.nats.restart().await?;
    world.wait_for(&bus, &key, "past its command", SOON, in_step(2)).await?;
    world.nats.stop().await?;
    std::fs::remove_dir_all(&store)?;
    copy_all(&copy, &store)?;
    world.nats.restart().await?;
    agent.prints("lost records", SOON).await?;
    coordinator.prints("lost records", SOON).await?;
    let mut abort = world.start(
        "abort",
        "lockstep",
        &["abort", "r1", "--reason", "the log was restored from a backup"],
        &folder,
    )?;
    ensure!(abort.end(SOON).await? == Ended::Code(0), "{}", abort.tail());
    let result = world.closed(&bus, &key, 2 * SOON).await.with_context(|| agent.tail())?;
    ensure!(
        matches!(result, RunResult::Cancelled | RunResult::RollbackIncomplete),
        "{result:?}\n{}",
        agent.tail()
    );
    run.end(SOON).await?;
    let journal = std::fs::read_to_string(folder.join("journal"))?;
    ensure!(!journal.contains("later"), "it went forward on a log that lost records: {journal:?}");
    ensure!(journal == "did\nundid\n", "{journal:?}\n{}", agent.tail());
    Ok(())
}

fn submit(world: &World, folder: &std::path::Path) -> Result<Process> {
    world.start("run", "lockstep", &["run", "pipeline.yaml", "--run-id", "r1"], folder)
}

fn copy_all(from: &std::path::Path, to: &std::path::Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_all(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
