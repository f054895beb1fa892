//! Steps: a single key says the kind, its value the rest.

use std::collections::{BTreeMap, BTreeSet};

use super::{deploy, verify};
use crate::{
    diagnostics::{At, Findings, Place},
    error_code::Code,
    id::BarrierId,
    pipeline::{
        draft::StepDraft,
        fields::Fields,
        keys, reader, suggest,
        tree::{Node, NodeKind},
    },
    plan::{Action, Command, RunCommand, Step, Undo},
    resolve::condition,
    time::Span,
};

/// How long an attempt may take unless the step says so.
const TIMEOUT: Span = Span::minutes(5);

/// How much longer than its wait a `wait` step may take: an agent may have to be restarted.
const WAIT_GRACE: Span = Span::minutes(1);

/// More attempts than this are a step that does not work.
const MAX_RETRIES: u32 = 100;

/// Reads a workflow's steps; `whole` becomes false if one of them cannot be read.
pub(crate) fn all(
    node: &Node,
    whole: &mut bool,
    findings: &mut Findings,
) -> Option<Vec<StepDraft>> {
    let items = reader::list(node, "`steps`", findings)?;
    let mut steps = Vec::with_capacity(items.len());
    for item in items {
        match one(item, findings) {
            Some(step) => steps.push(step),
            None => *whole = false,
        }
    }
    name_steps(&mut steps, findings);
    Some(steps)
}

fn one(node: &Node, findings: &mut Findings) -> Option<StepDraft> {
    let entries = reader::map(node, "a step", findings)?;
    let [(key, body)] = entries else {
        not_one_kind(entries, node.place, findings);
        return None;
    };
    match key.value.as_str() {
        "run" => run(key.place, body, findings),
        "verify" => verify::step(key.place, body, findings),
        "wait" => wait(key.place, body, findings),
        "barrier" => barrier(key.place, body, findings),
        "deploy" => deploy::step(key.place, body, findings),
        _ => {
            Fields::open(node, &keys::STEP, findings);
            None
        }
    }
}

fn not_one_kind(entries: &[(At<String>, Node)], place: Place, findings: &mut Findings) {
    let is_kind = |key: &str| keys::STEP.key(key).is_some();
    let kinds: Vec<&At<String>> =
        entries.iter().map(|(key, _)| key).filter(|key| is_kind(&key.value)).collect();
    let names = suggest::listed(keys::STEP.keys.iter().map(|key| key.name));
    match kinds[..] {
        [] => {
            findings
                .report(Code::StepKind, format!("a step needs one of {names}"))
                .at(place, "none of them is here");
        }
        [kind] => {
            let others = entries.iter().map(|(key, _)| key).filter(|key| !is_kind(&key.value));
            let listed = suggest::listed(others.clone().map(|key| key.value.as_str()));
            let finding = findings.report(
                Code::StepKind,
                format!("{listed} stands beside `{}` instead of inside it", kind.value),
            );
            for key in others {
                finding.at(key.place, "beside the step's kind");
            }
            let first = entries.iter().find(|(key, _)| !is_kind(&key.value));
            let inner = first.map_or("name", |(key, _)| key.value.as_str());
            finding.help(format!(
                "write `{}: {{ {}, {inner}: ... }}`",
                kind.value,
                body_hint(&kind.value)
            ));
        }
        _ => {
            let listed = suggest::listed(kinds.iter().map(|key| key.value.as_str()));
            let finding = findings.report(Code::StepKind, format!("one step is {listed} at once"));
            for key in kinds {
                finding.at(key.place, format!("`{}`", key.value));
            }
        }
    }
}

fn body_hint(kind: &str) -> &'static str {
    match kind {
        "run" => "command: ...",
        "wait" => "for: ...",
        "barrier" => "id: ...",
        "deploy" => "manifests: [...]",
        _ => "http: ...",
    }
}

/// What every kind of step but `barrier` may say about itself.
pub(crate) struct Common {
    named: Option<At<String>>,
    pub(crate) timeout: Option<At<Span>>,
    retries: u32,
    tolerated: bool,
    waived: bool,
}

