//! The program `lockstep-coordinator`: flags, signals and exit codes around the library.

use std::{io::IsTerminal, process::ExitCode, time::Duration};

use anyhow::Context;
use clap::{Parser, ValueEnum};
use lockstep_bus::{Bus, Connection, ConnectionArgs, is_discreet};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::{
    EnvFilter, filter::filter_fn, layer::SubscriberExt, util::SubscriberInitExt,
};

use crate::{CoordinatorArgs, run};

/// How long a first connection is tried for before the coordinator gives up and says why.
const CONNECT_LIMIT: Duration = Duration::from_secs(30);

/// How long what is still in hand may take to be sent at the end.
const CLOSE_LIMIT: Duration = Duration::from_secs(2);

/// Records the verdicts of every run; any number of them may run at once.
#[derive(Debug, Parser)]
#[command(name = "lockstep-coordinator", version, after_long_help = HELP)]
struct Program {
    #[command(flatten)]
    connection: ConnectionArgs,
    #[command(flatten)]
    coordinator: CoordinatorArgs,
    /// How log lines look
    #[arg(long, env = "LOCKSTEP_LOG_FORMAT", value_name = "FORMAT", default_value = "text")]
    log_format: LogFormat,
}

const HELP: &str = "\
Exit codes: 1 internal error, 2 wrong usage, 3 invalid configuration, 8 NATS unreachable, 130 and \
143 ended by a signal (open runs go on with any other coordinator).\n\n\
LOCKSTEP_LOG says how much is logged to standard error (default: info).";

#[derive(Debug, Clone, Copy, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

/// Runs the program with the arguments of its process.
pub async fn main() -> ExitCode {
    let program = Program::parse();
    start_logging(program.log_format);
    let shutdown = CancellationToken::new();
    let working = work(program, shutdown.clone());
    tokio::pin!(working);
    let (signal, ended) = tokio::select! {
        ended = &mut working => (None, ended),
        signal = next_signal() => {
            tracing::info!("ending: open runs go on with any other coordinator");
            shutdown.cancel();
            (Some(signal), working.await)
        }
    };
    match (ended, signal) {
        (Err((code, error)), _) => {
            tracing::error!("{error:#}");
            ExitCode::from(code)
        }
        (Ok(()), signal) => ExitCode::from(signal.unwrap_or(0)),
    }
}

fn start_logging(format: LogFormat) {
    let filter = EnvFilter::try_from_env("LOCKSTEP_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let logging = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    let discreet = filter_fn(is_discreet);
    match format {
        LogFormat::Text => logging.finish().with(discreet).init(),
        LogFormat::Json => logging.json().finish().with(discreet).init(),
    }
}

async fn work(program: Program, shutdown: CancellationToken) -> Result<(), (u8, anyhow::Error)> {
    let connection = Connection::resolve(&program.connection)
        .context("the NATS settings make no connection")
        .map_err(|error| (3, error))?;
    let bus = tokio::select! {
        bus = Bus::connect(&connection, "lockstep-coordinator", CONNECT_LIMIT) => {
            bus.map_err(|error| (8, error.into()))?
        }
        () = shutdown.cancelled() => return Ok(()),
    };
    let ended = run(&bus, &program.coordinator.into(), &shutdown).await;
    bus.close(CLOSE_LIMIT).await;
    ended.map_err(|error| (if error.is_configuration() { 3 } else { 8 }, error.into()))
}

/// The exit code of the first signal; a process that cannot hear signals never ends by one.
async fn next_signal() -> u8 {
    let heard = async |kind, code| match signal(kind) {
        Ok(mut signal) => {
            signal.recv().await;
            code
        }
        Err(error) => {
            tracing::warn!(%error, "signals cannot be heard");
            std::future::pending().await
        }
    };
    tokio::select! {
        code = heard(SignalKind::interrupt(), 130) => code,
        code = heard(SignalKind::terminate(), 143) => code,
    }
}
