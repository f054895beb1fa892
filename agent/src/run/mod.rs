//! One workflow in one run: the loop between the core, the log and the target.
//!
//! Its `select!` only finds out what happened; the core is called in one place; its decisions are
//! carried out in their order: save, send, act, wake. A start and a resume are the same.

mod act;
mod append;
mod board;
mod carry;
mod clock;
mod history;
mod next;
mod reading;
mod seat;
mod setup;
mod target;
mod view;
mod windows;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use lockstep_agent_core::{Agent, Ending, Event, PlanFound, Standing, debt::Debt};
use lockstep_bus::{Bell, Bus, Gate, ReadError, beat::Beats};
use lockstep_shared::{
    id::{RunKey, WorkflowName},
    source::Source,
    subject::Family,
};
use tokio::time::{Instant, Interval, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

pub(crate) use act::Turn;
pub(crate) use board::Board;
use board::Standings;
pub(crate) use clock::Clock;

use self::{act::Acts, append::Pen, history::History, next::Happened, reading::Reader};
use crate::{
    command::{Question, permits},
    kubernetes::lease,
    serve::Options,
    state::StateDirectory,
    undo::{StoreError, UndoStore},
};

/// How often an agent says that it is alive.
const BEAT: Duration = Duration::from_secs(5);

/// How long a workflow may take to leave once the agent was asked to end: a command has 5 s to
/// end itself and 5 s to be killed, and then Left has to reach the log.
const LEAVE_LIMIT: Duration = Duration::from_secs(20);

/// How long giving up a cluster's lock may take at the end; it runs out by itself.
const RELEASE_LIMIT: Duration = Duration::from_secs(5);

/// How soon the core is called again if it named no instant although its work is not over.
const AT_THE_LATEST: Duration = Duration::from_secs(5);

/// What all runs of one workflow share. Its lock is held for as long as this exists.
#[derive(Clone)]
pub(crate) struct Post {
    pub(crate) bus: Bus,
    pub(crate) options: Arc<Options>,
    pub(crate) workflow: WorkflowName,
    pub(crate) instance: String,
    pub(crate) state: StateDirectory,
    pub(crate) clock: Clock,
    pub(crate) board: Board,
    pub(crate) turn: Turn,
}

/// Why an agent cannot go on with a run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunError {
    #[error(transparent)]
    Undo(#[from] StoreError),
    #[error("the log of run {key} cannot be read")]
    Read { key: RunKey, source: ReadError },
}

/// Takes part in a run until nothing is left to do for this workflow and the run is closed, or,
/// after `leave` was cancelled, until it has left.
pub(crate) async fn take_part(
    post: Post,
    key: RunKey,
    leave: CancellationToken,
) -> Result<Ending, RunError> {
    let read = |source| RunError::Read { key: key.clone(), source };
    // Before the first look at the debt, so that no change of it is missed.
    let debts = post.board.watch();
    // Before the first look at the log, so that no connection is missed.
    let (bell, gate) = (post.bus.bell(), Gate::new(&post.bus));
    let known = setup::read(&post, &key);
    let history = async { History::begin(&post.bus, gate).await.map_err(read) };
    let (known, history) = tokio::select! {
        set_up = async { tokio::try_join!(known, history) } => set_up?,
        () = leave.cancelled() => return Ok(Ending::Left),
    };
    tracing::info!(run = %key.run, workflow = %post.workflow, "taking part");
    RunLoop::new(post, key, known, (bell, history), debts, leave).run().await
}

/// The loop's state: the core, and what is under way for it.
struct RunLoop {
    post: Post,
    key: RunKey,
    agent: Agent,
    pen: Pen,
    acts: Acts,
    undo: UndoStore,
    /// The cluster's side of the lock, and whether it was held when the core was last told.
    lease: tokio::sync::watch::Receiver<lease::State>,
    leased: bool,
    permits: tokio::sync::mpsc::Receiver<Question>,
    reader: Reader,
    history: History,
    appends: append::Appends,
    bell: Bell,
    heard: BTreeSet<Family>,
    beats: Option<Beats>,
    beat: Interval,
    standing: Option<Standing>,
    /// Whether the log no longer holds the run's plan.
    is_expired: bool,
    debt: Debt,
    /// How the workflow's other runs stand, one of which may be the debt.
    debts: Standings,
    /// What came of carrying out decisions, told to the core before anything else.
    at_once: std::collections::VecDeque<Event>,
    wake: Option<Instant>,
    leave: CancellationToken,
    leave_by: Option<Instant>,
}

impl RunLoop {
    fn new(
        post: Post,
        key: RunKey,
        known: setup::Known,
        (bell, history): (Bell, History),
        debts: Standings,
        leave: CancellationToken,
    ) -> Self {
        let (permit, permits) = permits();
        let source =
            Source::Agent(key.pipeline.clone(), post.workflow.clone(), post.instance.clone());
        let pen = Pen { key: key.clone(), source, traceparent: post.options.traceparent.clone() };
        let mut beat = tokio::time::interval(BEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let acts = Acts::new(&post, &key, known.planned, &known.seat, permit);
        Self {
            lease: acts.lease().watch(),
            leased: true,
            acts,
            debt: known.setup.debt.clone(),
            debts,
            undo: known.seat.undo,
            is_expired: matches!(known.setup.plan, PlanFound::Missing { .. }),
            agent: Agent::new(known.setup),
            bell,
            pen,
            permits,
            reader: Reader::default(),
            history,
            appends: append::Appends::default(),
            heard: BTreeSet::new(),
            beats: None,
            beat,
            standing: None,
            at_once: [Event::Woke].into(),
            wake: None,
            leave,
            leave_by: None,
            post,
            key,
        }
    }

    async fn run(mut self) -> Result<Ending, RunError> {
        let ended = self.work().await;
        let (lease, run) = (self.acts.lease(), self.key.run.clone());
        // An order that gives it up and is not carried on would keep everybody else from it.
        drop(self);
        if tokio::time::timeout(RELEASE_LIMIT, lease.release()).await.is_err() {
            tracing::warn!(%run, "the Lease was not given up in time");
        }
        ended
    }

    async fn work(&mut self) -> Result<Ending, RunError> {
        loop {
            match self.next().await? {
                Happened::Event(event) => {
                    // Any event may be the one after which it prepares.
                    let debt = if self.agent.minds_debts() { self.debt_moved() } else { None };
                    for event in debt.into_iter().chain([event]) {
                        let decisions = self.agent.step(event, self.post.clock.now());
                        self.carry_out(decisions).await;
                    }
                }
                Happened::TimeToBeat => self.send_beat().await,
                Happened::Asked(question) => {
                    // Who asked and is gone needs no answer.
                    let _ = question.send(self.agent.may_write(self.post.clock.now()));
                }
                Happened::Nothing => {}
                Happened::TimeToGo => {
                    tracing::warn!(
                        run = %self.key.run, workflow = %self.post.workflow,
                        "ended without having said so in the log: it did not answer in time"
                    );
                    return Ok(Ending::Left);
                }
            }
            if let Some(ending) = self.ending() {
                return Ok(ending);
            }
            self.start_reading();
        }
    }

    /// How it ended, once there is nothing left to wait for.
    fn ending(&mut self) -> Option<Ending> {
        if !self.at_once.is_empty() {
            return None;
        }
        match &self.standing {
            // Closed is waited for by who stays, and where it can still come.
            Some(Standing::Over(ending))
                if self.wake.is_none() || self.leave_by.is_some() || self.is_expired =>
            {
                Some(ending.clone())
            }
            Some(Standing::Over(_)) => None,
            _ => {
                self.wake.get_or_insert(Instant::now() + AT_THE_LATEST);
                None
            }
        }
    }

    async fn send_beat(&mut self) {
        if let Some(beat) = self.agent.beat() {
            let progress = match self.acts.progress() {
                Some(doing) => format!("{}: {doing}", beat.progress),
                None => beat.progress,
            };
            let beat = lockstep_bus::beat::Beat { epoch: beat.epoch, step: beat.step, progress };
            self.post.bus.beat(&self.key, &self.post.workflow, &beat).await;
        }
    }
}
