//! Plans and records as tests write them.

use std::collections::{BTreeMap, BTreeSet};

use lockstep_shared::{
    id::{BarrierId, RunKey, WorkflowName},
    plan::{
        Action, Barrier, Command, Concurrency, OnFailure, Plan, Probe, RunCommand, Step, Target,
        Timeouts, Verify, Workflow,
    },
    time::Span,
};

pub(super) fn workflow(name: &str) -> WorkflowName {
    name.parse().unwrap()
}

pub(super) fn barrier(name: &str) -> BarrierId {
    name.parse().unwrap()
}

pub(super) fn key(run: &str) -> RunKey {
    RunKey { pipeline: "shop".parse().unwrap(), run: run.parse().unwrap() }
}

/// `@BE` is a barrier, `verify` a verify, `wait` a wait of a minute, all else a command. Behind
/// it: `+2` two retries, `~` tolerated, `!` idempotent.
fn step(word: &str) -> Step {
    let name = word.trim_end_matches(|c: char| "~!+".contains(c) || c.is_ascii_digit());
    let command = Command::Shell(name.to_owned());
    let action = match name {
        "verify" => Action::Verify(Verify {
            probe: Probe::Command(command),
            hold: Span(0),
            interval: Span::seconds(1),
        }),
        "wait" => Action::Wait(Span::minutes(1)),
        _ => match name.strip_prefix('@') {
            Some(id) => Action::Barrier(barrier(id)),
            None => Action::Run(RunCommand {
                command,
                undo: None,
                env: BTreeMap::new(),
                workdir: None,
                idempotent: word.contains('!'),
            }),
        },
    };
    let retries = word.split('+').nth(1).and_then(|rest| rest[..1].parse().ok()).unwrap_or(0);
    let tolerated = word.contains('~');
    Step { name: name.to_owned(), action, timeout: Span::minutes(5), retries, tolerated }
}

pub(super) fn steps(words: &str) -> Workflow {
    Workflow {
        target: Target::Command {},
        steps: words.split_whitespace().map(step).collect(),
        waived: false,
        waived_steps: Vec::new(),
        bundle: None,
    }
}

pub(super) fn plan(on_failure: OnFailure, lines: &[(&str, &str)]) -> Plan {
    let mut barriers: BTreeMap<BarrierId, Barrier> = BTreeMap::new();
    let mut workflows = BTreeMap::new();
    for (name, words) in lines {
        let planned = steps(words);
        for step in &planned.steps {
            if let Action::Barrier(id) = &step.action {
                let declared = barriers.entry(id.clone()).or_insert_with(|| Barrier {
                    title: None,
                    timeout: Span::minutes(10),
                    workflows: BTreeSet::new(),
                    foreign: BTreeSet::new(),
                    waived: BTreeSet::new(),
                });
                declared.workflows.insert(workflow(name));
            }
        }
        workflows.insert(workflow(name), planned);
    }
    Plan {
        protocol: 1,
        pipeline: "shop".parse().unwrap(),
        params: BTreeMap::new(),
        on_failure,
        concurrency: Concurrency::Refuse,
        plan_only: false,
        narrowed: false,
        timeouts: Timeouts::default(),
        barriers,
        workflows,
        skipped_checks: BTreeSet::new(),
        from_run: None,
    }
}

/// The reference story, seen by the backend's agent.
pub(super) fn reference() -> Plan {
    let lines = [("backend", "deploy @BE @FE"), ("frontend", "@BE deploy @FE")];
    plan(OnFailure::RollbackAll, &lines)
}

/// One workflow alone.
pub(super) fn alone(words: &str) -> Plan {
    plan(OnFailure::RollbackAll, &[("backend", words)])
}
