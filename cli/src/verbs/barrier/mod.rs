//! `barrier arrive|wait|fail`: take part in a run as a foreign party, or wait for one.
//!
//! Reads as a foreign party does: the republished copies are a bell, and a direct get over the
//! filter is the reading. No consumer, so it works from an account of its own.

mod run_of;
mod standing;
mod verbs;

use std::time::Duration;

use clap::Subcommand;
use lockstep_bus::ConnectionArgs;
use lockstep_shared::id::{BarrierId, PartyName, PipelineName};

use crate::{context::Context, failure::Outcome, flags::seconds, output::Format};

/// Take part in a run as a foreign party: arrive at a barrier, wait for it, or fail it.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// State that a foreign party stands at a barrier: an approval
    ///
    /// May come early: a barrier's clock starts with the first workflow that arrives. Whoever comes
    /// too late is told so, with code 9. With --wait or --until-decided the code says what became of
    /// the barrier or of the run, also for an arrival that is repeated or comes too late: see
    /// `lockstep barrier wait`.
    Arrive(Arrive),
    /// Wait until a barrier is released or aborted, or until the run is decided
    ///
    /// Exits with 0 if it is released and 4 if it is aborted or the run ended without it, with the
    /// cause on standard error. With --until-decided: 0 if the run is committed, 4 if it is not, 5
    /// and 6 as `run` does; what else comes (7 gave up waiting, 8 out of reach) says nothing of it.
    Wait(Wait),
    /// State that a foreign party says no: the run is aborted and everybody rolls back
    ///
    /// An approval can be withdrawn this way until the barrier is released.
    Fail(Fail),
}

// `meeting` stands last: flags behind the connection's would be listed among them.
#[derive(Debug, clap::Args)]
struct Arrive {
    /// Who arrives: a foreign party of the barrier
    #[arg(long, value_name = "PARTY")]
    party: PartyName,
    #[command(flatten)]
    words: Words,
    /// Then wait until the barrier is released or aborted
    #[arg(long)]
    wait: bool,
    /// Then wait until the run is committed or aborted, which may be long after the barrier
    #[arg(long)]
    until_decided: bool,
    #[command(flatten)]
    meeting: Meeting,
}

#[derive(Debug, clap::Args)]
struct Wait {
    /// Who waits: a party of the run; needed with `--pipeline`
    #[arg(long, value_name = "PARTY", required_unless_present = "run")]
    party: Option<PartyName>,
    /// Wait until the run is committed or aborted, which may be long after the barrier
    #[arg(long)]
    until_decided: bool,
    #[command(flatten)]
    meeting: Meeting,
}

#[derive(Debug, clap::Args)]
struct Fail {
    /// Who says no: a foreign party of the barrier
    #[arg(long, value_name = "PARTY")]
    party: PartyName,
    #[command(flatten)]
    words: Words,
    #[command(flatten)]
    meeting: Meeting,
}

/// What a party says beside its yes or no.
#[derive(Debug, clap::Args)]
struct Words {
    /// What to tell everybody; `fail` needs it
    #[arg(long, short, value_name = "TEXT")]
    message: Option<String>,
    /// Where to read more
    #[arg(long, value_name = "URL")]
    link: Option<String>,
    /// Who says so [default: LOCKSTEP_USER, else the login name and the host]
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
}

/// Which barrier of which run.
#[derive(Debug, clap::Args)]
struct Meeting {
    /// The barrier's identifier
    barrier: BarrierId,
    /// The run: RUN or PIPELINE/RUN
    #[arg(long, value_name = "RUN", required_unless_present = "pipeline")]
    run: Option<String>,
    /// The pipeline, whose one open run is meant
    #[arg(long, value_name = "NAME")]
    pipeline: Option<PipelineName>,
    /// Wait until there is such a run
    #[arg(long)]
    wait_for_run: bool,
    /// How long to wait, for the run and for the barrier together [default: without end]
    #[arg(long, value_parser = seconds, value_name = "DURATION")]
    timeout: Option<Duration>,
    /// The shape of the answer
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    output: Format,
    #[command(flatten)]
    connection: ConnectionArgs,
}

pub(crate) async fn run(args: Args, context: Context) -> Outcome {
    match args.what {
        What::Arrive(args) => verbs::arrive(args, context).await,
        What::Wait(args) => verbs::wait(args, context).await,
        What::Fail(args) => verbs::fail(args, context).await,
    }
}
