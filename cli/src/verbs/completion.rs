//! `completion`: a shell's completion script.

use clap::CommandFactory;
use clap_complete::Shell;

use crate::{cli::Cli, exit::Exit, failure::Outcome, output::print};

/// Print a completion script: `source <(lockstep completion bash)`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

pub(crate) fn run(args: &Args) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "lockstep", &mut script);
    print(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Done)
}
