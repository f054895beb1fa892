//! Progress on standard error: moving lines on a terminal, one plain line per change elsewhere.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use lockstep_shared::{id::WorkflowName, time::Timestamp};

use crate::{
    context::Context,
    output::say,
    report::{RunReport, Stage, Waiting, WorkflowReport, rough},
    story::Event,
    terminal::{Paint, Style, line},
};

/// How long something may keep everybody waiting before a plain line says so.
const TELL_AFTER_MS: u64 = 10_000;

/// How often the spinners turn.
const TURN: Duration = Duration::from_millis(120);

/// How many workflows get a moving line of their own.
const MAX_MOVING: usize = 20;

/// The moving lines that are on the terminal now, which whatever else is written must not tear.
static ON_TERMINAL: Mutex<Option<MultiProgress>> = Mutex::new(None);

/// Writes to standard error beside the moving lines, if there are any.
pub(crate) fn beside<T>(write: impl FnOnce() -> T) -> T {
    let moving = ON_TERMINAL.lock().unwrap_or_else(PoisonError::into_inner).clone();
    match moving {
        Some(moving) => moving.suspend(write),
        None => write(),
    }
}

fn on_terminal(moving: Option<MultiProgress>) {
    *ON_TERMINAL.lock().unwrap_or_else(PoisonError::into_inner) = moving;
}

/// Shows a run's progress to a person.
pub(crate) struct Progress {
    paint: Paint,
    moving: Option<Moving>,
    told: Told,
}

/// What plain lines have said already.
#[derive(Default)]
struct Told {
    warnings: Vec<String>,
    waiting: BTreeMap<String, (Timestamp, bool)>,
}

/// The moving lines of a terminal.
struct Moving {
    all: MultiProgress,
    workflows: BTreeMap<WorkflowName, ProgressBar>,
    waiting: ProgressBar,
}

impl Progress {
    /// Moving lines if standard error is a terminal.
    pub(crate) fn new(context: Context) -> Self {
        let moving = context.err_terminal.then(|| {
            let all = MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
            let waiting = all.add(ProgressBar::new_spinner());
            waiting.set_style(plain_style());
            on_terminal(Some(all.clone()));
            Moving { all, workflows: BTreeMap::new(), waiting }
        });
        Self { paint: context.err, moving, told: Told::default() }
    }

    /// A record came.
    pub(crate) fn event(&self, event: &Event) {
        // What changed nothing is left to `events` and `status`.
        if event.reason.is_none() {
            say(&event.progress(self.paint));
        }
    }

    /// The run as it is now.
    pub(crate) fn report(&mut self, report: &RunReport) {
        for warning in self.told.news(report) {
            let text = format!("{} {}", self.paint.paint(Style::Warn, "warning:"), line(&warning));
            say(&text);
        }
        match &mut self.moving {
            Some(moving) => moving.show(report, self.paint),
            None => {
                for text in self.told.patience(report) {
                    say(&text);
                }
            }
        }
    }

    /// Takes the moving lines away.
    pub(crate) fn finish(&mut self) {
        if let Some(moving) = self.moving.take() {
            on_terminal(None);
            for bar in moving.workflows.values() {
                bar.finish_and_clear();
            }
            moving.waiting.finish_and_clear();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.finish();
    }
}

impl Told {
    /// The warnings that were not told before; times in them do not make them new.
    fn news(&mut self, report: &RunReport) -> Vec<String> {
        let gist = |text: &str| text.split(" in ").next().unwrap_or(text).to_owned();
        let new: Vec<String> = report
            .warnings
            .iter()
            .filter(|warning| !self.warnings.contains(&gist(warning)))
            .cloned()
            .collect();
        self.warnings = report.warnings.iter().map(|warning| gist(warning)).collect();
        new
    }

    /// What has kept everybody waiting for a while, each once.
    fn patience(&mut self, report: &RunReport) -> Vec<String> {
        let now = report.as_of.0;
        let mut lines = Vec::new();
        let mut current = BTreeMap::new();
        for waiting in &report.waiting {
            let who: Vec<&str> =
                waiting.missing.iter().map(|missing| missing.who.as_str()).collect();
            let key = format!("{} {}", waiting.what, who.join(","));
            let (since, told) = self.waiting.get(&key).copied().unwrap_or((now, false));
            let due = !told && now.since(since).0 >= TELL_AFTER_MS;
            if due {
                lines.push(format!("{} {}", report.as_of.clock(), waiting_line(waiting, now)));
            }
            current.insert(key, (since, told || due));
        }
        self.waiting = current;
        lines
    }
}

/// What is waited for, in one line.
fn waiting_line(waiting: &Waiting, now: Timestamp) -> String {
    let missing =
        waiting.missing.iter().map(|missing| format!("{}: {}", missing.who, missing.doing));
    let left = waiting.until.map(|until| format!(" ({} left)", rough(until.0.since(now))));
    line(&format!(
        "waiting {}{}: {}",
        waiting.what,
        left.unwrap_or_default(),
        lockstep_shared::fold::listed(missing)
    ))
}

impl Moving {
    fn show(&mut self, report: &RunReport, paint: Paint) {
        let width = report.workflows.iter().map(|w| w.name.as_str().len()).max().unwrap_or(0);
        for workflow in report.workflows.iter().take(MAX_MOVING) {
            let name = workflow.name.clone();
            let (all, waiting) = (&self.all, &self.waiting);
            let bar = self.workflows.entry(name).or_insert_with(|| {
                let bar = all.insert_before(waiting, ProgressBar::new_spinner());
                bar.set_style(spinner_style());
                bar.enable_steady_tick(TURN);
                bar
            });
            bar.set_message(moving_line(workflow, width, report, paint));
        }
        let waiting = report.waiting.iter().map(|waiting| waiting_line(waiting, report.as_of.0));
        let waiting: Vec<String> = waiting.collect();
        self.waiting.set_message(paint.paint(Style::Dim, waiting.join("; ")));
    }
}

fn spinner_style() -> ProgressStyle {
    ProgressStyle::with_template("{spinner} {wide_msg}").unwrap_or_else(|_| plain_style())
}

fn plain_style() -> ProgressStyle {
    ProgressStyle::with_template("  {wide_msg}")
        .unwrap_or_else(|_| ProgressStyle::default_spinner())
}

fn moving_line(
    workflow: &WorkflowReport,
    width: usize,
    report: &RunReport,
    paint: Paint,
) -> String {
    let since = workflow.since.map(|since| format!(" ({})", rough(report.as_of.0.since(since.0))));
    let said = workflow.beat.as_ref().map(|beat| line(&beat.line));
    let said = said.filter(|said| !said.is_empty() && !workflow.doing.contains(said.as_str()));
    let style = match workflow.stage {
        Stage::Finalized => Style::Good,
        Stage::Failed | Stage::RollbackFailed => Style::Bad,
        Stage::RollingBack | Stage::RolledBack | Stage::Left | Stage::NotJoined => Style::Warn,
        _ => Style::Bold,
    };
    format!(
        "{:width$}  {}{}{}",
        workflow.name.as_str(),
        paint.paint(style, line(&workflow.doing)),
        since.unwrap_or_default(),
        said.map(|said| format!("  {said}")).unwrap_or_default()
    )
}
