//! `ls`: the runs that the log holds.

use std::time::Duration;

use lockstep_bus::{Bus, ConnectionArgs};
use lockstep_shared::{
    id::{PipelineName, RunId, RunKey},
    record::RunResult,
    time::Timestamp,
};
use serde::Serialize;
use tokio::time::sleep;

use crate::{
    context::Context,
    exit::Exit,
    failure::{Failure, Outcome},
    find::{self, End},
    online::{close, connect},
    output::{Format, Show, print, render, render_all},
    reader::RunReader,
    report::{At, Heard, Phase, report, rough},
    terminal::{Paint, Style, line},
    who::now,
};

/// How often `--watch` looks again.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// List the runs that the log holds, the latest first.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only runs of this pipeline
    pipeline: Option<PipelineName>,
    /// Only runs that are not closed
    #[arg(long)]
    open: bool,
    /// How many to list; 0 for all
    #[arg(long, default_value_t = 20, value_name = "COUNT")]
    limit: usize,
    /// Leave the line of headings out; only text has one
    #[arg(long)]
    no_headers: bool,
    /// Go on showing changes
    #[arg(long, short)]
    watch: bool,
    /// The shape of the answer
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    output: Format,
    #[command(flatten)]
    connection: ConnectionArgs,
}

/// One run in the list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    pipeline: PipelineName,
    run: RunId,
    phase: Phase,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<RunResult>,
    summary: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    planned: Option<At>,
    #[serde(skip_serializing_if = "Option::is_none")]
    closed: Option<At>,
}

impl Row {
    fn style(&self) -> Style {
        match (self.phase, self.result) {
            (_, Some(RunResult::Succeeded | RunResult::Planned)) => Style::Good,
            (_, Some(_)) | (Phase::RollingBack, None) => Style::Bad,
            (Phase::Expired | Phase::UnknownProtocol | Phase::Waiting, None) => Style::Warn,
            (_, None) => Style::Bold,
        }
    }
}

impl Row {
    /// The row with its name as wide as the widest.
    fn line(&self, width: usize, paint: Paint) -> String {
        let planned = self.planned.map_or_else(|| "-".repeat(20), |at| short(at.0));
        let age = self.planned.map_or_else(|| "-".to_owned(), |at| rough(now().since(at.0)));
        let took = match (self.planned, self.closed) {
            (Some(begin), Some(end)) => rough(end.0.since(begin.0)),
            _ => "-".to_owned(),
        };
        let name = self.name();
        let pad = " ".repeat(width.saturating_sub(name.len()));
        let name = paint.paint(Style::Name, name);
        let summary = paint.paint(self.style(), line(&self.summary));
        format!("{planned}  {age:>8}  {took:>8}  {name}{pad}  {summary}\n")
    }
}

/// What stands above the rows.
fn header(width: usize, paint: Paint) -> String {
    let name = "PIPELINE/RUN";
    let header = format!("{:20}  {:>8}  {:>8}  {name:width$}  STATE", "PLANNED", "AGE", "TOOK");
    format!("{}\n", paint.paint(Style::Dim, header))
}

impl Show for Row {
    fn text(&self, paint: Paint) -> String {
        self.line(0, paint)
    }

    fn name(&self) -> String {
        format!("{}/{}", self.pipeline, self.run)
    }
}

/// The instant without milliseconds.
fn short(instant: Timestamp) -> String {
    let text = instant.to_string();
    text.get(..19).map_or(text.clone(), |cut| format!("{cut}Z"))
}

pub(crate) async fn run(args: Args, context: Context) -> Outcome {
    if args.watch && matches!(args.output, Format::Json | Format::Yaml) {
        return Err(Failure::usage("`--watch` gives many documents, and this shape holds one")
            .help("use `-o jsonl`: one document a line"));
    }
    let bus = connect(&args.connection, "ls").await?;
    let shown = rows(&bus, &args).await?;
    print(&screen(&shown, &args, context)?)?;
    if args.watch {
        watch(&bus, &args, context, shown).await?;
    }
    close(bus).await;
    Ok(Exit::Done)
}

/// Shows what changes, until the program is ended.
async fn watch(
    bus: &Bus,
    args: &Args,
    context: Context,
    mut shown: Vec<Row>,
) -> Result<(), Failure> {
    loop {
        sleep(LOOK_AGAIN).await;
        let current = rows(bus, args).await?;
        if args.output == Format::Text && context.out_terminal {
            print(&screen(&current, args, context)?)?;
        } else {
            for row in current.iter().rev().filter(|row| !shown.contains(row)) {
                print(&render(row, args.output, context.out)?)?;
            }
        }
        shown = current;
    }
}

