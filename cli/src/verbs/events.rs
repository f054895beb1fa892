//! `events`: a run's records, one line each.

use lockstep_bus::ConnectionArgs;
use lockstep_shared::record::Record;

use crate::{
    context::Context,
    exit::Exit,
    failure::{Failure, Outcome},
    find::{self, nearest},
    online::{close, connect},
    output::{Format, print, render, render_all, say},
    reader::{News, RunReader},
    story::{Event, RUBBISH},
    terminal::line,
    verbs::RunArg,
};

/// Print a run's records in the order of the log, void ones with their reason.
///
/// `-o jsonl` gives JSON Lines with each record whole.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    run: RunArg,
    /// Go on printing records as they come, until the run is closed
    #[arg(long, short)]
    follow: bool,
    /// Only records of this kind, such as `Failed`; may be given more than once
    #[arg(long, value_name = "KIND")]
    kind: Vec<String>,
    /// The shape of the answer
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    output: Format,
    #[command(flatten)]
    connection: ConnectionArgs,
}

pub(crate) async fn run(args: Args, context: Context) -> Outcome {
    if args.follow && matches!(args.output, Format::Json | Format::Yaml) {
        return Err(Failure::usage("`--follow` gives many documents, and this shape holds one")
            .help("use `-o jsonl`: one document a line"));
    }
    check_kinds(&args.kind)?;
    let bus = connect(&args.connection, "events").await?;
    let key = find::run(&bus, args.run.run.as_deref(), find::Need::Look).await?;
    let mut reader = RunReader::new(&bus, &key);
    if args.follow {
        follow(&mut reader, &args, context).await?;
    } else {
        print_all(&mut reader, &args, context).await?;
    }
    drop(reader);
    close(bus).await;
    Ok(Exit::Done)
}

/// A misspelt kind is told, not answered with silence.
fn check_kinds(wanted: &[String]) -> Result<(), Failure> {
    let known = || Record::KINDS.into_iter().chain([RUBBISH]);
    let is_known = |wanted: &String| known().any(|kind| kind.eq_ignore_ascii_case(wanted));
    let Some(unknown) = wanted.iter().find(|wanted| !is_known(wanted)) else { return Ok(()) };
    let help = match nearest(unknown, known()) {
        Some(near) => format!("did you mean {near}?"),
        None => format!("the kinds are {}", known().collect::<Vec<_>>().join(", ")),
    };
    Err(Failure::usage(format!("there are no records of kind {unknown:?}")).help(help))
}

fn is_wanted(args: &Args, event: &Event) -> bool {
    args.kind.is_empty() || args.kind.iter().any(|kind| kind.eq_ignore_ascii_case(event.kind))
}

async fn print_all(reader: &mut RunReader, args: &Args, context: Context) -> Result<(), Failure> {
    let mut events = Vec::new();
    // Told one by one: a line speaks of the state that its record made.
    reader
        .catch_up_with(|entry, effect, fold| events.push(Event::new(entry, effect, fold)))
        .await?;
    events.retain(|event| is_wanted(args, event));
    print(&render_all(&events, args.output, context.out)?)
}

async fn follow(reader: &mut RunReader, args: &Args, context: Context) -> Result<(), Failure> {
    let mut caught_up = false;
    loop {
        if caught_up && reader.fold().closed().is_some() {
            return Ok(());
        }
        match reader.next().await {
            Some(News::Entry(entry, effect)) => {
                let event = Event::new(&entry, &effect, reader.fold());
                if is_wanted(args, &event) {
                    print(&render(&event, args.output, context.out)?)?;
                }
            }
            Some(News::CaughtUp) => caught_up = true,
            Some(News::Trouble(why)) => say(&format!("cannot read the log: {}", line(&why))),
            Some(News::WentBack(why)) => {
                say(&format!("THE LOG LOST RECORDS: {}; what it holds now follows", line(&why)));
            }
            None => return Err(Failure::unavailable("the connection to NATS was closed")),
        }
    }
}
