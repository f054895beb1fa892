//! From a checked draft to the plan.

use std::collections::{BTreeMap, BTreeSet};

use super::params::Values;
use crate::{
    id::{BarrierId, PipelineName, WorkflowName},
    pipeline::{Draft, Inputs, WorkflowDraft},
    plan::{Barrier, PROTOCOL, Plan, Timeouts, Workflow},
};

/// The plan of a draft in which no check found an error; `None` if it is not whole after all.
pub(crate) fn plan(draft: Draft, values: Values, inputs: &Inputs<'_>) -> Option<Plan> {
    let pipeline: PipelineName = draft.name.clone()?;
    let barriers = barriers(&draft);
    let timeouts = timeouts(&draft);
    let workflows: Option<BTreeMap<WorkflowName, Workflow>> =
        draft.workflows.into_iter().map(workflow).collect();
    let params: Option<BTreeMap<String, String>> =
        values.into_iter().map(|(name, value)| Some((name, value?))).collect();
    Some(Plan {
        protocol: PROTOCOL,
        pipeline,
        params: params?,
        on_failure: draft.on_failure,
        concurrency: draft.concurrency,
        plan_only: inputs.plan_only,
        narrowed: false,
        timeouts,
        barriers,
        workflows: workflows?,
        skipped_checks: inputs.skipped().map(|code| code.as_str().to_owned()).collect(),
        from_run: None,
    })
}

fn timeouts(draft: &Draft) -> Timeouts {
    let usual = Timeouts::default();
    let clocks = &draft.clocks;
    Timeouts {
        join: clocks.join.as_ref().map_or(usual.join, |clock| clock.value),
        prepare: clocks.prepare.as_ref().map_or(usual.prepare, |clock| clock.value),
        run: clocks.run.as_ref().map_or(usual.run, |clock| clock.value),
        ending: clocks.ending.as_ref().map_or(usual.ending, |clock| clock.value),
    }
}

fn barriers(draft: &Draft) -> BTreeMap<BarrierId, Barrier> {
    let parties = draft.parties();
    let names = |id: &BarrierId, waived: bool| -> BTreeSet<WorkflowName> {
        let named = parties.get(id).into_iter().flatten();
        named
            .filter(|workflow| workflow.waived == waived)
            .map(|workflow| workflow.name.value.clone())
            .collect()
    };
    let met = draft.barriers.iter().filter_map(|(id, declared)| {
        let (workflows, waived) = (names(id, false), names(id, true));
        (!workflows.is_empty()).then(|| {
            let foreign = declared.parties.iter().map(|party| party.value.clone()).collect();
            let barrier = Barrier {
                title: declared.title.clone(),
                timeout: declared.clock(),
                workflows,
                foreign,
                waived,
            };
            (id.clone(), barrier)
        })
    });
    met.collect()
}

fn workflow(draft: WorkflowDraft) -> Option<(WorkflowName, Workflow)> {
    let (mut steps, mut waived_steps) = (Vec::new(), Vec::new());
    if !draft.waived {
        for step in draft.steps {
            if step.waived {
                waived_steps.push(step.step.name);
            } else {
                steps.push(step.step);
            }
        }
    }
    let workflow = Workflow {
        target: draft.target?.value,
        steps,
        waived: draft.waived,
        waived_steps,
        bundle: None,
    };
    Some((draft.name.value, workflow))
}
