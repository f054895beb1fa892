//! Orders under way: begun when the core gives them, answered by one report each.

use std::sync::Arc;

use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use lockstep_agent_core::{Act, Event, Report};
use lockstep_bus::Bus;
use lockstep_shared::{
    fold,
    id::{Epoch, RunKey, StepIndex, WorkflowName},
    plan,
};
use tokio::{
    sync::{Mutex, MutexGuard},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::{
    Clock, Post,
    seat::{self, Seat},
    setup::Planned,
    target::{Commands, MAX_ERROR_BYTES, Target},
    view::View,
};
use crate::{
    command::{Permit, Setting},
    error_text,
    kubernetes::{
        lease::Lease,
        preview::Preview,
        target::{ClusterTarget, Failure, Work},
    },
    undo::UndoStore,
};

/// How long storing the view of a plan may take.
const VIEW_LIMIT: std::time::Duration = std::time::Duration::from_secs(30);

/// What is said of an order that was stopped while it waited for its turn.
const NOT_BEGUN: &str = "it was stopped before it began";

/// The orders of one run that are under way.
pub(super) struct Acts {
    doer: Doer,
    under_way: FuturesUnordered<BoxFuture<'static, Option<Event>>>,
    stop: CancellationToken,
    unwatch: CancellationToken,
    lease: Lease,
}

/// Whose turn it is: one thing at a time is done to a target, whichever of its workflow's runs
/// orders it. What was stopped ends before the next begins, and what is found left over while one
/// has the turn is no living command of this process.
pub(crate) type Turn = Arc<Mutex<()>>;

/// What it takes to carry an order out; clones share it.
#[derive(Clone)]
struct Doer {
    planned: Option<Planned>,
    target: Option<Target>,
    instance: String,
    bus: Bus,
    clock: Clock,
    turn: Turn,
}

impl Acts {
    pub(super) fn new(
        post: &Post,
        key: &RunKey,
        planned: Option<Planned>,
        seat: &Seat,
        permit: Permit,
    ) -> Self {
        let options = &post.options;
        let lease = Lease::new(post.clock);
        let cluster = planned.as_ref().and_then(|planned| {
            cluster_target(post, key, planned, seat, &permit, &lease).transpose()
        });
        let commands = planned.as_ref().map(|planned| Commands {
            workflow: planned.workflow.clone(),
            setting: Setting {
                key: key.clone(),
                workflow: post.workflow.clone(),
                params: planned.params.clone(),
                workdir: options.workdir.clone(),
                traceparent: options.traceparent.clone(),
            },
            state: post.state.clone(),
            permit,
            allow_commands: options.allow_commands,
            degrade_grace: options.degrade_grace,
        });
        let target = commands.map(|commands| Target { commands, cluster: cluster.transpose() });
        let doer = Doer {
            planned,
            target,
            instance: post.instance.clone(),
            bus: post.bus.clone(),
            clock: post.clock,
            turn: post.turn.clone(),
        };
        Self {
            doer,
            under_way: FuturesUnordered::new(),
            stop: CancellationToken::new(),
            unwatch: CancellationToken::new(),
            lease,
        }
    }

    /// What the target is doing, in one line, if it says so.
    pub(super) fn progress(&self) -> Option<String> {
        self.doer.target.as_ref()?.cluster()?.progress()
    }

    /// The cluster's side of the lock; nothing changes where there is none.
    pub(super) fn lease(&self) -> Lease {
        self.lease.clone()
    }

    /// This workflow's part of the plan, if it is known.
    pub(super) fn planned(&self) -> Option<&Planned> {
        self.doer.planned.as_ref()
    }

    /// The next order that is over, with what the core is to be told of it; cancel-safe. `None`
    /// while nothing is under way.
    pub(super) async fn next(&mut self) -> Option<Option<Event>> {
        self.under_way.next().await
    }

    /// Begins to look for an undo record once more.
    pub(super) fn recall(&mut self, undo: UndoStore, key: RunKey, workflow: WorkflowName) {
        let looked = async move { Some(Event::Recalled(seat::recall(undo, key, workflow).await)) };
        self.under_way.push(looked.boxed());
    }

    /// Begins an order, under the epoch of this incarnation.
    pub(super) fn begin(&mut self, order: Act, epoch: Epoch) {
        let (doer, stop) = (self.doer.clone(), self.stop.clone());
        let reported = |report: Report| Some(Event::Reported(report));
        self.under_way.push(match order {
            Act::Prepare => async move { reported(doer.prepare(epoch, stop).await) }.boxed(),
            Act::Start { step, attempt } => {
                async move { reported(doer.start(step, attempt, epoch, stop).await) }.boxed()
            }
            Act::Undo { step } => {
                async move { reported(doer.undo(step, epoch, stop).await) }.boxed()
            }
            Act::Finalize => async move { reported(doer.finalize(epoch, stop).await) }.boxed(),
            Act::Stop => {
                self.stop.cancel();
                self.stop = CancellationToken::new();
                async move { doer.end_left_over().await }.boxed()
            }
            Act::Watch { step } => {
                let unwatch = self.unwatch.clone();
                async move { doer.watch(step, epoch, unwatch).await }.boxed()
            }
            Act::Unwatch => {
                self.unwatch.cancel();
                self.unwatch = CancellationToken::new();
                return;
            }
            Act::DropLock => {
                let lease = self.lease.clone();
                async move {
                    lease.release().await;
                    None
                }
                .boxed()
            }
            Act::TakeLock | Act::Recall => return,
        });
    }
}

/// The run's part of a cluster; nothing for a workflow of commands.
fn cluster_target(
    post: &Post,
    key: &RunKey,
    planned: &Planned,
    seat: &Seat,
    permit: &Permit,
    lease: &Lease,
) -> Result<Option<ClusterTarget>, String> {
    let plan::Target::Kubernetes(target) = &planned.workflow.target else { return Ok(None) };
    let Some(cluster) = seat.cluster.clone()? else { return Ok(None) };
    Ok(Some(ClusterTarget::new(Work {
        cluster,
        target: target.clone(),
        key: key.clone(),
        name: post.workflow.clone(),
        workflow: planned.workflow.clone(),
        params: planned.params.clone(),
        instance: post.instance.clone(),
        bus: post.bus.clone(),
        undo: seat.undo.clone(),
        permit: permit.clone(),
        lease: lease.clone(),
        clock: post.clock,
        degrade_grace: post.options.degrade_grace,
        evidence: post.options.evidence,
    })))
}

impl Doer {
    async fn prepare(self, epoch: Epoch, stop: CancellationToken) -> Report {
        let failed = |error: String| Report::PrepareFailed { error, output: String::new() };
        let (Some(target), Some(planned)) = (&self.target, &self.planned) else {
            return failed("the plan of this run is not known".to_owned());
        };
        if let Err(error) = target.check() {
            return failed(error);
        }
        let mut preview = Preview::default();
        if let Some(cluster) = target.cluster() {
            let Some(_turn) = self.turn_unless(&stop).await else {
                return failed(NOT_BEGUN.to_owned());
            };
            match cluster.prepare(epoch, planned.plan_only, &stop).await {
                Ok(found) => preview = found,
                Err(failure) => {
                    let error = fold::cut(&failure.error, MAX_ERROR_BYTES);
                    return Report::PrepareFailed { error, output: failure.output };
                }
            }
        }
        if !planned.plan_only {
            return Report::Prepared { view: None };
        }
        match self.store_view(target, &preview).await {
            Ok(digest) => Report::Prepared { view: Some(digest) },
            Err(error) => failed(format!("its view of the plan cannot be stored: {error}")),
        }
    }

    /// Stores what this workflow would do; the digest that names it.
    async fn store_view(&self, target: &Target, preview: &Preview) -> Result<String, String> {
        let commands = &target.commands;
        let setting = &commands.setting;
        let (name, workdir) = (&setting.workflow, &setting.workdir);
        let view = View::new(name, &commands.workflow, &self.instance, workdir, preview).to_json();
        let until = Instant::now() + VIEW_LIMIT;
        let pipeline = &setting.key.pipeline;
        let stored = self.bus.put_bundle(pipeline, name, &view, self.clock.now(), until).await;
        stored.map_err(|error| error_text(&error))
    }

    /// Its turn, unless the order is stopped before: another run's command may take long.
    async fn turn_unless(&self, stop: &CancellationToken) -> Option<MutexGuard<'_, ()>> {
        tokio::select! {
            biased;
            turn = self.turn.lock() => Some(turn),
            () = stop.cancelled() => None,
        }
    }

    async fn start(
        self,
        step: StepIndex,
        attempt: u32,
        epoch: Epoch,
        stop: CancellationToken,
    ) -> Report {
        let Some(_turn) = self.turn_unless(&stop).await else {
            let (error, output) = (NOT_BEGUN.to_owned(), String::new());
            return Report::Failed { step, attempt, error, output };
        };
        match &self.target {
            Some(target) => target.start(step, attempt, epoch, stop).await,
            None => {
                let error = "the plan of this run is not known".to_owned();
                Report::Failed { step, attempt, error, output: String::new() }
            }
        }
    }

    async fn undo(self, step: StepIndex, epoch: Epoch, stop: CancellationToken) -> Report {
        let Some(_turn) = self.turn_unless(&stop).await else {
            return Report::UndoFailed {
                step,
                error: NOT_BEGUN.to_owned(),
                left: Vec::new(),
                output: String::new(),
            };
        };
        match &self.target {
            Some(target) => target.undo(step, epoch, stop).await,
            None => {
                let error = "what undoes this run is not known".to_owned();
                let left = vec![format!("step {}", step + 1)];
                Report::UndoFailed { step, error, left, output: String::new() }
            }
        }
    }

    /// For an order to stop: what this incarnation runs ends by itself, before its turn is over.
    async fn end_left_over(self) -> Option<Event> {
        let _turn = self.turn.lock().await;
        if let Err(error) = self.target.as_ref()?.commands.end_left_over().await {
            tracing::error!(error);
        }
        None
    }

    async fn finalize(self, epoch: Epoch, stop: CancellationToken) -> Report {
        let Some(cluster) = self.target.as_ref().and_then(Target::cluster) else {
            // A command leaves nothing behind that would have to be tidied up.
            return Report::Finalized { warnings: Vec::new() };
        };
        let Some(_turn) = self.turn_unless(&stop).await else {
            return Report::FinalizeFailed { error: NOT_BEGUN.to_owned() };
        };
        match cluster.finalize(epoch, &stop).await {
            Ok(warnings) => Report::Finalized { warnings },
            Err(error) => Report::FinalizeFailed { error },
        }
    }

    async fn watch(
        self,
        step: StepIndex,
        epoch: Epoch,
        unwatch: CancellationToken,
    ) -> Option<Event> {
        let Failure { error, output } = self.target?.watch(step, epoch, unwatch).await?;
        let error = fold::cut(&error, MAX_ERROR_BYTES);
        Some(Event::Degraded { step, error, output })
    }
}

#[cfg(test)]
mod tests;
