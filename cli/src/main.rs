//! `lockstep`, the user's program.

mod cli;
mod context;
mod doing;
mod exit;
mod failure;
mod find;
mod flags;
mod follow;
mod github;
mod logging;
mod manifests;
mod online;
mod output;
mod pipeline_file;
mod progress;
mod reader;
mod report;
mod requesting;
mod signals;
mod story;
mod submit;
mod terminal;
mod verbs;
mod watching;
mod who;
mod write;

use std::process::ExitCode;

use clap::Parser;

use crate::{
    cli::Cli,
    context::Context,
    exit::Exit,
    failure::{Failure, OrExit, Outcome},
    output::say,
    signals::Signals,
    terminal::Style,
};

fn main() -> ExitCode {
    // Wrong usage ends here with 2, `--help` and `--version` with 0.
    let cli = Cli::parse();
    let context = Context::new(cli.color);
    let outcome = begin(cli, context);
    match outcome {
        Ok(exit) => exit.into(),
        Err(failure) => {
            tell(&failure, context);
            failure.exit.into()
        }
    }
}

fn begin(cli: Cli, context: Context) -> Outcome {
    logging::begin(cli.verb.logs(), context);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .or_exit(Exit::Internal, "cannot start the runtime")?;
    runtime.block_on(async {
        if cli.verb.minds_signals() {
            return cli.verb.run(context).await;
        }
        let mut signals = Signals::listen()?;
        tokio::select! {
            outcome = cli.verb.run(context) => outcome,
            exit = signals.next() => Ok(exit),
        }
    })
}

/// Says why a verb ended early, unless nobody is to hear of it.
fn tell(failure: &Failure, context: Context) {
    if failure.exit == Exit::Done {
        return;
    }
    let text = failure.text();
    let coloured = context.err.paint(Style::Bad, "error:");
    say(&text.replacen("error:", &coloured, 1));
}
