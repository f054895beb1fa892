//! `version`: which build this is.

use serde::Serialize;

use crate::{
    context::Context,
    exit::Exit,
    failure::Outcome,
    output::{Format, Show, print, render},
    terminal::Paint,
};

/// Print this build's version and the protocol that it speaks.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The shape of the answer
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    output: Format,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Version {
    version: &'static str,
    protocol: u32,
}

impl Show for Version {
    fn text(&self, _: Paint) -> String {
        format!("lockstep {} (protocol {})\n", self.version, self.protocol)
    }

    fn name(&self) -> String {
        self.version.to_owned()
    }
}

pub(crate) fn run(args: &Args, context: Context) -> Outcome {
    let version =
        Version { version: env!("CARGO_PKG_VERSION"), protocol: lockstep_shared::plan::PROTOCOL };
    print(&render(&version, args.output, context.out)?)?;
    Ok(Exit::Done)
}
