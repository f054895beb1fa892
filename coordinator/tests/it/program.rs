//! The program itself: its exit codes and what it says.

use std::{
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result};
use lockstep_bus::DevServer;
use rustix::process::{Pid, Signal, kill_process};

use crate::world::*;

fn start(url: &str, arguments: &[&str]) -> Result<Child> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lockstep-coordinator"));
    command.args(arguments).env_clear().env("NATS_URL", url).env("HOME", "/nonexistent");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    Ok(command.spawn()?)
}

/// Its exit code and what it printed to standard error.
async fn ended(mut child: Child) -> Result<(Option<i32>, String)> {
    let limit = limit();
    while child.try_wait()?.is_none() {
        if tokio::time::Instant::now() > limit {
            child.kill()?;
            anyhow::bail!("it did not end: {:?}", child.wait_with_output()?);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let output = child.wait_with_output()?;
    assert!(output.stdout.is_empty(), "logs go to standard error");
    Ok((output.status.code(), String::from_utf8(output.stderr)?))
}

#[tokio::test]
async fn parity_16_a_signal_ends_it_with_the_signals_code() -> Result<()> {
    let world = World::new().await?;
    for (signal, code) in [(Signal::TERM, 143), (Signal::INT, 130)] {
        let child = start(world.server.url(), &["--log-format", "json"])?;
        let (pipeline, party) = ("shop".parse()?, "a".parse()?);
        let (bus, pipeline, party) = (&world.bus, &pipeline, &party);
        eventually("it answers", || async move {
            match bus.ask_open(pipeline, party, limit()).await {
                Ok(Some(runs)) => Ok(runs),
                other => Err(format!("{other:?}")),
            }
        })
        .await?;
        let pid = Pid::from_raw(i32::try_from(child.id())?).context("it has a number")?;
        kill_process(pid, signal)?;
        let (ended, said) = ended(child).await?;
        assert_eq!(ended, Some(code), "{said}");
        for line in said.lines() {
            assert!(line.starts_with('{'), "not JSON: {line}");
        }
        assert!(said.contains("has fewer than 3 replicas"), "{said}");
        assert!(said.contains("sync_interval: always"), "{said}");
    }
    Ok(())
}

#[tokio::test]
async fn a_server_without_jetstream_is_named_at_once() -> Result<()> {
    let options = lockstep_bus::DevServerOptions { without_jetstream: true, ..Default::default() };
    let server = DevServer::with_options(options).await?;
    let (code, said) = ended(start(server.url(), &[])?).await?;
    assert_eq!(code, Some(8), "{said}");
    assert!(said.contains("--jetstream"), "{said}");
    Ok(())
}

#[tokio::test]
async fn a_size_that_is_none_is_wrong_usage() -> Result<()> {
    let (code, said) = ended(start("nats://127.0.0.1:1", &["--log-max-bytes", "much"])?).await?;
    assert_eq!(code, Some(2));
    assert!(said.contains("is no size"), "{said}");
    Ok(())
}
