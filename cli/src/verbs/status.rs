//! `status`: what one run is doing, what it waits for, and why.

use lockstep_bus::ConnectionArgs;

use crate::{
    context::Context,
    exit::Exit,
    failure::{Failure, Outcome},
    find,
    online::{close, connect},
    output::{Format, print, render, say},
    report::RunReport,
    terminal::line,
    verbs::RunArg,
    watching::{Sight, Watching},
};

/// Show what a run is doing: what it waits for and for whom, since when and until when.
///
/// Always answers: also while no coordinator is alive, for a run that has ended, for one whose
/// plan has expired, and for one that speaks another protocol.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    run: RunArg,
    /// Go on showing changes until the run is closed
    #[arg(long, short)]
    watch: bool,
    /// Exit with the run's code instead of 0; 7 while it is open, and 4 once what a rollback left is
    /// settled
    #[arg(long)]
    exit_code: bool,
    /// The shape of the answer
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    output: Format,
    #[command(flatten)]
    connection: ConnectionArgs,
}

pub(crate) async fn run(args: Args, context: Context) -> Outcome {
    if args.watch && matches!(args.output, Format::Json | Format::Yaml) {
        return Err(Failure::usage("`--watch` gives many documents, and this shape holds one")
            .help("use `-o jsonl`: one document a line"));
    }
    let bus = connect(&args.connection, "status").await?;
    let key = find::run(&bus, args.run.run.as_deref(), find::Need::Look).await?;
    let mut watching = Watching::new(&bus, &key).await;
    watching.catch_up().await?;
    watching.listen_once().await;
    let report = if args.watch {
        watch(&mut watching, args.output, context).await?
    } else {
        let report = watching.report();
        print(&render(&report, args.output, context.out)?)?;
        report
    };
    drop(watching);
    close(bus).await;
    Ok(if args.exit_code { report.exit() } else { Exit::Done })
}

async fn watch(
    watching: &mut Watching,
    format: Format,
    context: Context,
) -> Result<RunReport, Failure> {
    let redraw = format == Format::Text && context.out_terminal;
    let mut shown: Option<RunReport> = None;
    loop {
        let report = watching.report();
        if redraw {
            let text = render(&report, format, context.out)?;
            print(&format!("\u{1b}[H\u{1b}[J{text}"))?;
        } else if shown.as_ref().is_none_or(|before| is_news(before, &report)) {
            print(&render(&report, format, context.out)?)?;
        }
        if watching.is_final() {
            return Ok(report);
        }
        shown = Some(report);
        match watching.next().await {
            None => return Err(Failure::unavailable("the connection to NATS was closed")),
            Some(Sight::Trouble(why)) => say(&format!("cannot read the log: {}", line(&why))),
            Some(Sight::WentBack(why)) => say(&format!("THE LOG LOST RECORDS: {}", line(&why))),
            Some(Sight::Event(_) | Sight::CaughtUp | Sight::Changed) => {}
        }
    }
}

/// Whether anything but the time has changed.
fn is_news(before: &RunReport, after: &RunReport) -> bool {
    before.last_record != after.last_record
        || before.coordinator != after.coordinator
        || before.waiting != after.waiting
}
