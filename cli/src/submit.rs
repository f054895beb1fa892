//! Submitting a run: what is looked at before, the bundles, the plan's slot, and attaching to a run
//! that is there already.

#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, time::Duration};

use lockstep_bus::{Bus, stream::StreamReports};
use lockstep_shared::{
    check,
    id::{RunId, RunKey, WorkflowName},
    manifest::Bundle,
    plan::{MAX_PLAN_BYTES, Plan},
    record::Record,
    source::Source,
    subject::Family,
};
use serde::Serialize;
use tokio::time::Instant;

use crate::{
    exit::Exit,
    failure::{Failure, OrExit},
    online::{soon, unreadable, unusable},
    output::Show,
    pipeline_file::Ready,
    terminal::Paint,
    who::{claimed, now},
    write::{Placed, into_slot},
};

/// The room that a server's `max_payload` must leave beside a plan (PROTOCOL section 2, sizes).
const PAYLOAD_RESERVE: usize = 64 * 1024;

/// From this `max_payload` on the sizes of the protocol hold as they are.
const FULL_PAYLOAD: usize = 1024 * 1024;

/// How long storing one bundle may take: up to 128 chunks, each on disk before the next.
const UPLOAD_LIMIT: Duration = Duration::from_secs(120);

/// A run whose plan is in the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Submitted {
    /// The run.
    #[serde(flatten)]
    pub(crate) key: RunKey,
    /// Whether it was there already, with this very plan.
    pub(crate) attached: bool,
}

impl Show for Submitted {
    fn text(&self, _: Paint) -> String {
        format!("{}\n", self.key)
    }

    fn name(&self) -> String {
        self.key.to_string()
    }
}

/// A plan with the bundles that have to be stored before it.
#[derive(Debug, Clone)]
pub(crate) struct Submission {
    /// The plan.
    pub(crate) plan: Plan,
    /// The bundles that its workflows name and that this submission brings.
    bundles: BTreeMap<WorkflowName, Bundle>,
}

impl Submission {
    /// A plan whose bundles are stored already.
    pub(crate) fn again(plan: Plan) -> Self {
        Self { plan, bundles: BTreeMap::new() }
    }
}

impl From<Ready> for Submission {
    fn from(ready: Ready) -> Self {
        Self { plan: ready.plan, bundles: ready.bundles }
    }
}

/// Stores the bundles and appends the plan; an id that is in use for the same plan attaches to
/// that run.
pub(crate) async fn submit(
    bus: &Bus,
    submission: Submission,
    run: Option<RunId>,
) -> Result<Submitted, Failure> {
    let Submission { mut plan, bundles } = submission;
    let key =
        RunKey { pipeline: plan.pipeline.clone(), run: run.clone().unwrap_or_else(RunId::fresh) };
    let slot = Family::Plan.slot(1);
    if run.is_some() {
        let subject = bus.subjects().slot(&key, &slot);
        let there = bus.get_one(&subject, soon()).await.map_err(unreadable)?;
        if let Some(entry) = there {
            return attach(key, &plan, entry.content.map(|stated| stated.record).ok());
        }
    }
    let streams = bus.inspect_streams(soon()).await.map_err(unusable)?;
    look_at(&plan, &streams, bus.max_payload())?;
    upload(bus, &mut plan, &bundles).await?;
    let by = claimed();
    let source = Source::Submitter(by.clone());
    let record = Record::Plan { plan: Box::new(plan.clone()), submitted_by: by };
    match into_slot(bus, &key, &slot, &record, &source).await? {
        Placed::Stored(_) => Ok(Submitted { key, attached: false }),
        Placed::Taken(entry) => attach(key, &plan, entry.content.map(|stated| stated.record).ok()),
    }
}

fn attach(key: RunKey, plan: &Plan, there: Option<Record>) -> Result<Submitted, Failure> {
    match there {
        Some(Record::Plan { plan: known, .. }) if alike(&known, plan) => {
            Ok(Submitted { key, attached: true })
        }
        Some(Record::Plan { plan: known, .. }) => Err(Failure::usage(format!(
            "the run id {} is in use for another plan (its digest is {}, this one's {}), so \
             nothing was submitted",
            key.run,
            short(&known.digest()),
            short(&plan.digest())
        ))
        .help(format!(
            "choose another `--run-id`; `lockstep status {key}` shows the run that has it"
        ))),
        _ => Err(Failure::unavailable(format!(
            "the run id {} is taken by something that is no plan of this protocol",
            key.run
        ))
        .help("choose another `--run-id`")),
    }
}

/// When an upload that begins now must be done.
pub(crate) fn in_good_time() -> Instant {
    Instant::now() + UPLOAD_LIMIT
}

/// Stores what the plan's workflows deploy. A month may have begun since the plan was made: it
/// names what the bundles are stored under.
async fn upload(
    bus: &Bus,
    plan: &mut Plan,
    bundles: &BTreeMap<WorkflowName, Bundle>,
) -> Result<(), Failure> {
    for (name, bundle) in bundles {
        let content = bundle.to_json();
        let stored = bus.put_bundle(&plan.pipeline, name, &content, now(), in_good_time()).await;
        let digest = stored
            .or_exit(Exit::Unavailable, format!("cannot store what workflow {name} deploys"))
            .map_err(|failure| {
                failure.help("`lockstep doctor` checks the streams and what these credentials may")
            })?;
        if let Some(workflow) = plan.workflows.get_mut(name) {
            workflow.bundle = Some(digest);
        }
    }
    Ok(())
}

/// Whether two plans are the same but for the month in which their bundles were stored.
fn alike(known: &Plan, plan: &Plan) -> bool {
    let bare = |plan: &Plan| {
        let mut plan = plan.clone();
        for workflow in plan.workflows.values_mut() {
            let hash = |digest: &String| digest.split_once('-').map(|(_, hash)| hash.to_owned());
            workflow.bundle = workflow.bundle.as_ref().and_then(hash);
        }
        plan
    };
    bare(known) == bare(plan)
}

/// As much of a digest as tells two apart for a person.
fn short(digest: &str) -> &str {
    digest.get(..12).unwrap_or(digest)
}

/// What the log has to offer a plan: room, size and time.
fn look_at(plan: &Plan, streams: &StreamReports, max_payload: usize) -> Result<(), Failure> {
    if streams.log.refuses_plans() {
        return Err(Failure::unavailable(format!(
            "stream {} is {} % full and takes no new run above 80 %: the rest is for ending what \
             is open",
            streams.log.name,
            streams.log.fill_percent()
        ))
        .help("raise its max_bytes, or wait until old runs expire (max_age)"));
    }
    let limit = if max_payload < FULL_PAYLOAD {
        max_payload.saturating_sub(PAYLOAD_RESERVE).min(MAX_PLAN_BYTES)
    } else {
        MAX_PLAN_BYTES
    };
    let sized = check::size(plan, limit);
    let kept = check::retention(&plan.timeouts, streams.log.max_age);
    for finding in [sized, kept] {
        finding.map_err(|finding| {
            let help = finding.help.clone();
            Failure { exit: Exit::Invalid, error: finding.into(), help: Some(help) }
        })?;
    }
    Ok(())
}
