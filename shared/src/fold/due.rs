//! What the log implies and nobody has written down yet; and what was written, against that.

use std::collections::BTreeMap;

use super::{
    Admission, BarrierFate, ClosedState, Decision, Here, Judged, OwnDecision, RecordedVerdict,
    RunFold, WorkflowState, listed,
};
use crate::{
    id::{BarrierId, Sequence, WorkflowName},
    record::{Cause, CauseSort, MAX_CLOSED_BYTES, MAX_LISTED, Outcome, Record, RunResult},
    subject::{Family, Slot},
};

impl RunFold {
    /// The verdicts, outcomes and Closed that are due, each with the slot it goes to.
    ///
    /// A due run verdict comes alone: it is written first. Closed comes alone: it is written last.
    pub fn due(&self) -> Vec<(Slot, Record)> {
        if self.closed.is_some() || self.plan.is_none() {
            return Vec::new();
        }
        let at_slot = |(family, record): (Family, Record)| (self.next_slot(&family), record);
        if matches!(self.admission, Admission::Admitted(_)) {
            if let Some(verdict) = self.due_run_verdict() {
                return vec![at_slot((Family::Verdict, verdict))];
            }
            let mut due: Vec<_> = self.due_outcomes().chain(self.due_barrier_verdicts()).collect();
            if due.is_empty() {
                due.extend(self.closing.clone().map(|closed| (Family::Closed, closed)));
            }
            return due.into_iter().map(at_slot).collect();
        }
        self.closing.clone().map(|closed| at_slot((Family::Closed, closed))).into_iter().collect()
    }

    fn due_run_verdict(&self) -> Option<Record> {
        if self.recorded.is_some() {
            return None;
        }
        match &self.decision {
            Decision::Committed { at } => Some(Record::Committed { at: *at }),
            Decision::Aborted(cause) => Some(aborted(cause)),
            Decision::Open | Decision::Planned { .. } => None,
        }
    }

    fn due_outcomes(&self) -> impl Iterator<Item = (Family, Record)> {
        self.workflows.iter().filter(|(_, state)| state.outcome.is_none()).filter_map(
            |(name, state)| {
                let record = match &state.own {
                    OwnDecision::Open => return None,
                    OwnDecision::Done { at } => Record::Committed { at: *at },
                    OwnDecision::Broken(cause) => aborted(cause),
                };
                Some((Family::Outcome(name.clone()), record))
            },
        )
    }

    fn due_barrier_verdicts(&self) -> impl Iterator<Item = (Family, Record)> {
        self.barriers
            .iter()
            .filter(|(id, state)| !id.is_commit() && state.recorded.is_none())
            .filter_map(|(id, state)| {
                let record = match (&state.fate, &self.decision) {
                    (BarrierFate::Complete { at }, _) => Record::Released { at: *at },
                    _ if state.arrivals.is_empty() => return None,
                    (BarrierFate::Aborted(cause), _)
                    | (BarrierFate::Open, Decision::Aborted(cause)) => aborted(cause),
                    (BarrierFate::Open, _) => return None,
                };
                Some((Family::BarrierVerdict(id.clone()), record))
            })
    }

    /// The run verdict as recorded; where it differs from the fold, the record is followed.
    pub(super) fn run_verdict(&mut self, here: Here, record: &Record) -> Judged {
        if let Some(recorded) = &self.recorded {
            return Err(format!("the verdict is #{}", recorded.moment.seq).into());
        }
        let recorded = verdict(here, record)?;
        let agrees = match (&self.decision, &recorded.cause) {
            (Decision::Committed { at }, None) => *at == recorded.at,
            (Decision::Aborted(cause), Some(_)) => cause.at == recorded.at,
            _ => false,
        };
        if !agrees {
            self.sound_alarm(here, "the run");
            self.decision = match &recorded.cause {
                None => Decision::Committed { at: recorded.at },
                Some(cause) => Decision::Aborted(cause.clone()),
            };
        }
        self.recorded = Some(recorded);
        Ok(())
    }

