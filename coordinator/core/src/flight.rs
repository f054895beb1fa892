//! Appends whose slot the fold does not show yet.

use std::collections::BTreeMap;

use lockstep_shared::{
    subject::Slot,
    time::{Span, Timestamp},
};

use crate::event::Appended;

/// The pause before an append that gave up is repeated; it had tried for long by itself.
pub const RETRY_AFTER: Span = Span::seconds(1);

/// One run's appends, by slot.
///
/// An entry stays until the fold shows what took the slot, so nothing is sent there twice; the
/// answers of two coordinators racing for a slot differ, what the fold shows does not.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Flights(BTreeMap<Slot, Flight>);

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Flight {
    Underway,
    /// Something stands in the slot; the fold will show what.
    Taken,
    /// Nobody knows; it may be sent again then.
    InDoubt {
        again: Timestamp,
    },
}

impl Flights {
    /// Marks the slot as sent to, unless that has to wait.
    pub(crate) fn begin(&mut self, slot: &Slot, now: Timestamp) -> bool {
        let free = match self.0.get(slot) {
            None => true,
            Some(Flight::InDoubt { again }) => *again <= now,
            Some(Flight::Underway | Flight::Taken) => false,
        };
        if free {
            self.0.insert(slot.clone(), Flight::Underway);
        }
        free
    }

    /// Takes an answer; whether anybody waited for it.
    pub(crate) fn answer(&mut self, slot: &Slot, outcome: Appended, now: Timestamp) -> bool {
        let Some(flight) = self.0.get_mut(slot) else { return false };
        *flight = match outcome {
            Appended::Stored(_) | Appended::Taken(_) => Flight::Taken,
            Appended::InDoubt => Flight::InDoubt { again: now.after(RETRY_AFTER) },
        };
        true
    }

    /// The fold shows the slot taken.
    pub(crate) fn shown(&mut self, slot: &Slot) {
        self.0.remove(slot);
    }

    /// When the next append that gave up may be repeated. One that may be already, and was not,
    /// is not wanted any more.
    pub(crate) fn next_retry(&self, now: Timestamp) -> Option<Timestamp> {
        let retries = self.0.values().filter_map(|flight| match flight {
            Flight::InDoubt { again } => Some(*again).filter(|again| *again > now),
            Flight::Underway | Flight::Taken => None,
        });
        retries.min()
    }
}
