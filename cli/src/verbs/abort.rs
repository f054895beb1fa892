//! `abort`: ask for a run to be aborted and rolled back.

use std::time::Duration;

use lockstep_bus::ConnectionArgs;
use lockstep_shared::{
    fold::{Decision, Effect, RunFold},
    record::{Record, RunResult},
};

use crate::{
    context::Context,
    exit::Exit,
    failure::Outcome,
    find,
    flags::seconds,
    online::{close, connect},
    output::{Format, print, render, say},
    reader::RunReader,
    report::{Heard, report},
    requesting::{Requested, request},
    terminal::line,
    who::{claimed, now},
};

/// Abort a run: everybody in it rolls back.
///
/// A run that is already decided does not change: the answer says so and the code is 9. A queued
/// run is never admitted. With --wait, also for a run that is rolling back already, the code says
/// how it ended: 0 everybody is back, 4 some workflows stand (`onFailure: each-own`), 5 a rollback
/// did not finish, 7 gave up waiting.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Which run: PIPELINE/RUN, RUN (or the beginning or end of its id), or PIPELINE for its open run
    run: String,
    /// Why; kept in the log, and told to everybody who rolls back
    #[arg(long, short, value_name = "TEXT")]
    reason: String,
    /// Wait until everybody has rolled back and the run is closed
    #[arg(long)]
    wait: bool,
    /// How long `--wait` waits
    #[arg(long, value_parser = seconds, default_value = "20m", value_name = "DURATION")]
    timeout: Duration,
    /// The shape of the answer
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    output: Format,
    #[command(flatten)]
    connection: ConnectionArgs,
}

pub(crate) async fn run(args: Args, context: Context) -> Outcome {
    let bus = connect(&args.connection, "abort").await?;
    let key = find::run(&bus, Some(&args.run), find::Need::Open).await?;
    let mut reader = RunReader::new(&bus, &key);
    reader.catch_up().await?;
    if let Some(text) = too_late(reader.fold()) {
        let answer =
            Requested { run: key.to_string(), seq: reader.fold().position(), counted: false, text };
        print(&render(&answer, args.output, context.out)?)?;
        // It goes back, and whoever asks again wants to know when that is over.
        let goes_back = matches!(reader.fold().decision(), Decision::Aborted(_));
        if args.wait && goes_back && reader.fold().closed().is_none() {
            return wait(&mut reader, args.timeout).await;
        }
        return Ok(Exit::TooLate);
    }
    let record = Record::AbortRequested { by: claimed(), reason: args.reason };
    let (seq, effect) = request(&bus, &mut reader, &record).await?;
    let (counted, text) = match &effect {
        Effect::Counted => (true, format!("abort requested (#{seq}); everybody rolls back")),
        Effect::Void(reason) | Effect::Skipped(reason) => (false, reason.clone()),
        Effect::Early(..) => (false, "it is not a deadline".to_owned()),
    };
    let answer = Requested { run: key.to_string(), seq, counted, text };
    print(&render(&answer, args.output, context.out)?)?;
    let exit = match (counted, args.wait) {
        (false, _) => Exit::TooLate,
        (true, false) => {
            say(&format!("`lockstep status {key} --watch` shows the rollback"));
            Exit::Done
        }
        (true, true) => wait(&mut reader, args.timeout).await?,
    };
    drop(reader);
    close(bus).await;
    Ok(exit)
}

async fn wait(reader: &mut RunReader, timeout: Duration) -> Outcome {
    if !reader.until(timeout, |fold| fold.closed().is_some()).await? {
        let key = reader.fold().key();
        say(&format!("{key} is not closed yet; `lockstep status {key} --watch` goes on watching"));
        return Ok(Exit::GaveUp);
    }
    let fold = reader.fold();
    let ended = report(fold, &Heard { now: now(), ..Heard::default() });
    say(&format!("{}: closed: {}", fold.key(), line(&ended.summary)));
    ended.settlement.iter().for_each(|settlement| say(&line(settlement)));
    let result = fold.closed().map(|closed| closed.result);
    Ok(match result {
        // What was asked for: everybody is back, or it was refused before it began.
        Some(RunResult::Cancelled | RunResult::RolledBack | RunResult::Refused) | None => {
            Exit::Done
        }
        Some(other) => Exit::of(other),
    })
}

/// Why an abort would change nothing.
fn too_late(fold: &RunFold) -> Option<String> {
    if let Some(closed) = fold.closed() {
        return Some(format!("too late: the run is closed (#{})", closed.moment.seq));
    }
    match fold.decision() {
        Decision::Committed { at } => Some(format!("too late: committed at #{at}")),
        Decision::Planned { at } => Some(format!("too late: planned at #{at}")),
        Decision::Aborted(cause) => {
            Some(format!("already aborted at #{}: {}", cause.at, cause.text))
        }
        Decision::Open if fold.plan().is_some() && fold.is_decided() => {
            Some("too late: every workflow is decided".to_owned())
        }
        Decision::Open => None,
    }
}
