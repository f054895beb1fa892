//! Workflows: matrices are resolved, then each combination is read on its own.

use super::step;
use crate::{
    diagnostics::{At, Findings, Place},
    error_code::Code,
    id::WorkflowName,
    pipeline::{
        draft::{Draft, WorkflowDraft},
        fields::Fields,
        keys, reader,
        tree::{Form, Node, NodeKind},
    },
    plan::{KubernetesTarget, MAX_WORKFLOWS, Target},
    resolve::{Combination, Scope, combinations, condition},
};

/// How many values may come about by matrices: far more than a plan of 768 KiB can hold, and few
/// enough to be read in a moment.
const MAX_VALUES: usize = 250_000;

/// Reads all workflows into the draft.
pub(crate) fn all(items: &[Node], scope: &Scope<'_>, draft: &mut Draft, findings: &mut Findings) {
    let mut values = 0;
    for item in items {
        let Some(combinations) = expand(item, scope, findings) else {
            draft.whole = false;
            continue;
        };
        let (count, place) = (combinations.len(), item.place);
        values += item.count().saturating_mul(count);
        if draft.workflows.len() + count > MAX_WORKFLOWS || values > MAX_VALUES {
            too_many(draft.workflows.len() + count, place, findings);
            draft.whole = false;
            return;
        }
        for combination in combinations {
            let workflow = one(item, combination.as_ref(), scope, draft, findings);
            draft.workflows.extend(workflow);
        }
    }
}

fn too_many(count: usize, place: Place, findings: &mut Findings) {
    findings
        .report(
            Code::MatrixTooLarge,
            format!(
                "the pipeline is too large: {count} workflows up to here; the limits are \
                 {MAX_WORKFLOWS} workflows and {MAX_VALUES} values in all of them"
            ),
        )
        .at(place, "with this workflow");
}

/// The combinations of a workflow's matrix; a workflow without one is a single workflow.
fn expand(
    item: &Node,
    scope: &Scope<'_>,
    findings: &mut Findings,
) -> Option<Vec<Option<Combination>>> {
    match item.get("matrix") {
        None => Some(vec![None]),
        Some(matrix) => {
            let matrix = scope.replaced(matrix, findings);
            let found = combinations(&matrix, MAX_WORKFLOWS, findings)?;
            Some(found.into_iter().map(Some).collect())
        }
    }
}

fn one(
    item: &Node,
    combination: Option<&Combination>,
    scope: &Scope<'_>,
    draft: &mut Draft,
    findings: &mut Findings,
) -> Option<WorkflowDraft> {
    let scope = scope.within(combination);
    let node = scope.replaced_except(item, "matrix", findings);
    let Some(fields) = Fields::open(&node, &keys::WORKFLOW, findings) else {
        draft.whole = false;
        return None;
    };
    let name = fields.require("name", findings).and_then(|node| name(node, combination, findings));
    let waived = fields
        .get("when")
        .and_then(|node| condition(node, findings))
        .is_some_and(|takes_part| !takes_part);
    let target = fields.require("target", findings).and_then(|node| target(node, findings));
    let steps = fields
        .require("steps", findings)
        .and_then(|node| step::all(node, &mut draft.whole, findings))
        .unwrap_or_else(|| {
            draft.whole = false;
            Vec::new()
        });
    let Some(name) = name else {
        draft.whole = false;
        return None;
    };
    Some(WorkflowDraft { name, target, waived, steps })
}

/// The workflow's name; the values of its combination are appended unless it uses them already.
fn name(
    node: &Node,
    combination: Option<&Combination>,
    findings: &mut Findings,
) -> Option<At<WorkflowName>> {
    let mut text = reader::text(node, "a workflow", findings)?;
    let written = match &node.kind {
        NodeKind::Scalar(scalar) => match &scalar.form {
            Form::Replaced(before) => before.as_str(),
            Form::Bare | Form::Text => scalar.text.as_str(),
        },
        _ => "",
    };
    if let Some(combination) = combination
        && !Scope::uses_matrix(written)
    {
        for part in combination.suffixes() {
            text.value.push('-');
            text.value.push_str(&part);
        }
    }
    reader::parse_name(&text, "a workflow", findings)
}

fn target(node: &Node, findings: &mut Findings) -> Option<At<Target>> {
    let fields = Fields::open(node, &keys::TARGET, findings)?;
    let kinds: Vec<&'static str> = keys::TARGET.keys.iter().map(|key| key.name).collect();
    let kind = fields.exactly_one(&kinds, findings)?;
    let body = fields.get(kind)?;
    let target = match kind {
        "kubernetes" => Target::Kubernetes(kubernetes(body, findings)?),
        _ => {
            if body.kind != NodeKind::Null {
                Fields::open(body, &keys::EMPTY, findings)?;
            }
            if kind == "command" { Target::Command {} } else { Target::External {} }
        }
    };
    Some(At::new(target, fields.place()))
}

fn kubernetes(node: &Node, findings: &mut Findings) -> Option<KubernetesTarget> {
    let fields = Fields::open(node, &keys::KUBERNETES, findings)?;
    // A namespace is a DNS-1123 label like a workflow's name.
    let namespace = fields
        .require("namespace", findings)
        .and_then(|node| reader::name::<WorkflowName>(node, "a namespace", findings));
    let text = |key: &str, findings: &mut Findings| {
        let node = fields.get(key)?;
        reader::filled(node, &format!("`{key}`"), findings).map(|text| text.value)
    };
    let cluster = text("cluster", findings);
    let context = text("context", findings);
    let allow_cluster_scoped = fields
        .get("allowClusterScoped")
        .and_then(|node| reader::flag(node, "`allowClusterScoped`", findings))
        .unwrap_or_default();
    let allow_managed_by = fields
        .get("allowManagedBy")
        .and_then(|node| reader::text_set(node, "`allowManagedBy`", findings))
        .unwrap_or_default();
    Some(KubernetesTarget {
        namespace: namespace?.value.into(),
        cluster,
        context,
        allow_cluster_scoped,
        allow_managed_by,
    })
}