impl Common {
    /// Reads it from the step's map.
    pub(crate) fn read(fields: &Fields<'_>, findings: &mut Findings) -> Self {
        let named =
            fields.get("name").and_then(|node| reader::caption(node, "a step's name", findings));
        let timeout = fields
            .get("timeout")
            .and_then(|node| reader::duration(node, "`timeout`", false, findings));
        let retries = fields
            .get("retries")
            .and_then(|node| reader::count(node, "`retries`", (0, MAX_RETRIES), findings))
            .unwrap_or_default();
        let words = [("fail", false), ("continue", true)];
        let tolerated = fields
            .get("onFailure")
            .and_then(|node| reader::choice(node, "a step's `onFailure`", &words, findings))
            .unwrap_or_default();
        let waived = fields
            .get("when")
            .and_then(|node| condition(node, findings))
            .is_some_and(|takes_part| !takes_part);
        Self { named, timeout, retries, tolerated, waived }
    }

    /// A step that says nothing about itself.
    fn silent() -> Self {
        Self { named: None, timeout: None, retries: 0, tolerated: false, waived: false }
    }

    /// The finished step.
    pub(crate) fn finish(self, place: Place, action: Action, otherwise: Span) -> StepDraft {
        let timeout = self.timeout.map_or(otherwise, |timeout| timeout.value);
        let step = Step {
            name: String::new(),
            action,
            timeout,
            retries: self.retries,
            tolerated: self.tolerated,
        };
        StepDraft {
            place,
            step,
            named: self.named,
            waived: self.waived,
            barrier: None,
            files: Vec::new(),
        }
    }

    /// The finished step with the usual timeout.
    pub(crate) fn finish_usual(self, place: Place, action: Action) -> StepDraft {
        self.finish(place, action, TIMEOUT)
    }
}

fn run(place: Place, body: &Node, findings: &mut Findings) -> Option<StepDraft> {
    if let NodeKind::Scalar(_) = body.kind {
        let command = Command::Shell(reader::filled(body, "`run`", findings)?.value);
        let action = Action::Run(RunCommand {
            command,
            undo: None,
            env: BTreeMap::new(),
            workdir: None,
            idempotent: false,
        });
        return Some(Common::silent().finish_usual(place, action));
    }
    if matches!(body.kind, NodeKind::Null | NodeKind::List(_)) {
        reader::wrong_type(body, "`run`", "a text or a map with `command`", findings);
        return None;
    }
    let fields = Fields::open(body, &keys::RUN, findings)?;
    let common = Common::read(&fields, findings);
    let main =
        fields.require("command", findings).and_then(|node| command(node, "`command`", findings));
    let undo = reader::given(fields.get("undo"), None, |node| Some(Some(undo(node, findings)?)));
    let env = reader::given(fields.get("env"), BTreeMap::new(), |node| env(node, findings));
    let workdir = reader::given(fields.get("workdir"), None, |node| {
        reader::filled(node, "`workdir`", findings).map(|workdir| Some(workdir.value))
    });
    let idempotent = reader::given(fields.get("idempotent"), false, |node| {
        reader::flag(node, "`idempotent`", findings)
    });
    let action = Action::Run(RunCommand {
        command: main?,
        undo: undo?,
        env: env?,
        workdir: workdir?,
        idempotent: idempotent?,
    });
    Some(common.finish_usual(place, action))
}

/// The word that says that there is nothing to give back; a program of that name is a list of one.
const NOTHING: &str = "none";

fn undo(node: &Node, findings: &mut Findings) -> Option<Undo> {
    Some(match command(node, "`undo`", findings)? {
        Command::Shell(text) if text.trim() == NOTHING => Undo::Nothing,
        command => Undo::Command(command),
    })
}

