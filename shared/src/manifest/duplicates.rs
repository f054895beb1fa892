//! One object twice: within a text, a workflow, or a run.
//!
//! Two field managers of one name would delete each other's fields without any conflict, so this
//! has to be found before anything is applied.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{deployment::Text, identity::Identity};
use crate::{
    diagnostics::{Findings, Place},
    error_code::Code,
    fold::listed,
    id::{StepIndex, WorkflowName},
    pipeline::Planned,
    plan::KubernetesTarget,
};

/// An object with everything that messages say of it.
pub(super) struct Placed<'a> {
    /// Whose.
    pub(super) workflow: &'a WorkflowName,
    /// The step that deploys it.
    pub(super) step: StepIndex,
    /// The text that it is from.
    pub(super) text: &'a Text,
    /// Where it goes.
    pub(super) target: &'a KubernetesTarget,
    /// Which object it is.
    pub(super) identity: Identity,
    /// Path and line.
    pub(super) source: String,
    /// Where its name is written in the text.
    pub(super) name: Place,
    /// The object.
    pub(super) object: Value,
    /// The names of `images` that it has.
    pub(super) used: BTreeSet<String>,
}

impl Placed<'_> {
    /// The same for two manifests exactly if they are about one object of one cluster.
    fn key(&self) -> (Option<&str>, Identity) {
        // Targets that say nothing of their cluster are taken to be in the same one.
        let cluster = self.target.cluster.as_ref().or(self.target.context.as_ref());
        let mut identity = self.identity.clone();
        // A kind that only the cluster knows: most live in a namespace.
        let known = super::known_scope(&identity.group, &identity.kind).is_some();
        if identity.namespace.is_none() && !known {
            identity.namespace = Some(self.target.namespace.clone());
        }
        (cluster.map(String::as_str), identity)
    }

    fn step_key(&self) -> (&WorkflowName, StepIndex) {
        (self.workflow, self.step)
    }
}

/// Two steps, with what both of them deploy.
type Pairs<'a> =
    BTreeMap<((&'a WorkflowName, StepIndex), (&'a WorkflowName, StepIndex)), Vec<String>>;

/// Reports every object that two manifests are about: in the text where both are in one, else in
/// the pipeline file with both places.
pub(super) fn check<'a>(
    planned: &Planned,
    objects: &[Placed<'a>],
    findings: &mut Findings,
    texts: &mut BTreeMap<(&'a str, &'a str), Findings>,
) {
    let mut seen: BTreeMap<(Option<&str>, Identity), &Placed<'_>> = BTreeMap::new();
    let mut pairs: Pairs<'_> = BTreeMap::new();
    for at in objects.iter().filter(|at| !at.identity.is_generated()) {
        let Some(first) = seen.get(&at.key()) else {
            seen.insert(at.key(), at);
            continue;
        };
        if std::ptr::eq(first.text, at.text) {
            let findings = texts.entry((&at.text.shown, at.text.content())).or_default();
            findings
                .report(Code::RepeatedObject, format!("{} is written twice", at.identity))
                .at(at.name, "again here")
                .at(first.name, "first here");
            continue;
        }
        let both = format!("{} ({} and {})", at.identity, first.source, at.source);
        pairs.entry((first.step_key(), at.step_key())).or_default().push(both);
    }
    for ((first, second), both) in pairs {
        report(planned, first, second, &both, findings);
    }
}

fn report(
    planned: &Planned,
    first: (&WorkflowName, StepIndex),
    second: (&WorkflowName, StepIndex),
    both: &[String],
    findings: &mut Findings,
) {
    let place = |(workflow, step): (&WorkflowName, StepIndex)| planned.place_of(workflow, step);
    let finding = if first.0 == second.0 {
        let message = format!("workflow `{}` deploys twice: {}", first.0, listed(both));
        findings.report(Code::RepeatedObject, message)
    } else {
        let message =
            format!("workflows `{}` and `{}` both deploy {}", first.0, second.0, listed(both));
        findings.report(Code::SharedObject, message)
    };
    let said = |(workflow, _): (&WorkflowName, StepIndex)| format!("deployed by `{workflow}` here");
    finding.at(place(second), said(second));
    if place(first) != place(second) {
        finding.at(place(first), said(first));
    }
}
