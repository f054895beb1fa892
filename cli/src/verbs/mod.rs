//! The verbs, one file each: flags, and what is done with them.

use clap::Subcommand;

use crate::{context::Context, failure::Outcome};

mod abort;
mod barrier;
mod completion;
mod destroy;
mod dev;
mod doctor;
mod events;
mod graph;
mod logs;
mod ls;
mod plan;
mod reference;
mod rollback;
mod run;
mod schema;
mod status;
mod validate;
mod version;

#[cfg(test)]
pub(crate) use run::again;

/// Which run is meant.
#[derive(Debug, clap::Args)]
pub(crate) struct RunArg {
    /// Which run: PIPELINE/RUN, RUN (or the beginning or end of its id), or PIPELINE for its open
    /// run, else its latest that was not refused or a dry run [default: the same of all runs]
    pub(crate) run: Option<String>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    Run(run::Args),
    Validate(validate::Args),
    Plan(plan::Args),
    Graph(graph::Args),
    Status(status::Args),
    Ls(ls::Args),
    Events(events::Args),
    Logs(logs::Args),
    Abort(abort::Args),
    Barrier(barrier::Args),
    Rollback(rollback::Args),
    Dev(dev::Args),
    Destroy(destroy::Args),
    Doctor(doctor::Args),
    Schema(schema::Args),
    Completion(completion::Args),
    Version(version::Args),
    #[command(hide = true)]
    Reference(reference::Args),
}

impl Verb {
    /// Whether it deals with Ctrl-C and SIGTERM itself.
    pub(crate) fn minds_signals(&self) -> bool {
        matches!(self, Self::Run(_) | Self::Plan(_) | Self::Dev(_))
    }

    /// What of the libraries' log a person sees unless `LOCKSTEP_LOG` says otherwise.
    pub(crate) fn logs(&self) -> &'static str {
        match self {
            // The agents run in this process: what their commands print belongs on the screen.
            Self::Dev(_) => "error,lockstep::owing=off,lockstep::output=info",
            _ => "off",
        }
    }

    /// Does it.
    pub(crate) async fn run(self, context: Context) -> Outcome {
        match self {
            Self::Run(args) => run::run(args, context).await,
            Self::Validate(args) => validate::run(args, context).await,
            Self::Plan(args) => plan::run(args, context).await,
            Self::Graph(args) => graph::run(args, context),
            Self::Status(args) => status::run(args, context).await,
            Self::Ls(args) => ls::run(args, context).await,
            Self::Events(args) => events::run(args, context).await,
            Self::Logs(args) => logs::run(args, context).await,
            Self::Abort(args) => abort::run(args, context).await,
            Self::Barrier(args) => barrier::run(args, context).await,
            Self::Rollback(args) => rollback::run(args, context).await,
            Self::Dev(args) => dev::run(args, context).await,
            Self::Destroy(args) => destroy::run(args, context).await,
            Self::Doctor(args) => doctor::run(args, context).await,
            Self::Schema(args) => schema::run(&args),
            Self::Completion(args) => completion::run(&args),
            Self::Version(args) => version::run(&args, context),
            Self::Reference(args) => reference::run(&args),
        }
    }
}
