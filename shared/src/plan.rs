//! The plan: a pipeline with parameters, matrices and conditions resolved and everything checked.
//!
//! Immutable once it is in the log. Whoever holds a `Plan` may rely on what `check` guarantees:
//! every barrier that a step names is declared here, with its parties, and no workflow that takes
//! part is without steps. Maps are ordered, so the order of the file changes nothing.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{
    id::{BarrierId, PartyName, PipelineName, RunId, StepIndex, WorkflowName},
    time::Span,
};

/// The version of the protocol that this build writes and follows.
pub const PROTOCOL: u32 = 1;

/// The largest plan, in bytes of compact JSON (PROTOCOL section 2, sizes).
pub const MAX_PLAN_BYTES: usize = 768 * 1024;

/// How many workflows a plan may have: each has an agent of its own, and Closed, which lists
/// them, is limited to 256 KiB.
pub const MAX_WORKFLOWS: usize = 1024;

/// How long a step's name or a barrier's title may be, in characters: causes carry them.
pub const MAX_CAPTION: usize = 200;

/// What a run does, for every party of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// The protocol that everybody in the run has to speak.
    pub protocol: u32,
    /// The pipeline's name.
    pub pipeline: PipelineName,
    /// The resolved parameters. Public: they appear in the log, on the page and in events.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub params: BTreeMap<String, String>,
    /// Whose failure undoes whom.
    pub on_failure: OnFailure,
    /// What becomes of this run while another of its pipeline is open.
    pub concurrency: Concurrency,
    /// Whether the run ends at the release of `_prepare` without writing anything.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub plan_only: bool,
    /// Whether it is less than the pipeline: [`Plan::narrow`] left workflows out.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub narrowed: bool,
    /// The run's own clocks.
    pub timeouts: Timeouts,
    /// The declared barriers that at least one workflow taking part names.
    pub barriers: BTreeMap<BarrierId, Barrier>,
    /// Every workflow of the pipeline, waived ones included.
    pub workflows: BTreeMap<WorkflowName, Workflow>,
    /// Codes of the checks that were turned off for this run.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub skipped_checks: BTreeSet<String>,
    /// The earlier run whose plan this is, if it was submitted again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_run: Option<RunId>,
}

/// Whose failure undoes whom.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum OnFailure {
    /// One failure rolls every workflow back.
    #[default]
    RollbackAll,
    /// A failure breaks its own workflow and those that cannot meet it any more.
    EachOwn,
}

/// What becomes of a run while another of its pipeline is open.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Concurrency {
    /// It is refused, naming the open run.
    #[default]
    Refuse,
    /// It waits for its turn, in the order of the plans in the log.
    Queue,
}

/// The clocks that are not a barrier's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Timeouts {
    /// From Admitted until everybody has joined.
    pub join: Span,
    /// From the Joined that completed the join until everybody is prepared.
    pub prepare: Span,
    /// From Admitted until the run is decided.
    pub run: Span,
    /// From the verdict until every agent has finalized or rolled back.
    pub ending: Span,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            join: Span::minutes(2),
            prepare: Span::minutes(5),
            run: Span::minutes(60),
            ending: Span::minutes(15),
        }
    }
}

/// A named meeting point.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Barrier {
    /// What the meeting is called in front of people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// From the first arrival of a workflow until the barrier is complete.
    pub timeout: Span,
    /// The workflows whose arrival it needs.
    pub workflows: BTreeSet<WorkflowName>,
    /// The foreign parties whose arrival it needs.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub foreign: BTreeSet<PartyName>,
    /// The workflows that would be parties but were waived by `when`.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub waived: BTreeSet<WorkflowName>,
}

/// An ordered list of steps for one target, run by one agent.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Workflow {
    /// Where its steps act.
    pub target: Target,
    /// Its steps, in order; empty only if it is waived.
    pub steps: Vec<Step>,
    /// Whether `when` took it out of the run: it is party to nothing and needs no agent.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub waived: bool,
    /// Names of the steps that `when` took out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waived_steps: Vec<String>,
    /// The digest of what its `deploy` steps apply, `<yyyymm>-<sha256 hex>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bundle: Option<String>,
}

/// Where a workflow's steps act.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Target {
    /// A namespace of a Kubernetes cluster.
    Kubernetes(KubernetesTarget),
    /// The machine that the agent runs on.
    Command {},
    /// A container beside the agent that does the work itself; barriers only.
    External {},
}

