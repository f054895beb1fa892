//! What all attempts at one slot together leave open.

use super::SlotWrite;
use crate::{append::AppendError, inbox::AskError};

/// What the attempts so far leave open.
#[derive(Default)]
pub(super) struct Attempts {
    /// Whether one of them may have arrived without our knowing.
    doubt: bool,
    pub(super) last: Option<Failure>,
}

/// Why the last attempt stored nothing.
pub(super) enum Failure {
    Full(String),
    NobodyThere,
    Other(String),
}

impl Attempts {
    pub(super) fn note(&mut self, reason: &str) {
        self.last = Some(Failure::Other(reason.to_owned()));
    }

    /// Takes note of an attempt without an answer; an error if trying again is of no use.
    pub(super) fn fail(
        &mut self,
        write: &SlotWrite<'_>,
        error: AskError,
    ) -> Result<(), AppendError> {
        let subject = write.subject.to_owned();
        self.doubt |= error.may_have_arrived();
        match error {
            AskError::Denied(denial) => return Err(AppendError::Denied { subject, denial }),
            AskError::TooLarge { bytes, limit } => {
                return Err(AppendError::TooLarge { subject, bytes, limit });
            }
            AskError::Closed | AskError::Unsendable(_) => {
                self.note(&error.to_string());
                return Err(self.give_up(write));
            }
            AskError::NobodyThere(_) => self.last = Some(Failure::NobodyThere),
            AskError::TimedOut | AskError::Disconnected | AskError::NotConnected => {
                self.note(&error.to_string());
            }
        }
        Ok(())
    }

    pub(super) fn give_up(&self, write: &SlotWrite<'_>) -> AppendError {
        let subject = write.subject.to_owned();
        let stream = write.stream.to_owned();
        match &self.last {
            last if self.doubt => AppendError::InDoubt {
                subject,
                reason: match last {
                    Some(Failure::Full(reason) | Failure::Other(reason)) => reason.clone(),
                    Some(Failure::NobodyThere) => "no stream answers any more".to_owned(),
                    None => "no answer".to_owned(),
                },
            },
            Some(Failure::Full(reason)) => {
                AppendError::Full { subject, stream, reason: reason.clone() }
            }
            Some(Failure::NobodyThere) => AppendError::NoStream { subject, stream },
            Some(Failure::Other(reason)) => {
                AppendError::Refused { subject, reason: reason.clone() }
            }
            None => AppendError::Refused { subject, reason: "there was no time".to_owned() },
        }
    }
}
