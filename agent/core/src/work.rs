//! What the target is doing for this agent, and which report belongs to it.

use lockstep_shared::id::StepIndex;

use crate::event::Report;

/// The one order that the target is carrying out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Work {
    order: Option<Order>,
    /// Whether it was told to stop.
    stopping: bool,
}

/// An order that is answered by a report.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Order {
    Prepare,
    Start { step: StepIndex, attempt: u32 },
    Undo { step: StepIndex },
    Finalize,
}

impl Work {
    pub(crate) fn is_idle(&self) -> bool {
        self.order.is_none()
    }

    pub(crate) fn order(&self) -> Option<&Order> {
        self.order.as_ref()
    }

    pub(crate) fn begin(&mut self, order: Order) {
        *self = Self { order: Some(order), stopping: false };
    }

    /// Takes back an order that was never carried out.
    pub(crate) fn cancel(&mut self) {
        *self = Self::default();
    }

    /// Whether it has to be told to stop: only once.
    pub(crate) fn stop(&mut self) -> bool {
        let first = self.order.is_some() && !self.stopping;
        self.stopping |= first;
        first
    }

    /// Notes a report: `None` if it answers nothing that was ordered, else whether the order had
    /// been told to stop.
    pub(crate) fn answered(&mut self, report: &Report) -> Option<bool> {
        let fits = match (self.order.as_ref()?, report) {
            (Order::Prepare, Report::Prepared { .. } | Report::PrepareFailed { .. })
            | (Order::Finalize, Report::Finalized { .. } | Report::FinalizeFailed { .. }) => true,
            (
                Order::Start { step, attempt },
                Report::Finished { step: of, attempt: number, .. }
                | Report::Failed { step: of, attempt: number, .. },
            ) => step == of && attempt == number,
            (
                Order::Undo { step },
                Report::Undone { step: of, .. } | Report::UndoFailed { step: of, .. },
            ) => step == of,
            _ => false,
        };
        fits.then(|| std::mem::take(self).stopping)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Told;

    #[test]
    fn a_report_of_another_attempt_answers_nothing() {
        let mut work = Work::default();
        work.begin(Order::Start { step: 0, attempt: 2 });
        let late = Report::Finished { step: 0, attempt: 1, told: Told::default() };
        assert_eq!(work.answered(&late), None);
        assert!(!work.is_idle());
        let right = Report::Finished { step: 0, attempt: 2, told: Told::default() };
        assert_eq!(work.answered(&right), Some(false));
        assert!(work.is_idle());
    }

    #[test]
    fn an_order_is_told_to_stop_once() {
        let mut work = Work::default();
        assert!(!work.stop());
        work.begin(Order::Finalize);
        assert!(work.stop());
        assert!(!work.stop());
        assert_eq!(work.answered(&Report::Finalized { warnings: Vec::new() }), Some(true));
    }
}
