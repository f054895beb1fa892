//! Workflows and their steps, each on its own.

use std::collections::BTreeMap;

use crate::{
    diagnostics::{Findings, Place},
    error_code::Code,
    id::WorkflowName,
    pipeline::{Draft, Files, WorkflowDraft, draft::StepDraft},
    plan::{Action, Target},
};

/// Checks names, targets and steps.
pub(super) fn check(draft: &Draft, findings: &mut Findings) {
    let mut names: BTreeMap<&WorkflowName, Place> = BTreeMap::new();
    for workflow in &draft.workflows {
        let name = &workflow.name;
        if let Some(first) = names.insert(&name.value, name.place) {
            same_name(&name.value, name.place, first, findings);
        }
        if draft.whole && workflow.active_steps().next().is_none() {
            no_steps(workflow, findings);
        }
        for step in workflow.active_steps() {
            if let Some(target) = &workflow.target {
                fits_target(&target.value, target.place, step, findings);
            }
            finishes(step, findings);
        }
    }
    let waived = draft.workflows.iter().all(|workflow| workflow.waived);
    if draft.whole && waived && !draft.workflows.is_empty() {
        let finding = findings.report(Code::AllWaived, "every workflow is waived by its `when`");
        for workflow in draft.workflows.iter().take(crate::record::MAX_LISTED) {
            finding.at(workflow.name.place, "waived");
        }
    }
}

fn same_name(name: &WorkflowName, place: Place, first: Place, findings: &mut Findings) {
    let finding =
        findings.report(Code::DuplicateWorkflow, format!("two workflows are called `{name}`"));
    if place == first {
        finding
            .at(place, "two combinations of the matrix get this name")
            .help("let the values differ in letters and digits, or use them in the name");
    } else {
        finding.at(place, "again here").at(first, "first here");
    }
}

fn no_steps(workflow: &WorkflowDraft, findings: &mut Findings) {
    let name = &workflow.name.value;
    if workflow.steps.is_empty() {
        findings
            .report(Code::NoSteps, format!("the workflow `{name}` has no steps"))
            .at(workflow.name.place, "does nothing");
    } else if !workflow.waived {
        findings
            .report(Code::NoSteps, format!("`when` takes every step of the workflow `{name}` out"))
            .at(workflow.name.place, "does nothing")
            .help("put `when` on the workflow, so that it is waived as a whole");
    }
}

fn fits_target(target: &Target, place: Place, step: &StepDraft, findings: &mut Findings) {
    let kind = step.step.action.kind();
    let message = match (target, &step.step.action) {
        (Target::External {}, Action::Barrier(_)) => return,
        (Target::External {}, _) => {
            format!("the steps of an external workflow are barriers only, not `{kind}`")
        }
        (Target::Command {}, Action::Deploy(_)) => {
            "`deploy` needs a Kubernetes target, not `command`".to_owned()
        }
        _ => return,
    };
    findings
        .report(Code::StepTarget, message)
        .at(step.place, format!("`{kind}`"))
        .at(place, format!("the target is `{}`", target.kind()));
}

fn finishes(step: &StepDraft, findings: &mut Findings) {
    let (needs, what) = match &step.step.action {
        Action::Verify(verify) => (verify.hold, "has to hold"),
        Action::Wait(span) => (*span, "waits"),
        Action::Deploy(deploy) if deploy.wait => (deploy.settle, "has to settle"),
        Action::Deploy(_) | Action::Run(_) | Action::Barrier(_) => return,
    };
    let timeout = step.step.timeout;
    if needs >= timeout {
        findings
            .report(
                Code::NeverFinishes,
                format!("the step {what} for {needs}, but its timeout is {timeout}"),
            )
            .at(step.place, "cannot finish in time");
    }
}

/// Warns of the commands that nothing gives back.
pub(super) fn undos(draft: &Draft, findings: &mut Findings) {
    let active = draft.workflows.iter().filter(|workflow| !workflow.waived);
    let unsaid = active
        .flat_map(WorkflowDraft::active_steps)
        .filter(|step| matches!(&step.step.action, Action::Run(command) if command.undo.is_none()));
    // Every combination of a matrix has the step at the same place.
    let places: BTreeMap<Place, &str> =
        unsaid.map(|step| (step.place, step.step.name.as_str())).collect();
    let message = match places.len() {
        0 => return,
        1 => "a command has no `undo`".to_owned(),
        count => format!("{count} commands have no `undo`"),
    };
    let finding = findings.report(Code::NoUndo, message);
    for (place, name) in places.into_iter().take(crate::record::MAX_LISTED) {
        finding.at(place, format!("what {name:?} did stays in a rollback"));
    }
}

/// Checks that the files which steps name exist.
pub(super) fn files(draft: &Draft, files: &dyn Files, findings: &mut Findings) {
    let active = draft.workflows.iter().filter(|workflow| !workflow.waived);
    for path in active.flat_map(WorkflowDraft::active_steps).flat_map(|step| &step.files) {
        if files.count(&path.value) == 0 {
            let glob = path.value.contains(['*', '?', '[']);
            let what = if glob { "nothing matches" } else { "there is no file in or at" };
            findings
                .report(Code::MissingFile, format!("{what} {:?}", path.value))
                .at(path.place, "not found");
        }
    }
}
