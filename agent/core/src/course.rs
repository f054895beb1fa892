//! What the log asks of this workflow now: the same question at a start, after a crash and in the
//! middle, answered from the log, the undo mark and nothing else of the past.

use lockstep_shared::{
    id::{BarrierId, Sequence},
    plan::OnFailure,
};

use crate::{
    agent::Agent,
    decision::UndoMark,
    join::Incarnation,
    setup::PlanFound,
    standing::Ending,
    view::{Admission, EndedSeen, FailedSeen, Request, View},
};

/// What has to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Course {
    /// Wait for this before anything else.
    Wait(&'static str),
    /// Prepare, run the steps, meet, hold at the commit.
    Forward,
    /// Say that it failed, and hold until the log decides.
    Fail,
    /// Undo what was started; asked for by the log's decision, or by a resume request.
    Back { resume: Option<Sequence> },
    /// The run went back and nothing was started: settle and write nothing.
    Unstarted,
    /// Committed: keep the new state and finalize.
    Keep,
    /// An operator keeps what is left.
    Accept,
    /// The log commands to go back, but it had said Committed before it lost records.
    Contradicted,
    /// An operator has to settle what is left.
    Owe(String),
    /// Nothing is left to do.
    Done(Ending),
}

impl Course {
    /// Whether only the current incarnation may follow it.
    pub(crate) fn needs_epoch(&self) -> bool {
        match self {
            Self::Forward
            | Self::Fail
            | Self::Back { .. }
            | Self::Keep
            | Self::Accept
            | Self::Contradicted => true,
            Self::Wait(_) | Self::Unstarted | Self::Owe(_) | Self::Done(_) => false,
        }
    }
}

impl Agent {
    /// What a view of the log asks for.
    pub(crate) fn course(&self, log: &View) -> Course {
        if let Some(ending) = &self.over {
            return Course::Done(ending.clone());
        }
        if let Incarnation::Superseded(by) = self.incarnation {
            return Course::Done(Ending::Superseded { by });
        }
        if let Some(reason) = self.no_part() {
            return Course::Done(Ending::TakesNoPart(reason));
        }
        if !self.contact.has_read() {
            return Course::Wait("the log has not been read");
        }
        if let Some(course) = self.ended_course(log) {
            return course;
        }
        if log.closed.is_some() && self.mark != Some(UndoMark::Started) {
            let unstarted = log.ruling().is_some_and(|ruling| ruling.cause.is_some());
            return match &log.admission {
                Some(Admission::Refused { reason, .. }) => {
                    Course::Done(Ending::Refused(reason.clone()))
                }
                _ if self.is_planned(log) => Course::Done(Ending::Planned),
                _ if unstarted && log.own.steps.is_empty() => Course::Unstarted,
                _ => Course::Done(Ending::Closed),
            };
        }
        if matches!(self.setup.plan, PlanFound::Missing { .. }) {
            return self.planless_course(log);
        }
        match log.ruling() {
            Some(ruling) if ruling.cause.is_none() => Course::Keep,
            Some(_) if self.kept.is_some() => Course::Contradicted,
            Some(ruling) => self.aborted_course(log, ruling.seq),
            None => self.undecided_course(log),
        }
    }

    /// Why this agent takes no part in the run, if so.
    fn no_part(&self) -> Option<String> {
        let workflow = &self.setup.workflow;
        match &self.setup.plan {
            PlanFound::Planned { plan, .. } => match plan.workflows.get(workflow) {
                Some(planned) if planned.waived => {
                    Some(format!("{workflow} is waived in this run"))
                }
                Some(_) => None,
                None => Some(format!("the plan has no workflow {workflow}")),
            },
            PlanFound::Foreign(version) => Some(format!(
                "the plan speaks protocol {version}, which this build ({}) does not know; run an \
                 agent of a release that does",
                self.setup.version
            )),
            PlanFound::Rubbish(reason) => Some(format!("there is no such run: {reason}")),
            PlanFound::Missing { .. } if self.mark == Some(UndoMark::Started) => None,
            PlanFound::Missing { .. } => Some("the log holds no plan of this run".to_owned()),
        }
    }

