//! The `deploy` step of a Kubernetes target. What the manifests hold is not looked at here.

use std::collections::{BTreeMap, BTreeSet};

use super::step::Common;
use crate::{
    diagnostics::{At, Findings, Place},
    error_code::Code,
    id::WorkflowName,
    manifest::images::is_reference,
    pipeline::{draft::StepDraft, fields::Fields, keys, reader, tree::Node},
    plan::{Action, Deploy, DeploySource, HealthRule},
    time::Span,
};

/// How long objects must stay healthy unless the step says so.
const SETTLE: Span = Span::seconds(10);

/// Reads a `deploy` step.
pub(crate) fn step(place: Place, body: &Node, findings: &mut Findings) -> Option<StepDraft> {
    let fields = Fields::open(body, &keys::DEPLOY, findings)?;
    let common = Common::read(&fields, findings);
    let mut files = Vec::new();
    let source = fields
        .exactly_one(&["manifests", "kustomize", "helm"], findings)
        .and_then(|kind| source(kind, fields.get(kind)?, &mut files, findings));
    let images =
        reader::given(fields.get("images"), BTreeMap::new(), |node| images(node, findings));
    let healthy =
        reader::given(fields.get("healthy"), BTreeMap::new(), |node| healthy(node, findings));
    let settle = reader::given(fields.get("settle"), SETTLE, |node| {
        reader::duration(node, "`settle`", true, findings).map(|settle| settle.value)
    });
    let wait =
        reader::given(fields.get("wait"), true, |node| reader::flag(node, "`wait`", findings));
    let adopt = reader::given(fields.get("adopt"), None, |node| {
        reader::text_set(node, "`adopt`", findings).map(Some)
    });
    let force_conflicts = reader::given(fields.get("forceConflicts"), BTreeSet::new(), |node| {
        reader::text_set(node, "`forceConflicts`", findings)
    });
    let accept_irreversible = reader::given(fields.get("irreversible"), false, |node| {
        reader::choice(node, "`irreversible`", &[("accept", true)], findings)
    });
    let deploy = Deploy {
        source: source?,
        images: images?,
        settle: settle?,
        wait: wait?,
        healthy: healthy?,
        adopt: adopt?,
        force_conflicts: force_conflicts?,
        accept_irreversible: accept_irreversible?,
    };
    let mut step = common.finish_usual(place, Action::Deploy(deploy));
    step.files = files;
    Some(step)
}

fn source(
    kind: &str,
    node: &Node,
    files: &mut Vec<At<String>>,
    findings: &mut Findings,
) -> Option<DeploySource> {
    match kind {
        "manifests" => {
            let paths = paths(node, "`manifests`", files, findings)?;
            Some(DeploySource::Manifests(paths))
        }
        "kustomize" => {
            let folder = reader::filled(node, "`kustomize`", findings)?;
            files.push(folder.clone());
            Some(DeploySource::Kustomize(folder.value))
        }
        _ => helm(node, files, findings),
    }
}

fn paths(
    node: &Node,
    what: &str,
    files: &mut Vec<At<String>>,
    findings: &mut Findings,
) -> Option<Vec<String>> {
    let read = reader::texts(node, what, findings)?;
    files.extend(read.iter().cloned());
    Some(read.into_iter().map(|path| path.value).collect())
}

fn helm(node: &Node, files: &mut Vec<At<String>>, findings: &mut Findings) -> Option<DeploySource> {
    let fields = Fields::open(node, &keys::HELM, findings)?;
    let chart = fields
        .require("chart", findings)
        .and_then(|node| reader::filled(node, "`chart`", findings));
    files.extend(chart.iter().cloned());
    // A release's name is a DNS-1123 label like a workflow's.
    let release = fields
        .require("release", findings)
        .and_then(|node| reader::name::<WorkflowName>(node, "a release", findings));
    let values = reader::given(fields.get("values"), Vec::new(), |node| {
        paths(node, "`values`", files, findings)
    });
    let set = reader::given(fields.get("set"), BTreeMap::new(), |node| {
        reader::text_map(node, "`set`", findings)
    });
    Some(DeploySource::Helm {
        chart: chart?.value,
        release: release?.value.into(),
        values: values?,
        set: set?,
    })
}

fn images(node: &Node, findings: &mut Findings) -> Option<BTreeMap<String, String>> {
    let images = reader::text_map(node, "`images`", findings)?;
    let mut whole = true;
    for (name, reference) in &images {
        if !is_reference(reference) {
            let place = node.get(name).map_or(node.place, |value| value.place);
            findings
                .report(Code::BadValue, format!("{reference:?} is no reference of an image"))
                .at(place, "not a reference")
                .help("write the whole reference, such as `registry.example.com/web:v2`");
            whole = false;
        }
    }
    whole.then_some(images)
}

fn healthy(node: &Node, findings: &mut Findings) -> Option<BTreeMap<String, HealthRule>> {
    let entries = reader::map(node, "`healthy`", findings)?;
    let mut rules = BTreeMap::new();
    let mut whole = true;
    for (kind, node) in entries {
        match rule(node, findings) {
            Some(rule) => drop(rules.insert(kind.value.clone(), rule)),
            None => whole = false,
        }
    }
    whole.then_some(rules)
}

fn rule(node: &Node, findings: &mut Findings) -> Option<HealthRule> {
    let fields = Fields::open(node, &keys::HEALTH, findings)?;
    let current = fields
        .require("current", findings)
        .and_then(|node| reader::filled(node, "`current`", findings));
    let failed = reader::given(fields.get("failed"), None, |node| {
        reader::filled(node, "`failed`", findings).map(|failed| Some(failed.value))
    });
    Some(HealthRule { current: current?.value, failed: failed? })
}
