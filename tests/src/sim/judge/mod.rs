//! Who looks at everything that happens and says what must never happen.
//!
//! The judge reads the log as it grows, with no delay and no fault, and sees every order that is
//! given to a target. It knows nothing of how a core came to what it did.

mod invariant;
mod record;
mod summary;

use std::collections::BTreeMap;

pub use invariant::{Invariant, Violation};
use lockstep_agent_core::{Act, UndoMark};
use lockstep_coordinator_core::Coordinator;
use lockstep_shared::{
    fold::{Decision, OwnDecision, RunFold, admission::PipelineFold},
    id::{BarrierId, RunKey, Sequence, StepIndex, WorkflowName},
    plan::{Action, Plan},
    record::{Outcome, Record},
    subject::Family,
    time::Span,
};

pub(crate) use summary::Summary;

/// What a judgement comes to.
pub(crate) type Judged = Result<(), Violation>;

/// Who watches over a story.
#[derive(Debug)]
pub struct Judge {
    runs: BTreeMap<RunKey, Case>,
    pipeline: PipelineFold,
}

/// One run, as far as it has come.
#[derive(Debug)]
struct Case {
    fold: RunFold,
    /// What was decided at which position.
    summaries: Vec<(Sequence, Summary)>,
    /// The first verdict of each family, and every other one must agree.
    verdicts: BTreeMap<Family, (bool, Sequence)>,
}

impl Default for Judge {
    fn default() -> Self {
        let max_age = Span::minutes(30 * 24 * 60);
        Self { runs: BTreeMap::new(), pipeline: PipelineFold::new(max_age) }
    }
}

impl Judge {
    /// A run as the whole log tells it; nothing before its plan is stored.
    pub fn fold(&self, key: &RunKey) -> Option<&RunFold> {
        self.runs.get(key).map(|case| &case.fold)
    }

    /// Whether nothing more will come of a run: it is closed, or its plan is rubbish.
    pub fn is_closed(&self, key: &RunKey) -> bool {
        self.fold(key).is_some_and(|fold| fold.closed().is_some() || fold.plan().is_none())
    }

    /// How a run ended, in a word.
    pub fn result(&self, key: &RunKey) -> String {
        let closed = self.fold(key).and_then(RunFold::closed);
        closed.map_or_else(|| "no plan".to_owned(), |closed| format!("{:?}", closed.result))
    }

    /// Whether a workflow stands: the run is committed, or its own outcome is.
    pub fn is_kept(&self, key: &RunKey, workflow: &WorkflowName) -> bool {
        self.fold(key).is_some_and(|fold| is_kept(fold, workflow))
    }

    /// Whether what a workflow left at its target stands in the log for everybody to see.
    pub fn is_reported(&self, key: &RunKey, workflow: &WorkflowName) -> bool {
        let Some(fold) = self.fold(key) else { return false };
        let ended = fold.workflows().get(workflow).and_then(|state| state.ended.as_ref());
        let last = ended.map(|ended| &ended.record);
        let told = match last {
            Some(Record::RolledBack { residue, accepted, .. }) => *accepted || !residue.is_empty(),
            Some(Record::RollbackFailed { .. }) => true,
            _ => false,
        };
        let outcome = fold.closed().and_then(|closed| closed.outcomes.get(workflow));
        told || matches!(outcome, Some(Outcome::Failed { .. } | Outcome::Unknown))
    }

    /// Whether an operator has to look after a run.
    pub fn needs_an_operator(&self, key: &RunKey) -> bool {
        let closed = self.fold(key).and_then(RunFold::closed);
        closed.is_some_and(|closed| {
            let stuck =
                |outcome: &Outcome| matches!(outcome, Outcome::Failed { .. } | Outcome::Unknown);
            closed.outcomes.values().any(stuck)
        })
    }

    /// A mark is saved.
    pub(super) fn saved(&self, key: &RunKey, mark: UndoMark) -> Judged {
        let plan_only = self.fold(key).and_then(RunFold::plan).is_some_and(|plan| plan.plan_only);
        if plan_only {
            let text = format!("{key} only plans and saves {mark:?}");
            return Err(Violation::of(Invariant::PlanOnlyWritesNothing, text));
        }
        Ok(())
    }

    /// An order is given to a target.
    pub(super) fn ordered(
        &self,
        key: &RunKey,
        workflow: &WorkflowName,
        act: &Act,
        mark: Option<UndoMark>,
    ) -> Judged {
        match self.fold(key) {
            Some(fold) => may_order(fold, workflow, act, mark),
            None => Ok(()),
        }
    }

