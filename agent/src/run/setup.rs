//! What is known of a run before its loop begins: its plan, and what this agent owes from it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use lockstep_agent_core::{PlanFound, Setup};
use lockstep_bus::ReadError;
use lockstep_shared::{
    codec::{Entry, Rubbish},
    fold::SharedPlan,
    id::RunKey,
    plan::Workflow,
    record::Record,
    subject::Family,
};
use tokio::time::Instant;

use super::{Post, RunError, seat::Seat};

/// How long a plan that nobody shows is looked for before it counts as expired: longer than a
/// follower of the stream may lag.
const PLAN_LIMIT: Duration = Duration::from_secs(6);

/// How long one question to the log may take.
const ASK_LIMIT: Duration = Duration::from_secs(10);

const ASK_AGAIN: Duration = Duration::from_millis(100);

/// What a loop begins with.
pub(super) struct Known {
    pub(super) setup: Setup,
    /// What this workflow does, if that is known.
    pub(super) planned: Option<Planned>,
    /// Where it acts.
    pub(super) seat: Seat,
}

/// This workflow's part of a plan.
#[derive(Debug, Clone)]
pub(super) struct Planned {
    pub(super) workflow: Arc<Workflow>,
    pub(super) params: BTreeMap<String, String>,
    pub(super) plan_only: bool,
}

pub(super) async fn read(post: &Post, key: &RunKey) -> Result<Known, RunError> {
    let plan =
        find_plan(post, key).await.map_err(|source| RunError::Read { key: key.clone(), source })?;
    let workflow = match &plan {
        Some(PlanFound::Planned { plan, .. }) => plan.workflow(&post.workflow),
        _ => None,
    };
    let (seat, undo) = match workflow {
        Some(workflow) => Seat::take(post, key, workflow).await?,
        None => Seat::find(post, key).await?,
    };
    let planned = match &plan {
        Some(PlanFound::Planned { plan, .. }) => {
            plan.workflow(&post.workflow).map(|workflow| Planned {
                workflow: Arc::new(workflow.clone()),
                params: plan.params.clone(),
                plan_only: plan.plan_only,
            })
        }
        Some(_) => None,
        None => undo.as_ref().map(|record| Planned {
            workflow: Arc::new(record.plan.clone()),
            params: record.params.clone(),
            plan_only: false,
        }),
    };
    let missing = || PlanFound::Missing {
        workflow: undo.as_ref().map(|record| Box::new(record.plan.clone())),
    };
    let setup = Setup {
        key: key.clone(),
        workflow: post.workflow.clone(),
        instance: post.instance.clone(),
        version: post.options.version.clone(),
        plan: plan.unwrap_or_else(missing),
        undo: undo.as_ref().map(|record| record.mark),
        debt: post.board.debt(seat.undo.known_now(&key.pipeline, &post.workflow), key),
    };
    Ok(Known { setup, planned, seat })
}

/// What stands in the plan's slot; `None` if the log does not hold it any more.
async fn find_plan(post: &Post, key: &RunKey) -> Result<Option<PlanFound>, ReadError> {
    let subject = post.bus.subjects().slot(key, &Family::Plan.slot(1));
    let mut until = Instant::now() + PLAN_LIMIT;
    loop {
        match post.bus.get_one(&subject, Instant::now() + ASK_LIMIT).await {
            Ok(Some(entry)) => return Ok(Some(found(entry))),
            Ok(None) if Instant::now() >= until => return Ok(None),
            Ok(None) => {}
            Err(error @ (ReadError::Closed | ReadError::Denied(_))) => return Err(error),
            Err(error) => {
                tracing::warn!(run = %key.run, %error, "the plan cannot be read; trying again");
                until = Instant::now() + PLAN_LIMIT;
            }
        }
        tokio::time::sleep(ASK_AGAIN).await;
    }
}

fn found(entry: Entry) -> PlanFound {
    match entry.content {
        Ok(stated) => match stated.record {
            Record::Plan { plan, .. } => {
                PlanFound::Planned { seq: entry.seq, plan: SharedPlan::from(*plan) }
            }
            other => PlanFound::Rubbish(format!("a {} is no plan", other.kind())),
        },
        Err(Rubbish::Protocol(version)) => PlanFound::Foreign(version),
        Err(rubbish) => PlanFound::Rubbish(rubbish.to_string()),
    }
}
