//! One line a record: what it says and, if it changed nothing, why not.

use lockstep_shared::{
    codec::Entry,
    fold::{Decision, Effect, OwnDecision, RunFold},
    id::{PipelineName, RunId, Sequence, WorkflowName},
    record::{Deadline, Outcome, Record, RunResult},
    subject::Family,
};
use serde::Serialize;

use crate::{
    output::Show,
    report::At,
    terminal::{Paint, Style, line},
};

/// The kind of what is no record.
pub(crate) const RUBBISH: &str = "rubbish";

/// One record, told.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Event {
    /// Its position in the stream.
    pub(crate) seq: Sequence,
    /// When it was stored.
    pub(crate) time: At,
    /// The pipeline.
    pub(crate) pipeline: PipelineName,
    /// The run.
    pub(crate) run: RunId,
    /// Its slot in the run.
    pub(crate) slot: String,
    /// What it is.
    pub(crate) kind: &'static str,
    /// Who wrote it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) source: Option<String>,
    /// What it changed.
    pub(crate) effect: &'static str,
    /// Why it changed nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
    /// What it says, for a person.
    pub(crate) text: String,
    /// The record itself, unless it is rubbish.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) record: Option<Record>,
    /// How the line is coloured.
    #[serde(skip)]
    pub(crate) style: Option<Style>,
}

impl Event {
    /// A record that was just applied to this fold.
    pub(crate) fn new(entry: &Entry, effect: &Effect, fold: &RunFold) -> Self {
        let (effect, reason) = match effect {
            Effect::Counted => ("counted", None),
            Effect::Early(_, by) => ("void", Some(format!("recorded {by} too early"))),
            Effect::Void(reason) => ("void", Some(reason.clone())),
            Effect::Skipped(reason) => ("skipped", Some(reason.clone())),
        };
        let stated = entry.content.as_ref().ok();
        let told = stated.map(|stated| tell(&entry.slot.family, &stated.record, fold));
        let (text, style) = told.unwrap_or_else(|| ("rubbish".to_owned(), Some(Style::Dim)));
        Self {
            seq: entry.seq,
            time: At(entry.time),
            pipeline: entry.key.pipeline.clone(),
            run: entry.key.run.clone(),
            slot: entry.slot.to_string(),
            kind: stated.map_or(RUBBISH, |stated| stated.record.kind()),
            source: stated.map(|stated| stated.source.to_string()),
            effect,
            style: if reason.is_some() { Some(Style::Dim) } else { style },
            reason,
            text,
            record: stated.map(|stated| stated.record.clone()),
        }
    }

    /// The line for a progress display: without the record's place.
    pub(crate) fn progress(&self, paint: Paint) -> String {
        let text = line(&self.text);
        let text = self.style.map_or(text.clone(), |style| paint.paint(style, text));
        format!("{} {text}", paint.paint(Style::Dim, self.time.clock()))
    }
}

impl Show for Event {
    fn text(&self, paint: Paint) -> String {
        let void =
            self.reason.as_ref().map(|reason| format!(" [{}: {}]", self.effect, line(reason)));
        format!("#{} {}{}\n", self.seq, self.progress(paint), void.unwrap_or_default())
    }

    fn name(&self) -> String {
        self.slot.clone()
    }
}

type Told = (String, Option<Style>);

fn tell(family: &Family, record: &Record, fold: &RunFold) -> Told {
    match family {
        Family::Workflow(workflow) => workflow_story(workflow, record, fold),
        Family::Party(barrier, party) => match record {
            Record::Arrived { by, message, .. } => {
                let (arrived, all) = fold
                    .barriers()
                    .get(barrier)
                    .map_or((0, 0), |state| (state.arrivals.len(), state.parties.len()));
                let by = by.as_ref().map(|by| format!(" by {by}")).unwrap_or_default();
                let message = message.as_ref().map(|m| format!(": {m}")).unwrap_or_default();
                let place = match barrier {
                    barrier if barrier.is_prepare() => "is prepared".to_owned(),
                    barrier if barrier.is_commit() => "is through, holds for the commit".to_owned(),
                    barrier => format!("arrived at {barrier}{by}"),
                };
                (format!("{party}: {place} ({arrived}/{all}){message}"), None)
            }
            Record::PartyFailed { by, message, .. } => {
                (format!("{party}: failed {barrier} by {by}: {message}"), Some(Style::Bad))
            }
            other => (format!("{party}: {}", other.kind()), None),
        },
        Family::BarrierVerdict(barrier) => match record {
            Record::Released { at } if barrier.is_prepare() => {
                (format!("everybody is prepared (#{at})"), Some(Style::Good))
            }
            Record::Released { at } => (format!("{barrier}: released (#{at})"), Some(Style::Good)),
            Record::Aborted { at, .. } => (format!("{barrier}: aborted (#{at})"), Some(Style::Bad)),
            other => (format!("{barrier}: {}", other.kind()), None),
        },
        Family::Outcome(workflow) => verdict_story(&format!("{workflow}: "), record),
        Family::Verdict => verdict_story("", record),
        _ => run_story(record),
    }
}

fn verdict_story(about: &str, record: &Record) -> Told {
    match record {
        Record::Committed { at } => (format!("{about}committed (#{at})"), Some(Style::Good)),
        Record::Aborted { cause, .. } => {
            (format!("{about}aborted (#{}): {}", cause.at, cause.text), Some(Style::Bad))
        }
        other => (format!("{about}{}", other.kind()), None),
    }
}

