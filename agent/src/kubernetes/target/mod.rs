//! One workflow's place in a cluster, in one run: carries out the core's orders there.
//!
//! What is known is kept from one order to the next, and read again from the cluster by whoever
//! goes on after a crash. What an object needs is decided by the pure parts; in which order things
//! happen, here.

mod kept;
mod orders;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use lockstep_agent_core::Told;
use lockstep_bus::Bus;
use lockstep_shared::{
    id::{Epoch, RunKey, StepIndex, WorkflowName},
    plan::{Deploy, KubernetesTarget, Workflow},
};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use self::kept::Known;
use super::{
    client::{Cluster, Refusal},
    evidence::Evidence,
    fence::Fence,
    late::Late,
    lease::Lease,
    pace::{Ended, Pace},
    preview::Preview,
    progress::Progress,
    rollback::{Stuck, Undone},
    writer::Unwritten,
};
use crate::{command::Permit, run::Clock, undo::UndoStore};

/// How long preparing may take by itself; the run's own clock covers it too.
const PREPARE_LIMIT: Duration = Duration::from_secs(240);

/// How long tidying up after a commit may take.
const FINALIZE_LIMIT: Duration = Duration::from_secs(120);

/// The least that an undo is given: it has to bear an API server that is restarted.
const LEAST_UNDO: Duration = Duration::from_secs(120);

/// What a workflow acts on and with.
pub(crate) struct Work {
    pub(crate) cluster: Cluster,
    pub(crate) target: KubernetesTarget,
    pub(crate) key: RunKey,
    pub(crate) name: WorkflowName,
    pub(crate) workflow: Arc<Workflow>,
    pub(crate) params: BTreeMap<String, String>,
    pub(crate) instance: String,
    pub(crate) bus: Bus,
    pub(crate) undo: UndoStore,
    pub(crate) permit: Permit,
    pub(crate) lease: Lease,
    pub(crate) clock: Clock,
    pub(crate) degrade_grace: Duration,
    pub(crate) evidence: Evidence,
}

/// What carries out the orders of one run in a cluster; clones share it.
#[derive(Clone)]
pub(crate) struct ClusterTarget(Arc<Inner>);

struct Inner {
    work: Work,
    fence: Fence,
    progress: Progress,
    late: Late,
    known: Mutex<Known>,
}

/// Why an order could not be carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    /// What went wrong, for a person.
    pub(crate) error: String,
    /// What there is to see, for a person.
    pub(crate) output: String,
}

impl From<String> for Failure {
    fn from(error: String) -> Self {
        Self { error, output: String::new() }
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        refusal.to_string().into()
    }
}

impl From<Ended> for Failure {
    fn from(ended: Ended) -> Self {
        ended.to_string().into()
    }
}

impl From<Unwritten> for Failure {
    fn from(unwritten: Unwritten) -> Self {
        unwritten.to_string().into()
    }
}

impl ClusterTarget {
    pub(crate) fn new(work: Work) -> Self {
        let fence = Fence::new(work.permit.clone(), work.lease.clone());
        let progress = Progress::new(work.name.clone());
        let (late, known) = (Late::default(), Mutex::default());
        Self(Arc::new(Inner { work, fence, progress, late, known }))
    }

    /// What an order is doing, in one line.
    pub(crate) fn progress(&self) -> Option<String> {
        self.0.progress.line()
    }

    /// Looks whether everything can be done, takes the Lease, and stores what undoes it. What each
    /// step would do.
    pub(crate) async fn prepare(
        &self,
        epoch: Epoch,
        plan_only: bool,
        stop: &CancellationToken,
    ) -> Result<Preview, Failure> {
        let pace = Pace::new(PREPARE_LIMIT, stop);
        let preparing = self.0.prepare(epoch, plan_only);
        // It writes nothing of the user's, so it may be dropped anywhere.
        let prepared = pace.within(preparing).await;
        self.0.progress.clear();
        prepared.map_err(Failure::from).and_then(|prepared| prepared)
    }

    /// Brings a step's objects to what their manifests say, and waits until they are healthy.
    pub(crate) async fn deploy(
        &self,
        step: StepIndex,
        deploy: &Deploy,
        limit: Duration,
        epoch: Epoch,
        stop: &CancellationToken,
    ) -> Result<Told, Failure> {
        let deployed = self.0.deploy(step, deploy, epoch, Pace::new(limit, stop)).await;
        self.0.progress.clear();
        deployed
    }

    /// Gives a step's objects back what they were.
    pub(crate) async fn undo(
        &self,
        step: StepIndex,
        limit: Duration,
        epoch: Epoch,
        stop: &CancellationToken,
    ) -> Result<Undone, Stuck> {
        let pace = Pace::new(limit.max(LEAST_UNDO), stop);
        let undone = self.0.undo(step, epoch, pace).await;
        self.0.progress.clear();
        undone
    }

    /// Watches a step's objects until one of them fails: why. Ends without a reason when stopped.
    pub(crate) async fn watch(
        &self,
        step: StepIndex,
        deploy: &Deploy,
        epoch: Epoch,
        stop: &CancellationToken,
    ) -> Option<Failure> {
        tokio::select! {
            wrong = self.0.watch(step, deploy, epoch) => wrong,
            () = stop.cancelled() => None,
        }
    }

    /// Deletes what the run dropped and writes down what it brought; what could not be tidied up.
    pub(crate) async fn finalize(
        &self,
        epoch: Epoch,
        stop: &CancellationToken,
    ) -> Result<Vec<String>, String> {
        let pace = Pace::new(FINALIZE_LIMIT, stop);
        let finalized = self.0.finalize(epoch, pace).await;
        self.0.progress.clear();
        finalized.map_err(|failure| failure.error)
    }
}