    pub(super) fn barrier_verdict(
        &mut self,
        here: Here,
        barrier: &BarrierId,
        record: &Record,
    ) -> Judged {
        let Some(state) = self.barriers.get_mut(barrier) else {
            return Err(format!("the plan has no barrier {barrier}").into());
        };
        if let Some(recorded) = &state.recorded {
            return Err(format!("the verdict is #{}", recorded.moment.seq).into());
        }
        let recorded = verdict(here, record)?;
        let agrees = match (&state.fate, &recorded.cause) {
            (BarrierFate::Complete { at }, None) => *at == recorded.at,
            (BarrierFate::Aborted(cause), Some(_)) => cause.at == recorded.at,
            (BarrierFate::Open, Some(_)) => match &self.decision {
                Decision::Aborted(cause) => cause.at == recorded.at,
                _ => false,
            },
            _ => false,
        };
        if !agrees {
            state.fate = match &recorded.cause {
                None => BarrierFate::Complete { at: recorded.at },
                Some(cause) => BarrierFate::Aborted(cause.clone()),
            };
        }
        state.recorded = Some(recorded);
        if !agrees {
            self.sound_alarm(here, &format!("barrier {barrier}"));
        }
        Ok(())
    }

    pub(super) fn own_outcome(
        &mut self,
        here: Here,
        workflow: &WorkflowName,
        record: &Record,
    ) -> Judged {
        let Some(state) = self.workflows.get_mut(workflow) else {
            return Err(format!("{workflow} takes no part in this run").into());
        };
        if let Some(recorded) = &state.outcome {
            return Err(format!("the outcome is #{}", recorded.moment.seq).into());
        }
        let recorded = verdict(here, record)?;
        let agrees = match (&state.own, &recorded.cause) {
            (OwnDecision::Done { at }, None) => *at == recorded.at,
            (OwnDecision::Broken(cause), Some(_)) => cause.at == recorded.at,
            _ => false,
        };
        if !agrees {
            state.own = match &recorded.cause {
                None => OwnDecision::Done { at: recorded.at },
                Some(cause) => OwnDecision::Broken(cause.clone()),
            };
        }
        state.outcome = Some(recorded);
        if !agrees {
            self.sound_alarm(here, &format!("workflow {workflow}"));
        }
        Ok(())
    }

    fn sound_alarm(&mut self, here: Here, what: &str) {
        let seq = here.moment.seq;
        self.alarm.get_or_insert_with(|| {
            format!("the verdict #{seq} on {what} is not what the log below it implies")
        });
    }

    pub(super) fn closed_by(&mut self, here: Here, record: &Record) -> Judged {
        let Record::Closed { at, result, outcomes, cause } = record else {
            return Err("it does not close the run".into());
        };
        if self.closing.as_ref() != Some(record) {
            self.sound_alarm(here, "the run's end");
        }
        self.closed = Some(ClosedState {
            moment: here.moment,
            at: *at,
            result: *result,
            outcomes: outcomes.clone(),
            cause: cause.clone(),
        });
        Ok(())
    }

    /// Fixes what Closed will say at the first record after which nobody owes anything.
    pub(super) fn notice_closing(&mut self, at: Sequence) {
        if self.closing.is_some() || self.closed.is_some() || !self.is_over() {
            return;
        }
        // Who follows only plans and ends learns from it until where a refused run waited.
        let at = match self.admission {
            Admission::Refused { at, .. } => at,
            _ => at,
        };
        let outcomes = self.outcomes();
        let result = self.result(&outcomes);
        let cause = self.first_cause().cloned();
        self.closing = Some(Record::Closed { at, result, outcomes, cause });
    }

    fn is_over(&self) -> bool {
        let Some(plan) = self.plan() else { return false };
        match self.admission {
            Admission::Pending => return false,
            Admission::Refused { .. } => return true,
            Admission::Admitted(_) => {}
        }
        if plan.plan_only && matches!(self.decision, Decision::Planned { .. }) {
            return self.barriers[&BarrierId::prepare()].recorded.is_some();
        }
        let verdicts = if self.is_each_own() {
            self.workflows.values().all(|state| state.outcome.is_some())
        } else {
            self.recorded.is_some()
        };
        let owes = |state: &WorkflowState| {
            let goes_back = self.goes_back(state);
            state.ended.is_none() && (!goes_back || state.first_started.is_some())
        };
        verdicts && (self.ending_passed.is_some() || !self.workflows.values().any(owes))
    }

    fn goes_back(&self, state: &WorkflowState) -> bool {
        matches!(self.decision, Decision::Aborted(_)) || matches!(state.own, OwnDecision::Broken(_))
    }

    fn outcomes(&self) -> BTreeMap<WorkflowName, Outcome> {
        let Some(plan) = self.plan() else { return BTreeMap::new() };
        plan.workflows
            .keys()
            .map(|name| {
                let outcome = match self.workflows.get(name) {
                    None => Outcome::Waived,
                    Some(state) => self.outcome_of(state),
                };
                (name.clone(), outcome)
            })
            .collect()
    }

