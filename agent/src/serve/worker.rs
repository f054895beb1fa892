//! One workflow's agent: holds its lock, and takes part in its runs, debts first.

use std::collections::{BTreeSet, VecDeque};

use lockstep_agent_core::{Ending, Standing, UndoMark, debt::Known};
use lockstep_bus::ReadError;
use lockstep_shared::id::{RunKey, WorkflowName};
use tokio::{sync::watch, task::JoinSet};
use tokio_util::sync::CancellationToken;

use super::{
    AgentError, Base, RunEnd,
    discover::{Discovery, Found},
    owed,
    ready::Readiness,
    standby,
};
use crate::{
    run::{Board, Post, RunError, Turn, take_part},
    state::{Home, Mark},
    undo::Records,
};

/// How many ended runs are remembered, lest they are begun again before a coordinator closes them.
const MAX_ENDED: usize = 1000;

/// How many runs one workflow takes part in at a time: its debts, oldest first, and a newer run.
/// Further debts follow as places become free.
const MAX_RUNS: usize = 16;

/// How many of these may be debts: whatever is owed, a newer run can begin, if only to fail in
/// prepare and say why.
const MAX_DEBTS: usize = MAX_RUNS - 1;

/// One workflow's agent.
pub(super) struct Worker {
    base: Base,
    workflow: WorkflowName,
    stop: CancellationToken,
    board: Board,
    turn: Turn,
    runs: JoinSet<(RunKey, Result<Ending, RunError>)>,
    /// The looks for debts in clusters; one at a time in each, since one that is away is asked again.
    looks: JoinSet<Option<Home>>,
    looking: BTreeSet<Option<Home>>,
    /// What was seen of the records there.
    noted: watch::Receiver<Records>,
    active: BTreeSet<RunKey>,
    ended: VecDeque<RunKey>,
    /// Ended runs that another agent took over, or whose records could not be settled; they are
    /// looked at again before the next run.
    unsettled: BTreeSet<RunKey>,
}

impl Worker {
    pub(super) fn new(base: Base, workflow: WorkflowName, stop: &CancellationToken) -> Self {
        let board = Board::new();
        Self {
            noted: board.noted().watch(),
            base,
            workflow,
            stop: stop.child_token(),
            board,
            turn: Turn::default(),
            runs: JoinSet::new(),
            looks: JoinSet::new(),
            looking: BTreeSet::new(),
            active: BTreeSet::new(),
            ended: VecDeque::new(),
            unsettled: BTreeSet::new(),
        }
    }

    /// Takes part in every run until it is told to stop.
    pub(super) async fn serve(mut self) -> Result<(), AgentError> {
        let Some(_lock) = standby::lock(&self.base, &self.workflow, &self.stop).await? else {
            return Ok(());
        };
        let mut discovery = Discovery::begin(self.base.clone(), self.workflow.clone()).await;
        self.begin_debts()?;
        let result = self.work(&mut discovery).await;
        // Also when it cannot go on, no run is left without a word in the log.
        self.stop.cancel();
        self.wait_for_all().await.and(result)
    }

    async fn work(&mut self, discovery: &mut Discovery) -> Result<(), AgentError> {
        let mut readiness = Readiness::new(&self.base, &self.workflow);
        loop {
            tokio::select! {
                ready = readiness.next() => {
                    ready.map_err(|source| self.blind(source))?;
                    tracing::info!(
                        pipeline = %self.base.options.pipeline, workflow = %self.workflow,
                        instance = self.base.instance, "ready"
                    );
                }
                found = discovery.next() => {
                    self.found(found.map_err(|source| self.blind(source))?);
                }
                Some(ended) = self.runs.join_next() => {
                    self.ended(ended?)?;
                }
                Some(looked) = self.looks.join_next() => {
                    self.looking.remove(&looked?);
                }
                Ok(()) = self.noted.changed() => self.begin_noted(),
                () = self.stop.cancelled() => return Ok(()),
            }
        }
    }

    /// Takes part in one run, and settles what stands in its way.
    pub(super) async fn take_part(mut self, key: RunKey) -> Result<RunEnd, AgentError> {
        let Some(_lock) = standby::lock(&self.base, &self.workflow, &self.stop).await? else {
            return Ok(RunEnd::Left);
        };
        self.begin_debts()?;
        self.begin(key.clone());
        let mut standings = self.board.watch();
        let end = loop {
            tokio::select! {
                Some(looked) = self.looks.join_next() => {
                    self.looking.remove(&looked?);
                }
                Ok(()) = self.noted.changed() => self.begin_noted(),
                ended = self.runs.join_next() => {
                    let Some(ended) = ended else { return Ok(RunEnd::Left) };
                    if let Some((_, ending)) = self.ended(ended?)?.filter(|(run, _)| *run == key) {
                        break RunEnd::of(&ending);
                    }
                }
                Ok(_) = standings.wait_for(|all| matches!(all.get(&key), Some(Standing::Owing(_)))) => {
                    break RunEnd::RollbackIncomplete;
                }
            }
        };
        // Debts that only an operator can settle wait for the next agent, this run's own included.
        self.stop.cancel();
        self.wait_for_all().await?;
        Ok(end)
    }