fn screen(rows: &[Row], args: &Args, context: Context) -> Result<String, Failure> {
    if args.output != Format::Text {
        return render_all(rows, args.output, context.out);
    }
    let name = |row: &Row| row.name().len();
    let width = rows.iter().map(name).max().unwrap_or(0).max("PIPELINE/RUN".len());
    let mut text = String::new();
    if !args.no_headers && !rows.is_empty() {
        text.push_str(&header(width, context.out));
    }
    text.extend(rows.iter().map(|row| row.line(width, context.out)));
    let clear = if args.watch && context.out_terminal { "\u{1b}[H\u{1b}[J" } else { "" };
    if rows.is_empty() {
        crate::output::say("the log holds no such run; start one with `lockstep run FILE`");
    }
    Ok(format!("{clear}{text}"))
}

/// The rows wanted, the latest first.
async fn rows(bus: &Bus, args: &Args) -> Result<Vec<Row>, Failure> {
    let ended = find::ended(bus, args.pipeline.as_ref()).await?;
    let mut planned: Vec<(RunKey, Option<Timestamp>)> = find::planned(bus)
        .await?
        .into_iter()
        .filter(|(key, _)| is_of(args, key))
        .map(|(key, time)| (key, Some(time)))
        .collect();
    // What expires first is the plan: its run is still listed while its end is there.
    let known: std::collections::BTreeSet<RunKey> =
        planned.iter().map(|(key, _)| key.clone()).collect();
    planned.extend(ended.keys().filter(|key| !known.contains(key)).map(|key| (key.clone(), None)));
    planned.sort_by(|(_, left), (_, right)| right.cmp(left));
    if args.open {
        planned.retain(|(key, _)| !ended.contains_key(key));
    }
    if args.limit > 0 {
        planned.truncate(args.limit);
    }
    let mut rows = Vec::with_capacity(planned.len());
    for (key, time) in planned {
        rows.push(match (ended.get(&key), time) {
            (Some(end), Some(_)) => {
                let settled = is_settled(bus, &key, end).await?;
                ended_row(key, end, time, settled)
            }
            (Some(end), None) => expired(key, end),
            (None, _) => open_row(bus, key, time).await?,
        });
    }
    Ok(rows)
}

fn is_of(args: &Args, key: &RunKey) -> bool {
    args.pipeline.as_ref().is_none_or(|pipeline| *pipeline == key.pipeline)
}

fn ended_row(key: RunKey, end: &End, planned: Option<Timestamp>, settled: bool) -> Row {
    let summary = match end.result {
        RunResult::Succeeded => "succeeded",
        RunResult::Planned => "planned",
        RunResult::RolledBack => "failed, rolled back",
        RunResult::RollbackIncomplete if settled => "failed; what a rollback left is settled",
        RunResult::RollbackIncomplete => "failed, a rollback did not finish",
        RunResult::Cancelled => "cancelled, rolled back",
        RunResult::Partial => "partial",
        RunResult::Refused => "refused",
    };
    Row {
        pipeline: key.pipeline,
        run: key.run,
        phase: Phase::Closed,
        result: Some(end.result),
        summary: summary.to_owned(),
        planned: planned.map(At),
        closed: Some(At(end.at)),
    }
}

fn expired(key: RunKey, end: &End) -> Row {
    let row = ended_row(key, end, None, false);
    Row { phase: Phase::Expired, summary: format!("{}; its plan has expired", row.summary), ..row }
}

/// Whether what a rollback left is settled: only the records above the end say so.
async fn is_settled(bus: &Bus, key: &RunKey, end: &End) -> Result<bool, Failure> {
    if end.result != RunResult::RollbackIncomplete {
        return Ok(false);
    }
    let mut reader = RunReader::new(bus, key);
    reader.catch_up().await?;
    Ok(reader.fold().owing().next().is_none())
}

async fn open_row(bus: &Bus, key: RunKey, time: Option<Timestamp>) -> Result<Row, Failure> {
    let mut reader = RunReader::new(bus, &key);
    reader.catch_up().await?;
    let told = report(reader.fold(), &Heard { now: now(), ..Heard::default() });
    let waiting = told.waiting.first().map(|waiting| format!("; waiting {}", waiting.what));
    Ok(Row {
        pipeline: key.pipeline,
        run: key.run,
        phase: told.phase,
        result: told.result,
        summary: format!("{}{}", told.summary, waiting.unwrap_or_default()),
        planned: time.map(At),
        closed: told.closed,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_whose_plan_is_gone_is_listed_as_expired() {
        let key = RunKey { pipeline: "shop".parse().unwrap(), run: "r1".parse().unwrap() };
        let row = expired(key, &End { at: Timestamp(0), result: RunResult::RolledBack });
        assert_eq!(row.phase, Phase::Expired);
        assert_eq!(row.name(), "shop/r1");
        assert!(row.text(Paint(false)).contains("its plan has expired"));
    }
}
