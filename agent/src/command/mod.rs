//! The command target: runs a step's command as a process group of its own.
//!
//! Decides how a command is started, watched, stopped and reported. Deliberately knows nothing of
//! the log: when a command may run, and whether it is tried again, is decided elsewhere.
//!
//! A command is *over* when its own process is: what it left in the background goes on, also if it
//! still holds the output open. Such a daemon must send its output elsewhere, because the pipe to
//! the agent closes at the end of the step.

mod environment;
mod group;
mod output;
mod permit;
mod process;

pub use environment::{Setting, variable_name};
pub use group::{StillAlive, end_left_over, start_of};
pub use output::Tail;
pub use permit::{Permit, Question, permits};
pub use process::{Call, CommandError, Finished, Gate, run};
