//! Committed: give up the means to go back, and say so (PROTOCOL section 7).

use lockstep_shared::{record::Record, time::Timestamp};

use crate::{
    agent::Agent, attempt::back_off, decision::Act, stand::Stand, text, turn::Turn, work::Order,
};

/// How often finalizing is tried before it is reported with a warning: it never turns a committed
/// run into a failed one.
const TRIES: u32 = 3;

/// How far finalizing has come.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Finalizing {
    tries: u32,
    again_at: Timestamp,
    warnings: Option<Vec<String>>,
}

impl Finalizing {
    pub(crate) fn done(&mut self, warnings: Vec<String>) {
        self.warnings = Some(warnings);
    }

    pub(crate) fn failed(&mut self, error: String, turn: &mut Turn) {
        self.tries += 1;
        turn.warn(format!("finalizing failed (try {}): {error}", self.tries));
        if self.tries < TRIES {
            self.again_at = turn.now.after(back_off(self.tries));
        } else {
            self.warnings = Some(vec![format!("it could not be tidied up: {error}")]);
        }
    }
}

impl Agent {
    pub(crate) fn keep(&mut self, turn: &mut Turn) {
        if !matches!(self.work.order(), None | Some(Order::Finalize)) {
            return self.stop(turn);
        }
        if self.finalizing.warnings.is_none() {
            let due = self.work.is_idle() && turn.is_past(self.finalizing.again_at);
            if due && self.may_order(turn) {
                self.work.begin(Order::Finalize);
                turn.act(Act::Finalize);
            }
        }
        if let Some(record) = self.finalize_report()
            && self.report(record, turn)
        {
            self.unwatch(turn);
        }
    }

    /// What came of finalizing, as a record, once it is over.
    pub(crate) fn finalize_report(&self) -> Option<Record> {
        let warnings = text::list(self.finalizing.warnings.as_ref()?);
        let degraded = self.degraded_after_commit().as_deref().map(text::error);
        Some(Record::Finalized { epoch: self.epoch()?, degraded, warnings })
    }

    /// What is wrong with a committed workflow, if anything is.
    fn degraded_after_commit(&self) -> Option<String> {
        if let Some(degraded) = &self.degraded {
            return Some(degraded.clone());
        }
        if let Some(failure) = &self.failure {
            let step = failure.step.map(|step| format!("{} ", self.step_name(step)));
            return Some(format!("{}{}", step.unwrap_or_default(), failure.error));
        }
        if let Some(failed) = &self.view.own.failed {
            return Some(failed.error.clone());
        }
        let through = matches!(self.stand(&self.view), Stand::Through { .. });
        let unfinished = "it was committed before this workflow was through its steps; those that \
                          were left have not been done";
        (!through).then(|| unfinished.to_owned())
    }
}
