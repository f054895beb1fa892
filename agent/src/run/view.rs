//! What a workflow would do, as its agent sees it: for plan-only runs.

use lockstep_shared::{
    id::WorkflowName,
    plan::{Action, Command, Probe, Step, Undo, Workflow},
};
use serde::Serialize;

use crate::kubernetes::preview::{DroppedPreview, Preview, StepPreview};

/// An agent's view of its part of a plan, stored as a bundle.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct View<'a> {
    workflow: &'a WorkflowName,
    target: &'static str,
    /// Who looked, by instance.
    agent: &'a str,
    /// Where commands would run.
    workdir: String,
    steps: Vec<StepView<'a>>,
    /// What would become of objects that are not brought any more.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    dropped: &'a [DroppedPreview],
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct StepView<'a> {
    name: &'a str,
    kind: &'static str,
    /// What it would do, in one sentence.
    does: String,
    /// What would take it back, if anything has to.
    #[serde(skip_serializing_if = "Option::is_none")]
    undo: Option<String>,
    /// What would become of each object of a cluster.
    #[serde(flatten)]
    objects: Option<&'a StepPreview>,
}

impl<'a> View<'a> {
    pub(super) fn new(
        name: &'a WorkflowName,
        workflow: &'a Workflow,
        agent: &'a str,
        workdir: &std::path::Path,
        preview: &'a Preview,
    ) -> Self {
        let seen = |(index, step)| view(step, preview.steps.get(&index));
        let steps = workflow.steps.iter().enumerate().map(seen).collect();
        let (target, workdir) = (workflow.target.kind(), workdir.display().to_string());
        Self { workflow: name, target, agent, workdir, steps, dropped: &preview.dropped }
    }

    pub(super) fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a view has only string keys")
    }
}

fn view<'a>(step: &'a Step, objects: Option<&'a StepPreview>) -> StepView<'a> {
    let undo = match &step.action {
        Action::Run(run) => run.undo.as_ref().map(undoes),
        _ => None,
    };
    let (kind, does) = (step.action.kind(), does(&step.action));
    StepView { name: &step.name, kind, does, undo, objects }
}

fn does(action: &Action) -> String {
    match action {
        Action::Barrier(barrier) => format!("meets the other parties at {barrier}"),
        Action::Run(run) => format!("runs `{}`", words(&run.command)),
        Action::Wait(span) => format!("waits {span}"),
        Action::Verify(verify) => {
            let asked = match &verify.probe {
                Probe::Http { url, status, .. } => format!("asks {url} for {status}"),
                Probe::Tcp(address) => format!("connects to {address}"),
                Probe::Command(command) => format!("runs `{}`", words(command)),
            };
            format!("{asked}, which must hold for {}", verify.hold)
        }
        Action::Deploy(_) => "deploys to Kubernetes".to_owned(),
    }
}

fn undoes(undo: &Undo) -> String {
    match undo {
        Undo::Nothing => "nothing to give back".to_owned(),
        Undo::Command(command) => words(command),
    }
}

fn words(command: &Command) -> String {
    match command {
        Command::Shell(text) => text.trim().to_owned(),
        Command::Exec(list) => list.join(" "),
    }
}
