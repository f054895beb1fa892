//! A report as text for a person.

use std::fmt::Write;

use lockstep_shared::{
    record::{Cause, RunResult},
    time::Timestamp,
};

use super::{
    At, BarrierReport, BarrierStage, Phase, RunReport, Stage, StepReport, StepStage, VoidReport,
    Waiting, WorkflowReport, rough,
};
use crate::{
    output::Show,
    terminal::{Paint, Style, line, lines},
};

/// How many void records the text lists; all are in the other formats.
const MAX_VOID_SHOWN: usize = 10;

impl Show for RunReport {
    fn text(&self, paint: Paint) -> String {
        let mut text = self.heading(paint);
        for waiting in &self.waiting {
            text.push_str(&wait(waiting, self.as_of, paint));
        }
        if let Some(cause) = &self.cause {
            text.push_str(&card(cause, paint));
        }
        text.push_str(&self.workflow_table(paint));
        text.push_str(&self.barrier_table(paint));
        text.push_str(&self.request_list());
        text.push_str(&void_list(&self.void, paint));
        for warning in self.notices() {
            let _ = writeln!(text, "{} {}", paint.paint(Style::Warn, "warning:"), line(warning));
        }
        text
    }

    fn name(&self) -> String {
        format!("{}/{}", self.pipeline, self.run)
    }
}

impl RunReport {
    /// The colour of the run as a whole.
    pub(crate) fn style(&self) -> Style {
        match (self.phase, self.result) {
            (_, Some(RunResult::Succeeded | RunResult::Planned)) => Style::Good,
            (_, Some(_)) | (Phase::RollingBack, _) => Style::Bad,
            (Phase::Expired | Phase::UnknownProtocol | Phase::Waiting, _) => Style::Warn,
            _ => Style::Bold,
        }
    }

    fn heading(&self, paint: Paint) -> String {
        let mut text = String::new();
        let name = paint.paint(Style::Name, self.name());
        let summary = paint.paint(self.style(), line(&self.summary));
        let _ = writeln!(text, "{name}  {summary}");
        let mut facts = Vec::new();
        if let Some(planned) = self.planned {
            facts.push(format!("planned {} ({})", planned.0, ago(planned, self.as_of)));
        }
        if let Some(by) = &self.submitted_by {
            facts.push(format!("by {}", line(by)));
        }
        if let (Some(begin), Some(end)) = (self.admitted.or(self.planned), self.closed) {
            facts.push(format!("took {}", rough(end.0.since(begin.0))));
        }
        if let Some(decisive) = self.decided_by {
            facts.push(format!("decided by record #{decisive}"));
        }
        if !facts.is_empty() {
            let _ = writeln!(text, "  {}", paint.paint(Style::Dim, facts.join(", ")));
        }
        if !self.params.is_empty() {
            let pairs: Vec<String> =
                self.params.iter().map(|(name, value)| format!("{name}={}", line(value))).collect();
            let _ = writeln!(text, "  params: {}", pairs.join(" "));
        }
        if let Some(earlier) = &self.from_run {
            let _ = writeln!(text, "  plan of run {earlier}");
        }
        if !self.skipped_checks.is_empty() {
            let codes: Vec<String> = self.skipped_checks.iter().map(|code| line(code)).collect();
            let _ = writeln!(text, "  checks turned off: {}", codes.join(", "));
        }
        text
    }

    fn workflow_table(&self, paint: Paint) -> String {
        if self.workflows.is_empty() {
            return String::new();
        }
        let mut text = format!("{}\n", paint.paint(Style::Bold, "workflows"));
        let width = self.workflows.iter().map(|w| w.name.as_str().len()).max().unwrap_or(0);
        for workflow in &self.workflows {
            text.push_str(&row(workflow, width, self, paint));
        }
        text
    }

