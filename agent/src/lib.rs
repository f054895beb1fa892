//! The agent: carries out one or several workflows, each at its own target.
//!
//! Decides how orders of the core reach processes, files and the log, and how what happens there
//! reaches the core. Deliberately decides nothing about runs: when to act, undo, arrive or give up
//! is `lockstep-agent-core`'s business, and what the log means is `lockstep_shared::fold`'s.

pub mod command;
pub mod debts;
pub mod kubernetes;
pub mod program;
mod run;
mod serve;
pub mod state;
mod undo;
pub mod verify;

pub use serve::{
    AgentArgs, AgentError, DEGRADE_GRACE, KeepingArgs, Options, OptionsError, RunEnd, UNDO_HISTORY,
    VERSION, run, serve,
};

/// An error with all that caused it, in one line.
fn error_text(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(next) = source {
        text = format!("{text}: {next}");
        source = next.source();
    }
    text
}
