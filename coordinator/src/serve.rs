//! The loop: arms build events, one place calls the core, decisions are carried out in order.

use std::time::Duration;

use futures::{FutureExt, future::BoxFuture};
use lockstep_bus::{
    Bus,
    beat::{Beats, Heard as Word},
    health::ServerHealth,
    open::{Question, Questions},
    stream::StreamReports,
};
use lockstep_coordinator_core::{Coordinator, Decisions, Event, Level, Note};
use lockstep_shared::time::{Span, Timestamp};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{
    appends::Appends,
    clock::Clock,
    error::CoordinatorError,
    links::{LinkChange, Links},
    options::Options,
    reader::{News, Reader},
};

/// How long the streams may take to be created and compared.
const STREAMS_LIMIT: Duration = Duration::from_secs(30);

/// How long a server may take to say how it keeps records; most accounts are never told.
const HEALTH_LIMIT: Duration = Duration::from_secs(2);

/// Coordinates every run of the log until `shutdown`.
///
/// # Errors
/// [`CoordinatorError`] if the streams cannot be used or the connection is closed for good.
pub async fn run(
    bus: &Bus,
    options: &Options,
    shutdown: &CancellationToken,
) -> Result<(), CoordinatorError> {
    let coordinating = async {
        let begun = Instant::now();
        let (streams, health) = tokio::join!(
            bus.ensure_streams(&options.streams, begun + STREAMS_LIMIT),
            bus.server_health(begun + HEALTH_LIMIT),
        );
        let streams = streams?;
        warn(&streams, &health);
        Shell::new(bus, options, &streams).await.coordinate().await
    };
    shutdown.run_until_cancelled(coordinating).await.unwrap_or(Ok(()))
}

/// The core with everything that it hears and speaks through.
struct Shell {
    bus: Bus,
    core: Coordinator,
    clock: Clock,
    links: Links,
    reader: Reader,
    appends: Appends,
    beats: Beats,
    /// Taken only while the core can answer them.
    questions: Option<Questions>,
    /// Looking whether the operator changed how long the log keeps records.
    looking: Option<BoxFuture<'static, Option<Span>>>,
    wake: Option<Timestamp>,
}

/// What came in.
enum Heard {
    Event(Event),
    /// Everything has been told, as the log stood behind this connection.
    CaughtUp(u64),
    Link(LinkChange),
    Question(Question),
    Nothing,
}

impl Shell {
    async fn new(bus: &Bus, options: &Options, streams: &StreamReports) -> Self {
        Self {
            core: Coordinator::new(streams.log.max_age),
            clock: Clock::default(),
            links: Links::new(bus.link()),
            reader: Reader::new(bus),
            appends: Appends::new(bus, &options.instance),
            beats: bus.all_beats().await,
            questions: None,
            looking: None,
            wake: None,
            bus: bus.clone(),
        }
    }

    async fn coordinate(mut self) -> Result<(), CoordinatorError> {
        loop {
            match self.next().await.ok_or(CoordinatorError::Closed)? {
                Heard::Event(event) => self.take(event).await,
                Heard::CaughtUp(generation) => self.caught_up(generation).await,
                Heard::Link(change) => self.take_link(change).await,
                Heard::Nothing => {}
                Heard::Question(question) => {
                    let runs = self.core.open_runs(&question.pipeline, &question.party);
                    if let Some(runs) = runs {
                        question.answer(&runs).await;
                    }
                }
            }
        }
    }

    /// What comes in next; `None` once the connection is closed for good.
    ///
    /// The connection comes first, so that what the reader reports behind a new one is never
    /// taken for news of the old one. All else has equal turns: beats must not wait for records.
    async fn next(&mut self) -> Option<Heard> {
        let others = async {
            tokio::select! {
                news = self.reader.next() => news.map(|news| match news {
                    News::Event(event) => Heard::Event(event),
                    News::CaughtUp { generation } => Heard::CaughtUp(generation),
                }),
                event = self.appends.next() => Some(Heard::Event(event)),
                word = self.beats.next() => word.map(|word| Heard::Event(match word {
                    Word::Beat(key, workflow, beat) => {
                        Event::Beat { key, workflow, epoch: beat.epoch }
                    }
                    Word::Deaf(denial) => Event::Deaf(denial.to_string()),
                })),
                max_age = pending_unless(&mut self.looking) => {
                    Some(max_age.map_or(Heard::Nothing, |span| Heard::Event(Event::MaxAge(span))))
                }
                question = next_question(&mut self.questions) => question.map(Heard::Question),
                () = sleep_until(&self.clock, self.wake) => Some(Heard::Event(Event::Woke)),
            }
        };
        tokio::select! {
            biased;
            change = self.links.next() => change.map(Heard::Link),
            heard = others => heard,
        }
    }

    async fn take_link(&mut self, change: LinkChange) {
        match change {
            LinkChange::Lost => {
                self.appends.hold();
                self.take(Event::Disconnected).await;
            }
            LinkChange::Remade => {
                self.appends.hold();
                self.look_at_age();
                self.take(Event::Connected).await;
            }
            LinkChange::Overflowed => self.take(Event::Connected).await,
        }
    }

