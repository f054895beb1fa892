//! The agent, built a second time as an earlier version: for runs that programs of two builds share.

use std::process::ExitCode;

fn main() -> ExitCode {
    lockstep_agent::program::main_of_build("0.0.9")
}