    fn blind(&self, source: ReadError) -> AgentError {
        let (workflow, pipeline) = (&self.workflow, &self.base.options.pipeline);
        let what = format!("the agent of {workflow} cannot learn of the runs of {pipeline}");
        AgentError::Log { what, source: Box::new(source) }
    }

    /// Joins the runs that something may still be owed from: what is left undone comes first.
    fn begin_debts(&mut self) -> Result<(), AgentError> {
        let records = self.base.state.undo_records(&self.base.options.pipeline, &self.workflow)?;
        for record in records.into_iter().filter(|record| record.mark != Mark::Settled) {
            if self.active.len() >= MAX_DEBTS {
                break;
            }
            self.begin(record.key);
        }
        let options = &self.base.options;
        let homes = self.base.state.homes(&options.pipeline, &self.workflow)?;
        let here = options.kubernetes.is_configured().then_some(None);
        for home in here.into_iter().chain(homes.into_iter().map(Some)) {
            if self.looking.insert(home.clone()) {
                let (base, workflow) = (self.base.clone(), self.workflow.clone());
                let look = owed::in_cluster(base, workflow, home.clone(), self.board.noted());
                self.looks.spawn(async move {
                    look.await;
                    home
                });
            }
        }
        Ok(())
    }

    /// The same for what a look at the cluster has shown.
    fn begin_noted(&mut self) {
        let noted = self.noted.borrow_and_update().clone();
        for known in noted.into_values().filter(|known| known.mark != UndoMark::Settled) {
            if self.active.len() >= MAX_DEBTS {
                break;
            }
            self.begin(known.run);
        }
    }

    fn found(&mut self, found: Found) {
        match found {
            Found::Admitted(key) => self.begin_next(key),
            // The others wait for it: they are queued, and the bell will tell.
            Found::Open(open) => {
                if let Some(key) = open.into_iter().find(|key| !self.ended.contains(key)) {
                    self.begin_next(key);
                }
            }
        }
    }

    /// Begins a run, and looks again at those that are not settled here: it stands in this run's way
    /// until that has been read and done.
    fn begin_next(&mut self, key: RunKey) {
        if !self.active.contains(&key) && !self.ended.contains(&key) {
            for earlier in std::mem::take(&mut self.unsettled) {
                self.ended.retain(|ended| *ended != earlier);
                self.board.forget(&earlier);
                self.begin(earlier);
            }
        }
        self.begin(key);
    }

    fn begin(&mut self, key: RunKey) {
        if self.active.contains(&key) || self.ended.contains(&key) {
            return;
        }
        if self.active.len() >= MAX_RUNS {
            tracing::warn!(run = %key.run, workflow = %self.workflow, "too many runs are open at once");
            return;
        }
        let post = Post {
            bus: self.base.bus.clone(),
            options: self.base.options.clone(),
            workflow: self.workflow.clone(),
            instance: self.base.instance.clone(),
            state: self.base.state.clone(),
            clock: self.base.clock,
            board: self.board.clone(),
            turn: self.turn.clone(),
        };
        self.active.insert(key.clone());
        let leave = self.stop.clone();
        self.runs.spawn(async move {
            let ended = take_part(post, key.clone(), leave).await;
            (key, ended)
        });
    }

    fn ended(
        &mut self,
        (key, ended): (RunKey, Result<Ending, RunError>),
    ) -> Result<Option<(RunKey, Ending)>, AgentError> {
        let ending = ended.map_err(|error| AgentError::of(error, &self.workflow))?;
        self.active.remove(&key);
        self.board.forget_settled(&key);
        let owed = |known: &Known| known.run == key && known.mark == UndoMark::Started;
        let is_owed = self.noted.borrow().values().any(owed);
        if is_owed || matches!(ending, Ending::Superseded { .. }) {
            self.unsettled.insert(key.clone());
        }
        if self.ended.len() == MAX_ENDED {
            self.ended.pop_front();
        }
        self.ended.push_back(key.clone());
        if !self.stop.is_cancelled() {
            self.begin_debts()?;
        }
        Ok(Some((key, ending)))
    }

    /// Every run leaves by itself, in its own limited time.
    async fn wait_for_all(&mut self) -> Result<(), AgentError> {
        while let Some(ended) = self.runs.join_next().await {
            self.ended(ended?)?;
        }
        Ok(())
    }
}
