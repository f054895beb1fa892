//! Whether these credentials may write what a role writes; rehearsed, so that nothing is left.

use std::time::Duration;

use lockstep_bus::{Bus, rehearse::Rehearsed};
use lockstep_shared::{
    id::{BarrierId, PartyName, PipelineName, RunId, RunKey, WorkflowName},
    subject::Family,
};
use tokio::time::Instant;

use super::Look;
use crate::failure::Failure;

/// How long one rehearsal may take.
const LIMIT: Duration = Duration::from_secs(5);

/// Whose credentials these are meant to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Role {
    /// Submits runs.
    Submitter,
    /// Runs a workflow: give --workflow.
    Agent,
    /// Arrives at barriers from outside: give --party.
    Party,
    /// Aborts runs and settles rollbacks.
    Operator,
    /// Writes verdicts.
    Coordinator,
}

/// What is to be rehearsed.
#[derive(Debug, clap::Args)]
pub(super) struct Claim {
    /// Whether these credentials may write what this role writes; tried without leaving anything
    #[arg(long, value_enum, value_name = "ROLE")]
    role: Option<Role>,
    /// The pipeline, if the credentials are for one
    #[arg(long, value_name = "NAME", requires = "role")]
    pipeline: Option<PipelineName>,
    /// The agent's workflow
    #[arg(long, value_name = "NAME", requires = "role", required_if_eq("role", "agent"))]
    workflow: Option<WorkflowName>,
    /// The foreign party
    #[arg(long, value_name = "PARTY", requires = "role", required_if_eq("role", "party"))]
    party: Option<PartyName>,
}

/// A name for what is never stored.
fn stand_in<T: std::str::FromStr>() -> Result<T, Failure> {
    "doctor".parse().map_err(|_| Failure::usage("`doctor` is no name"))
}

impl Claim {
    /// The slots that the role has to be able to write.
    fn families(&self, role: Role) -> Result<Vec<Family>, Failure> {
        let barrier: BarrierId = stand_in()?;
        Ok(match role {
            Role::Submitter => vec![Family::Plan],
            Role::Operator => vec![Family::Request],
            Role::Party => {
                let party = self.party.clone().map_or_else(stand_in, Ok)?;
                vec![Family::Party(barrier, party)]
            }
            Role::Agent => {
                let workflow = self.workflow.clone().map_or_else(stand_in, Ok)?;
                let party = PartyName::from(&workflow);
                vec![Family::Workflow(workflow), Family::Party(barrier, party)]
            }
            Role::Coordinator => vec![
                Family::Admission,
                Family::BarrierVerdict(barrier),
                Family::Verdict,
                Family::Outcome(stand_in()?),
                Family::Clock,
                Family::Closed,
            ],
        })
    }
}

/// Rehearses every slot of the claimed role.
pub(super) async fn look(bus: &Bus, claim: &Claim) -> Result<Vec<Look>, Failure> {
    let Some(role) = claim.role else {
        return Ok(vec![Look {
            next: Some(
                "`lockstep doctor --role submitter` (or agent, party, operator, coordinator) tries \
                 it and leaves nothing"
                    .to_owned(),
            ),
            ..Look::ok("publishing", "not tried: nobody said what these credentials are for")
        }]);
    };
    let pipeline = claim.pipeline.clone().map_or_else(stand_in, Ok)?;
    let run: RunId = stand_in()?;
    let key = RunKey { pipeline, run };
    let mut looks = Vec::new();
    for family in claim.families(role)? {
        let subject = bus.subjects().slot(&key, &family.slot(1));
        let rehearsed = bus.rehearse(&subject, Instant::now() + LIMIT).await;
        looks.push(told(&subject, rehearsed));
    }
    Ok(looks)
}

fn told(subject: &str, rehearsed: Rehearsed) -> Look {
    match rehearsed {
        Rehearsed::Permitted => Look::ok("publishing", format!("may write {subject}")),
        Rehearsed::Denied(denial) => Look::fail(
            "publishing",
            denial.to_string(),
            "use the credentials of the role that has it; docs/operations.md lists what each \
             role needs",
        ),
        Rehearsed::Unknown(why) => Look::fail(
            "publishing",
            format!("cannot tell whether {subject} may be written: {why}"),
            "see what the lines above say of the streams",
        ),
    }
}
