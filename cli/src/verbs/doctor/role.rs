//! Whether these credentials may do what a role does; rehearsed, so that nothing is left.

use std::time::Duration;

use lockstep_bus::{Bus, rehearse::Rehearsed};
use lockstep_shared::{
    id::{BarrierId, PartyName, PipelineName, RunId, RunKey, WorkflowName},
    subject::Family,
};
use tokio::time::Instant;

use super::Look;

/// How long one rehearsal may take.
const LIMIT: Duration = Duration::from_secs(5);

/// Whose credentials these are meant to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Role {
    /// Submits runs.
    Submitter,
    /// Runs a workflow: give --pipeline and --workflow.
    Agent,
    /// Arrives at barriers from outside: give --pipeline and --party.
    Party,
    /// Aborts runs and settles rollbacks.
    Operator,
    /// Looks at runs.
    Viewer,
    /// Writes verdicts.
    Coordinator,
}

impl Role {
    /// Whether it follows whole runs, with consumers; agents and parties have none, and see
    /// nothing of the bundles' stream.
    pub(super) fn follows(self) -> bool {
        !matches!(self, Self::Agent | Self::Party)
    }
}

/// What is to be rehearsed.
#[derive(Debug, clap::Args)]
pub(super) struct Claim {
    /// Whether these credentials may do what this role does; tried without leaving anything
    #[arg(long, value_enum, value_name = "ROLE", group = "claimed")]
    pub(super) role: Option<Role>,
    /// The pipeline, if the credentials are for one
    #[arg(
        long, value_name = "NAME", requires = "role",
        required_if_eq_any([("role", "agent"), ("role", "party")])
    )]
    pipeline: Option<PipelineName>,
    /// The agent's workflow; with --kube, the only one that is looked at
    #[arg(long, value_name = "NAME", requires = "claimed", required_if_eq("role", "agent"))]
    pub(super) workflow: Option<WorkflowName>,
    /// The foreign party
    #[arg(long, value_name = "PARTY", requires = "role", required_if_eq("role", "party"))]
    party: Option<PartyName>,
}

/// A name for what is never stored.
fn stand_in<T: std::str::FromStr>() -> T
where
    T::Err: std::fmt::Debug,
{
    "doctor".parse().expect("`doctor` is a name of every kind")
}

impl Claim {
    /// The run that stands in for all that the role takes part in.
    pub(super) fn key(&self) -> RunKey {
        let run: RunId = stand_in();
        RunKey { pipeline: self.pipeline.clone().unwrap_or_else(stand_in), run }
    }

    fn workflow(&self) -> WorkflowName {
        self.workflow.clone().unwrap_or_else(stand_in)
    }

    /// Who asks for open runs.
    pub(super) fn party(&self) -> PartyName {
        match self.role {
            Some(Role::Agent) => PartyName::from(&self.workflow()),
            _ => self.party.clone().unwrap_or_else(stand_in),
        }
    }

    /// The slots that the role has to be able to write.
    fn families(&self, role: Role) -> Vec<Family> {
        let barrier: BarrierId = stand_in();
        match role {
            Role::Submitter => vec![Family::Plan],
            Role::Operator => vec![Family::Request],
            Role::Viewer => Vec::new(),
            Role::Party => vec![Family::Party(barrier, self.party())],
            Role::Agent => {
                vec![Family::Workflow(self.workflow()), Family::Party(barrier, self.party())]
            }
            Role::Coordinator => vec![
                Family::Admission,
                Family::BarrierVerdict(barrier),
                Family::Verdict,
                Family::Outcome(stand_in()),
                Family::Clock,
                Family::Closed,
            ],
        }
    }
}

