//! What a verb ends with when it cannot do what it was asked: a code, what failed, what to do.

use std::fmt;

use crate::exit::Exit;

/// Why a verb ended early.
#[derive(Debug)]
pub(crate) struct Failure {
    /// The code to exit with.
    pub(crate) exit: Exit,
    /// What failed, where and why; its sources are printed behind it.
    pub(crate) error: anyhow::Error,
    /// What to do next.
    pub(crate) help: Option<String>,
}

/// What a verb gives back.
pub(crate) type Outcome = Result<Exit, Failure>;

impl Failure {
    /// A failure with a message of our own.
    pub(crate) fn new(exit: Exit, message: impl fmt::Display) -> Self {
        Self { exit, error: anyhow::anyhow!("{message}"), help: None }
    }

    /// Wrong flags or arguments.
    pub(crate) fn usage(message: impl fmt::Display) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// A file, setting or pipeline that is not valid.
    pub(crate) fn invalid(message: impl fmt::Display) -> Self {
        Self::new(Exit::Invalid, message)
    }

    /// Something out of reach.
    pub(crate) fn unavailable(message: impl fmt::Display) -> Self {
        Self::new(Exit::Unavailable, message)
    }

    /// Whoever read standard output has enough: no failure that anybody should hear of.
    pub(crate) fn reader_left() -> Self {
        Self::new(Exit::Done, "the reader of standard output went away")
    }

    /// The same with what to do next.
    #[must_use]
    pub(crate) fn help(mut self, help: impl fmt::Display) -> Self {
        self.help = Some(help.to_string());
        self
    }

    /// The message and its sources, without what some libraries repeat.
    pub(crate) fn told(&self) -> Vec<String> {
        let mut told: Vec<String> = Vec::new();
        for source in self.error.chain() {
            let message = source.to_string();
            if told.last().is_none_or(|last| !last.contains(&message)) {
                told.push(message);
            }
        }
        told
    }

    /// The whole story for standard error: message, sources, help.
    pub(crate) fn text(&self) -> String {
        let told = self.told().into_iter().map(|message| {
            let harmless: Vec<String> = crate::terminal::lines(&message).collect();
            harmless.join("\n  ")
        });
        let mut text = format!("error: {}", told.collect::<Vec<_>>().join("\n  because: "));
        let help = match (&self.help, self.exit) {
            (Some(help), _) => Some(help.as_str()),
            (None, Exit::Internal | Exit::Usage | Exit::Unavailable) => Some(self.exit.next()),
            (None, _) => None,
        };
        if let Some(help) = help {
            let harmless: Vec<String> = crate::terminal::lines(help).collect();
            text.push_str("\n  help: ");
            text.push_str(&harmless.join("\n        "));
        }
        text
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self { exit: Exit::Internal, error, help: None }
    }
}

/// Gives an error the code and the words of the verb in which it happened.
pub(crate) trait OrExit<T> {
    /// The value, or a failure with this code and this message before the error.
    fn or_exit(self, exit: Exit, message: impl fmt::Display) -> Result<T, Failure>;
}

impl<T, E: Into<anyhow::Error>> OrExit<T> for Result<T, E> {
    fn or_exit(self, exit: Exit, message: impl fmt::Display) -> Result<T, Failure> {
        self.map_err(|error| Failure {
            exit,
            error: error.into().context(message.to_string()),
            help: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_says_what_why_and_what_next() {
        let source: Result<(), _> = Err(std::io::Error::other("disk\u{1b}[2J on fire"));
        let failure = source
            .or_exit(Exit::Invalid, "cannot read pipeline file a.yaml")
            .map_err(|failure| failure.help("put it out"))
            .unwrap_err();
        assert_eq!(failure.exit, Exit::Invalid);
        assert_eq!(
            failure.text(),
            "error: cannot read pipeline file a.yaml\n  because: disk[2J on fire\n  help: put it out"
        );
    }
}
