//! Barriers and who meets at them.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    diagnostics::{At, Findings, Place},
    error_code::Code,
    id::BarrierId,
    pipeline::{Draft, WorkflowDraft, draft::BarrierDraft, suggest},
};

/// Checks the names that steps use and the parties that barriers get.
pub(super) fn check(draft: &Draft, findings: &mut Findings) {
    let mut meant: BTreeSet<BarrierId> = BTreeSet::new();
    for workflow in &draft.workflows {
        let mut seen: BTreeMap<&BarrierId, Place> = BTreeMap::new();
        for meeting in workflow.meetings() {
            if !draft.barriers.contains_key(&meeting.value) {
                meant.extend(unknown(meeting, draft, findings));
            }
            if let Some(first) = seen.insert(&meeting.value, meeting.place) {
                repeated(workflow, meeting, first, findings);
            }
        }
    }
    let met = draft.parties();
    for (id, barrier) in &draft.barriers {
        collisions(id, barrier, draft, findings);
        // A misspelt name was meant for this barrier: what it then lacks follows from that.
        if draft.whole && !meant.contains(id) {
            parties(id, barrier, met.get(id).map_or(&[], Vec::as_slice), findings);
        }
    }
}

fn unknown(meeting: &At<BarrierId>, draft: &Draft, findings: &mut Findings) -> Option<BarrierId> {
    let known = || draft.barriers.keys().map(BarrierId::as_str);
    let near = suggest::nearest(meeting.value.as_str(), known());
    let finding = findings
        .report(Code::UnknownBarrier, format!("there is no barrier `{}`", meeting.value))
        .at(meeting.place, "not declared in `spec.barriers`");
    match near {
        Some(near) => {
            finding.help(format!("did you mean `{near}`?"));
        }
        None if draft.barriers.is_empty() => {
            finding
                .help(format!("declare it: `spec: {{ barriers: {{ {}: {{}} }} }}`", meeting.value));
        }
        None => {
            finding.help(format!("declared are {}", suggest::listed(known())));
        }
    }
    near.and_then(|near| near.parse().ok())
}

fn repeated(
    workflow: &WorkflowDraft,
    meeting: &At<BarrierId>,
    first: Place,
    findings: &mut Findings,
) {
    let (barrier, name) = (&meeting.value, &workflow.name.value);
    findings
        .report(
            Code::RepeatedBarrier,
            format!("the workflow `{name}` meets at the barrier `{barrier}` twice"),
        )
        .at(meeting.place, "again here")
        .at(first, "first here");
}

fn collisions(id: &BarrierId, barrier: &BarrierDraft, draft: &Draft, findings: &mut Findings) {
    for party in &barrier.parties {
        let text = party.value.as_str();
        let same = draft.workflows.iter().find(|workflow| workflow.name.value.as_str() == text);
        if let Some(workflow) = same {
            let help = if workflow.barriers().contains(id) {
                format!("remove it: `{text}` is a party already, because its steps name `{id}`")
            } else {
                format!("add `- barrier: {id}` to its steps, or rename the foreign party")
            };
            findings
                .report(
                    Code::PartyCollision,
                    format!("the foreign party `{text}` is called like a workflow"),
                )
                .at(party.place, "listed as a foreign party")
                .at(workflow.name.place, "the workflow")
                .help(help);
        }
    }
}

fn parties(
    id: &BarrierId,
    barrier: &BarrierDraft,
    workflows: &[&WorkflowDraft],
    findings: &mut Findings,
) {
    let Some(first) = workflows.first() else {
        findings
            .report(Code::UnusedBarrier, format!("no workflow meets at the barrier `{id}`"))
            .at(barrier.place, "declared here and never named");
        return;
    };
    // Parties that `when` takes out still count here: a waiver is not a mistake in the file.
    if workflows.len() + barrier.parties.len() == 1 && !barrier.allow_single {
        let name = &first.name.value;
        let finding = findings
            .report(
                Code::SingleParty,
                format!("the barrier `{id}` has one party only, the workflow `{name}`"),
            )
            .at(barrier.place, "declared here");
        for meeting in first.meetings().filter(|meeting| meeting.value == *id) {
            finding.at(meeting.place, "named only here");
        }
    }
    if workflows.iter().all(|workflow| workflow.waived) {
        findings
            .report(
                Code::DroppedBarrier,
                format!("the barrier `{id}` is dropped: all of its workflows are waived"),
            )
            .at(barrier.place, "nobody meets here in this run");
    }
}
