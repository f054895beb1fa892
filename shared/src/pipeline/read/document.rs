//! The document itself, parameters and barriers.

use std::collections::BTreeMap;

use super::workflow;
use crate::{
    diagnostics::{At, Findings, Place},
    error_code::Code,
    id::{BarrierId, PartyName, PipelineName},
    pipeline::{
        draft::{BarrierDraft, Clocks, Draft},
        fields::Fields,
        keys, reader,
        tree::{Node, NodeKind},
    },
    plan::{Concurrency, OnFailure, Timeouts},
    resolve::{Declared, Params, Scope},
    time::Span,
};

/// How long a barrier waits unless it says so: long enough for a deployment next door.
const BARRIER_TIMEOUT: Span = Span::minutes(10);

/// What can be read before parameters have values.
#[derive(Debug, Clone)]
pub(crate) struct Head {
    /// The pipeline's name, if it could be read.
    pub(crate) name: Option<PipelineName>,
    /// The declared parameters.
    pub(crate) params: Params,
}

/// Reads what holds for every run of the file.
pub(crate) fn head(root: &Node, findings: &mut Findings) -> Head {
    let mut head = Head { name: None, params: Params::default() };
    let Some(fields) = Fields::open(root, &keys::DOCUMENT, findings) else { return head };
    for (key, wanted) in [("apiVersion", keys::API_VERSION), ("kind", keys::KIND)] {
        if let Some(node) = fields.require(key, findings) {
            fixed(node, key, wanted, findings);
        }
    }
    head.name = fields
        .require("metadata", findings)
        .and_then(|node| Fields::open(node, &keys::METADATA, findings))
        .and_then(|fields| fields.require("name", findings))
        .and_then(|node| reader::name::<PipelineName>(node, "the pipeline", findings))
        .map(|name| name.value);
    let params = fields
        .require("spec", findings)
        .and_then(|node| Fields::open(node, &keys::SPEC, findings))
        .and_then(|spec| spec.get("params"));
    if let Some(entries) = params.and_then(|node| reader::map(node, "`params`", findings)) {
        for (key, node) in entries {
            if let Some(declared) = param(key, node, findings) {
                head.params.declared.insert(key.value.clone(), declared);
            }
        }
    }
    head
}

fn fixed(node: &Node, key: &str, wanted: &str, findings: &mut Findings) {
    let found = reader::text(node, &format!("`{key}`"), findings);
    if let Some(found) = found.filter(|found| found.value != wanted) {
        findings
            .report(Code::NotAPipeline, format!("`{key}` is {:?}", found.value))
            .at(found.place, format!("has to be `{wanted}`"));
    }
}

fn param(key: &At<String>, node: &Node, findings: &mut Findings) -> Option<Declared> {
    let name = &key.value;
    let letter = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if !name.starts_with(|c: char| c.is_ascii_alphabetic()) || !name.chars().all(letter) {
        findings
            .report(Code::BadName, format!("a parameter cannot be called {name:?}"))
            .at(key.place, "not a valid name")
            .help("use letters, digits, '_' and '-', beginning with a letter");
        return None;
    }
    let mut declared = Declared { place: key.place, ..Declared::default() };
    if node.kind == NodeKind::Null {
        return Some(declared);
    }
    let fields = Fields::open(node, &keys::PARAM, findings)?;
    if let Some(values) = fields.get("enum") {
        declared.allowed = reader::texts(values, "`enum`", findings)?
            .into_iter()
            .map(|value| value.value)
            .collect();
    }
    if let Some(value) = fields.get("default").filter(|node| node.kind != NodeKind::Null) {
        declared.default = Some(reader::text(value, "`default`", findings)?);
    }
    let required =
        fields.get("required").and_then(|node| reader::flag(node, "`required`", findings));
    if let (Some(true), Some(default)) = (required, &declared.default) {
        findings
            .report(Code::BadParam, format!("`{name}` is required and has a default"))
            .at(default.place, "never used")
            .help("remove one of the two");
    }
    Some(declared)
}