fn env(node: &Node, findings: &mut Findings) -> Option<BTreeMap<String, String>> {
    let valid = |name: &str| {
        name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    let variables = reader::text_map(node, "`env`", findings)?;
    let entries = reader::map(node, "`env`", findings)?;
    for (key, _) in entries.iter().filter(|(key, _)| !valid(&key.value)) {
        findings
            .report(Code::BadName, format!("a variable cannot be called {:?}", key.value))
            .at(key.place, "not a valid name")
            .help("use letters, digits and '_', not beginning with a digit");
    }
    variables.keys().all(|name| valid(name)).then_some(variables)
}

/// A command, as a text or as a list.
pub(super) fn command(node: &Node, what: &str, findings: &mut Findings) -> Option<Command> {
    if let NodeKind::Scalar(_) = node.kind {
        return Some(Command::Shell(reader::filled(node, what, findings)?.value));
    }
    let NodeKind::List(items) = &node.kind else {
        reader::wrong_type(node, what, "a text or a list", findings);
        return None;
    };
    if items.is_empty() {
        findings
            .report(Code::BadValue, format!("{what} is an empty list"))
            .at(node.place, "nothing to execute")
            .help("write the program and its arguments");
        return None;
    }
    let words: Vec<_> = items.iter().map(|item| reader::text(item, what, findings)).collect();
    let words = words.into_iter().map(|word| Some(word?.value)).collect::<Option<Vec<_>>>()?;
    if words[0].is_empty() {
        findings
            .report(Code::BadValue, format!("{what} names no program"))
            .at(items[0].place, "empty");
        return None;
    }
    Some(Command::Exec(words))
}

fn wait(place: Place, body: &Node, findings: &mut Findings) -> Option<StepDraft> {
    let (span, common) = match body.kind {
        NodeKind::Scalar(_) => {
            (reader::duration(body, "`wait`", false, findings), Common::silent())
        }
        _ => {
            let fields = Fields::open(body, &keys::WAIT, findings)?;
            let common = Common::read(&fields, findings);
            let node = fields.require("for", findings);
            (node.and_then(|node| reader::duration(node, "`for`", false, findings)), common)
        }
    };
    let span = span?.value;
    Some(common.finish(place, Action::Wait(span), Span(span.0.saturating_add(WAIT_GRACE.0))))
}

fn barrier(place: Place, body: &Node, findings: &mut Findings) -> Option<StepDraft> {
    let (id, named) = match body.kind {
        NodeKind::Scalar(_) => (reader::name::<BarrierId>(body, "a barrier", findings), None),
        _ => {
            let fields = Fields::open(body, &keys::BARRIER_STEP, findings)?;
            let named = fields
                .get("name")
                .and_then(|node| reader::caption(node, "a step's name", findings));
            let id = fields
                .require("id", findings)
                .and_then(|node| reader::name::<BarrierId>(node, "a barrier", findings));
            (id, named)
        }
    };
    let id = id?;
    let action = Action::Barrier(id.value.clone());
    let mut step = Common::silent().finish(place, action, Span(0));
    step.named = named;
    step.barrier = Some(id);
    Some(step)
}

/// Gives every step a name that no other step of the workflow has.
fn name_steps(steps: &mut [StepDraft], findings: &mut Findings) {
    let mut taken: BTreeSet<String> = BTreeSet::new();
    for step in steps.iter_mut() {
        let Some(named) = &step.named else { continue };
        if !taken.insert(named.value.clone()) {
            findings
                .report(
                    Code::DuplicateStepName,
                    format!("two steps of this workflow are called {:?}", named.value),
                )
                .at(named.place, "again here");
        }
        step.step.name = named.value.clone();
    }
    let mut next: BTreeMap<String, usize> = BTreeMap::new();
    for step in steps.iter_mut().filter(|step| step.named.is_none()) {
        let base = match &step.step.action {
            Action::Barrier(id) => id.to_string(),
            other => other.kind().to_owned(),
        };
        let number = next.entry(base.clone()).or_insert(1);
        loop {
            let name = if *number == 1 { base.clone() } else { format!("{base}-{number}") };
            *number += 1;
            if taken.insert(name.clone()) {
                step.step.name = name;
                break;
            }
        }
    }
}