    /// What follows from the workflow's own last word.
    fn ended_course(&self, log: &View) -> Option<Course> {
        let Some((seq, ended)) = &log.own.ended else {
            // Settled is saved only after the last word was read back, or when nothing was owed.
            let settled = self.mark == Some(UndoMark::Settled) && self.is_unsettled_by(log);
            return settled.then(|| {
                let why = "the undo record says that this run is settled and the log does not: \
                           the log lost records, or another run was given this run's name";
                Course::Done(Ending::TakesNoPart(why.to_owned()))
            });
        };
        Some(match ended {
            EndedSeen::Finalized { degraded } => {
                Course::Done(Ending::Finalized { degraded: degraded.clone() })
            }
            EndedSeen::RolledBack { residue, accepted } => {
                let (residue, accepted) = (residue.clone(), *accepted);
                Course::Done(Ending::RolledBack { residue, accepted })
            }
            EndedSeen::RollbackFailed { .. } if self.mark == Some(UndoMark::Settled) => {
                Course::Done(Ending::Closed)
            }
            EndedSeen::RollbackFailed { error, .. } => self.requested(log, *seq, error),
        })
    }

    fn is_unsettled_by(&self, log: &View) -> bool {
        let aborted = log.ruling().is_some_and(|ruling| ruling.cause.is_some());
        !(aborted && log.own.steps.is_empty())
    }

    /// What an operator asked for, above a position: keeping it wins over trying again.
    fn requested(&self, log: &View, above: Sequence, owing: &str) -> Course {
        if log.requests_above(above).any(|(_, request)| *request == Request::Accept) {
            return Course::Accept;
        }
        match log.requests_above(above).next() {
            Some((seq, _)) => Course::Back { resume: Some(seq) },
            None => Course::Owe(owing.to_owned()),
        }
    }

    fn aborted_course(&self, log: &View, verdict: Sequence) -> Course {
        let accepted = log.requests_above(verdict).any(|(_, request)| *request == Request::Accept);
        let started = !log.own.steps.is_empty() || self.mark == Some(UndoMark::Started);
        match (started, accepted) {
            (false, _) => Course::Unstarted,
            (true, true) => Course::Accept,
            (true, false) => Course::Back { resume: None },
        }
    }

    /// Without the plan nothing is done but at an operator's word.
    fn planless_course(&self, log: &View) -> Course {
        let owing = "the log no longer holds the plan of this run, which left something here";
        let committed = log.ruling().is_some_and(|ruling| ruling.cause.is_none());
        match self.requested(log, 0, owing) {
            Course::Back { .. } if committed => Course::Keep,
            course => course,
        }
    }

    fn undecided_course(&self, log: &View) -> Course {
        if let Some(closed) = log.closed {
            let owing = "the run was closed without a verdict, and left something here";
            return self.requested(log, closed, owing);
        }
        match &log.admission {
            None => return Course::Wait("the run is not admitted"),
            Some(Admission::Refused { reason, .. }) => {
                return Course::Done(Ending::Refused(reason.clone()));
            }
            Some(Admission::Admitted(_)) => {}
        }
        if self.is_planned(log) {
            return Course::Done(Ending::Planned);
        }
        if self.failure.is_none() && log.own.failed.is_none() {
            return Course::Forward;
        }
        let certain = log.own.failed.as_ref().is_some_and(|failed| self.is_certain(log, failed));
        let started = !log.own.steps.is_empty() || self.mark == Some(UndoMark::Started);
        if certain && started { Course::Back { resume: None } } else { Course::Fail }
    }

    /// Whether the own Failed alone makes the abort certain, verdict or not: under `rollback-all`,
    /// written by this incarnation, with no own arrival at `_commit` below it. Everybody's arrival
    /// is needed there, so nothing can have been committed below it.
    fn is_certain(&self, log: &View, failed: &FailedSeen) -> bool {
        let PlanFound::Planned { plan, .. } = &self.setup.plan else { return false };
        let own = self.epoch() == Some(failed.epoch) && log.own.epoch == failed.epoch;
        let arrived = log.meeting(&BarrierId::commit()).and_then(|meeting| meeting.arrival);
        plan.on_failure == OnFailure::RollbackAll
            && own
            && arrived.is_none_or(|arrival| arrival > failed.seq)
            && self.contact.went_back.is_none()
    }

    /// Whether a plan-only run is prepared everywhere.
    fn is_planned(&self, log: &View) -> bool {
        let PlanFound::Planned { plan, .. } = &self.setup.plan else { return false };
        plan.plan_only && log.is_released(&BarrierId::prepare())
    }
}
