//! How an agent is run: for every run of a pipeline, or for one.
//!
//! Decides which runs a workflow's agent takes part in, who stands by for whom on one state
//! directory, and how the process ends. Deliberately does not know what happens inside a run.

mod discover;
mod end;
mod options;
mod owed;
mod ready;
mod standby;
mod worker;

use std::sync::Arc;

use lockstep_bus::{Bus, ReadError};
use lockstep_shared::id::{RunId, RunKey, WorkflowName};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use end::RunEnd;
pub use options::{
    AgentArgs, DEGRADE_GRACE, KeepingArgs, Options, OptionsError, UNDO_HISTORY, VERSION,
};

use self::worker::Worker;
use crate::{
    kubernetes::undo::UndoError,
    run::{Clock, RunError},
    state::{StateDirectory, StateError},
    undo::StoreError,
};

/// Why an agent ended although nobody asked it to.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The state directory cannot be relied on.
    #[error(transparent)]
    State(#[from] StateError),
    /// The undo records in the cluster cannot be relied on.
    #[error(transparent)]
    Undo(#[from] UndoError),
    /// The log cannot be read, and never will be without a change.
    #[error("{what}")]
    Log {
        /// What failed, and where.
        what: String,
        /// Why.
        source: Box<ReadError>,
    },
    /// A task of this agent ended by a defect.
    #[error("a task of the agent ended by a defect; the run goes on when it is started again")]
    Defect(#[from] tokio::task::JoinError),
}

/// Carries the workflows out in every run of the pipeline, until `shutdown` is cancelled and each
/// has said in the log that it leaves.
///
/// # Errors
/// [`AgentError`] if one of them cannot go on; the others leave then.
pub async fn serve(
    options: Options,
    bus: Bus,
    shutdown: CancellationToken,
) -> Result<(), AgentError> {
    let base = Base::new(options, bus)?;
    let stop = shutdown.child_token();
    let mut workers = JoinSet::new();
    for workflow in base.options.workflows.clone() {
        workers.spawn(Worker::new(base.clone(), workflow, &stop).serve());
    }
    let mut result = Ok(());
    while let Some(ended) = workers.join_next().await {
        let ended = ended.map_err(AgentError::from).and_then(|ended| ended);
        if let Err(error) = ended {
            // One that ends early ends the process, but not without a word in the log.
            stop.cancel();
            result = result.and(Err(error));
        }
    }
    result
}

/// Carries the workflows out in one run. How that ended is how the run ended, for its exit code.
///
/// # Errors
/// [`AgentError`] if one of them cannot go on.
pub async fn run(
    options: Options,
    run: RunId,
    bus: Bus,
    shutdown: CancellationToken,
) -> Result<RunEnd, AgentError> {
    let base = Base::new(options, bus)?;
    let key = RunKey { pipeline: base.options.pipeline.clone(), run };
    let stop = shutdown.child_token();
    let mut workers = JoinSet::new();
    for workflow in base.options.workflows.clone() {
        let worker = Worker::new(base.clone(), workflow, &stop);
        workers.spawn(worker.take_part(key.clone()));
    }
    let mut result: Result<RunEnd, AgentError> = Ok(RunEnd::Done);
    while let Some(ended) = workers.join_next().await {
        let ended = ended.map_err(AgentError::from).and_then(|ended| ended);
        if ended.is_err() {
            stop.cancel();
        }
        result = match (result, ended) {
            (Err(first), _) => Err(first),
            (Ok(known), Ok(ended)) => Ok(known.worse(ended)),
            (Ok(_), Err(error)) => Err(error),
        };
    }
    end::of_run(&base.bus, &key, result?).await
}

/// What all workflows of one agent share.
#[derive(Clone)]
struct Base {
    options: Arc<Options>,
    bus: Bus,
    state: StateDirectory,
    instance: String,
    clock: Clock,
}

impl Base {
    fn new(options: Options, bus: Bus) -> Result<Self, AgentError> {
        let state = StateDirectory::open(&options.state_dir)?;
        let instance = match &options.instance {
            Some(instance) => instance.clone(),
            None => state.instance()?,
        };
        Ok(Self { options: Arc::new(options), bus, state, instance, clock: Clock::new() })
    }
}

impl AgentError {
    fn of(error: RunError, workflow: &WorkflowName) -> Self {
        match error {
            RunError::Undo(StoreError::Disk(error)) => Self::State(error),
            RunError::Undo(StoreError::Secrets(error)) => Self::Undo(error),
            RunError::Read { key, source } => {
                let what = format!("the agent of {workflow} cannot read run {key}");
                Self::Log { what, source: Box::new(source) }
            }
        }
    }
}