    fn barrier_table(&self, paint: Paint) -> String {
        // Of the two that every run has, the waiting and the workflows' lines tell.
        let worth_it = |barrier: &&BarrierReport| !barrier.id.starts_with('_');
        let shown: Vec<&BarrierReport> = self.barriers.iter().filter(worth_it).collect();
        // Nobody came near a barrier of a run that was not admitted.
        let admitted = self.phase != Phase::Waiting && self.result != Some(RunResult::Refused);
        if shown.is_empty() || !admitted {
            return String::new();
        }
        let mut text = format!("{}\n", paint.paint(Style::Bold, "barriers"));
        let width = shown.iter().map(|barrier| barrier.id.len()).max().unwrap_or(0);
        for barrier in shown {
            text.push_str(&barrier_row(barrier, width, paint));
        }
        text
    }

    fn request_list(&self) -> String {
        let mut text = String::new();
        for request in &self.requests {
            let about = request.workflow.as_ref().map(|w| format!(" for {w}")).unwrap_or_default();
            let _ = writeln!(
                text,
                "{} requested{about} by {} at {} (#{}): {}",
                request.what,
                line(&request.by),
                request.at.0,
                request.record,
                line(&request.reason)
            );
        }
        text
    }
}

fn ago(then: At, now: At) -> String {
    format!("{} ago", rough(now.0.since(then.0)))
}

fn left(until: Timestamp, now: At) -> String {
    if until > now.0 {
        format!("{} left", rough(until.since(now.0)))
    } else {
        format!("overdue by {}", rough(now.0.since(until)))
    }
}

fn wait(waiting: &Waiting, now: At, paint: Paint) -> String {
    let mut text = format!("  waiting {}", paint.paint(Style::Bold, line(&waiting.what)));
    if let Some(since) = waiting.since {
        let _ = write!(text, " since {} ({})", since.clock(), rough(now.0.since(since.0)));
    }
    match waiting.until {
        Some(until) => {
            let _ = write!(text, ", until {} ({})", until.clock(), left(until.0, now));
        }
        None => text.push_str(", no clock runs"),
    }
    text.push('\n');
    for missing in &waiting.missing {
        let who = paint.paint(Style::Warn, line(&missing.who));
        let _ = writeln!(text, "    {who}: {}", line(&missing.doing));
    }
    text
}

/// The card that names the culprit, with the tail of what it printed.
pub(crate) fn card(cause: &Cause, paint: Paint) -> String {
    let mut text = format!("{} ", paint.paint(Style::Bad, "cause"));
    let mut rows = lines(&cause.text);
    let _ = writeln!(text, "(#{}): {}", cause.at, rows.next().unwrap_or_default());
    for row in rows {
        let _ = writeln!(text, "  {row}");
    }
    for row in lines(&cause.output) {
        let _ = writeln!(text, "  {} {row}", paint.paint(Style::Dim, "|"));
    }
    text
}

fn stage_style(stage: Stage) -> Style {
    match stage {
        Stage::Waived | Stage::NotStarted => Style::Dim,
        Stage::NotJoined | Stage::Left | Stage::Unknown => Style::Warn,
        Stage::Preparing | Stage::Working | Stage::AtBarrier => Style::Bold,
        Stage::Finalizing | Stage::Finalized => Style::Good,
        Stage::Failed | Stage::RollingBack | Stage::RolledBack | Stage::RollbackFailed => {
            Style::Bad
        }
    }
}

