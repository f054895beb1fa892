//! The coordinator and the agents, as tasks of this process.

use std::{path::Path, time::Duration};

use lockstep_agent::{DEGRADE_GRACE, KeepingArgs, Options};
use lockstep_bus::{Bus, Connection, StreamOptions, stream::StreamError};
use lockstep_shared::{
    id::WorkflowName,
    plan::{Plan, Target},
};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::debts::Places;
use crate::{
    exit::Exit,
    failure::{Failure, OrExit},
    online::{connect_to, soon, unusable},
    output::say,
};

/// How long the coordinator may take to create the streams.
const STREAMS_LIMIT: Duration = Duration::from_secs(20);

/// The pause between two looks for the streams.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// The running parts; aborted on drop.
pub(super) struct Parts {
    tasks: JoinSet<Result<(), Failure>>,
    shutdown: CancellationToken,
}

impl Parts {
    /// Starts a coordinator and an agent per workflow that takes part.
    pub(super) fn start(
        connection: &Connection,
        plan: &Plan,
        places: &Places,
        workdir: &Path,
        keeping: &KeepingArgs,
    ) -> Self {
        let shutdown = CancellationToken::new();
        let mut tasks = JoinSet::new();
        tasks.spawn(coordinator(connection.clone(), shutdown.clone()));
        for (workflow, planned) in plan.active() {
            let (mut cluster, mut kubernetes) = (None, places.kubernetes.clone());
            if let Target::Kubernetes(target) = &planned.target {
                // Whatever the target's cluster is called, the agent for it is here.
                cluster.clone_from(&target.cluster);
                kubernetes = kubernetes.from_outside(target);
            }
            let options = Options {
                pipeline: plan.pipeline.clone(),
                workflows: vec![workflow.clone()],
                state_dir: places.state.path().to_owned(),
                instance: None,
                allow_commands: true,
                workdir: workdir.to_owned(),
                cluster,
                kubernetes,
                degrade_grace: DEGRADE_GRACE,
                evidence: keeping.evidence,
                undo_history: keeping.undo_history,
                traceparent: None,
                version: lockstep_agent::VERSION.to_owned(),
            };
            tasks.spawn(agent(connection.clone(), workflow.clone(), options, shutdown.clone()));
        }
        Self { tasks, shutdown }
    }

    /// Waits until one of them ends although nobody asked it to.
    pub(super) async fn ended(&mut self) -> Failure {
        match self.tasks.join_next().await {
            Some(Ok(Err(failure))) => failure,
            Some(Ok(Ok(()))) | None => {
                Failure::new(Exit::Internal, "a part of the dev run ended before the run did")
            }
            Some(Err(error)) => {
                let failed: Result<(), _> = Err(error);
                let what = "a part of the dev run ended by a defect";
                match failed.or_exit(Exit::Internal, what) {
                    Err(failure) => failure,
                    Ok(()) => Failure::new(Exit::Internal, what),
                }
            }
        }
    }

    /// Lets them end in good order, for a while.
    pub(super) async fn stop(mut self, limit: Duration) {
        self.shutdown.cancel();
        let all = async {
            while let Some(ended) = self.tasks.join_next().await {
                if let Ok(Err(failure)) = ended {
                    say(&failure.text());
                }
            }
        };
        if timeout(limit, all).await.is_err() {
            say("not every part of the dev run ended in time; it is ended now");
        }
    }
}

async fn coordinator(connection: Connection, shutdown: CancellationToken) -> Result<(), Failure> {
    let bus = connect_to(&connection, "dev: coordinator").await?;
    let options = lockstep_coordinator::Options {
        streams: StreamOptions::dev(),
        instance: format!("dev-{}", std::process::id()),
    };
    lockstep_coordinator::run(&bus, &options, &shutdown)
        .await
        .or_exit(Exit::Unavailable, "the coordinator ended")
}

async fn agent(
    connection: Connection,
    workflow: WorkflowName,
    options: Options,
    shutdown: CancellationToken,
) -> Result<(), Failure> {
    let bus = connect_to(&connection, &format!("dev: agent of {workflow}")).await?;
    wait_for_streams(&bus).await?;
    lockstep_agent::serve(options, bus, shutdown)
        .await
        .or_exit(Exit::Unavailable, format!("the agent of {workflow} ended"))
}

/// The coordinator creates the streams, a moment after everybody has started.
pub(super) async fn wait_for_streams(bus: &Bus) -> Result<(), Failure> {
    let limit = Instant::now() + STREAMS_LIMIT;
    loop {
        match bus.inspect_streams(soon()).await {
            Ok(_) => return Ok(()),
            Err(StreamError::Absent(_)) if Instant::now() < limit => sleep(LOOK_AGAIN).await,
            Err(error) => return Err(unusable(error)),
        }
    }
}