/// Reads the rest for one run, whose parameters have values.
pub(crate) fn document(
    root: &Node,
    head: &Head,
    scope: &Scope<'_>,
    findings: &mut Findings,
) -> Draft {
    let mut draft = Draft {
        name: head.name.clone(),
        on_failure: OnFailure::default(),
        concurrency: Concurrency::default(),
        clocks: Clocks::default(),
        barriers: BTreeMap::new(),
        workflows: Vec::new(),
        whole: true,
    };
    // Unknown and missing keys of these maps were reported with the head.
    let mut told = Findings::default();
    let spec = root.get("spec").and_then(|node| Fields::open(node, &keys::SPEC, &mut told));
    let Some(spec) = spec else {
        draft.whole = false;
        return draft;
    };
    settings(&spec, scope, &mut draft, findings);
    if let Some(node) = spec.get("barriers") {
        // A barrier that says nothing must not outlast a short run.
        let run = draft.clocks.run.as_ref().map_or(Timeouts::default().run, |run| run.value);
        let usual = BARRIER_TIMEOUT.min(run);
        let node = scope.replaced(node, findings);
        for (key, value) in reader::map(&node, "`barriers`", findings).unwrap_or_default() {
            match barrier(key, value, usual, findings) {
                Some((id, barrier)) => drop(draft.barriers.insert(id, barrier)),
                None => draft.whole = false,
            }
        }
    }
    let Some(node) = spec.require("workflows", findings) else {
        draft.whole = false;
        return draft;
    };
    let Some(items) = reader::list(node, "`workflows`", findings) else {
        draft.whole = false;
        return draft;
    };
    if items.is_empty() {
        findings
            .report(Code::NoWorkflows, "the pipeline has no workflows")
            .at(node.place, "nothing here");
    }
    workflow::all(items, scope, &mut draft, findings);
    draft
}

fn settings(spec: &Fields<'_>, scope: &Scope<'_>, draft: &mut Draft, findings: &mut Findings) {
    let get = |key: &str, findings: &mut Findings| {
        spec.get(key).map(|node| scope.replaced(node, findings))
    };
    if let Some(node) = get("timeout", findings) {
        draft.clocks.run = reader::duration(&node, "`timeout`", false, findings);
    }
    if let Some(node) = get("onFailure", findings) {
        let words = [("rollback-all", OnFailure::RollbackAll), ("each-own", OnFailure::EachOwn)];
        draft.on_failure =
            reader::choice(&node, "`onFailure`", &words, findings).unwrap_or_default();
    }
    if let Some(node) = get("concurrency", findings) {
        let words = [("refuse", Concurrency::Refuse), ("queue", Concurrency::Queue)];
        draft.concurrency =
            reader::choice(&node, "`concurrency`", &words, findings).unwrap_or_default();
    }
    let Some(node) = get("timeouts", findings) else { return };
    let Some(fields) = Fields::open(&node, &keys::TIMEOUTS, findings) else { return };
    let mut clock = |key: &str| {
        let node = fields.get(key)?;
        reader::duration(node, &format!("`{key}`"), false, findings)
    };
    draft.clocks.join = clock("join");
    draft.clocks.prepare = clock("prepare");
    draft.clocks.ending = clock("rollback");
}

fn barrier(
    key: &At<String>,
    node: &Node,
    usual: Span,
    findings: &mut Findings,
) -> Option<(BarrierId, BarrierDraft)> {
    let id = reader::parse_name::<BarrierId>(key, "a barrier", findings);
    let mut barrier = BarrierDraft {
        place: key.place,
        title: None,
        timeout: None,
        usual,
        parties: Vec::new(),
        allow_single: false,
    };
    if node.kind != NodeKind::Null {
        let fields = Fields::open(node, &keys::BARRIER, findings)?;
        let title = fields.get("title");
        barrier.title = title
            .and_then(|node| reader::caption(node, "`title`", findings))
            .map(|title| title.value);
        let timeout = fields.get("timeout");
        barrier.timeout =
            timeout.and_then(|node| reader::duration(node, "`timeout`", false, findings));
        let single = fields.get("allowSingle");
        barrier.allow_single = single
            .and_then(|node| reader::flag(node, "`allowSingle`", findings))
            .unwrap_or_default();
        if let Some(node) = fields.get("parties") {
            barrier.parties = parties(node, findings)?;
        }
    }
    Some((id?.value, barrier))
}

fn parties(node: &Node, findings: &mut Findings) -> Option<Vec<At<PartyName>>> {
    let items = reader::list(node, "`parties`", findings)?;
    let mut parties: Vec<At<PartyName>> = Vec::new();
    let mut places: BTreeMap<PartyName, Place> = BTreeMap::new();
    let mut whole = true;
    for item in items {
        let Some(party) = reader::name::<PartyName>(item, "a party", findings) else {
            whole = false;
            continue;
        };
        if let Some(first) = places.insert(party.value.clone(), party.place) {
            findings
                .report(Code::BadValue, format!("the party `{}` is listed twice", party.value))
                .at(party.place, "again here")
                .at(first, "first here")
                .help("remove one of the two");
            continue;
        }
        parties.push(party);
    }
    whole.then_some(parties)
}
