//! A world for one test: a private server, a coordinator and agents in this process, and the real
//! program beside them.

use std::{
    path::{Path, PathBuf},
    process::{ExitStatus, Output, Stdio},
    time::Duration,
};

use lockstep_agent::{DEGRADE_GRACE, Options, kubernetes::client::Access};
use lockstep_bus::{Bus, DevServer, StreamOptions};
use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    process::{Child, Command},
    task::JoinSet,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

/// How long any one call may take before a test fails with what was seen.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// How one call ended.
#[derive(Debug)]
pub(crate) struct Ran {
    /// Its code; 128 and the number for a signal.
    pub(crate) code: i32,
    /// Standard output.
    pub(crate) out: String,
    /// Standard error.
    pub(crate) err: String,
}

impl Ran {
    /// Standard output as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error} in {self:#?}"))
    }

    /// The same call, which must have ended with this code.
    pub(crate) fn ended(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self:#?}");
        self
    }
}

fn ran(output: Output) -> Ran {
    Ran {
        code: code(output.status),
        out: String::from_utf8(output.stdout).expect("data is text"),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

fn code(status: ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}

/// The program, untouched by whatever is set on this machine.
fn program() -> std::process::Command {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_lockstep"));
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("NATS_") || text.starts_with("LOCKSTEP_") || text == "NO_COLOR" {
            command.env_remove(&name);
        }
    }
    if let Some(server) = std::env::var_os("LOCKSTEP_NATS_SERVER") {
        command.env("LOCKSTEP_NATS_SERVER", server);
    }
    command.env("XDG_CONFIG_HOME", "/nonexistent").env("LOCKSTEP_USER", "tester@here");
    command.env_remove("GITHUB_STEP_SUMMARY").env_remove("GITHUB_OUTPUT");
    command
}

/// One call that needs no server.
pub(crate) fn lockstep(args: &[&str]) -> Ran {
    ran(program().args(args).stdin(Stdio::null()).output().expect("the program runs"))
}

/// One call in a folder with further variables.
pub(crate) fn lockstep_in(folder: &Path, args: &[&str], variables: &[(&str, &str)]) -> Ran {
    let mut command = program();
    command.args(args).envs(variables.iter().copied()).current_dir(folder);
    ran(command.stdin(Stdio::null()).output().expect("the program runs"))
}

/// One call that reads standard input.
pub(crate) fn lockstep_fed(args: &[&str], input: &[u8]) -> Ran {
    use std::io::Write;
    let mut child = program()
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program runs");
    child.stdin.take().expect("it is piped").write_all(input).expect("it reads");
    ran(child.wait_with_output().expect("it ends"))
}

/// A call that runs beside the test.
pub(crate) struct Running(Child);

impl Running {
    /// Starts it in a folder.
    pub(crate) fn start(folder: &Path, args: &[&str]) -> Self {
        Self::start_with(folder, args, &[])
    }

    /// Starts it in a folder with further variables.
    pub(crate) fn start_with(folder: &Path, args: &[&str], variables: &[(&str, &str)]) -> Self {
        let mut command = Command::from(program());
        command
            .envs(variables.iter().copied())
            .args(args)
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        Self(command.spawn().expect("the program runs"))
    }

    /// Sends a signal by name.
    pub(crate) async fn signal(&self, name: &str) {
        let id = self.0.id().expect("it runs").to_string();
        let sent = Command::new("kill").args(["-s", name, &id]).status().await;
        assert!(sent.expect("kill runs").success());
    }

    /// Waits until it has printed this.
    pub(crate) async fn says(&mut self, wanted: &str) {
        use tokio::io::AsyncReadExt;
        let mut out = self.0.stdout.take().expect("it is piped");
        let (mut said, mut part) = (Vec::new(), [0; 1024]);
        while !String::from_utf8_lossy(&said).contains(wanted) {
            let count = timeout(LIMIT, out.read(&mut part)).await.expect("it prints in time");
            let count = count.expect("it is read");
            assert!(count > 0, "it ended without {wanted}: {}", String::from_utf8_lossy(&said));
            said.extend_from_slice(&part[..count]);
        }
        self.0.stdout = Some(out);
    }

    /// Waits for its end.
    pub(crate) async fn end(self) -> Ran {
        let output = timeout(LIMIT, self.0.wait_with_output()).await;
        ran(output.expect("it ends in time").expect("it ends"))
    }
}

/// A server, a coordinator and agents.
pub(crate) struct World {
    /// The server.
    pub(crate) server: DevServer,
    /// Files of the test.
    pub(crate) folder: TempDir,
    tasks: JoinSet<()>,
    shutdown: CancellationToken,
}

impl World {
    /// A server with its streams, and nobody else.
    pub(crate) async fn deserted() -> Self {
        Self::on(DevServer::start().await.expect("a server starts")).await
    }

    /// The same on a server that runs already.
    pub(crate) async fn on(server: DevServer) -> Self {
        let world = Self {
            server,
            folder: tempfile::tempdir().expect("a folder"),
            tasks: JoinSet::new(),
            shutdown: CancellationToken::new(),
        };
        let bus = world.bus().await;
        bus.ensure_streams(&StreamOptions::dev(), Instant::now() + LIMIT).await.expect("streams");
        world
    }

    /// A server with a coordinator.
    pub(crate) async fn new() -> Self {
        let mut world = Self::deserted().await;
        world.coordinate().await;
        world
    }

    /// A connection of the test's own.
    pub(crate) async fn bus(&self) -> Bus {
        Bus::connect(&self.server.connection(), "test", LIMIT).await.expect("connected")
    }

    /// Starts a coordinator.
    pub(crate) async fn coordinate(&mut self) {
        let (bus, shutdown) = (self.bus().await, self.shutdown.clone());
        let options = lockstep_coordinator::Options {
            streams: StreamOptions::dev(),
            instance: "test".to_owned(),
        };
        self.tasks.spawn(async move {
            lockstep_coordinator::run(&bus, &options, &shutdown).await.expect("it coordinates");
        });
    }

    /// Starts an agent for workflows of a pipeline.
    pub(crate) async fn agent(&mut self, pipeline: &str, workflows: &[&str]) {
        let (bus, shutdown) = (self.bus().await, self.shutdown.clone());
        let options = Options {
            pipeline: pipeline.parse().expect("a name"),
            workflows: workflows.iter().map(|name| name.parse().expect("a name")).collect(),
            state_dir: self.folder.path().join("state"),
            instance: None,
            allow_commands: true,
            workdir: self.folder.path().to_owned(),
            cluster: None,
            kubernetes: Access::default(),
            degrade_grace: DEGRADE_GRACE,
            evidence: Default::default(),
            undo_history: lockstep_agent::UNDO_HISTORY,
            traceparent: None,
            version: lockstep_agent::VERSION.to_owned(),
        };
        self.tasks.spawn(async move {
            lockstep_agent::serve(options, bus, shutdown).await.expect("it serves");
        });
    }

    /// A file of the test.
    pub(crate) fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).expect("written");
        path
    }

    /// Whether the test's folder holds this.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.folder.path().join(name).exists()
    }

    /// One call against this world, from start to end.
    pub(crate) async fn call(&self, args: &[&str]) -> Ran {
        self.start(args).end().await
    }

    /// One call against this world.
    pub(crate) fn start(&self, args: &[&str]) -> Running {
        let all: Vec<&str> = args.iter().copied().chain(["-s", self.server.url()]).collect();
        Running::start(self.folder.path(), &all)
    }

    /// The report of a run, once it is as wanted.
    pub(crate) async fn status(&self, run: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let limit = Instant::now() + LIMIT;
        loop {
            let report = self.call(&["status", run, "-o", "json"]).await;
            if report.code == 0 && wanted(&report.json()) {
                return report.json();
            }
            assert!(Instant::now() < limit, "not as wanted: {report:#?}");
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until the test's folder holds this.
    pub(crate) async fn wait_for(&self, name: &str) {
        let limit = Instant::now() + LIMIT;
        while !self.has(name) {
            assert!(Instant::now() < limit, "{name} does not appear");
            sleep(Duration::from_millis(20)).await;
        }
    }
}

/// A pipeline of two workflows that meet at BE; `qa` may be its foreign party.
pub(crate) fn shop(backend: &str, frontend: &str, barrier: &str) -> String {
    format!(
        "apiVersion: lockstep.dev/v1alpha1
kind: Pipeline
metadata: {{ name: shop }}
spec:
  timeout: 30m
  barriers:
    BE: {{ title: Backend is there, timeout: 10m{barrier} }}
  workflows:
    - name: backend
      target: {{ command: {{}} }}
      steps:
        - run: {{ name: deploy, command: '{backend}', undo: 'rm -f backend.txt' }}
        - barrier: BE
    - name: frontend
      target: {{ command: {{}} }}
      steps:
        - barrier: BE
        - run: {{ name: deploy, command: '{frontend}', undo: 'rm -f frontend.txt' }}
"
    )
}

/// The pipeline that succeeds.
pub(crate) fn good_shop() -> String {
    shop("echo one > backend.txt", "echo two > frontend.txt", "")
}
