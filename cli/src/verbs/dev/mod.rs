//! `dev`: everything that a run needs, in one process.
//!
//! A private nats-server, a coordinator and an agent per workflow, for one run of one pipeline.
//! Nothing outlives it but what the steps did, and the state directory that knows what could
//! still have to be undone.

mod debts;
mod parts;

use std::{
    fs::File,
    path::{Path, PathBuf},
    time::Duration,
};

use lockstep_agent::{KeepingArgs, debts::Debt, kubernetes::client::Access, state::StateDirectory};
use lockstep_bus::{Bus, Connection, DevServer};
use lockstep_shared::id::RunId;

use self::{debts::Settle, parts::Parts};
use crate::{
    context::Context,
    exit::Exit,
    failure::{Failure, OrExit, Outcome},
    flags::seconds,
    follow::{Patience, follow},
    online::{close, connect_to},
    output::{CiFormat, say},
    pipeline_file::{self, FileArgs},
    signals::Signals,
    submit::{Submission, submit},
    verbs::run::{Printer, conclude},
};

/// The folder beside the pipeline file.
const STATE_FOLDER: &str = ".lockstep";

/// How long the parts may take to end in good order.
const STOP_LIMIT: Duration = Duration::from_secs(5);

/// Run a pipeline here: a private nats-server, a coordinator and an agent per workflow, all in
/// this process.
///
/// Commands run in the pipeline file's folder. Ctrl-C aborts the run and rolls back; a second one
/// quits at once. Exits with the run's code.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    file: FileArgs,
    /// The run's id [default: a fresh UUIDv7]
    #[arg(long, value_name = "ID")]
    run_id: Option<RunId>,
    /// Abort the run and roll back after this time
    #[arg(long, value_parser = seconds, value_name = "DURATION")]
    timeout: Option<Duration>,
    /// Where locks and undo records are kept [default: .lockstep beside the pipeline file]
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// First settle what an earlier dev run left: undo it now, or keep what is there
    #[arg(long, value_enum, value_name = "HOW")]
    settle: Option<Settle>,
    #[command(flatten)]
    kubernetes: Access,
    #[command(flatten)]
    keeping: KeepingArgs,
    /// The shape of the answer
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    output: CiFormat,
}

pub(crate) async fn run(args: Args, context: Context) -> Outcome {
    let file = &args.file;
    let ready = pipeline_file::ready(&file.file, &file.inputs, false, context.err).await?;
    pipeline_file::refuse_external(&ready.plan)?;
    let workdir = workdir(&args.file.file)?;
    let state_dir = args.state_dir.clone().unwrap_or_else(|| workdir.join(STATE_FOLDER));
    let state = StateDirectory::open(&state_dir)
        .or_exit(Exit::Invalid, "the state directory cannot be used")?;
    let _alone = alone(&state_dir)?;
    // A folder that somebody chose is theirs, and may hold what they want kept.
    if args.state_dir.is_none() {
        keep_out_of_git(&state_dir);
    }
    let kubernetes = args.kubernetes.clone();
    let places = debts::Places { state: state.clone(), kubernetes };
    let debts = debts::open(&places, &ready.plan).await?;
    if let (false, None) = (debts.is_empty(), args.settle) {
        return Err(debts::refuse(&debts, &args.file.file));
    }
    let mut signals = Signals::listen()?;
    let server = tokio::select! {
        server = DevServer::start() => {
            server.or_exit(Exit::Unavailable, "cannot start a private nats-server")?
        }
        exit = signals.next() => return Ok(exit),
    };
    say(&format!(
        "nats-server at {url}, for this run only (`lockstep status -s {url}` works beside it)",
        url = server.url()
    ));
    let connection = server.connection();
    let world = World { submission: ready.into(), workdir, places, connection };
    let outcome = world.run(args, debts, &mut signals, context).await;
    end(server, outcome).await
}

