//! What every verb is given beside its own flags.

use crate::terminal::{ColorChoice, Paint, Surroundings};

/// How to write to whoever started the program.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Context {
    /// Colour of standard output.
    pub(crate) out: Paint,
    /// Colour of standard error.
    pub(crate) err: Paint,
    /// Whether standard output is a terminal that can be redrawn.
    pub(crate) out_terminal: bool,
    /// Whether standard error is a terminal that can be redrawn.
    pub(crate) err_terminal: bool,
}

impl Context {
    /// What flags and environment say.
    pub(crate) fn new(color: ColorChoice) -> Self {
        let out = Surroundings::of(&std::io::stdout());
        let err = Surroundings::of(&std::io::stderr());
        Self {
            out: Paint(color.decide(out)),
            err: Paint(color.decide(err)),
            out_terminal: out.terminal && !out.dumb,
            err_terminal: err.terminal && !err.dumb,
        }
    }
}
