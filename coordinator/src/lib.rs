//! The coordinator's loop: reads the log, hears beats, answers questions, appends what the core
//! decides.
//!
//! Decides how events reach `lockstep-coordinator-core` and how its decisions reach the log.
//! Deliberately decides nothing about a run: any number of these may run at once.

mod appends;
mod clock;
mod error;
mod links;
mod options;
pub mod program;
mod reader;
mod serve;

pub use error::CoordinatorError;
pub use options::{CoordinatorArgs, Options};
pub use serve::run;
