//! Following a run until it is closed: progress for a person, and what a signal means.

use std::{collections::BTreeMap, time::Duration};

use futures::{FutureExt, future::BoxFuture};
use lockstep_bus::Bus;
use lockstep_shared::{
    id::{BarrierId, RunKey, WorkflowName},
    record::Record,
    source::Source,
    subject::Family,
};
use tokio::time::{Instant, sleep_until};

use crate::{
    context::Context,
    exit::Exit,
    failure::Failure,
    output::say,
    progress::Progress,
    report::RunReport,
    signals::Signals,
    story::Event,
    terminal::line,
    watching::{Sight, Watching},
    who::claimed,
    write::{Placed, into_slot},
};

/// How often a slot may be found taken before something else is wrong.
const MAX_TAKEN: usize = 1000;

/// The shortest pause between two reports: telling a large run takes longer than reading it.
const REPORT_PAUSE: Duration = Duration::from_millis(100);

/// What to do about signals and time.
pub(crate) struct Patience {
    /// Whether a first signal aborts the run instead of detaching.
    pub(crate) abort_on_signal: bool,
    /// When to give up waiting.
    pub(crate) timeout: Option<Duration>,
    /// Whether giving up means to abort the run.
    pub(crate) abort_on_timeout: bool,
    /// Whether the run lives on without this process.
    pub(crate) lives_on: bool,
}

/// How following ended.
pub(crate) struct Followed {
    /// The code to exit with.
    pub(crate) exit: Exit,
    /// The run as it was then.
    pub(crate) report: RunReport,
    /// The digests of what agents said at `_prepare` that they would do.
    pub(crate) views: BTreeMap<WorkflowName, String>,
}

impl Followed {
    fn new(exit: Exit, watching: &mut Watching) -> Self {
        let prepare = watching.fold().barriers().get(&BarrierId::prepare());
        let arrivals = prepare.into_iter().flat_map(|barrier| &barrier.arrivals);
        let views = arrivals
            .filter_map(|(party, arrival)| {
                Some((party.as_str().parse().ok()?, arrival.view.clone()?))
            })
            .collect();
        Self { exit, report: watching.report(), views }
    }
}

/// Follows a run; `on_event` is given every record as it comes.
pub(crate) async fn follow(
    bus: &Bus,
    key: &RunKey,
    patience: Patience,
    signals: &mut Signals,
    context: Context,
    mut on_event: impl FnMut(&Event) -> Result<(), Failure>,
) -> Result<Followed, Failure> {
    let mut following = Following {
        bus,
        watching: Watching::new(bus, key).await,
        progress: Progress::new(context),
        give_up: patience.timeout.map(|timeout| Instant::now() + timeout),
        aborting: None,
        asked: false,
        next_report: Instant::now(),
        patience,
    };
    loop {
        let step = tokio::select! {
            biased;
            exit = signals.next() => following.interrupted(exit),
            aborted = or_pending(&mut following.aborting) => {
                if let Err(failure) = aborted {
                    say(&failure.text());
                }
                None
            }
            () = at(following.give_up) => following.time_is_over(),
            sight = following.watching.next() => match sight {
                Some(sight) => following.seen(sight, &mut on_event)?,
                None => return Err(Failure::unavailable("the connection to NATS was closed")),
            },
        };
        if let Some(exit) = step {
            return Ok(Followed::new(exit, &mut following.watching));
        }
    }
}

/// A run that is being followed. Its methods give the code to end with, once that is clear.
struct Following<'a> {
    bus: &'a Bus,
    watching: Watching,
    progress: Progress,
    patience: Patience,
    give_up: Option<Instant>,
    aborting: Option<BoxFuture<'static, Result<(), Failure>>>,
    asked: bool,
    next_report: Instant,
}

impl Following<'_> {
    fn interrupted(&mut self, exit: Exit) -> Option<Exit> {
        if self.patience.abort_on_signal && !self.asked {
            self.abort("interrupted");
            say("aborting the run; once more quits at once");
            return None;
        }
        self.progress.finish();
        say(&detached(self.watching.fold().key(), self.asked, self.patience.lives_on));
        Some(exit)
    }

    fn time_is_over(&mut self) -> Option<Exit> {
        self.give_up = None;
        if self.patience.abort_on_timeout {
            if !self.asked {
                self.abort("it took too long");
                say("the time is over; aborting the run");
            }
            return None;
        }
        self.progress.finish();
        say(&format!("gave up waiting. {}", goes_on(self.watching.fold().key())));
        Some(Exit::GaveUp)
    }

    fn abort(&mut self, reason: &str) {
        self.asked = true;
        self.aborting = Some(abort(self.bus, &self.watching, reason).boxed());
    }

    fn seen(
        &mut self,
        sight: Sight,
        on_event: &mut impl FnMut(&Event) -> Result<(), Failure>,
    ) -> Result<Option<Exit>, Failure> {
        match sight {
            Sight::Event(event) => {
                self.progress.event(&event);
                on_event(&event)?;
            }
            Sight::Trouble(why) => say(&format!("cannot read the log: {}", line(&why))),
            Sight::WentBack(why) => say(&format!("THE LOG LOST RECORDS: {}", line(&why))),
            Sight::CaughtUp | Sight::Changed => {}
        }
        if !self.watching.is_current() {
            return Ok(None);
        }
        if self.watching.is_final() {
            self.progress.finish();
            return Ok(Some(self.watching.report().exit()));
        }
        if Instant::now() >= self.next_report {
            self.next_report = Instant::now() + REPORT_PAUSE;
            self.progress.report(&self.watching.report());
        }
        Ok(None)
    }
}

fn goes_on(key: &RunKey) -> String {
    format!(
        "The run goes on: `lockstep status {key} --watch` goes on watching, `lockstep abort {key} \
         --reason TEXT` ends it"
    )
}

fn detached(key: &RunKey, asked: bool, lives_on: bool) -> String {
    if !lives_on {
        "quit without waiting for the rollback".to_owned()
    } else if asked {
        format!("quit without waiting for the rollback: `lockstep status {key}` says how it stands")
    } else {
        format!("detached. {}", goes_on(key))
    }
}

async fn at(instant: Option<Instant>) {
    match instant {
        Some(instant) => sleep_until(instant).await,
        None => std::future::pending().await,
    }
}

async fn or_pending<T>(future: &mut Option<BoxFuture<'static, T>>) -> T {
    match future {
        Some(running) => {
            let value = running.await;
            *future = None;
            value
        }
        None => std::future::pending().await,
    }
}

/// Asks for the run to be aborted; whether it counts is read like everything else.
fn abort(
    bus: &Bus,
    watching: &Watching,
    reason: &str,
) -> impl Future<Output = Result<(), Failure>> + use<> {
    let (bus, key) = (bus.clone(), watching.fold().key().clone());
    let mut slot = watching.fold().next_slot(&Family::Request);
    let by = claimed();
    let source = Source::Operator(by.clone());
    let record = Record::AbortRequested { by, reason: reason.to_owned() };
    async move {
        for _ in 0..MAX_TAKEN {
            match into_slot(&bus, &key, &slot, &record, &source).await? {
                Placed::Stored(_) => return Ok(()),
                Placed::Taken(_) => slot.number += 1,
            }
        }
        Err(Failure::unavailable(format!("{MAX_TAKEN} request slots of {key} are taken")))
    }
}