fn row(workflow: &WorkflowReport, width: usize, report: &RunReport, paint: Paint) -> String {
    let (now, closed) = (report.as_of, report.closed.is_some());
    let name = workflow.name.as_str();
    let doing = paint.paint(stage_style(workflow.stage), line(&workflow.doing));
    let mut text = format!("  {name:width$}  {doing}");
    if let Some(since) = workflow.since.filter(|_| !closed) {
        let _ = write!(text, " ({})", rough(now.0.since(since.0)));
    }
    let done = workflow.steps.iter().filter(|step| is_over(step)).count();
    let mut facts = Vec::new();
    if !workflow.steps.is_empty() {
        facts.push(format!("{done}/{} steps", workflow.steps.len()));
    }
    if workflow.epoch > 0 && !closed {
        facts.push(format!("epoch {} by {}", workflow.epoch, line(&workflow.instance)));
    }
    if !facts.is_empty() {
        let _ = write!(text, "  {}", paint.paint(Style::Dim, facts.join(", ")));
    }
    text.push('\n');
    let indent = format!("  {:width$}    ", "");
    if let Some(beat) = workflow.beat.as_ref().filter(|beat| !beat.line.is_empty()) {
        let _ = writeln!(text, "{indent}{} ({})", line(&beat.line), ago(beat.heard, now));
    }
    if let Some(error) = workflow.error.as_ref().filter(|error| !workflow.doing.contains(*error)) {
        let _ = writeln!(text, "{indent}{}", line(error));
    }
    // The run's own cause stands above, once.
    let told = |cause: &&Cause| {
        report.cause.as_ref().is_some_and(|first| first.text == cause.text)
            || workflow.error.as_ref().is_some_and(|error| cause.text.contains(error.as_str()))
    };
    if let Some(cause) = workflow.broken_by.as_ref().filter(|cause| !told(cause)) {
        let _ = writeln!(text, "{indent}because: {} (#{})", line(&cause.text), cause.at);
    }
    for step in &workflow.steps {
        if let Some(ignored) = &step.ignored {
            let _ =
                writeln!(text, "{indent}step {:?} failed, ignored: {}", step.name, line(ignored));
        }
    }
    for left in &workflow.left {
        let _ = writeln!(text, "{indent}left: {}", line(left));
    }
    text
}

fn is_over(step: &StepReport) -> bool {
    matches!(step.stage, StepStage::Finished | StepStage::Ignored)
}

fn barrier_row(barrier: &BarrierReport, width: usize, paint: Paint) -> String {
    let arrived = barrier.arrived.len();
    let all = arrived + barrier.missing.len();
    let stage = match barrier.stage {
        BarrierStage::Open => "open".to_owned(),
        BarrierStage::Released => paint.paint(Style::Good, "released"),
        BarrierStage::Aborted => paint.paint(Style::Bad, "aborted"),
    };
    let mut text = format!("  {:width$}  {arrived}/{all} {stage}", barrier.id);
    if let Some(title) = &barrier.title {
        let _ = write!(text, "  {}", line(title));
    }
    if barrier.stage != BarrierStage::Released && !barrier.missing.is_empty() {
        let _ = write!(text, "  missing {}", lockstep_shared::fold::listed(&barrier.missing));
    }
    if !barrier.waived.is_empty() {
        let _ = write!(text, "  waived {}", lockstep_shared::fold::listed(&barrier.waived));
    }
    text.push('\n');
    for arrival in barrier.arrived.iter().filter(|arrival| arrival.by.is_some()) {
        let by = arrival.by.as_deref().unwrap_or_default();
        let message = arrival.message.as_deref().map(|m| format!(": {}", line(m)));
        let link = arrival.link.as_deref().map(|l| format!(" {}", line(l)));
        let _ = writeln!(
            text,
            "  {:width$}    {} arrived at {} by {}{}{}",
            "",
            arrival.party,
            arrival.at.clock(),
            line(by),
            message.unwrap_or_default(),
            link.unwrap_or_default()
        );
    }
    text
}

fn void_list(void: &[VoidReport], paint: Paint) -> String {
    if void.is_empty() {
        return String::new();
    }
    let mut text = format!("{}\n", paint.paint(Style::Bold, "records that changed nothing"));
    let hidden = void.len().saturating_sub(MAX_VOID_SHOWN);
    if hidden > 0 {
        let _ = writeln!(text, "  {hidden} earlier ones (`-o json` lists them)");
    }
    for note in &void[hidden..] {
        let _ = writeln!(
            text,
            "  #{} {} {} at {}: {}",
            note.record,
            note.slot,
            note.kind,
            note.at.clock(),
            line(&note.reason)
        );
    }
    text
}
