//! `lockstep-agent`.

use std::process::ExitCode;

fn main() -> ExitCode {
    lockstep_agent::program::main()
}
