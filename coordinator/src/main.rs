//! `lockstep-coordinator`.

use std::process::ExitCode;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    lockstep_coordinator::program::main().await
}
