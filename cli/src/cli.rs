//! The command line as a whole.

use clap::Parser;

use crate::{terminal::ColorChoice, verbs::Verb};

/// Deploy many services as one.
///
/// Independent agents meet at barriers over NATS; all of them commit, or everybody who began
/// rolls back. Standard output is data, everything else goes to standard error.
#[derive(Debug, Parser)]
#[command(
    name = "lockstep",
    version,
    propagate_version = true,
    max_term_width = 100,
    after_help = "Exit codes: 0 done, 1 internal, 2 usage, 3 invalid, 4 failed and rolled back, \
                  5 rollback incomplete, 6 cancelled, 7 gave up waiting, 8 out of reach or \
                  refused, 9 too late, 130/143 signals."
)]
pub(crate) struct Cli {
    /// When to use colour; NO_COLOR turns it off
    #[arg(long, global = true, value_enum, default_value_t, value_name = "WHEN")]
    pub(crate) color: ColorChoice,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}
