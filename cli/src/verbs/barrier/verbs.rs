//! What `arrive`, `wait` and `fail` do, once it is clear which run is meant.

use std::{collections::BTreeSet, time::Duration};

use lockstep_bus::Bus;
use lockstep_shared::{
    id::{BarrierId, PartyName, RunKey, Sequence},
    record::{Cause, Record, RunResult},
    source::Source,
};
use serde::Serialize;
use tokio::time::{Instant, timeout_at};

use super::{
    Arrive, Fail, Meeting, Wait,
    run_of::{check_barrier, check_party, run_of},
    standing::{Decided, Fate, Standing, families, standing},
};
use crate::{
    context::Context,
    exit::Exit,
    failure::{Failure, Outcome},
    online::{close, connect, soon, unreadable},
    output::{Format, Show, print, render, say},
    report::card,
    terminal::{Paint, Style, line},
    who::claimed,
    write::{Placed, into_slot},
};

/// How often a reading is made although no bell rang.
const READ_AGAIN: Duration = Duration::from_secs(5);

/// How often a slot may be found taken before something else is wrong.
const MAX_TAKEN: usize = 1000;

/// What the verb answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    run: String,
    barrier: BarrierId,
    #[serde(skip_serializing_if = "Option::is_none")]
    party: Option<PartyName>,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<Sequence>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<Cause>,
    text: String,
    #[serde(skip)]
    exit: Exit,
}

impl Show for Answer {
    fn text(&self, paint: Paint) -> String {
        let style = if self.exit == Exit::Done { Style::Good } else { Style::Bad };
        format!("{} {}: {}\n", self.run, self.barrier, paint.paint(style, line(&self.text)))
    }

    fn name(&self) -> String {
        format!("{}/{}", self.run, self.barrier)
    }
}

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Awaited {
    /// That the barrier is released or aborted.
    Barrier,
    /// That the run is committed or aborted.
    Run,
}

impl Awaited {
    /// What two flags ask for.
    fn of(wait: bool, until_decided: bool) -> Option<Self> {
        if until_decided { Some(Self::Run) } else { wait.then_some(Self::Barrier) }
    }
}

/// A party at a barrier of a run.
struct Party<'a> {
    bus: &'a Bus,
    key: RunKey,
    barrier: &'a BarrierId,
    name: Option<&'a PartyName>,
    floor: Sequence,
}

