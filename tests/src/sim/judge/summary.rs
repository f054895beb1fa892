//! What a prefix of the log has decided, and whether a longer one still says so.

use std::collections::BTreeMap;

use lockstep_shared::{
    fold::{Admission, BarrierFate, Decision, OwnDecision, RunFold},
    id::{BarrierId, Sequence, WorkflowName},
    record::RunResult,
};

/// Everything that is decided, and by which record.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Summary {
    admitted: Option<(bool, Sequence)>,
    run: Option<(&'static str, Sequence)>,
    barriers: BTreeMap<BarrierId, (bool, Sequence)>,
    workflows: BTreeMap<WorkflowName, (bool, Sequence)>,
    closed: Option<(Sequence, RunResult)>,
}

impl Summary {
    pub(crate) fn of(fold: &RunFold) -> Self {
        let admitted = match fold.admission() {
            Admission::Pending => None,
            Admission::Admitted(moment) => Some((true, moment.seq)),
            Admission::Refused { seq, .. } => Some((false, *seq)),
        };
        let run = match fold.decision() {
            Decision::Open => None,
            Decision::Committed { at } => Some(("committed", *at)),
            Decision::Planned { at } => Some(("planned", *at)),
            Decision::Aborted(cause) => Some(("aborted", cause.at)),
        };
        let barriers = fold.barriers().iter().filter_map(|(id, state)| match &state.fate {
            BarrierFate::Open => None,
            BarrierFate::Complete { at } => Some((id.clone(), (true, *at))),
            BarrierFate::Aborted(cause) => Some((id.clone(), (false, cause.at))),
        });
        let workflows = fold.workflows().iter().filter_map(|(name, state)| match &state.own {
            OwnDecision::Open => None,
            OwnDecision::Done { at } => Some((name.clone(), (true, *at))),
            OwnDecision::Broken(cause) => Some((name.clone(), (false, cause.at))),
        });
        Self {
            admitted,
            run,
            barriers: barriers.collect(),
            workflows: workflows.collect(),
            closed: fold.closed().map(|closed| (closed.at, closed.result)),
        }
    }

    /// The same with the deciding records at other positions.
    pub(crate) fn renamed(self, name: impl Fn(Sequence) -> Sequence) -> Self {
        Self {
            admitted: self.admitted.map(|(admitted, at)| (admitted, name(at))),
            run: self.run.map(|(what, at)| (what, name(at))),
            barriers: self
                .barriers
                .into_iter()
                .map(|(id, (is, at))| (id, (is, name(at))))
                .collect(),
            workflows: self
                .workflows
                .into_iter()
                .map(|(id, (is, at))| (id, (is, name(at))))
                .collect(),
            closed: self.closed.map(|(at, result)| (name(at), result)),
        }
    }

    /// What was decided before and is not, or not alike, any more.
    pub(crate) fn lost_in(&self, later: &Self) -> Option<String> {
        let run = self.run.filter(|_| self.run != later.run);
        let admitted = self.admitted.filter(|_| self.admitted != later.admitted);
        let closed = self.closed.filter(|_| self.closed != later.closed);
        if run.is_some() || admitted.is_some() || closed.is_some() {
            return Some(format!("{self:?} became {later:?}"));
        }
        let barrier = self.barriers.iter().find(|(id, fate)| later.barriers.get(id) != Some(fate));
        if let Some((id, fate)) = barrier {
            return Some(format!("barrier {id}: {fate:?} became {:?}", later.barriers.get(id)));
        }
        let own = self.workflows.iter().find(|(name, own)| later.workflows.get(name) != Some(own));
        own.map(|(name, own)| {
            format!("workflow {name}: {own:?} became {:?}", later.workflows.get(name))
        })
    }
}
