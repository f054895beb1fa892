//! A private server, coordinators as tasks, and runs whose agents the test plays.

use std::{collections::BTreeMap, future::Future, time::Duration};

use anyhow::{Context, Result, bail};
use lockstep_bus::{Appended, Bus, DevServer, StreamOptions};
use lockstep_coordinator::Options;
use lockstep_shared::{
    codec::{self, Entry},
    fold::RunFold,
    id::{BarrierId, PartyName, RunKey, Sequence, WorkflowName},
    plan::{
        Action, Barrier, Command, Concurrency, OnFailure, Plan, RunCommand, Step, Target, Timeouts,
        Workflow,
    },
    record::{Record, RunResult},
    source::Source,
    subject::Family,
    time::{Span, Timestamp},
};
use tokio::{
    task::{AbortHandle, JoinSet},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

/// How long anything in these tests may take, on a busy machine.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);

pub(crate) struct World {
    pub(crate) server: DevServer,
    pub(crate) bus: Bus,
    coordinators: JoinSet<()>,
}

/// A coordinator that is killed when it is told to, or with the world.
pub(crate) struct Running(AbortHandle);

impl Running {
    /// Ends it between two instructions, as `kill -9` does.
    pub(crate) fn kill(self) {
        self.0.abort();
    }
}

impl World {
    pub(crate) async fn new() -> Result<Self> {
        let server = DevServer::start().await?;
        let bus = Bus::connect(&server.connection(), "test", LIMIT).await?;
        bus.ensure_streams(&small_streams(), limit()).await?;
        Ok(Self { server, bus, coordinators: JoinSet::new() })
    }

    pub(crate) async fn coordinator(&mut self, name: &str) -> Result<Running> {
        let bus = Bus::connect(&self.server.connection(), name, LIMIT).await?;
        let options = Options { streams: small_streams(), instance: name.to_owned() };
        Ok(Running(self.coordinators.spawn(async move {
            let forever = CancellationToken::new();
            lockstep_coordinator::run(&bus, &options, &forever).await.unwrap();
        })))
    }

    /// Submits a plan and returns the hand that plays its agents.
    pub(crate) async fn submit(&self, run: &str, plan: Plan) -> Result<Hand> {
        let mut hand = Hand {
            bus: self.bus.clone(),
            key: RunKey { pipeline: plan.pipeline.clone(), run: run.parse()? },
            names: plan.workflows.keys().cloned().collect(),
            slots: BTreeMap::new(),
        };
        let record = Record::Plan { plan: Box::new(plan), submitted_by: "ada".to_owned() };
        hand.write(Family::Plan, record).await?;
        Ok(hand)
    }

    /// A run that is admitted, joined and prepared.
    pub(crate) async fn prepared(&self, run: &str, plan: Plan) -> Result<Hand> {
        let mut hand = self.submit(run, plan).await?;
        hand.prepare().await?;
        Ok(hand)
    }
}

/// Everybody of one run but its coordinators.
pub(crate) struct Hand {
    bus: Bus,
    pub(crate) key: RunKey,
    names: Vec<WorkflowName>,
    slots: BTreeMap<Family, u32>,
}

impl Hand {
    /// Writes the next slot of a family as whoever writes there.
    pub(crate) async fn write(&mut self, family: Family, record: Record) -> Result<Sequence> {
        let number = self.slots.entry(family.clone()).or_default();
        *number += 1;
        let slot = family.clone().slot(*number);
        let pipeline = self.key.pipeline.clone();
        let source = match &family {
            Family::Plan => Source::Submitter("ada".to_owned()),
            Family::Request => Source::Operator("ada".to_owned()),
            Family::Workflow(workflow) => Source::Agent(pipeline, workflow.clone(), "i".to_owned()),
            Family::Party(_, party) => Source::Party(pipeline, party.clone(), "i".to_owned()),
            other => bail!("{other} is the coordinator's"),
        };
        let subjects = self.bus.subjects();
        let draft =
            codec::encode(subjects, &self.key, &slot, &record, &source, Timestamp(0), None)?;
        match self.bus.append(&draft, limit()).await? {
            Appended::Stored(seq) => Ok(seq),
            Appended::Taken(entry) => bail!("{slot} is taken by {entry:?}"),
        }
    }

    /// Takes it that nobody has written at a barrier: the log was restored.
    pub(crate) fn forget(&mut self, barrier: &str) -> Result<()> {
        let forgotten: BarrierId = barrier.parse()?;
        self.slots.retain(|family, _| !matches!(family, Family::Party(id, _) if *id == forgotten));
        Ok(())
    }

    pub(crate) async fn own(&mut self, name: &str, record: Record) -> Result<Sequence> {
        self.write(Family::Workflow(name.parse()?), record).await
    }

    pub(crate) async fn arrive(&mut self, barrier: &str, party: &str) -> Result<Sequence> {
        let family = Family::Party(barrier.parse()?, party.parse::<PartyName>()?);
        let epoch = self.names.iter().any(|name| name.as_str() == party).then_some(1);
        let record = Record::Arrived { epoch, view: None, by: None, message: None, link: None };
        self.write(family, record).await
    }

    pub(crate) async fn start(&mut self, name: &str) -> Result<Sequence> {
        self.own(name, Record::StepStarted { epoch: 1, step: 0, attempt: 1 }).await
    }

    pub(crate) async fn fail(&mut self, name: &str) -> Result<Sequence> {
        let (error, output) = ("exit status 1".to_owned(), "boom".to_owned());
        self.own(name, Record::Failed { epoch: 1, step: Some(0), error, output }).await
    }

    pub(crate) async fn prepare(&mut self) -> Result<()> {
        let admitted = |fold: &RunFold| {
            matches!(fold.admission(), lockstep_shared::fold::Admission::Admitted(_)).then_some(())
        };
        self.wait("admitted", admitted).await?;
        for name in self.names.clone() {
            let (instance, version) = ("i".to_owned(), "v".to_owned());
            self.own(name.as_str(), Record::Joined { instance, version }).await?;
        }
        for name in self.names.clone() {
            self.arrive("_prepare", name.as_str()).await?;
        }
        self.released("_prepare").await?;
        Ok(())
    }

    /// Commits a prepared run and finalizes everybody.
    pub(crate) async fn finish(&mut self) -> Result<RunResult> {
        for name in self.names.clone() {
            self.arrive("_commit", name.as_str()).await?;
        }
        self.wait("decided", |fold| fold.recorded().map(|_| ())).await?;
        self.finalize().await?;
        self.closed().await
    }

    pub(crate) async fn finalize(&mut self) -> Result<()> {
        for name in self.names.clone() {
            let warnings = Vec::new();
            let record = Record::Finalized { epoch: 1, degraded: None, warnings };
            self.own(name.as_str(), record).await?;
        }
        Ok(())
    }

    pub(crate) async fn roll_back(&mut self, name: &str) -> Result<Sequence> {
        let record = Record::RolledBack {
            epoch: 1,
            residue: Vec::new(),
            accepted: false,
            output: String::new(),
        };
        self.own(name, record).await
    }

    /// Waits for a barrier's verdict; the record that it names, and whether it is a release.
    pub(crate) async fn released(&self, barrier: &str) -> Result<Sequence> {
        let id: BarrierId = barrier.parse()?;
        let recorded = |fold: &RunFold| fold.barriers()[&id].recorded.clone();
        let verdict = self.wait(&format!("{barrier} released"), recorded).await?;
        anyhow::ensure!(verdict.cause.is_none(), "{barrier} was aborted: {verdict:?}");
        Ok(verdict.at)
    }

    pub(crate) async fn closed(&self) -> Result<RunResult> {
        self.wait("closed", |fold| fold.closed().map(|closed| closed.result)).await
    }

    pub(crate) async fn entries(&self) -> Result<Vec<Entry>> {
        let filter = [self.bus.subjects().run(&self.key)];
        Ok(self.bus.read(&filter, 0, limit()).await?.entries)
    }

    pub(crate) async fn fold(&self) -> Result<RunFold> {
        let mut fold = RunFold::new(self.key.clone());
        for entry in self.entries().await? {
            fold.apply(&entry);
        }
        Ok(fold)
    }

    /// Waits until the log says something of the run.
    pub(crate) async fn wait<T>(
        &self,
        what: &str,
        probe: impl Fn(&RunFold) -> Option<T>,
    ) -> Result<T> {
        let probe = &probe;
        eventually(&format!("{}: {what}", self.key), || async move {
            let fold = self.fold().await.map_err(|error| error.to_string())?;
            probe(&fold).ok_or_else(|| format!("#{}, {:?}", fold.position(), fold.decision()))
        })
        .await
    }

    /// The subjects behind the run of everything that coordinators wrote, in order.
    pub(crate) async fn written_by_coordinators(&self) -> Result<Vec<String>> {
        let theirs = |entry: &Entry| {
            let source = entry.content.as_ref().ok().map(|stated| &stated.source);
            matches!(source, Some(Source::Coordinator(_)))
        };
        let entries = self.entries().await?.into_iter().filter(theirs);
        Ok(entries.map(|entry| entry.slot.to_string()).collect())
    }
}

pub(crate) fn small_streams() -> StreamOptions {
    StreamOptions { replicas: 1, log_max_bytes: 64 << 20, bundle_max_bytes: 64 << 20 }
}

pub(crate) fn limit() -> Instant {
    Instant::now() + LIMIT
}

/// A plan from lines like `("backend", "deploy @BE @FE")`: `@` marks a barrier, all else a command.
pub(crate) fn plan(lines: &[(&str, &str)]) -> Plan {
    let mut barriers: BTreeMap<BarrierId, Barrier> = BTreeMap::new();
    let mut workflows = BTreeMap::new();
    for (name, words) in lines {
        let steps: Vec<Step> = words.split_whitespace().map(step).collect();
        for step in &steps {
            if let Action::Barrier(id) = &step.action {
                let declared = barriers.entry(id.clone()).or_insert_with(open_barrier);
                declared.workflows.insert(name.parse().unwrap());
            }
        }
        let waived_steps = Vec::new();
        let target = Target::Command {};
        let taking_part = Workflow { target, steps, waived: false, waived_steps, bundle: None };
        workflows.insert(name.parse().unwrap(), taking_part);
    }
    Plan {
        protocol: 1,
        pipeline: "shop".parse().unwrap(),
        params: BTreeMap::new(),
        on_failure: OnFailure::RollbackAll,
        concurrency: Concurrency::Queue,
        plan_only: false,
        narrowed: false,
        timeouts: Timeouts::default(),
        barriers,
        workflows,
        skipped_checks: Default::default(),
        from_run: None,
    }
}

fn step(word: &str) -> Step {
    let action = match word.strip_prefix('@') {
        Some(id) => Action::Barrier(id.parse().unwrap()),
        None => Action::Run(RunCommand {
            command: Command::Shell(word.to_owned()),
            undo: None,
            env: BTreeMap::new(),
            workdir: None,
            idempotent: false,
        }),
    };
    let timeout = Span::minutes(5);
    Step { name: word.to_owned(), action, timeout, retries: 0, tolerated: false }
}

fn open_barrier() -> Barrier {
    Barrier {
        title: None,
        timeout: Span::minutes(10),
        workflows: Default::default(),
        foreign: Default::default(),
        waived: Default::default(),
    }
}

pub(crate) fn reference() -> Plan {
    plan(&[("backend", "deploy @BE @FE"), ("frontend", "@BE deploy @FE")])
}

/// Polls until `check` gives something; an error says what was last seen.
pub(crate) async fn eventually<T, F>(what: &str, mut check: impl FnMut() -> F) -> Result<T>
where
    F: Future<Output = std::result::Result<T, String>>,
{
    let deadline = limit();
    loop {
        match check().await {
            Ok(value) => return Ok(value),
            Err(seen) if Instant::now() > deadline => bail!("{what}: last seen: {seen}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

pub(crate) async fn in_time<T>(what: &str, future: impl Future<Output = T>) -> Result<T> {
    tokio::time::timeout(LIMIT, future).await.with_context(|| format!("{what} took too long"))
}
