//! What the libraries in this process log: to standard error, beside the moving lines.

use std::{fmt, io};

use lockstep_bus::is_discreet;
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    EnvFilter,
    filter::filter_fn,
    fmt::{
        FmtContext, FormatEvent, FormatFields,
        format::{Compact, Format, Writer},
    },
    layer::SubscriberExt,
    registry::LookupSpan,
    util::SubscriberInitExt,
};

use crate::{
    context::Context,
    output::write_beside,
    terminal::{Paint, Style, line},
};

/// Under this target agents log what their commands print.
const OUTPUT: &str = "lockstep::output";

/// Begins to log; `LOCKSTEP_LOG` overrides what is shown.
pub(crate) fn begin(default: &str, context: Context) {
    let filter =
        EnvFilter::try_from_env("LOCKSTEP_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    let format = Lines { paint: context.err, others: tracing_subscriber::fmt::format().compact() };
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(context.err.0)
        .event_format(format)
        .with_writer(|| Beside)
        .finish()
        .with(filter_fn(is_discreet))
        .init();
}

/// A writer that leaves the moving lines whole.
struct Beside;

impl io::Write for Beside {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        write_beside(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Commands' output as `workflow | line`, everything else as usual.
struct Lines {
    paint: Paint,
    others: Format<Compact>,
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        if event.metadata().target() != OUTPUT {
            return self.others.format_event(context, writer, event);
        }
        let mut printed = Printed::default();
        event.record(&mut printed);
        let text = format!("{} | {}", line(&printed.workflow), line(&printed.line));
        writeln!(writer, "{}", self.paint.paint(Style::Dim, text))
    }
}

/// One line that a command printed.
#[derive(Default)]
struct Printed {
    workflow: String,
    line: String,
}

impl Visit for Printed {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match field.name() {
            "message" => self.line = format!("{value:?}"),
            "workflow" => self.workflow = format!("{value:?}"),
            _ => {}
        }
    }
}