/// Who goes back for another's failure is told whose: nobody has to look for it elsewhere.
fn culprit(workflow: &WorkflowName, fold: &RunFold) -> String {
    let own = fold.workflows().get(workflow).map(|state| &state.own);
    let cause = match (own, fold.decision()) {
        (Some(OwnDecision::Broken(cause)), _) | (_, Decision::Aborted(cause)) => cause,
        _ => return String::new(),
    };
    if cause.workflow.as_ref() == Some(workflow) {
        return String::new();
    }
    format!(": {} (#{})", cause.text, cause.at)
}

fn workflow_story(workflow: &WorkflowName, record: &Record, fold: &RunFold) -> Told {
    let step_name = |step: usize| {
        fold.plan().map_or_else(
            || format!("{}", step.saturating_add(1)),
            |plan| plan.step_name(workflow, step),
        )
    };
    let (text, style) = match record {
        Record::Joined { instance, version } => (format!("joined ({instance}, {version})"), None),
        Record::StepStarted { step, attempt, .. } => {
            let attempt = if *attempt > 1 { format!(", attempt {attempt}") } else { String::new() };
            (format!("step {:?} started{attempt}", step_name(*step)), None)
        }
        Record::StepFinished { step, ignored: Some(error), .. } => {
            let text = format!("step {:?} failed, ignored: {error}", step_name(*step));
            (text, Some(Style::Warn))
        }
        Record::StepFinished { step, .. } => {
            (format!("step {:?} finished", step_name(*step)), None)
        }
        Record::Failed { step: Some(step), error, .. } => {
            (format!("step {:?} failed: {error}", step_name(*step)), Some(Style::Bad))
        }
        Record::Failed { error, .. } => (format!("failed: {error}"), Some(Style::Bad)),
        Record::RollingBack { .. } => {
            (format!("rolling back{}", culprit(workflow, fold)), Some(Style::Warn))
        }
        Record::RolledBack { accepted: true, .. } => {
            ("settled by an operator".to_owned(), Some(Style::Warn))
        }
        Record::RolledBack { residue, .. } if residue.is_empty() => {
            ("rolled back".to_owned(), Some(Style::Warn))
        }
        Record::RolledBack { residue, .. } => {
            let residue = lockstep_shared::fold::listed(residue);
            (format!("rolled back, but for: {residue}"), Some(Style::Warn))
        }
        Record::RollbackFailed { error, .. } => {
            (format!("rollback failed: {error}"), Some(Style::Bad))
        }
        Record::Finalized { degraded: Some(what), .. } => {
            (format!("finalized, degraded after commit: {what}"), Some(Style::Warn))
        }
        Record::Finalized { .. } => ("finalized".to_owned(), Some(Style::Good)),
        Record::Left { .. } => ("its agent left; another may go on".to_owned(), Some(Style::Warn)),
        other => (other.kind().to_owned(), None),
    };
    (format!("{workflow}: {text}"), style)
}

fn run_story(record: &Record) -> Told {
    match record {
        Record::Plan { submitted_by, plan } => {
            (format!("planned by {submitted_by}: {} workflows", plan.active().count()), None)
        }
        Record::Admitted {} => ("admitted".to_owned(), None),
        Record::Refused { reason, .. } => (format!("refused: {reason}"), Some(Style::Bad)),
        Record::DeadlinePassed { deadline } => {
            let which = match deadline {
                Deadline::Join => "for joining".to_owned(),
                Deadline::Prepare => "for preparing".to_owned(),
                Deadline::Barrier(barrier) => format!("of barrier {barrier}"),
                Deadline::Run => "of the run".to_owned(),
                Deadline::Ending => "for finalizing or rolling back".to_owned(),
            };
            (format!("the deadline {which} passed"), Some(Style::Bad))
        }
        Record::AgentLost { workflow, epoch, .. } => {
            (format!("{workflow}: its agent (epoch {epoch}) is lost"), Some(Style::Bad))
        }
        Record::AbortRequested { by, reason } => {
            (format!("abort requested by {by}: {reason}"), Some(Style::Warn))
        }
        Record::ResumeRequested { by, reason, workflow } => {
            (request("resume", by, reason, workflow.as_ref()), Some(Style::Warn))
        }
        Record::AcceptRequested { by, reason, workflow } => {
            (request("accept", by, reason, workflow.as_ref()), Some(Style::Warn))
        }
        Record::Closed { result, outcomes, .. } => closing(*result, outcomes.values()),
        other => (other.kind().to_owned(), None),
    }
}

fn request(what: &str, by: &str, reason: &str, workflow: Option<&WorkflowName>) -> String {
    let whose = workflow.map(|name| format!(" of {name}")).unwrap_or_default();
    format!("rollback {what}{whose} requested by {by}: {reason}")
}

fn closing<'a>(result: RunResult, mut outcomes: impl Iterator<Item = &'a Outcome>) -> Told {
    let (text, style) = match result {
        RunResult::Succeeded => ("succeeded", Style::Good),
        RunResult::Planned => ("planned", Style::Good),
        RunResult::RolledBack => ("failed, rolled back", Style::Bad),
        RunResult::RollbackIncomplete => ("failed, a rollback did not finish", Style::Bad),
        RunResult::Cancelled => ("cancelled, rolled back", Style::Warn),
        RunResult::Partial => ("partial", Style::Bad),
        RunResult::Refused => ("refused", Style::Bad),
    };
    let degraded =
        outcomes.any(|outcome| matches!(outcome, Outcome::Finalized { degraded: Some(_) }));
    let note = if degraded { ", degraded after commit" } else { "" };
    (format!("closed: {text}{note}"), Some(style))
}
