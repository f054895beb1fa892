//! A pipeline on a real control plane: coordinator, agents and `lockstep` as real programs, the
//! workflows in namespaces of the test's own, and every object before and after.

mod account;
mod gate;
mod objects;

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Output,
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tokio::sync::Mutex;

use self::account::Account;
pub use self::{
    gate::TESTER,
    objects::{Objects, comparable},
};
use crate::{
    cluster::{Cluster, tool},
    world::{Process, SOON, World},
};

/// The name of every stage's pipeline, in its file and for its agents.
pub const PIPELINE: &str = "shop";

/// The file that [`Stage::run`] runs.
pub const FILE: &str = "pipeline.yaml";

/// A folder with a pipeline, a coordinator, and what agents need.
pub struct Stage {
    /// Where the workflows deploy to.
    pub cluster: &'static Cluster,
    /// The message bus and the programs.
    pub world: World,
    /// The only coordinator.
    pub coordinator: Process,
    folder: PathBuf,
    /// Those of the agents in this cluster.
    accounts: Mutex<Vec<Account>>,
    /// Where `lockstep` looks for tools.
    path: Option<String>,
}

/// What a command said and how it ended.
pub struct Played {
    /// The exit code; none if a signal ended it.
    pub code: Option<i32>,
    /// Both of its outputs.
    pub text: String,
}

impl Played {
    /// What it said, if it ended with this code.
    ///
    /// # Errors
    /// If it ended otherwise; the error shows what it said.
    pub fn expect(self, code: i32) -> Result<String> {
        ensure!(self.code == Some(code), "exit code {:?}, not {code}; it said\n{self}", self.code);
        Ok(self.text)
    }
}

impl std::fmt::Display for Played {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

/// Where and how an agent of one workflow runs.
pub struct Seat<'a> {
    /// The workflow it runs; the only one.
    pub workflow: &'a str,
    /// Where it keeps its records, and deploys unless the target says otherwise.
    pub namespace: &'a str,
    /// What it may do, and by which address.
    pub kubeconfig: &'a Path,
    /// Names its log and its state folder: another name is another machine.
    pub called: &'a str,
    /// Further arguments.
    pub more: &'a [&'a str],
}

impl Stage {
    /// A stage with a coordinator that is ready, and no agents.
    ///
    /// # Errors
    /// If the coordinator cannot be started.
    pub async fn new(cluster: &'static Cluster) -> Result<Self> {
        let world = World::new().await?;
        let folder = world.folder().join("site");
        fs::create_dir_all(&folder)?;
        let coordinator = world.ready_coordinator("coordinator").await?;
        Ok(Self { cluster, world, coordinator, folder, accounts: Mutex::default(), path: None })
    }

    /// Where the pipeline and its manifests are.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Writes a file beside the pipeline, or the pipeline itself ([`FILE`]).
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&self, file: &str, text: &str) -> Result<()> {
        fs::write(self.folder.join(file), text).with_context(|| file.to_owned())
    }

    /// Starts an agent of a workflow with its [`account`](Self::account), and waits until it is
    /// ready.
    ///
    /// # Errors
    /// If it does not get ready.
    pub async fn agent(&self, workflow: &str, namespace: &str) -> Result<Process> {
        let kubeconfig = &self.account(workflow, namespace).await?;
        let seat = Seat { workflow, namespace, kubeconfig, called: workflow, more: &[] };
        self.seat(&seat).await
    }

    /// Starts an agent and waits until it is ready.
    ///
    /// # Errors
    /// If it does not get ready.
    pub async fn seat(&self, seat: &Seat<'_>) -> Result<Process> {
        let agent = self.start(seat)?;
        agent.prints("ready", SOON).await?;
        Ok(agent)
    }

    /// Starts an agent, ready or not: one that stands by is not.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn start(&self, seat: &Seat<'_>) -> Result<Process> {
        let state = self.world.folder().join(format!("state-{}", seat.called));
        let state = state.to_str().context("a path of text")?;
        let kubeconfig = seat.kubeconfig.to_str().context("a path of text")?;
        let mut arguments = vec!["serve", "--pipeline", PIPELINE, "--workflow", seat.workflow];
        arguments.extend(["--state-dir", state, "--kubeconfig", kubeconfig]);
        arguments.extend(["--kube-namespace", seat.namespace]);
        arguments.extend(seat.more);
        self.world.start(seat.called, "lockstep-agent", &arguments, &self.folder)
    }

    /// Runs the pipeline to its end, once the agents may do what it needs.
    ///
    /// # Errors
    /// If it does not end.
    pub async fn run(&self, more: &[&str]) -> Result<Played> {
        self.grant(more).await?;
        self.lockstep(&[&["run", FILE], more].concat()).await
    }

    /// Runs the pipeline to its end, as a run of this id.
    ///
    /// # Errors
    /// If it does not end.
    pub async fn run_as(&self, run: &str) -> Result<Played> {
        self.run(&["--run-id", run]).await
    }

    /// Has `lockstep` find these tools, each of a build, before all others.
    ///
    /// # Errors
    /// If one was not built.
    pub fn finds(&mut self, tools: &[(&str, &str)]) -> Result<()> {
        let folder = self.world.folder().join("bin");
        fs::create_dir_all(&folder)?;
        for (build, name) in tools {
            symlink(tool(build, name)?, folder.join(name))?;
        }
        let others = std::env::var("PATH").unwrap_or_default();
        self.path = Some(format!("{}:{others}", folder.display()));
        Ok(())
    }

    /// Runs any verb in the stage's folder, where the tools are found.
    async fn output(&self, arguments: &[&str]) -> Result<Output> {
        let path = self.path.as_deref().map(|path| ("PATH", path));
        let environment: Vec<_> = path.into_iter().collect();
        self.world.lockstep_as(&self.folder, arguments, &environment).await
    }

    /// Runs any verb in the stage's folder.
    ///
    /// # Errors
    /// If it does not end.
    pub async fn lockstep(&self, arguments: &[&str]) -> Result<Played> {
        let output = self.output(arguments).await?;
        let text = [output.stderr, output.stdout].concat();
        let text = String::from_utf8_lossy(&text).into_owned();
        Ok(Played { code: output.status.code(), text })
    }

    /// Waits until a Deployment runs this image and nothing else, in whole.
    ///
    /// # Errors
    /// If it does not within a minute.
    pub async fn steady(&self, namespace: &str, name: &str, image: &str) -> Result<()> {
        self.steady_in(self.cluster, namespace, name, image).await
    }

    /// The same, in a cluster of its own.
    ///
    /// # Errors
    /// If it does not within a minute.
    pub async fn steady_in(
        &self,
        cluster: &Cluster,
        namespace: &str,
        name: &str,
        image: &str,
    ) -> Result<()> {
        let is_so = |seen: &Value| {
            let (status, wanted) = (&seen["status"], &seen["spec"]["replicas"]);
            let whole = ["replicas", "updatedReplicas", "availableReplicas"];
            let steady = seen["spec"]["template"]["spec"]["containers"][0]["image"] == image
                && status["observedGeneration"] == seen["metadata"]["generation"]
                && whole.iter().all(|count| status[count] == *wanted);
            steady.then_some(())
        };
        cluster.sees("is steady", &["deployment", name, "-n", namespace], is_so).await
    }
}
