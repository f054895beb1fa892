//! The program `lockstep-agent`: flags, signals and exit codes around the library.

use std::{io::IsTerminal, process::ExitCode, time::Duration};

use anyhow::Context;
use clap::{Parser, Subcommand, ValueEnum};
use lockstep_bus::{Bus, Connection, ConnectionArgs, ReadError, is_discreet};
use lockstep_shared::id::{InvalidName, PipelineName, RunId, WorkflowName};
use tokio::{
    signal::unix::{SignalKind, signal},
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::{
    EnvFilter, filter::filter_fn, layer::SubscriberExt, util::SubscriberInitExt,
};

use crate::{AgentArgs, Options, VERSION, run, serve};

/// How long a first connection is tried for before the agent gives up and says why.
const CONNECT_LIMIT: Duration = Duration::from_secs(30);

/// How long what is still in hand may take to be sent at the end.
const CLOSE_LIMIT: Duration = Duration::from_secs(2);

/// How many threads do what blocks, such as bringing an undo record to the disk.
const MAX_BLOCKING_THREADS: usize = 8;

/// How long a run is looked for whose pipeline was not named.
const FIND_LIMIT: Duration = Duration::from_secs(10);

/// Carries out workflows of a pipeline, each at its own target, and meets the others at barriers.
#[derive(Debug, Parser)]
#[command(name = "lockstep-agent", version, after_long_help = HELP)]
struct Program {
    #[command(flatten)]
    connection: ConnectionArgs,
    /// How log lines look
    #[arg(
        long,
        env = "LOCKSTEP_LOG_FORMAT",
        value_name = "FORMAT",
        default_value = "text",
        global = true
    )]
    log_format: LogFormat,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

const HELP: &str = "\
Exit codes: 0 done, 1 internal error, 2 wrong usage, 3 invalid configuration, 4 run failed and \
rolled back, 5 a rollback did not finish, 6 cancelled, 7 another agent took over, 8 NATS \
unreachable or run refused, 130 and 143 ended by a signal (the next agent goes on).\n\n\
LOCKSTEP_LOG says how much is logged to standard error (default: info). A command of a plan finds \
LOCKSTEP_PIPELINE, LOCKSTEP_RUN, LOCKSTEP_WORKFLOW, LOCKSTEP_STEP, LOCKSTEP_ATTEMPT, \
LOCKSTEP_PARAM_<NAME> and TRACEPARENT in its environment, and no NATS_* or other LOCKSTEP_* \
variable of the agent.";

#[derive(Debug, Subcommand)]
enum Verb {
    /// Take part in every run of a pipeline
    Serve {
        /// The pipeline
        #[arg(long, env = "LOCKSTEP_PIPELINE", value_name = "NAME")]
        pipeline: PipelineName,
        /// A workflow to carry out; may be given several times
        #[arg(
            long = "workflow",
            env = "LOCKSTEP_WORKFLOW",
            value_name = "NAME",
            required = true,
            value_delimiter = ','
        )]
        workflows: Vec<WorkflowName>,
        #[command(flatten)]
        agent: AgentArgs,
    },
    /// Take part in one run and exit with its code
    Run {
        /// The run: its id, or PIPELINE/ID as `lockstep run --detach` prints it
        #[arg(long, env = "LOCKSTEP_RUN", value_name = "RUN", value_parser = named)]
        run: (Option<PipelineName>, RunId),
        /// The run's pipeline, if this user may not look it up
        #[arg(long, env = "LOCKSTEP_PIPELINE", value_name = "NAME")]
        pipeline: Option<PipelineName>,
        /// A workflow to carry out; may be given several times
        #[arg(
            long = "workflow",
            env = "LOCKSTEP_WORKFLOW",
            value_name = "NAME",
            required = true,
            value_delimiter = ','
        )]
        workflows: Vec<WorkflowName>,
        #[command(flatten)]
        agent: AgentArgs,
    },
}

/// Runs the program with the arguments of its process.
pub fn main() -> ExitCode {
    main_of_build(VERSION)
}

/// The same, as the build of this version.
pub fn main_of_build(version: &'static str) -> ExitCode {
    let program = Program::parse();
    start_logging(program.log_format);
    // One thread, and few for what blocks: hundreds of agents may share a machine.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(MAX_BLOCKING_THREADS)
        .build();
    match runtime {
        Ok(runtime) => runtime.block_on(until_ended(program, version)),
        Err(error) => fail(Code::Internal, &error.into()),
    }
}

fn start_logging(format: LogFormat) {
    let filter = EnvFilter::try_from_env("LOCKSTEP_LOG")
        .unwrap_or_else(|_| EnvFilter::new("info,async_nats=warn"));
    let logging = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    let discreet = filter_fn(is_discreet);
    match format {
        LogFormat::Text => logging.finish().with(discreet).init(),
        LogFormat::Json => logging.json().finish().with(discreet).init(),
    }
}

async fn until_ended(program: Program, version: &str) -> ExitCode {
    let shutdown = CancellationToken::new();
    let mut signals = match Signals::new() {
        Ok(signals) => signals,
        Err(error) => return fail(Code::Internal, &error.into()),
    };
    let working = work(program, version, shutdown.clone());
    tokio::pin!(working);
    let (signal, ended) = tokio::select! {
        ended = &mut working => (None, ended),
        signal = signals.next() => {
            tracing::info!("ending: every open run is left for the next agent");
            shutdown.cancel();
            tokio::select! {
                ended = &mut working => (Some(signal), ended),
                // Asked twice: at once. Commands are killed with us, the log is not told.
                signal = signals.next() => return ExitCode::from(signal),
            }
        }
    };
    match (ended, signal) {
        (Err(failure), _) => fail(failure.code, &failure.error),
        (Ok(_), Some(signal)) => ExitCode::from(signal),
        (Ok(code), None) => ExitCode::from(code),
    }
}

