//! What one workflow's agent does next in one run.
//!
//! Decides, from its view of the log and from what its target reported, what to append, what to
//! order of the target and when to look again (PROTOCOL sections 5 to 9). Deliberately knows no
//! NATS, no files, no processes and no clock: a shell builds [`Event`]s, calls [`Agent::step`] in
//! one place and carries the [`Decisions`] out in the order of their fields.
//!
//! Two readings of the log stand side by side. Nothing is *done* but on what a reading showed;
//! the bell's copies count for *appending* the next record only.

mod agent;
mod attempt;
mod back;
mod contact;
mod course;
pub mod debt;
mod decision;
mod event;
mod filter;
mod forward;
mod intake;
mod join;
mod keep;
mod lanes;
mod leave;
mod lock;
mod progress;
mod recall;
mod seek;
mod settle;
mod setup;
mod stand;
mod standing;
#[cfg(test)]
mod tests;
mod text;
mod turn;
mod view;
mod work;

pub use agent::Agent;
pub use decision::{Act, Append, Decisions, Level, Note, UndoMark};
pub use event::{Appended, Event, Lock, Reading, Report, Told, Watched};
pub use setup::{PlanFound, Setup};
pub use standing::{Beat, Ending, Standing};