/// Rehearses all that the claimed role does.
pub(super) async fn look(bus: &Bus, claim: &Claim) -> Vec<Look> {
    let Some(role) = claim.role else {
        return vec![Look {
            next: Some(
                "`lockstep doctor --role submitter` (or agent, party, operator, viewer, \
                 coordinator) tries it and leaves nothing"
                    .to_owned(),
            ),
            ..Look::ok("role", "not tried: nobody said what these credentials are for")
        }];
    };
    let mut looks = look_at_writing(bus, claim, role).await;
    looks.extend(look_at_bundles(bus, claim, role).await);
    looks.extend(look_at_listening(bus, claim, role).await);
    let look = bus.rehearse_look(soon()).await;
    looks.push(told("reading", "look at a single record", look));
    if role.follows() {
        let flow = bus.rehearse_flow_control(soon()).await;
        looks.push(told("reading", "answer a consumer's flow control", flow));
    }
    if role == Role::Coordinator {
        let answer = bus.rehearse_answering(soon()).await;
        looks.push(told("answering", "answer who asks for open runs", answer));
    }
    looks
}

fn soon() -> Instant {
    Instant::now() + LIMIT
}

async fn look_at_writing(bus: &Bus, claim: &Claim, role: Role) -> Vec<Look> {
    let key = claim.key();
    let mut looks = Vec::new();
    for family in claim.families(role) {
        let subject = bus.subjects().slot(&key, &family.slot(1));
        let rehearsed = bus.rehearse(&subject, soon()).await;
        looks.push(told("publishing", &format!("write {subject}"), rehearsed));
    }
    if role == Role::Agent {
        let subject = bus.subjects().beat(&key, &claim.workflow());
        let rehearsed = bus.rehearse_word(&subject, soon()).await;
        looks.push(told("publishing", &format!("write {subject}"), rehearsed));
    }
    looks
}

/// Submitters and agents store bundles, and look first whether they are there.
async fn look_at_bundles(bus: &Bus, claim: &Claim, role: Role) -> Vec<Look> {
    if !matches!(role, Role::Submitter | Role::Agent) {
        return Vec::new();
    }
    let (pipeline, workflow) = (claim.key().pipeline, claim.workflow());
    let subject = bus.subjects().bundle(&pipeline, &workflow, "doctor", 1);
    let written = bus.rehearse(&subject, soon()).await;
    let read = bus.rehearse_bundle(&pipeline, &workflow, soon()).await;
    let reading = format!("read the bundles of {pipeline}'s {workflow}");
    vec![told("publishing", &format!("write {subject}"), written), told("reading", &reading, read)]
}

/// Who may not listen takes the silence for something else, or notices everything late.
async fn look_at_listening(bus: &Bus, claim: &Claim, role: Role) -> Vec<Look> {
    let (subjects, key) = (bus.subjects(), claim.key());
    let live = || subjects.live(&subjects.run(&key));
    let wanted = match role {
        Role::Coordinator => vec![subjects.all_beats(), subjects.all_open()],
        Role::Agent => {
            let admissions = subjects.live(&subjects.admissions_of(&key.pipeline));
            vec![subjects.beat(&key, &claim.workflow()), admissions, live()]
        }
        Role::Party => vec![live()],
        Role::Submitter | Role::Operator | Role::Viewer => vec![subjects.beats_of_run(&key)],
    };
    let mut looks = Vec::new();
    for subject in wanted {
        let rehearsed = bus.rehearse_listening(&subject, soon()).await;
        looks.push(told("listening", &format!("hear {subject}"), rehearsed));
    }
    looks
}

fn told(what: &'static str, deed: &str, rehearsed: Rehearsed) -> Look {
    match rehearsed {
        Rehearsed::Permitted => Look::ok(what, format!("may {deed}")),
        Rehearsed::Denied(denial) => Look::fail(
            what,
            format!("may not {deed}: {denial}"),
            "use the credentials of the role that has it; docs/operations.md lists what each \
             role needs",
        ),
        Rehearsed::Unknown(why) => Look::fail(
            what,
            format!("cannot tell whether these credentials may {deed}: {why}"),
            "see what the lines above say of the streams",
        ),
    }
}