impl Party<'_> {
    fn filter(&self) -> Vec<String> {
        let families = families(self.barrier, self.name);
        families.iter().map(|family| self.bus.subjects().family(&self.key, family)).collect()
    }

    /// One reading, judged.
    async fn read(&mut self) -> Result<Standing, Failure> {
        let reading =
            self.bus.read(&self.filter(), self.floor, soon()).await.map_err(unreadable)?;
        self.floor = self.floor.max(reading.upto);
        Ok(standing(&reading.entries, self.barrier, self.name))
    }

    fn answer(
        &self,
        state: &'static str,
        seq: Option<Sequence>,
        text: String,
        exit: Exit,
    ) -> Answer {
        Answer {
            run: self.key.to_string(),
            barrier: self.barrier.clone(),
            party: self.name.cloned(),
            state,
            seq,
            cause: None,
            text,
            exit,
        }
    }

    /// What a fate means for somebody who waits; nothing while it is open.
    fn told(&self, fate: &Fate) -> Option<Answer> {
        let answer = |state, seq, text, exit| Some(self.answer(state, seq, text, exit));
        match fate {
            Fate::Open => None,
            Fate::Released { at } => {
                answer("released", Some(*at), format!("released (#{at})"), Exit::Done)
            }
            Fate::Aborted { cause } => {
                let text = format!("aborted (#{}): {}", cause.at, cause.text);
                let told = self.answer("aborted", Some(cause.at), text, Exit::Failed);
                Some(Answer { cause: Some(cause.clone()), ..told })
            }
            Fate::Refused { reason } => {
                answer("refused", None, format!("the run was refused: {reason}"), Exit::Unavailable)
            }
            Fate::Closed { seq, result } => {
                let exit = match Exit::of(*result) {
                    Exit::Done => Exit::TooLate,
                    other => other,
                };
                let how = if *result == RunResult::Planned { "planned only" } else { "closed" };
                let text = format!("the run ended without it (#{seq}, {how})");
                answer("closed", Some(*seq), text, exit)
            }
        }
    }

    /// What a fate means for somebody who waits for the end of it: what did not come to be failed,
    /// however it was decided and however late one asks.
    fn awaited(&self, standing: &Standing, what: Awaited) -> Option<Answer> {
        let answer = match what {
            Awaited::Barrier => self.told(&standing.fate),
            Awaited::Run => standing.decided.as_ref().map(|decided| self.decision(decided)),
        };
        answer.map(|answer| Answer {
            exit: match answer.exit {
                Exit::Unavailable | Exit::TooLate => Exit::Failed,
                other => other,
            },
            ..answer
        })
    }

    /// What the end of a run means for somebody who waits for it.
    fn decision(&self, decided: &Decided) -> Answer {
        match decided {
            Decided::Committed { at } => {
                let text = format!("the run is committed (#{at})");
                self.answer("committed", Some(*at), text, Exit::Done)
            }
            Decided::Aborted { cause } => {
                let text = format!("the run is aborted (#{}): {}", cause.at, cause.text);
                let told = self.answer("aborted", Some(cause.at), text, Exit::Failed);
                Answer { cause: Some(cause.clone()), ..told }
            }
            Decided::Refused { reason } => {
                let text = format!("the run was refused: {reason}");
                self.answer("refused", None, text, Exit::Failed)
            }
            Decided::Closed { seq, result } => {
                let (how, exit) = match result {
                    RunResult::Succeeded => ("succeeded", Exit::Done),
                    RunResult::Planned => ("it was a dry run", Exit::Failed),
                    RunResult::Partial => ("some workflows stand, some went back", Exit::Failed),
                    other => ("it did not succeed", Exit::of(*other)),
                };
                self.answer(
                    "closed",
                    Some(*seq),
                    format!("the run is closed (#{seq}): {how}"),
                    exit,
                )
            }
        }
    }

    /// Writes one record of the party's own, unless `judge` finds that it is not to be.
    async fn state(
        &mut self,
        record: &Record,
        by: &str,
        judge: impl Fn(&Self, &Standing) -> Option<Answer>,
    ) -> Result<Result<Sequence, Answer>, Failure> {
        let Some(name) = self.name else { return Err(Failure::usage("`--party` is missing")) };
        let source = Source::Party(self.key.pipeline.clone(), name.clone(), by.to_owned());
        for _ in 0..MAX_TAKEN {
            let standing = self.read().await?;
            if let Some(answer) = judge(self, &standing) {
                return Ok(Err(answer));
            }
            let Some(slot) = standing.free else { break };
            if let Placed::Stored(seq) =
                into_slot(self.bus, &self.key, &slot, record, &source).await?
            {
                self.floor = self.floor.max(seq);
                return Ok(Ok(seq));
            }
        }
        Err(Failure::new(Exit::Unavailable, format!("no free slot for {name} at {}", self.barrier)))
    }

    /// Waits for the verdict on the barrier or on the run.
    async fn wait(&mut self, what: Awaited, until: Option<Instant>) -> Result<Answer, Failure> {
        let mut bell = self.bus.bell();
        bell.listen(&self.filter().into_iter().collect::<BTreeSet<_>>()).await;
        loop {
            let standing = self.read().await?;
            if let Some(answer) = self.awaited(&standing, what) {
                return Ok(answer);
            }
            if until.is_some_and(|until| Instant::now() >= until) {
                let text = match (&standing.fate, what) {
                    (Fate::Open, _) => "gave up waiting; the barrier is open",
                    _ => "gave up waiting; the run is not decided",
                };
                return Ok(self.answer("open", None, text.to_owned(), Exit::GaveUp));
            }
            let again = Instant::now() + READ_AGAIN;
            let again = until.map_or(again, |until| again.min(until));
            match timeout_at(again, bell.next()).await {
                Ok(Some(lockstep_bus::Ring::Copy(entry))) => self.floor = self.floor.max(entry.seq),
                Ok(Some(lockstep_bus::Ring::Missed)) | Err(_) => {}
                Ok(None) => {
                    return Err(Failure::unavailable("the connection to NATS was closed"));
                }
            }
        }
    }
}

fn until(meeting: &Meeting) -> Option<Instant> {
    meeting.timeout.map(|timeout| Instant::now() + timeout)
}

fn finish(answer: &Answer, format: Format, context: Context) -> Outcome {
    print(&render(answer, format, context.out)?)?;
    if let Some(cause) = &answer.cause {
        say(card(cause, context.err).trim_end());
    }
    Ok(answer.exit)
}

pub(super) async fn arrive(args: Arrive, context: Context) -> Outcome {
    let until = until(&args.meeting);
    let bus = connect(&args.meeting.connection, "barrier arrive").await?;
    let (key, plan) = run_of(&bus, &args.meeting, Some(&args.party), until).await?;
    let barrier = &args.meeting.barrier;
    check_party(&plan, barrier, &args.party)?;
    let by = args.words.by.clone().unwrap_or_else(claimed);
    let record = Record::Arrived {
        epoch: None,
        view: None,
        by: Some(by.clone()),
        message: args.words.message.clone(),
        link: args.words.link.clone(),
    };
    let mut party = Party { bus: &bus, key, barrier, name: Some(&args.party), floor: 0 };
    let stated = party.state(&record, &by, before_arriving).await?;
    let answer = match stated {
        Ok(seq) => after_arriving(&mut party, seq).await?,
        Err(answer) => answer,
    };
    let answer = match Awaited::of(args.wait, args.until_decided) {
        // Whether it came in time, too late or again: what counts is what becomes of it.
        Some(what) => {
            let whom = if what == Awaited::Run { "the run's end" } else { "the others" };
            if answer.exit == Exit::Done {
                say(&format!("{}: {}; waiting for {whom}", party.key, line(&answer.text)));
            }
            party.wait(what, until).await?
        }
        None => answer,
    };
    drop(party);
    close(bus).await;
    finish(&answer, args.meeting.output, context)
}