    /// What a coordinator has read must mean to it what it means to the judge.
    pub(super) fn read_by_coordinator(&self, index: usize, core: &Coordinator) -> Judged {
        for fold in core.runs() {
            let Some(case) = self.runs.get(fold.key()) else { continue };
            let at = fold.position();
            let known = case.summaries.iter().rfind(|(position, _)| *position <= at);
            if let Some((_, known)) = known.filter(|(_, known)| *known != Summary::of(fold)) {
                let text = format!(
                    "coordinator {index} reads {} up to #{at} as {:?}, and it is {known:?}",
                    fold.key(),
                    Summary::of(fold)
                );
                return Err(Violation::of(Invariant::EverybodyReadsTheSame, text));
            }
        }
        Ok(())
    }
}

/// Whether an order may be given to a target, as the log stands.
pub(crate) fn may_order(
    fold: &RunFold,
    workflow: &WorkflowName,
    act: &Act,
    mark: Option<UndoMark>,
) -> Judged {
    let key = fold.key();
    let Some(plan) = fold.plan() else { return Ok(()) };
    if plan.plan_only && !matches!(act, Act::Prepare) {
        let text = format!("{key} only plans, and {workflow} is ordered to {act:?}");
        return Err(Violation::of(Invariant::PlanOnlyWritesNothing, text));
    }
    match act {
        Act::Start { step, .. } => {
            if mark != Some(UndoMark::Started) {
                let text = format!("{workflow} starts step {step} of {key}, marked {mark:?}");
                return Err(Violation::of(Invariant::UndoIsStoredFirst, text));
            }
            may_start(fold, plan, workflow, *step)
        }
        Act::Undo { .. } if !goes_back(fold, workflow) => {
            let text = format!("{workflow} undoes in {key}, which was never aborted");
            Err(Violation::of(Invariant::NobodyUndoesWhatStands, text))
        }
        Act::Finalize if !is_kept(fold, workflow) => {
            let text = format!("{workflow} finalizes in {key}, which was never committed");
            Err(Violation::of(Invariant::NobodyFinalizesWhatGoesBack, text))
        }
        _ => Ok(()),
    }
}

pub(crate) fn is_kept(fold: &RunFold, workflow: &WorkflowName) -> bool {
    let own = fold.workflows().get(workflow).map(|state| &state.own);
    matches!(fold.decision(), Decision::Committed { .. })
        || matches!(own, Some(OwnDecision::Done { .. }))
}

pub(crate) fn goes_back(fold: &RunFold, workflow: &WorkflowName) -> bool {
    let own = fold.workflows().get(workflow).map(|state| &state.own);
    matches!(fold.decision(), Decision::Aborted(_)) || matches!(own, Some(OwnDecision::Broken(_)))
}

/// A step may act if everything before it is over for everybody concerned, and its StepStarted
/// stands below any verdict.
fn may_start(fold: &RunFold, plan: &Plan, workflow: &WorkflowName, step: StepIndex) -> Judged {
    let Some(planned) = plan.workflow(workflow) else { return Ok(()) };
    let barriers = planned.steps.iter().take(step).filter_map(|step| match &step.action {
        Action::Barrier(id) => Some(id.clone()),
        _ => None,
    });
    for barrier in std::iter::once(BarrierId::prepare()).chain(barriers) {
        if !fold.is_complete(&barrier) {
            let text = format!("{workflow} acts behind {barrier}, which is not complete");
            return Err(Violation::of(Invariant::NobodyPassesEarly, text));
        }
    }
    let Some(state) = fold.workflows().get(workflow) else { return Ok(()) };
    let begun = state.steps.get(&step);
    let earlier = planned
        .steps
        .iter()
        .enumerate()
        .take(step)
        .filter(|(_, step)| !matches!(step.action, Action::Barrier(_)));
    let unfinished = earlier
        .map(|(index, _)| index)
        .find(|index| state.steps.get(index).is_none_or(|step| step.finished.is_none()));
    match (begun, unfinished) {
        (None, _) => {
            let text = format!("{workflow} acts on step {step} without a StepStarted that counts");
            Err(Violation::of(Invariant::OnlyWhatWasReadBack, text))
        }
        (_, Some(earlier)) => {
            let text = format!("{workflow} acts on step {step} before step {earlier} is over");
            Err(Violation::of(Invariant::OnlyWhatWasReadBack, text))
        }
        _ => Ok(()),
    }
}