impl Target {
    /// The target's kind as the pipeline file spells it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Kubernetes(_) => "kubernetes",
            Self::Command {} => "command",
            Self::External {} => "external",
        }
    }
}

/// A namespace of a Kubernetes cluster.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KubernetesTarget {
    /// The namespace; it must exist.
    pub namespace: String,
    /// The name of the cluster; only an agent that was started with it joins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// The kubeconfig context, for agents outside the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<String>,
    /// Whether manifests may hold cluster-scoped objects.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_cluster_scoped: bool,
    /// The other managers (Argo CD, Flux, Helm) whose objects may be deployed all the same.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub allow_managed_by: BTreeSet<String>,
}

/// One step of a workflow.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// What the step is called in front of people; unique within its workflow.
    pub name: String,
    /// What it does.
    pub action: Action,
    /// How long one attempt may take; zero for a barrier, whose clock is the barrier's.
    pub timeout: Span,
    /// How many further attempts a failed one is given.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub retries: u32,
    /// Whether its failure is only noted (`onFailure: continue`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub tolerated: bool,
}

fn is_zero(count: &u32) -> bool {
    *count == 0
}

/// What a step does.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// Meet the other parties.
    Barrier(BarrierId),
    /// Run a command.
    Run(RunCommand),
    /// Ask until the answer is right and stays right.
    Verify(Verify),
    /// Let time pass.
    Wait(Span),
    /// Bring a namespace's objects to what the manifests say.
    Deploy(Deploy),
}

impl Action {
    /// The step's kind as the pipeline file spells it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Barrier(_) => "barrier",
            Self::Run(_) => "run",
            Self::Verify(_) => "verify",
            Self::Wait(_) => "wait",
            Self::Deploy(_) => "deploy",
        }
    }
}

/// A command with what undoes it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunCommand {
    /// What to run.
    pub command: Command,
    /// What gives back what it did. Absent: nobody said, so what it did stays in a rollback, which
    /// lists that as residue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undo: Option<Undo>,
    /// Variables added to the command's environment.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// The folder it runs in, relative to the agent's working directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workdir: Option<String>,
    /// Whether an unfinished attempt may be begun again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub idempotent: bool,
}

/// What gives back what a command did.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Undo {
    /// The author's word that there is nothing to give back: `undo: none`.
    #[serde(rename = "none")]
    Nothing,
    /// A command; runs at least once and must bear a step that did nothing or half.
    #[serde(untagged)]
    Command(Command),
}

/// A command as it is executed.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Command {
    /// A text for `sh -eu -c`.
    Shell(String),
    /// A program and its arguments, without a shell; never empty.
    Exec(Vec<String>),
}

/// A question whose answer must be right and stay right.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Verify {
    /// The question.
    pub probe: Probe,
    /// How long the answer must stay right, without a gap, before the step is finished.
    #[serde(rename = "for")]
    pub hold: Span,
    /// The pause between two questions.
    pub interval: Span,
}

/// How a `verify` step asks.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Probe {
    /// An HTTP GET.
    Http {
        /// The address asked.
        url: String,
        /// The status that is right.
        status: u16,
        /// A text that the body must contain.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        body: Option<String>,
    },
    /// A TCP connection to `host:port`.
    Tcp(String),
    /// A command that must exit with 0.
    Command(Command),
}

/// What a `deploy` step brings to a namespace.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Deploy {
    /// Where the objects come from.
    pub source: DeploySource,
    /// Image references by name, replaced as kustomize does.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub images: BTreeMap<String, String>,
    /// How long the objects must stay healthy before the step is finished.
    pub settle: Span,
    /// Whether the step waits for health at all.
    pub wait: bool,
    /// Health of kinds that the target does not know, as CEL by kind.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub healthy: BTreeMap<String, HealthRule>,
    /// Field managers whose fields may be taken over; absent means the target's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adopt: Option<BTreeSet<String>>,
    /// Field paths that are taken from whoever owns them.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub force_conflicts: BTreeSet<String>,
    /// Whether changes that no rollback can give back are accepted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub accept_irreversible: bool,
}

/// Where a `deploy` step's objects come from.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeploySource {
    /// Files, folders and globs, relative to the pipeline file.
    Manifests(Vec<String>),
    /// A folder rendered by `kubectl kustomize`.
    Kustomize(String),
    /// A chart rendered by `helm template`.
    Helm {
        /// The chart's folder or archive.
        chart: String,
        /// The release's name.
        release: String,
        /// Values files, later ones winning.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        values: Vec<String>,
        /// Single values, as `helm --set` takes them.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        set: BTreeMap<String, String>,
    },
}

