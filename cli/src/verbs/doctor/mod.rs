//! `doctor`: whether everything that a run needs is there, one line each.

mod kinds;
mod kube;
mod looks;
mod needs;
mod role;

use lockstep_bus::ConnectionArgs;
use lockstep_shared::plan::PROTOCOL;
use serde::Serialize;
use serde_json::Value;

use crate::{
    context::Context,
    failure::{Failure, Outcome},
    output::{Format, Show, print, render_all},
    terminal::{Paint, Style, line},
};

/// Check the connection, the streams, the coordinator, the clocks and, with --role, what these
/// credentials may do.
///
/// Every line says ok, warn or fail, and what to do. Exits with 8 if something fails.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    claim: role::Claim,
    #[command(flatten)]
    kube: kube::Kube,
    /// The shape of the answer
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    output: Format,
    #[command(flatten)]
    connection: ConnectionArgs,
}

/// How one look ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
enum State {
    Ok,
    Warn,
    Fail,
}

/// One look.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Look {
    what: &'static str,
    state: State,
    found: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
    /// The Roles that give what was looked for, if it is given by Roles.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    roles: Vec<Value>,
}

impl Look {
    fn ok(what: &'static str, found: impl Into<String>) -> Self {
        Self { what, state: State::Ok, found: found.into(), next: None, roles: Vec::new() }
    }

    fn warn(what: &'static str, found: impl Into<String>, next: &str) -> Self {
        Self { state: State::Warn, next: Some(next.to_owned()), ..Self::ok(what, found) }
    }

    fn fail(what: &'static str, found: impl Into<String>, next: &str) -> Self {
        Self { state: State::Fail, ..Self::warn(what, found, next) }
    }

    fn of(what: &'static str, failure: &Failure) -> Self {
        let found = failure.told();
        let next = failure.help.clone().unwrap_or_else(|| failure.exit.next().to_owned());
        Self::fail(what, found.join("\nbecause: "), &next)
    }
}

impl Show for Look {
    fn text(&self, paint: Paint) -> String {
        let state = match self.state {
            State::Ok => paint.paint(Style::Good, "ok  "),
            State::Warn => paint.paint(Style::Warn, "warn"),
            State::Fail => paint.paint(Style::Bad, "fail"),
        };
        let mut rows = self.found.lines().map(line);
        let mut text = format!("{state}  {:<12}  {}\n", self.what, rows.next().unwrap_or_default());
        for row in rows {
            text.push_str(&format!("{:20}{row}\n", ""));
        }
        if let Some(next) = &self.next {
            text.push_str(&format!("{:20}-> {}\n", "", line(next)));
        }
        // As they stand here they can be applied.
        for role in &self.roles {
            let yaml = serde_saphyr::to_string(role).unwrap_or_else(|error| error.to_string());
            text.push_str("---\n");
            yaml.lines().for_each(|row| text.push_str(&format!("{}\n", line(row))));
        }
        text
    }

    fn name(&self) -> String {
        self.what.to_owned()
    }
}

pub(crate) async fn run(args: Args, context: Context) -> Outcome {
    let mut looks = vec![Look::ok(
        "version",
        format!("lockstep {}, protocol {PROTOCOL}", env!("CARGO_PKG_VERSION")),
    )];
    let exit = if args.kube.is_wanted() {
        args.kube.look(args.claim.workflow.as_ref(), &mut looks, context.err).await?
    } else {
        looks::look(&args.connection, &args.claim, &mut looks).await
    };
    print(&render_all(&looks, args.output, context.out)?)?;
    Ok(exit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_shows_every_line_of_what_it_found() {
        let look = Look::fail("streams", "differs:\n  max_age: found 1, needed 2", "mend it");
        let text = look.text(Paint(false));
        assert!(text.contains("max_age: found 1, needed 2"), "{text}");
        assert!(text.contains("-> mend it"), "{text}");
    }
}
