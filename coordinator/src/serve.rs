//! The loop: arms build events, one place calls the core, decisions are carried out in order.

use std::time::{Duration, SystemTime};

use lockstep_bus::{Bus, stream::StreamReports};
use lockstep_coordinator_core::{Coordinator, Decisions, Event, Level, Note};
use lockstep_shared::time::Timestamp;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{
    appends::Appends, error::CoordinatorError, links::Links, options::Options, reader::Reader,
};

/// How long the streams may take to be created and compared.
const STREAMS_LIMIT: Duration = Duration::from_secs(30);

/// Coordinates every run of the log until `shutdown`.
///
/// # Errors
/// [`CoordinatorError`] if the streams cannot be used or the connection is closed for good.
pub async fn run(
    bus: &Bus,
    options: &Options,
    shutdown: &CancellationToken,
) -> Result<(), CoordinatorError> {
    let limit = Instant::now() + STREAMS_LIMIT;
    let streams = tokio::select! {
        streams = bus.ensure_streams(&options.streams, limit) => streams?,
        () = shutdown.cancelled() => return Ok(()),
    };
    warn(&streams);
    let mut shell = Shell {
        core: Coordinator::new(streams.log.max_age),
        reader: Reader::new(bus),
        appends: Appends::new(bus, &options.instance),
        wake: None,
    };
    let mut links = Links::new(bus.link());
    let mut beats = bus.all_beats().await;
    let mut questions = bus.open_questions().await;
    shell.take(links.first());
    loop {
        let wake = shell.wake;
        let event = tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            event = shell.reader.next() => event.ok_or(CoordinatorError::Closed)?,
            event = shell.appends.next(now) => event,
            event = links.next() => event.ok_or(CoordinatorError::Closed)?,
            beat = beats.next() => {
                let (key, workflow, beat) = beat.ok_or(CoordinatorError::Closed)?;
                Event::Beat { key, workflow, epoch: beat.epoch }
            }
            question = questions.next() => {
                let question = question.ok_or(CoordinatorError::Closed)?;
                if let Some(runs) = shell.core.open_runs(&question.pipeline, &question.party) {
                    question.answer(&runs).await;
                }
                continue;
            }
            () = sleep_until(wake) => Event::Woke,
        };
        shell.take(event);
    }
}

struct Shell {
    core: Coordinator,
    reader: Reader,
    appends: Appends,
    wake: Option<Timestamp>,
}

impl Shell {
    fn take(&mut self, event: Event) {
        let listed = event == Event::Listed;
        let caught_up = event == Event::CaughtUp;
        let now = now();
        let Decisions { send, read, wake, notes } = self.core.step(event, now);
        for append in send {
            self.appends.send(append, now);
        }
        if listed {
            self.reader.read(read);
        }
        self.wake = wake;
        notes.iter().for_each(log);
        if caught_up {
            tracing::info!(open = self.core.runs().count(), "the log is read; coordinating");
        }
    }
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

async fn sleep_until(wake: Option<Timestamp>) {
    match wake {
        Some(wake) => tokio::time::sleep(wake.since(now()).into()).await,
        None => std::future::pending().await,
    }
}

fn warn(streams: &StreamReports) {
    for report in [&streams.log, &streams.bundles] {
        tracing::info!(stream = report.name, replicas = report.replicas, "using the stream");
        for warning in &report.warnings {
            tracing::warn!(stream = report.name, "{warning}");
        }
    }
}

fn log(note: &Note) {
    let run = note.run.as_ref().map(tracing::field::display);
    match note.level {
        Level::Debug => tracing::debug!(run, "{}", note.text),
        Level::Info => tracing::info!(run, "{}", note.text),
        Level::Warn => tracing::warn!(run, "{}", note.text),
        Level::Error => tracing::error!(run, "{}", note.text),
    }
}
