//! What a coordinator records, from the fold and the time.
//!
//! Decides which admissions, verdicts, outcomes, clocks and Closed to append, and when to look
//! again (PROTOCOL sections 1, 3, 5, 6 and 7). Any number of coordinators may decide the same at
//! once: what is recorded is fixed by the log alone, and a slot is written once. Deliberately
//! knows no NATS and no clock: a shell builds [`Event`]s, calls [`Coordinator::step`] in one place
//! and carries the [`Decisions`] out in the order of their fields.

mod coordinator;
mod decision;
mod event;
mod flight;
mod open_run;
mod presence;
#[cfg(test)]
mod tests;

pub use coordinator::Coordinator;
pub use decision::{Append, Decisions, Level, Note, Unread};
pub use event::{Appended, Event};
pub use flight::RETRY_AFTER;
pub use open_run::{LEFT_FOR, SILENT_FOR};
pub use presence::{HEARTBEAT, LATE, SETTLING};