    /// Servers are restarted when their settings are changed, and that is when it is looked again.
    fn look_at_age(&mut self) {
        let bus = self.bus.clone();
        let look = async move {
            let report = bus.log_report(Instant::now() + STREAMS_LIMIT).await;
            report
                .inspect_err(|error| tracing::warn!(%error, "cannot see how long records are kept"))
                .ok()
                .map(|report| report.max_age)
        };
        self.looking = Some(look.boxed());
    }

    /// What was asked on an earlier connection may still wait to be taken: it says nothing of the
    /// log behind this one, and what is held stays held until somebody has looked there.
    async fn caught_up(&mut self, generation: u64) {
        if self.links.is_current(generation) {
            self.appends.release(generation);
        } else {
            tracing::debug!(generation, "the log behind an earlier connection was read to its end");
        }
        self.take(Event::CaughtUp).await;
    }

    /// The one place that calls the core.
    async fn take(&mut self, event: Event) {
        match &event {
            Event::Entry(entry) => self.clock.notice(entry.time),
            Event::WentBack(_) => self.appends.forget(),
            _ => {}
        }
        let listed = event == Event::Listed;
        let Decisions { send, read, wake, notes } = self.core.step(event, self.clock.now());
        for append in send {
            self.appends.send(append);
        }
        if listed {
            self.reader.read(read);
        }
        self.wake = wake;
        notes.iter().for_each(log);
        self.listen_for_questions().await;
    }

    /// Who has not read the log to its end must not be asked.
    async fn listen_for_questions(&mut self) {
        match (self.core.is_ready(), &self.questions) {
            (true, None) => self.questions = Some(self.bus.open_questions().await),
            (false, Some(_)) => self.questions = None,
            _ => {}
        }
    }
}

async fn next_question(questions: &mut Option<Questions>) -> Option<Question> {
    match questions {
        Some(questions) => questions.next().await,
        None => std::future::pending().await,
    }
}

async fn pending_unless<T>(future: &mut Option<BoxFuture<'static, T>>) -> T {
    match future {
        Some(running) => {
            let done = running.await;
            *future = None;
            done
        }
        None => std::future::pending().await,
    }
}

async fn sleep_until(clock: &Clock, wake: Option<Timestamp>) {
    match wake {
        Some(wake) => tokio::time::sleep(clock.until(wake)).await,
        None => std::future::pending().await,
    }
}

fn warn(streams: &StreamReports, health: &ServerHealth) {
    for report in [&streams.log, &streams.bundles] {
        tracing::info!(stream = report.name, replicas = report.replicas, "using the stream");
        for warning in &report.warnings {
            tracing::warn!(stream = report.name, "{warning}");
        }
    }
    for warning in health.warnings() {
        tracing::warn!("{warning}");
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

#[cfg(test)]
mod tests {
    use lockstep_bus::{DevServer, StreamOptions};
    use lockstep_coordinator_core::Append;
    use lockstep_shared::{record::Record, subject::Family};

    use super::*;

    const LIMIT: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn a_new_connection_is_asked_how_long_records_are_kept() {
        let server = DevServer::start().await.unwrap();
        let bus = Bus::connect(&server.connection(), "test", LIMIT).await.unwrap();
        let streams = StreamOptions::dev();
        let options = Options { streams: streams.clone(), instance: "c1".to_owned() };
        let reports = bus.ensure_streams(&streams, Instant::now() + LIMIT).await.unwrap();
        let mut shell = Shell::new(&bus, &options, &reports).await;
        shell.take_link(LinkChange::Remade).await;
        let asked = async {
            loop {
                if let Heard::Event(Event::MaxAge(kept)) = shell.next().await.unwrap() {
                    return kept;
                }
            }
        };
        let kept = tokio::time::timeout(LIMIT, asked).await.unwrap();
        assert_eq!(kept, reports.log.max_age);
    }

    #[tokio::test]
    async fn a_word_of_an_earlier_connection_releases_nothing() {
        let server = DevServer::start().await.unwrap();
        let bus = Bus::connect(&server.connection(), "test", LIMIT).await.unwrap();
        let streams = StreamOptions::dev();
        let options = Options { streams: streams.clone(), instance: "c1".to_owned() };
        let reports = bus.ensure_streams(&streams, Instant::now() + LIMIT).await.unwrap();
        let mut shell = Shell::new(&bus, &options, &reports).await;
        let key = lockstep_shared::id::RunKey {
            pipeline: "shop".parse().unwrap(),
            run: "r1".parse().unwrap(),
        };
        let slot = Family::Admission.slot(1);
        shell.appends.send(Append { key, slot, record: Record::Admitted {} });
        let current = bus.link().borrow().generation;
        shell.caught_up(current - 1).await;
        assert_eq!(shell.appends.under_way(), 0, "it went out on the word of a lost connection");
        shell.caught_up(current).await;
        assert_eq!(shell.appends.under_way(), 1);
    }
}
