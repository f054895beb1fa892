//! What a workflow reports in its own slots, and which incarnation is heard.

use super::causes::Scope;
use super::{
    Admission, Decision, Ended, FailedState, Here, Judged, MAX_IGNORED_BYTES, Moment, OwnDecision,
    RunFold, StepState, WorkflowState, cut,
};
use crate::{id::WorkflowName, record::Record};

impl RunFold {
    /// A record in a workflow's own slots.
    pub(super) fn reported(
        &mut self,
        here: Here,
        workflow: &WorkflowName,
        record: &Record,
    ) -> Judged {
        if !matches!(self.admission, Admission::Admitted(_)) {
            return Err("the run is not admitted".into());
        }
        let has_verdict = self.has_verdict(workflow);
        let went_back = self.is_going_back(workflow);
        let committed = self.is_committed(workflow);
        let Some(state) = self.workflows.get_mut(workflow) else {
            return Err(format!("{workflow} takes no part in this run").into());
        };
        let moment = here.moment;
        if let Record::Joined { instance, version } = record {
            state.join(here, instance, version)?;
            state.failed = state.failed.take().filter(|_| has_verdict || went_back);
            self.notice_all_joined(moment);
            return Ok(());
        }
        state.check_epoch(record)?;
        match record {
            Record::StepStarted { step, attempt, .. } => {
                if has_verdict {
                    return Err("it stands above the verdict and is never acted on".into());
                }
                state.first_started.get_or_insert(moment.seq);
                state.steps.insert(
                    *step,
                    StepState { started: moment, attempt: *attempt, finished: None, ignored: None },
                );
                Ok(())
            }
            Record::StepFinished { step, ignored, images, .. } => {
                let Some(running) = state.steps.get_mut(step) else {
                    return Err("that step never started".into());
                };
                running.finished = Some(moment);
                running.ignored = ignored.as_deref().map(|error| cut(error, MAX_IGNORED_BYTES));
                for (image, digests) in images {
                    state.images.entry(image.clone()).or_default().extend(digests.iter().cloned());
                }
                self.notice_last_step(moment.seq, workflow, *step);
                Ok(())
            }
            Record::Failed { step, error, output, .. } => {
                state.failed = Some(FailedState { moment, step: *step, error: error.clone() });
                let cause = self.failed_cause(moment.seq, workflow, *step, error, output);
                self.blame(Scope::Workflow(workflow.clone()), cause)
            }
            Record::RollingBack { .. } if went_back => {
                state.rolling_back = Some(moment);
                Ok(())
            }
            Record::RolledBack { .. } | Record::RollbackFailed { .. } if went_back => {
                state.ended = Some(Ended { moment, record: record.clone() });
                Ok(())
            }
            Record::Finalized { .. } if committed => {
                state.ended = Some(Ended { moment, record: record.clone() });
                Ok(())
            }
            Record::Left { .. } => {
                state.left = Some(moment);
                Ok(())
            }
            other => Err(format!("{} does not fit what is decided", other.kind()).into()),
        }
    }

    fn notice_all_joined(&mut self, moment: Moment) {
        if self.all_joined.is_none() && self.workflows.values().all(|state| state.epoch > 0) {
            self.all_joined = Some(moment);
        }
    }

    /// Whether the verdict that this workflow obeys is recorded.
    fn has_verdict(&self, workflow: &WorkflowName) -> bool {
        self.recorded.is_some()
            || self.workflows.get(workflow).is_some_and(|state| state.outcome.is_some())
    }

    fn is_going_back(&self, workflow: &WorkflowName) -> bool {
        matches!(self.decision, Decision::Aborted(_))
            || self
                .workflows
                .get(workflow)
                .is_some_and(|state| matches!(state.own, OwnDecision::Broken(_)))
    }

    fn is_committed(&self, workflow: &WorkflowName) -> bool {
        matches!(self.decision, Decision::Committed { .. })
            || self
                .workflows
                .get(workflow)
                .is_some_and(|state| matches!(state.own, OwnDecision::Done { .. }))
    }
}

impl WorkflowState {
    /// A new incarnation of its agent.
    pub(super) fn join(&mut self, here: Here, instance: &str, version: &str) -> Judged {
        if here.number <= self.epoch {
            return Err(format!("epoch {} has joined since", self.epoch).into());
        }
        self.epoch = here.number;
        self.instance = instance.to_owned();
        self.version = version.to_owned();
        self.joined = Some(here.moment);
        self.left = None;
        Ok(())
    }

    /// Whether a record is of the current incarnation.
    pub(super) fn check_epoch(&self, record: &Record) -> Judged {
        let current = self.epoch;
        match record.epoch() {
            Some(epoch) if epoch == current && current > 0 => Ok(()),
            Some(epoch) => {
                Err(format!("it is of epoch {epoch}; the current one is {current}").into())
            }
            None => Err("it names no epoch".into()),
        }
    }
}
