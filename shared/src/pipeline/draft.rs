//! The pipeline as it was read, with names and numbers understood and places kept.
//!
//! Matrices and conditions are resolved already; what the checks need to point at is here, what
//! the log needs is made from it once they are content.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    diagnostics::{At, Place},
    id::{BarrierId, PartyName, PipelineName, StepIndex, WorkflowName},
    plan::{Concurrency, OnFailure, Step, Target},
    time::Span,
};

/// Everything that the file says, resolved for one run.
#[derive(Debug, Clone)]
pub(crate) struct Draft {
    /// The pipeline's name, if it could be read.
    pub(crate) name: Option<PipelineName>,
    /// Whose failure undoes whom.
    pub(crate) on_failure: OnFailure,
    /// What becomes of a run while another is open.
    pub(crate) concurrency: Concurrency,
    /// The run's clocks.
    pub(crate) clocks: Clocks,
    /// The declared barriers.
    pub(crate) barriers: BTreeMap<BarrierId, BarrierDraft>,
    /// The workflows in the order of the file, each combination of a matrix on its own.
    pub(crate) workflows: Vec<WorkflowDraft>,
    /// Whether every step could be read. If not, checks of what is absent would guess.
    pub(crate) whole: bool,
}

impl Draft {
    /// The workflows that name each barrier, waived ones included.
    pub(crate) fn parties(&self) -> BTreeMap<&BarrierId, Vec<&WorkflowDraft>> {
        let mut parties: BTreeMap<&BarrierId, Vec<&WorkflowDraft>> = BTreeMap::new();
        for workflow in &self.workflows {
            for barrier in workflow.barriers() {
                parties.entry(barrier).or_default().push(workflow);
            }
        }
        parties
    }

    /// Where each step that takes part is written, by its index in the plan.
    pub(crate) fn places(&self) -> BTreeMap<(WorkflowName, StepIndex), Place> {
        let active = self.workflows.iter().filter(|workflow| !workflow.waived);
        active
            .flat_map(|workflow| {
                let steps = workflow.active_steps().enumerate();
                steps.map(|(index, step)| ((workflow.name.value.clone(), index), step.place))
            })
            .collect()
    }
}

/// The run's clocks, where the file sets them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Clocks {
    /// `spec.timeout`.
    pub(crate) run: Option<At<Span>>,
    /// `spec.timeouts.join`.
    pub(crate) join: Option<At<Span>>,
    /// `spec.timeouts.prepare`.
    pub(crate) prepare: Option<At<Span>>,
    /// `spec.timeouts.rollback`.
    pub(crate) ending: Option<At<Span>>,
}

/// A declared barrier.
#[derive(Debug, Clone)]
pub(crate) struct BarrierDraft {
    /// Where its name is written.
    pub(crate) place: Place,
    /// Its title.
    pub(crate) title: Option<String>,
    /// Its timeout, if the file gives one.
    pub(crate) timeout: Option<At<Span>>,
    /// Its timeout otherwise.
    pub(crate) usual: Span,
    /// Its foreign parties.
    pub(crate) parties: Vec<At<PartyName>>,
    /// Whether it may have one party only.
    pub(crate) allow_single: bool,
}

impl BarrierDraft {
    /// Its timeout.
    pub(crate) fn clock(&self) -> Span {
        self.timeout.as_ref().map_or(self.usual, |timeout| timeout.value)
    }
}

/// A workflow, or one combination of its matrix.
#[derive(Debug, Clone)]
pub(crate) struct WorkflowDraft {
    /// Its name and where that is written.
    pub(crate) name: At<WorkflowName>,
    /// Where its steps act, if that could be read.
    pub(crate) target: Option<At<Target>>,
    /// Whether `when` took it out.
    pub(crate) waived: bool,
    /// Its steps, those taken out by `when` included.
    pub(crate) steps: Vec<StepDraft>,
}

impl WorkflowDraft {
    /// The steps that take part.
    pub(crate) fn active_steps(&self) -> impl Iterator<Item = &StepDraft> {
        self.steps.iter().filter(|step| !step.waived)
    }

    /// The barriers that its steps name, in order, each with its place.
    pub(crate) fn meetings(&self) -> impl Iterator<Item = &At<BarrierId>> {
        self.active_steps().filter_map(|step| step.barrier.as_ref())
    }

    /// The distinct barriers that its steps name.
    pub(crate) fn barriers(&self) -> BTreeSet<&BarrierId> {
        self.meetings().map(|meeting| &meeting.value).collect()
    }
}

/// A step.
#[derive(Debug, Clone)]
pub(crate) struct StepDraft {
    /// Where its kind is written.
    pub(crate) place: Place,
    /// The step as the plan will hold it.
    pub(crate) step: Step,
    /// The name that the file gives it, if it does.
    pub(crate) named: Option<At<String>>,
    /// Whether `when` took it out.
    pub(crate) waived: bool,
    /// The barrier that it names, if it is a barrier step.
    pub(crate) barrier: Option<At<BarrierId>>,
    /// The files that it names.
    pub(crate) files: Vec<At<String>>,
}
