//! A private nats-server with a scribe, agents, and plans to carry out.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    process::{Child, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use lockstep_agent::{
    AgentError, Options, RunEnd,
    kubernetes::client::Access,
    state::{Mark, StateDirectory, UndoRecord},
};
use lockstep_bus::{Bus, DevServer, StreamOptions};
use lockstep_shared::{
    fold::RunFold,
    id::{RunKey, WorkflowName},
    plan::{
        Action, Barrier, Command, Concurrency, OnFailure, PROTOCOL, Plan, Probe, RunCommand, Step,
        Target, Timeouts, Undo, Verify, Workflow,
    },
    record::{Record, RunResult},
    subject::Family,
    time::{Span, Timestamp},
};
use rustix::process::{Pid, Signal};
use tempfile::TempDir;
use tokio::{
    task::{JoinHandle, JoinSet},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use crate::scribe::{self, Scribe};

/// How long anything may take on a busy machine.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

pub(crate) fn soon() -> Instant {
    Instant::now() + Duration::from_secs(10)
}

fn small_streams() -> StreamOptions {
    StreamOptions { replicas: 1, log_max_bytes: 64 << 20, bundle_max_bytes: 64 << 20 }
}

/// A server, a scribe and a folder; everything is gone when it is dropped.
pub(crate) struct World {
    pub(crate) nats: DevServer,
    pub(crate) bus: Bus,
    pub(crate) scribe: Scribe,
    folder: TempDir,
    tasks: JoinSet<()>,
}

impl World {
    /// A world whose scribe writes the verdicts down.
    pub(crate) async fn new() -> Result<Self> {
        let mut world = Self::without_verdicts().await?;
        world.scribe.begin(&world.bus, &mut world.tasks);
        Ok(world)
    }

    /// A world with the real coordinator.
    pub(crate) async fn coordinated() -> Result<Self> {
        let mut world = Self::without_verdicts().await?;
        let bus = Bus::connect(&world.nats.connection(), "coordinator", LIMIT).await?;
        world.tasks.spawn(async move {
            let options = lockstep_coordinator::Options {
                streams: small_streams(),
                instance: "test".to_owned(),
            };
            let forever = CancellationToken::new();
            lockstep_coordinator::run(&bus, &options, &forever).await.unwrap();
        });
        Ok(world)
    }

    async fn without_verdicts() -> Result<Self> {
        // The first world of a process decides; all decide the same.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let nats = DevServer::start().await?;
        let bus = Bus::connect(&nats.connection(), "test", LIMIT).await?;
        bus.ensure_streams(&small_streams(), soon()).await?;
        let folder = tempfile::tempdir()?;
        Ok(Self { nats, bus, scribe: Scribe::default(), folder, tasks: JoinSet::new() })
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What a command wrote into the working directory.
    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder().join(name)).unwrap_or_default()
    }

    pub(crate) fn options(&self, workflows: &[&str], state: &str) -> Options {
        Options {
            pipeline: "shop".parse().unwrap(),
            workflows: workflows.iter().map(|name| name.parse().unwrap()).collect(),
            state_dir: self.folder().join(state),
            instance: None,
            allow_commands: true,
            workdir: self.folder().to_owned(),
            cluster: None,
            kubernetes: Access::default(),
            degrade_grace: Duration::from_millis(300),
            evidence: Default::default(),
            undo_history: lockstep_agent::UNDO_HISTORY,
            traceparent: None,
            version: lockstep_agent::VERSION.to_owned(),
        }
    }

    /// An agent in this process, on a connection of its own.
    pub(crate) async fn serve(&self, options: Options) -> Result<Serving> {
        let bus = Bus::connect(&self.nats.connection(), "agent", LIMIT).await?;
        let stop = CancellationToken::new();
        let task = tokio::spawn(lockstep_agent::serve(options, bus, stop.clone()));
        Ok(Serving { task, stop })
    }

    /// An agent for one run in this process.
    pub(crate) async fn run(
        &self,
        options: Options,
        key: &RunKey,
    ) -> Result<JoinHandle<Result<RunEnd, AgentError>>> {
        let bus = Bus::connect(&self.nats.connection(), "agent", LIMIT).await?;
        let stop = CancellationToken::new();
        Ok(tokio::spawn(lockstep_agent::run(options, key.run.clone(), bus, stop)))
    }

    /// The agent's program, with its log in the world's folder.
    pub(crate) fn process(&self, name: &str, state: &str, workflows: &[&str]) -> Result<Process> {
        let path = self.folder().join(format!("{name}.log"));
        let log = std::fs::File::create(&path)?;
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_lockstep-agent"));
        command
            .args(["serve", "--pipeline", "shop", "--allow-commands", "--state-dir"])
            .arg(self.folder().join(state))
            .args(["--degrade-grace", "300ms"])
            .args(workflows.iter().map(|name| format!("--workflow={name}")))
            .env("NATS_URL", self.nats.url())
            .env("LOCKSTEP_LOG", "info,lockstep_agent=debug")
            .current_dir(self.folder())
            .stdin(Stdio::null())
            .stderr(log);
        Ok(Process { child: command.spawn()?, log: path })
    }

    /// Puts a plan into the log.
    pub(crate) async fn submit(&self, run: &str, plan: Plan) -> Result<RunKey> {
        let key = RunKey { pipeline: plan.pipeline.clone(), run: run.parse()? };
        let record = Record::Plan { plan: Box::new(plan), submitted_by: "test".to_owned() };
        scribe::append(&self.bus, &key, Family::Plan.slot(1), record).await?;
        self.scribe.add(&key);
        Ok(key)
    }

    /// Leaves an undo record of the backend from a run that the log does not hold any more.
    pub(crate) fn owe(&self, state: &str, run: &str, plan: &Plan) -> Result<RunKey> {
        let workflow: WorkflowName = "backend".parse()?;
        let key = RunKey { pipeline: plan.pipeline.clone(), run: run.parse()? };
        let (params, planned) = (plan.params.clone(), plan.workflows[&workflow].clone());
        let mut record =
            UndoRecord::prepared(key.clone(), workflow, 1, Timestamp(1), params, planned);
        record.mark = Mark::Started;
        StateDirectory::open(&self.folder().join(state))?.save_undo(&record)?;
        Ok(key)
    }

    /// Appends what an operator asks for.
    pub(crate) async fn request(&self, key: &RunKey, record: Record) -> Result<()> {
        let slot = scribe::read(&self.bus, key).await?.next_slot(&Family::Request);
        scribe::append(&self.bus, key, slot, record).await
    }

    /// The run as soon as `is_so`.
    pub(crate) async fn until(
        &self,
        key: &RunKey,
        what: &str,
        is_so: impl Fn(&RunFold) -> bool,
    ) -> Result<RunFold> {
        let end = Instant::now() + LIMIT;
        loop {
            // A server that is being restarted does not answer.
            let fold = scribe::read(&self.bus, key).await;
            if let Ok(fold) = &fold
                && is_so(fold)
            {
                return Ok(fold.clone());
            }
            if Instant::now() > end {
                bail!("waited {LIMIT:?} until {what}; last seen: {fold:#?}");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// How the run ended, once it has.
    pub(crate) async fn closed(&self, key: &RunKey) -> Result<(RunResult, RunFold)> {
        let fold = self.until(key, "the run is closed", |fold| fold.closed().is_some()).await?;
        let result = fold.closed().context("it is closed")?.result;
        Ok((result, fold))
    }

    /// Waits until a command wrote this into a file of the working directory.
    pub(crate) async fn wrote(&self, name: &str, text: &str) -> Result<()> {
        let end = Instant::now() + LIMIT;
        while !self.read(name).contains(text) {
            if Instant::now() > end {
                bail!("{name} does not hold {text:?} after {LIMIT:?}, but {:?}", self.read(name));
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }
}

/// An agent in this process.
pub(crate) struct Serving {
    task: JoinHandle<Result<(), AgentError>>,
    stop: CancellationToken,
}

impl Serving {
    /// As SIGTERM does.
    pub(crate) async fn stop(self) -> Result<()> {
        self.stop.cancel();
        tokio::time::timeout(LIMIT, self.task).await.context("the agent does not end")???;
        Ok(())
    }
}

/// An agent's process; killed when dropped.
pub(crate) struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        let id = i32::try_from(self.child.id())?;
        let id = Pid::from_raw(id).context("a process id is positive")?;
        rustix::process::kill_process(id, signal)?;
        Ok(())
    }

    /// `kill -9`, and wait until it is gone.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Its exit code, once it ended.
    pub(crate) async fn exit(&mut self) -> Result<Option<i32>> {
        let end = Instant::now() + LIMIT;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status.code());
            }
            if Instant::now() > end {
                bail!("the agent runs after {LIMIT:?}: {}", self.log());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    pub(crate) async fn logged(&self, text: &str) -> Result<()> {
        let end = Instant::now() + LIMIT;
        while !self.log().contains(text) {
            if Instant::now() > end {
                bail!("the agent did not log {text:?} within {LIMIT:?}: {}", self.log());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}

/// A plan of the pipeline `shop` with these workflows of command steps; every barrier that two of
/// them name is declared.
pub(crate) fn plan(workflows: &[(&str, Vec<Step>)]) -> Plan {
    let mut barriers: BTreeMap<_, Barrier> = BTreeMap::new();
    for (name, steps) in workflows {
        for step in steps {
            if let Action::Barrier(id) = &step.action {
                let barrier = barriers.entry(id.clone()).or_insert_with(|| Barrier {
                    title: None,
                    timeout: Span::minutes(10),
                    workflows: BTreeSet::new(),
                    foreign: BTreeSet::new(),
                    waived: BTreeSet::new(),
                });
                barrier.workflows.insert(name.parse().unwrap());
            }
        }
    }
    let workflow = |steps: &Vec<Step>| Workflow {
        target: Target::Command {},
        steps: steps.clone(),
        waived: false,
        waived_steps: Vec::new(),
        bundle: None,
    };
    Plan {
        protocol: PROTOCOL,
        pipeline: "shop".parse().unwrap(),
        params: [("version".to_owned(), "v2".to_owned())].into(),
        on_failure: OnFailure::RollbackAll,
        concurrency: Concurrency::Refuse,
        plan_only: false,
        narrowed: false,
        timeouts: Timeouts::default(),
        barriers,
        workflows: workflows
            .iter()
            .map(|(name, steps)| (name.parse::<WorkflowName>().unwrap(), workflow(steps)))
            .collect(),
        skipped_checks: BTreeSet::new(),
        from_run: None,
    }
}

fn step(name: &str, action: Action) -> Step {
    Step { name: name.to_owned(), action, timeout: Span::seconds(30), retries: 0, tolerated: false }
}

/// A command and what undoes it.
pub(crate) fn run(name: &str, command: &str, undo: Option<&str>) -> Step {
    let shell = |text: &str| Command::Shell(text.to_owned());
    let spec = RunCommand {
        command: shell(command),
        undo: undo.map(|text| Undo::Command(shell(text))),
        env: BTreeMap::new(),
        workdir: None,
        idempotent: false,
    };
    step(name, Action::Run(spec))
}

/// The same, and it may be begun again.
pub(crate) fn idempotent(mut step: Step) -> Step {
    if let Action::Run(spec) = &mut step.action {
        spec.idempotent = true;
    }
    step
}

/// A question by a command that must be right for 100 ms.
pub(crate) fn verify(name: &str, command: &str) -> Step {
    let probe = Probe::Command(Command::Shell(command.to_owned()));
    step(name, Action::Verify(Verify { probe, hold: Span(100), interval: Span(50) }))
}

pub(crate) fn wait(name: &str, span: Span) -> Step {
    step(name, Action::Wait(span))
}

pub(crate) fn barrier(id: &str) -> Step {
    let mut step = step(id, Action::Barrier(id.parse().unwrap()));
    step.timeout = Span(0);
    step
}