async fn work(program: Program, version: &str, shutdown: CancellationToken) -> Result<u8, Failure> {
    let connection = Connection::resolve(&program.connection)
        .context("the NATS settings make no connection")
        .or_exit(Code::Invalid)?;
    let bus = tokio::select! {
        bus = Bus::connect(&connection, "lockstep-agent", CONNECT_LIMIT) => {
            bus.map_err(anyhow::Error::from).or_exit(Code::Unavailable)?
        }
        () = shutdown.cancelled() => return Ok(0),
    };
    let code = match program.verb {
        Verb::Serve { pipeline, workflows, agent } => {
            let options = options(agent, pipeline, workflows, version)?;
            serve(options, bus.clone(), shutdown).await.or_exit_by_kind()?;
            0
        }
        Verb::Run { run: (named, id), pipeline, workflows, agent } => {
            // Whoever names the pipeline in both ways means the run's own name.
            let pipeline = match named.or(pipeline) {
                Some(pipeline) => pipeline,
                None => find_pipeline(&bus, &id).await?,
            };
            let options = options(agent, pipeline, workflows, version)?;
            run(options, id, bus.clone(), shutdown).await.or_exit_by_kind()?.code()
        }
    };
    bus.close(CLOSE_LIMIT).await;
    Ok(code)
}

fn options(
    agent: AgentArgs,
    pipeline: PipelineName,
    workflows: Vec<WorkflowName>,
    version: &str,
) -> Result<Options, Failure> {
    let options = agent.options(pipeline, workflows).map_err(anyhow::Error::from);
    let options = options.or_exit(Code::Invalid)?;
    Ok(Options { version: version.to_owned(), ..options })
}

/// A run as people name it: its id, or its pipeline and id.
fn named(text: &str) -> Result<(Option<PipelineName>, RunId), InvalidName> {
    match text.split_once('/') {
        Some((pipeline, run)) => Ok((Some(pipeline.parse()?), run.parse()?)),
        None => Ok((None, text.parse()?)),
    }
}

/// The one pipeline that has a run of this id.
async fn find_pipeline(bus: &Bus, run: &RunId) -> Result<PipelineName, Failure> {
    let filter = [bus.subjects().run_of_any_pipeline(run)];
    let read = match bus.read(&filter, 0, Instant::now() + FIND_LIMIT).await {
        Ok(read) => read,
        Err(error @ ReadError::TooMany) => {
            let what = "the run's pipeline cannot be looked up; name it with --pipeline";
            return Err(error).context(what).or_exit(Code::Usage);
        }
        // What this user may not read it cannot read in the run either.
        Err(error) => {
            let what = "the run's pipeline cannot be looked up";
            return Err(error).context(what).or_exit(Code::Unavailable);
        }
    };
    let mut pipelines: Vec<PipelineName> =
        read.entries.into_iter().map(|entry| entry.key.pipeline).collect();
    pipelines.dedup();
    let found = match <[PipelineName; 1]>::try_from(pipelines) {
        Ok([pipeline]) => return Ok(pipeline),
        Err(found) if found.is_empty() => {
            anyhow::anyhow!("no run {run} is in the log; `lockstep ls` lists the runs")
        }
        Err(_) => anyhow::anyhow!("several pipelines have a run {run}; name one with --pipeline"),
    };
    Err(found).or_exit(Code::Usage)
}

/// SIGINT and SIGTERM.
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// The exit code of the next one.
    async fn next(&mut self) -> u8 {
        tokio::select! {
            _ = self.interrupt.recv() => 130,
            _ = self.terminate.recv() => 143,
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Code {
    Internal = 1,
    Usage = 2,
    Invalid = 3,
    Unavailable = 8,
}

struct Failure {
    code: Code,
    error: anyhow::Error,
}

trait OrExit<T> {
    fn or_exit(self, code: Code) -> Result<T, Failure>;
}

impl<T> OrExit<T> for anyhow::Result<T> {
    fn or_exit(self, code: Code) -> Result<T, Failure> {
        self.map_err(|error| Failure { code, error })
    }
}

trait OrExitByKind<T> {
    fn or_exit_by_kind(self) -> Result<T, Failure>;
}

impl<T> OrExitByKind<T> for Result<T, crate::AgentError> {
    fn or_exit_by_kind(self) -> Result<T, Failure> {
        self.map_err(|error| {
            let code = match &error {
                crate::AgentError::State(_) | crate::AgentError::Undo(_) => Code::Invalid,
                crate::AgentError::Log { .. } => Code::Unavailable,
                crate::AgentError::Defect(_) => Code::Internal,
            };
            Failure { code, error: error.into() }
        })
    }
}

fn fail(code: Code, error: &anyhow::Error) -> ExitCode {
    tracing::error!("{error:#}");
    ExitCode::from(code as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_named_as_the_command_line_prints_it() {
        let (pipeline, run) = named("shop/r1").unwrap();
        assert_eq!((pipeline.unwrap().as_str(), run.as_str()), ("shop", "r1"));
        assert_eq!(named("r1").unwrap().0, None);
        assert!(named("shop/").is_err() && named("a/b/c").is_err());
    }
}