/// When an object of one kind is healthy, as CEL expressions.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HealthRule {
    /// True once the object is as it should be.
    pub current: String,
    /// True once it never will be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
}

impl Plan {
    /// The plan as it travels: compact JSON.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a plan has only string keys")
    }

    /// The plan's identity: the SHA-256 of its compact JSON, in hex.
    pub fn digest(&self) -> String {
        Sha256::digest(self.to_json()).iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// What must not be run, if anything is: a part of a pipeline, or what is larger than a verdict
    /// about it could tell. The command line refuses such a plan, and who submits without it is
    /// refused at admission.
    pub fn excess(&self) -> Option<String> {
        if self.narrowed && !self.plan_only {
            return Some("it is a part of its pipeline, and not plan-only".to_owned());
        }
        if self.workflows.len() > MAX_WORKFLOWS {
            let count = self.workflows.len();
            return Some(format!("it has {count} workflows, and {MAX_WORKFLOWS} are the most"));
        }
        let long = |text: &&String| text.chars().count() > MAX_CAPTION;
        let (workflow, name) = self.workflows.iter().find_map(|(workflow, planned)| {
            let mut names = planned.steps.iter().map(|step| &step.name);
            names.find(long).map(|name| (workflow, name))
        })?;
        Some(format!(
            "workflow {workflow} has a step whose name is {} characters long, and {MAX_CAPTION} \
             are the most",
            name.chars().count()
        ))
    }

    /// Leaves out all workflows but these, as if their `when` did not hold: for who wants to see a
    /// part of what a run would do.
    pub fn narrow(&mut self, to: &BTreeSet<WorkflowName>) {
        for (name, workflow) in &mut self.workflows {
            if !to.contains(name) && !workflow.waived {
                workflow.waived = true;
                workflow.steps.clear();
                workflow.waived_steps.clear();
                workflow.bundle = None;
                self.narrowed = true;
            }
        }
        for barrier in self.barriers.values_mut() {
            let left_out: BTreeSet<_> = barrier.workflows.difference(to).cloned().collect();
            barrier.workflows.retain(|name| to.contains(name));
            barrier.waived.extend(left_out);
        }
        self.barriers.retain(|_, barrier| !barrier.workflows.is_empty());
    }

    /// The workflows that take part, in order of their names.
    pub fn active(&self) -> impl Iterator<Item = (&WorkflowName, &Workflow)> {
        self.workflows.iter().filter(|(_, workflow)| !workflow.waived)
    }

    /// Who has to arrive at a barrier; `None` if this plan has no such barrier.
    pub fn parties(&self, barrier: &BarrierId) -> Option<BTreeSet<PartyName>> {
        if barrier.is_built_in() {
            let exists = barrier.is_prepare() || self.on_failure == OnFailure::RollbackAll;
            return exists.then(|| self.active().map(|(name, _)| name.into()).collect());
        }
        self.barriers.get(barrier).map(|declared| {
            let workflows = declared.workflows.iter().map(PartyName::from);
            workflows.chain(declared.foreign.iter().cloned()).collect()
        })
    }

    /// Every barrier of the run, built-in ones included.
    pub fn all_barriers(&self) -> BTreeSet<BarrierId> {
        let built_in = [BarrierId::prepare(), BarrierId::commit()];
        let mut barriers: BTreeSet<_> =
            built_in.into_iter().filter(|id| self.parties(id).is_some()).collect();
        barriers.extend(self.barriers.keys().cloned());
        barriers
    }

    /// The workflow of this name that takes part, if there is one.
    pub fn workflow(&self, name: &WorkflowName) -> Option<&Workflow> {
        self.workflows.get(name).filter(|workflow| !workflow.waived)
    }

    /// Whether `party` is a workflow rather than a foreign party.
    pub fn is_workflow(&self, party: &PartyName) -> bool {
        self.workflows.keys().any(|name| name.as_str() == party.as_str())
    }

    /// What a step is called, also where the index is out of range.
    pub fn step_name(&self, workflow: &WorkflowName, step: StepIndex) -> String {
        self.workflows
            .get(workflow)
            .and_then(|workflow| workflow.steps.get(step))
            .map_or_else(|| format!("step {}", step.saturating_add(1)), |step| step.name.clone())
    }
}