/// Why an arrival is not to be written: it is there, or it is too late.
fn before_arriving(party: &Party<'_>, standing: &Standing) -> Option<Answer> {
    if let Some(seq) = standing.failed {
        let text = format!("too late: this party failed it at #{seq}");
        return Some(party.answer("failed", Some(seq), text, Exit::TooLate));
    }
    let told = party.told(&standing.fate);
    match (standing.arrived, told) {
        (Some(seq), None | Some(Answer { state: "released", .. })) => {
            let text = format!("arrived already (#{seq})");
            Some(party.answer("arrived", Some(seq), text, Exit::Done))
        }
        (_, Some(told)) => Some(too_late(told)),
        (None, None) => None,
    }
}

fn too_late(told: Answer) -> Answer {
    Answer { text: format!("too late: {}", told.text), exit: Exit::TooLate, ..told }
}

/// Read back: whatever was decided above the arrival does not count it.
async fn after_arriving(party: &mut Party<'_>, seq: Sequence) -> Result<Answer, Failure> {
    let standing = party.read().await?;
    match party.told(&standing.fate) {
        Some(told) if told.seq.is_some_and(|at| at < seq) || told.state == "refused" => {
            Ok(too_late(told))
        }
        _ => {
            let text = format!("arrived (#{seq})");
            Ok(party.answer("arrived", Some(seq), text, Exit::Done))
        }
    }
}

pub(super) async fn wait(args: Wait, context: Context) -> Outcome {
    let until = until(&args.meeting);
    let bus = connect(&args.meeting.connection, "barrier wait").await?;
    let (key, plan) = run_of(&bus, &args.meeting, args.party.as_ref(), until).await?;
    check_barrier(&plan, &args.meeting.barrier)?;
    let barrier = &args.meeting.barrier;
    // A waiting party reads only verdicts: its own slots say nothing about the others.
    let mut party = Party { bus: &bus, key, barrier, name: None, floor: 0 };
    let what = Awaited::of(true, args.until_decided).unwrap_or(Awaited::Barrier);
    let answer = party.wait(what, until).await?;
    drop(party);
    close(bus).await;
    finish(&answer, args.meeting.output, context)
}

pub(super) async fn fail(args: Fail, context: Context) -> Outcome {
    let until = until(&args.meeting);
    let Some(message) = args.words.message.clone() else {
        return Err(Failure::usage("`barrier fail` needs `--message`")
            .help("everybody who rolls back is told this text as the cause"));
    };
    let bus = connect(&args.meeting.connection, "barrier fail").await?;
    let (key, plan) = run_of(&bus, &args.meeting, Some(&args.party), until).await?;
    let barrier = &args.meeting.barrier;
    check_party(&plan, barrier, &args.party)?;
    let by = args.words.by.clone().unwrap_or_else(claimed);
    let record = Record::PartyFailed { by: by.clone(), message, link: args.words.link.clone() };
    let mut party = Party { bus: &bus, key, barrier, name: Some(&args.party), floor: 0 };
    let answer = match party.state(&record, &by, before_failing).await? {
        Ok(seq) => after_failing(&mut party, seq).await?,
        Err(answer) => answer,
    };
    drop(party);
    close(bus).await;
    finish(&answer, args.meeting.output, context)
}

fn before_failing(party: &Party<'_>, standing: &Standing) -> Option<Answer> {
    if let Some(seq) = standing.failed {
        let text = format!("failed already (#{seq})");
        return Some(party.answer("failed", Some(seq), text, Exit::Done));
    }
    party.told(&standing.fate).map(after_release)
}

/// After the release only an operator's abort can end the run.
fn after_release(told: Answer) -> Answer {
    if told.state == "released" {
        let text = format!(
            "too late: already {}; use `lockstep abort {} --reason TEXT`",
            told.text, told.run
        );
        return Answer { text, exit: Exit::TooLate, ..told };
    }
    too_late(told)
}

async fn after_failing(party: &mut Party<'_>, seq: Sequence) -> Result<Answer, Failure> {
    let standing = party.read().await?;
    match party.told(&standing.fate) {
        Some(told) if told.seq.is_some_and(|at| at < seq) || told.state == "refused" => {
            Ok(after_release(told))
        }
        _ => {
            let text = format!("failed (#{seq}); everybody who cannot go on without it rolls back");
            Ok(party.answer("failed", Some(seq), text, Exit::Done))
        }
    }
}