    fn outcome_of(&self, state: &WorkflowState) -> Outcome {
        if matches!(self.admission, Admission::Refused { .. }) {
            return Outcome::NotStarted;
        }
        if matches!(self.decision, Decision::Planned { .. }) {
            return Outcome::Planned;
        }
        match state.ended.as_ref().map(|ended| &ended.record) {
            Some(Record::Finalized { degraded, .. }) => {
                let shorten = |text: &String| super::cut(text, self.outcome_budget());
                Outcome::Finalized { degraded: degraded.as_ref().map(shorten) }
            }
            Some(Record::RolledBack { residue, .. }) if residue.is_empty() => Outcome::RolledBack,
            Some(Record::RolledBack { residue, .. }) => {
                Outcome::Residue { left: shortened(residue, self.outcome_budget()) }
            }
            Some(Record::RollbackFailed { error, left, .. }) => {
                let left = listed(left);
                let what = if left.is_empty() { "" } else { "; left: " };
                let error = format!("{error}{what}{left}");
                Outcome::Failed { error: super::cut(&error, self.outcome_budget()) }
            }
            _ if self.goes_back(state) && state.first_started.is_none() => Outcome::NotStarted,
            _ => Outcome::Unknown,
        }
    }

    /// How many bytes one workflow's outcome may take, so that Closed stays within its size.
    fn outcome_budget(&self) -> usize {
        (MAX_CLOSED_BYTES / 2 / self.workflows.len().max(1)).min(2048)
    }

    fn result(&self, outcomes: &BTreeMap<WorkflowName, Outcome>) -> RunResult {
        if matches!(self.admission, Admission::Refused { .. }) {
            return RunResult::Refused;
        }
        match self.decision {
            Decision::Committed { .. } => return RunResult::Succeeded,
            Decision::Planned { .. } => return RunResult::Planned,
            Decision::Open | Decision::Aborted(_) => {}
        }
        let back = |name: &WorkflowName| {
            self.workflows.get(name).is_some_and(|state| self.goes_back(state))
        };
        let stuck =
            |outcome: &Outcome| matches!(outcome, Outcome::Failed { .. } | Outcome::Unknown);
        let incomplete = outcomes.iter().any(|(name, outcome)| back(name) && stuck(outcome));
        let any_back = self.workflows.keys().any(back);
        let all_back = self.workflows.keys().all(back);
        let requested = self.first_cause().is_some_and(|cause| cause.sort == CauseSort::Requested);
        match (incomplete, any_back, all_back) {
            (true, ..) => RunResult::RollbackIncomplete,
            (false, false, _) => RunResult::Succeeded,
            (false, true, false) => RunResult::Partial,
            (false, true, true) if requested => RunResult::Cancelled,
            (false, true, true) => RunResult::RolledBack,
        }
    }

    /// The run's first cause of abort; with `each-own` the first one that broke a workflow.
    pub fn first_cause(&self) -> Option<&Cause> {
        if let Decision::Aborted(cause) = &self.decision {
            return Some(cause);
        }
        let own = self.workflows.values().filter_map(|state| match &state.own {
            OwnDecision::Broken(cause) => Some(cause),
            OwnDecision::Open | OwnDecision::Done { .. } => None,
        });
        own.min_by_key(|cause| (cause.at, cause.sort == CauseSort::Broken))
    }
}

/// The first few of a list, within a budget of bytes together.
fn shortened(items: &[String], budget: usize) -> Vec<String> {
    let each = budget / (MAX_LISTED + 1);
    let mut short: Vec<String> =
        items.iter().take(MAX_LISTED).map(|item| super::cut(item, each)).collect();
    if let Some(more) = items.len().checked_sub(MAX_LISTED).filter(|more| *more > 0) {
        short.push(format!("and {more} more"));
    }
    short
}

fn aborted(cause: &Cause) -> Record {
    Record::Aborted { at: cause.at, cause: cause.clone() }
}

fn verdict(here: Here, record: &Record) -> Result<RecordedVerdict, super::Void> {
    let (at, cause) = match record {
        Record::Released { at } | Record::Committed { at } => (*at, None),
        Record::Aborted { at, cause } => (*at, Some(cause.clone())),
        other => return Err(format!("a {} is no verdict", other.kind()).into()),
    };
    Ok(RecordedVerdict { moment: here.moment, at, cause })
}
