//! What an agent may never decide, whatever happened; and its decisions as lines.

use lockstep_shared::{
    fold::{Decision, OwnDecision},
    plan::Action,
    record::Record,
};

use super::{plans::workflow, world::World};
use crate::{Act, Append, UndoMark};

impl World {
    /// What an agent may never say.
    pub(super) fn check_append(&self, append: &Append) {
        match &append.record {
            Record::Arrived { .. } => {
                let plan_only = self.plan.plan_only;
                assert!(self.disk.is_some() || plan_only, "arrived without an undo record");
            }
            Record::RollingBack { .. } | Record::RolledBack { .. } => {
                assert!(self.may_go_back(), "goes back on its own judgement");
            }
            Record::Finalized { .. } => assert!(self.may_keep(), "finalized undecided"),
            _ => {}
        }
    }

    /// What an agent may never order.
    pub(super) fn check_act(&mut self, act: &Act) {
        let own = &self.fold.workflows();
        let own = own.get(&workflow("backend"));
        match act {
            Act::Start { step, attempt } => {
                let own = own.unwrap();
                assert_eq!(self.disk, Some(UndoMark::Started), "wrote before the undo mark");
                assert_eq!(own.steps[step].attempt, *attempt, "started what is not in the log");
                assert!(own.failed.is_none(), "went forward after it failed");
                assert!(self.agent.may_write(self.now).is_ok());
                let planned = &self.plan.workflows[&workflow("backend")].steps[*step].action;
                if matches!(planned, Action::Run(command) if !command.idempotent) {
                    assert!(self.begun.insert((*step, *attempt)), "ran a command twice");
                }
            }
            Act::Undo { .. } => {
                assert!(self.may_go_back(), "undid on its own judgement");
                assert!(self.agent.may_write(self.now).is_ok());
            }
            Act::Finalize => assert!(self.may_keep(), "finalized undecided"),
            Act::Watch { step } => assert!(own.unwrap().steps[step].finished.is_some()),
            _ => {}
        }
    }

    fn own(&self) -> Option<&OwnDecision> {
        self.fold.workflows().get(&workflow("backend")).map(|state| &state.own)
    }

    fn may_go_back(&self) -> bool {
        let planless = self.fold.plan().is_none();
        planless
            || self
                .fold
                .requests()
                .iter()
                .any(|request| !matches!(request.record, Record::AbortRequested { .. }))
            || matches!(self.fold.decision(), Decision::Aborted(_))
            || matches!(self.own(), Some(OwnDecision::Broken(_)))
    }

    fn may_keep(&self) -> bool {
        matches!(self.fold.decision(), Decision::Committed { .. })
            || matches!(self.own(), Some(OwnDecision::Done { .. }))
    }
}

pub(super) fn line(append: &Append) -> String {
    let slot = &append.slot;
    match &append.record {
        Record::Joined { .. } => format!("{slot} Joined"),
        Record::StepStarted { step, attempt, .. } => format!("{slot} StepStarted {step}/{attempt}"),
        Record::StepFinished { step, ignored: None, .. } => format!("{slot} StepFinished {step}"),
        Record::StepFinished { step, .. } => format!("{slot} StepFinished {step} ignored"),
        Record::Failed { step: Some(step), .. } => format!("{slot} Failed {step}"),
        Record::RolledBack { accepted: true, .. } => format!("{slot} RolledBack accepted"),
        record => format!("{slot} {}", record.kind()),
    }
}

pub(super) fn order(act: &Act) -> String {
    match act {
        Act::Start { step, attempt } => format!("Start {step}/{attempt}"),
        Act::Undo { step } => format!("Undo {step}"),
        Act::Watch { step } => format!("Watch {step}"),
        act => format!("{act:?}"),
    }
}