/// The server goes last: until then the agents could say goodbye.
async fn end(mut server: DevServer, outcome: Outcome) -> Outcome {
    if !matches!(outcome, Ok(Exit::Interrupted | Exit::Terminated)) {
        server.stop().await.or_exit(Exit::Internal, "the private nats-server did not stop")?;
    }
    outcome
}

/// What one dev run works with.
struct World {
    submission: Submission,
    workdir: PathBuf,
    places: debts::Places,
    connection: Connection,
}

impl World {
    async fn run(
        self,
        args: Args,
        debts: Vec<Debt>,
        signals: &mut Signals,
        context: Context,
    ) -> Outcome {
        let bus = connect_to(&self.connection, "dev").await?;
        let plan = &self.submission.plan;
        let mut parts =
            Parts::start(&self.connection, plan, &self.places, &self.workdir, &args.keeping);
        let outcome = tokio::select! {
            outcome = self.work(&bus, args, debts, signals, context) => outcome,
            failure = parts.ended() => Err(failure),
        };
        // Who quits at once does not wait for anybody to say goodbye.
        if !matches!(outcome, Ok(Exit::Interrupted | Exit::Terminated)) {
            parts.stop(STOP_LIMIT).await;
        }
        close(bus).await;
        outcome
    }

    async fn work(
        &self,
        bus: &Bus,
        args: Args,
        debts: Vec<Debt>,
        signals: &mut Signals,
        context: Context,
    ) -> Outcome {
        parts::wait_for_streams(bus).await?;
        if let (false, Some(how)) = (debts.is_empty(), args.settle) {
            let settled = tokio::select! {
                settled = debts::settle(bus, &self.places, &self.submission.plan, &debts, how) => settled?,
                exit = signals.next() => return Ok(exit),
            };
            if settled != Exit::Done {
                return Ok(settled);
            }
        }
        let submitted = submit(bus, self.submission.clone(), args.run_id).await?;
        say(&format!("run {}", submitted.key));
        let printer = Printer::new(args.output, context);
        printer.begin(&submitted)?;
        let patience = Patience {
            abort_on_signal: true,
            timeout: args.timeout,
            abort_on_timeout: true,
            lives_on: false,
        };
        let mut followed =
            follow(bus, &submitted.key, patience, signals, context, |event| printer.event(event))
                .await?;
        // An agent settles its record once it has read its own last word; nobody leaves before.
        let left = debts::left(&self.places, &self.submission.plan, &followed.report).await?;
        // The log of this run ends with it: what is left is settled by the next dev run.
        followed.report.settlement = debts::instruction(&left, &args.file.file);
        conclude(&followed, args.output, context)?;
        if left.is_empty() && followed.exit == Exit::Failed {
            say("what to do: correct the cause, then run it again");
        }
        Ok(followed.exit)
    }
}

/// The folder that commands run in: the pipeline file's.
fn workdir(file: &Path) -> Result<PathBuf, Failure> {
    let folder = match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let cannot = format!("cannot use the folder {}", folder.display());
    folder.canonicalize().or_exit(Exit::Invalid, cannot)
}

/// State of this machine has no place in anybody's repository.
fn keep_out_of_git(state_dir: &Path) {
    let path = state_dir.join(".gitignore");
    if !path.exists()
        && let Err(error) = std::fs::write(&path, "*\n")
    {
        say(&format!("cannot write {}: {error}", path.display()));
    }
}

/// Two dev runs on one state directory would wait for each other's locks until they time out.
fn alone(state_dir: &Path) -> Result<File, Failure> {
    let path = state_dir.join("dev.lock");
    let cannot = format!("cannot use {}", path.display());
    let file = File::create(&path).or_exit(Exit::Invalid, &cannot)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(Failure::unavailable(format!(
            "another `lockstep dev` is using {}",
            state_dir.display()
        ))
        .help("wait for it to end, or end it with Ctrl-C: it rolls back")),
        Err(std::fs::TryLockError::Error(error)) => Err(error).or_exit(Exit::Invalid, cannot),
    }
}
