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
    let mut watching = Watching::new(bus, key).await;
    let mut progress = Progress::new(context);
    let mut give_up = patience.timeout.map(|timeout| Instant::now() + timeout);
    let mut aborting: Option<BoxFuture<'static, Result<(), Failure>>> = None;
    let mut asked = false;
    let mut next_report = Instant::now();
    loop {
        tokio::select! {
            biased;
            exit = signals.next() => {
                if patience.abort_on_signal && !asked {
                    asked = true;
                    aborting = Some(abort(bus, &watching, "interrupted").boxed());
                    say("aborting the run; once more quits at once");
                    continue;
                }
                progress.finish();
                say(&detached(key, asked, patience.lives_on));
                return Ok(Followed::new(exit, &mut watching));
            }
            aborted = or_pending(&mut aborting) => {
                if let Err(failure) = aborted {
                    say(&failure.text());
                }
            }
            () = at(give_up) => {
                if patience.abort_on_timeout && !asked {
                    (asked, give_up) = (true, None);
                    aborting = Some(abort(bus, &watching, "it took too long").boxed());
                    say("the time is over; aborting the run");
                    continue;
                }
                progress.finish();
                say(&format!("gave up waiting. {}", goes_on(key)));
                return Ok(Followed::new(Exit::GaveUp, &mut watching));
            }
            sight = watching.next() => {
                match sight {
                    Some(Sight::Event(event)) => {
                        progress.event(&event);
                        on_event(&event)?;
                    }
                    Some(Sight::Trouble(why)) => {
                        say(&format!("cannot read the log: {}", line(&why)));
                    }
                    Some(Sight::WentBack(why)) => {
                        say(&format!("THE LOG LOST RECORDS: {}", line(&why)));
                    }
                    Some(Sight::CaughtUp) => watching.begin(),
                    Some(Sight::Changed) => {}
                    None => {
                        return Err(Failure::unavailable("the connection to NATS was closed"));
                    }
                }
                if !watching.is_current() {
                    continue;
                }
                if watching.is_final() {
                    progress.finish();
                    let exit = watching.report().exit();
                    return Ok(Followed::new(exit, &mut watching));
                }
                if Instant::now() >= next_report {
                    next_report = Instant::now() + REPORT_PAUSE;
                    progress.report(&watching.report());
                }
            }
        }
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
