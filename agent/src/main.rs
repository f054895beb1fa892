//! `lockstep-agent`.

use std::process::ExitCode;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    lockstep_agent::program::main().await
}
