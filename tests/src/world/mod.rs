//! A world for one test: a private nats-server, the real programs as processes, their folders.
//!
//! Everything is gone when the world is dropped. Programs are found beside the test's own
//! executable; a missing one fails with the command that builds it.

mod log;
mod process;
mod site;

use std::{
    future::Future,
    path::{Path, PathBuf},
    process::Output,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use lockstep_bus::{DevServer, dev_server::DevServerOptions};
use tempfile::TempDir;

pub use log::key;
pub use process::{Ended, Process, Signal, program};
pub use site::Site;

/// How long a test waits for something that should take a moment, on a busy machine.
pub const SOON: Duration = Duration::from_secs(60);

/// How large each stream of a test may become: a server sets that much of the disk aside.
const STREAM: &str = "1G";

/// A private nats-server and a folder for everything else.
pub struct World {
    /// The server; public, so that a test can kill it and start it again.
    pub nats: DevServer,
    folder: TempDir,
}

impl World {
    /// A world with a default server.
    ///
    /// # Errors
    /// If no server can be started.
    pub async fn new() -> Result<Self> {
        Self::with(DevServerOptions::default()).await
    }

    /// A world with a server of its own kind.
    ///
    /// # Errors
    /// If no server can be started.
    pub async fn with(options: DevServerOptions) -> Result<Self> {
        // The first world of a process decides; all decide the same.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let folder = tempfile::Builder::new().prefix("lockstep-world-").tempdir()?;
        let nats = DevServer::with_options(options).await.context("the world's nats-server")?;
        Ok(Self { nats, folder })
    }

    /// The world's own folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Starts a coordinator, called `name` in logs.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn coordinator(&self, name: &str) -> Result<Process> {
        let sizes = ["--log-max-bytes", STREAM, "--bundle-max-bytes", STREAM];
        self.start(name, "lockstep-coordinator", &sizes, self.folder())
    }

    /// Starts a coordinator and waits until it coordinates, so that the streams are there.
    ///
    /// # Errors
    /// If it cannot be started, or does not get that far.
    pub async fn ready_coordinator(&self, name: &str) -> Result<Process> {
        let coordinator = self.coordinator(name)?;
        coordinator.prints("read the log to its end", SOON).await?;
        Ok(coordinator)
    }

    /// Starts an agent that serves these workflows, in `workdir`, with `state` as its state
    /// folder below the world's.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn agent(
        &self,
        pipeline: &str,
        workflows: &[&str],
        workdir: &Path,
        state: &str,
    ) -> Result<Process> {
        let state = self.folder().join(state);
        let mut arguments = vec!["serve", "--pipeline", pipeline, "--allow-commands"];
        let state = state.to_str().context("the state folder's name is text")?;
        arguments.extend(["--state-dir", state]);
        for workflow in workflows {
            arguments.extend(["--workflow", workflow]);
        }
        let name = format!("agent-{}-{}", workflows.join("+"), Path::new(state).display());
        let name = name.replace('/', "_");
        self.start(&name, "lockstep-agent", &arguments, workdir)
    }

    /// Starts any of the programs.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn start(
        &self,
        name: &str,
        program: &str,
        arguments: &[&str],
        workdir: &Path,
    ) -> Result<Process> {
        self.start_as(name, program, arguments, workdir, &[])
    }

    /// Starts any of the programs with further variables in its environment.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn start_as(
        &self,
        name: &str,
        program: &str,
        arguments: &[&str],
        workdir: &Path,
        environment: &[(&str, &str)],
    ) -> Result<Process> {
        let mut command = process::command(program, arguments, workdir, self.nats.url())?;
        command.envs(environment.iter().copied());
        Process::start(name, command, self.folder())
    }

    /// Runs `lockstep` to its end, for at most two minutes.
    ///
    /// # Errors
    /// If it cannot be started or does not end.
    pub async fn lockstep(&self, arguments: &[&str]) -> Result<Output> {
        self.lockstep_in(self.folder(), arguments).await
    }

    /// Runs `lockstep` in a folder to its end, for at most two minutes.
    ///
    /// # Errors
    /// If it cannot be started or does not end.
    pub async fn lockstep_in(&self, folder: &Path, arguments: &[&str]) -> Result<Output> {
        self.lockstep_as(folder, arguments, &[]).await
    }

    /// Runs `lockstep` with further variables in its environment, for at most two minutes.
    ///
    /// # Errors
    /// If it cannot be started or does not end.
    pub async fn lockstep_as(
        &self,
        folder: &Path,
        arguments: &[&str],
        environment: &[(&str, &str)],
    ) -> Result<Output> {
        let mut running = process::command("lockstep", arguments, folder, self.nats.url())?;
        running.envs(environment.iter().copied());
        let mut running = tokio::process::Command::from(running);
        let output = running.kill_on_drop(true).output();
        let output = tokio::time::timeout(Duration::from_secs(120), output).await;
        output.with_context(|| format!("lockstep {arguments:?} did not end"))?.map_err(Into::into)
    }

    /// A copy of an example's folder, with the examples' shared programs beside it.
    ///
    /// # Errors
    /// If a file cannot be copied.
    pub fn example(&self, name: &str) -> Result<PathBuf> {
        let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
        let copies = self.folder().join("examples");
        for entry in std::fs::read_dir(&examples)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "py") {
                std::fs::create_dir_all(&copies)?;
                std::fs::copy(&path, copies.join(path.file_name().context("a file has a name")?))?;
            }
        }
        copy_folder(&examples.join(name), &copies.join(name))?;
        Ok(copies.join(name))
    }
}

fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        // What a demo left in the checkout is no part of the example.
        if entry.file_name() == ".lockstep" || entry.file_name() == "served" {
            continue;
        }
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// Polls until `probe` gives something, for at most `limit`; then fails with the last thing seen.
///
/// # Errors
/// If the time is over.
pub async fn until<T, F, Fut>(what: &str, limit: Duration, mut probe: F) -> Result<T>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, String>>,
{
    let end = tokio::time::Instant::now() + limit;
    loop {
        let seen = match probe().await {
            Ok(found) => return Ok(found),
            Err(seen) => seen,
        };
        if tokio::time::Instant::now() > end {
            bail!("waited {limit:?} until {what}; last seen: {seen}");
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
}

/// A loopback port that nobody uses at this moment.
///
/// # Errors
/// If there is none.
pub fn free_port() -> Result<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
