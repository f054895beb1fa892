//! Append: one record into one write-once slot (PROTOCOL section 4).

use lockstep_shared::{
    codec::{self, Draft, Entry, RawMessage},
    id::Sequence,
    subject::STREAM,
};
use tokio::time::Instant;

use crate::{
    connect::{Bus, Denial},
    slot::{Holds, SlotWrite},
};

/// What became of a record that was appended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Appended {
    /// It is stored there. An acknowledgement is not a reading: nobody acts on it.
    Stored(Sequence),
    /// The slot holds something else.
    Taken(Box<Entry>),
}

/// Why a record is not known to be stored.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// The time is over and an attempt may have reached the log.
    #[error(
        "appending {subject}: {reason}; the record may still be stored, so look before doing it again"
    )]
    InDoubt {
        /// The slot's subject.
        subject: String,
        /// What the last attempt met.
        reason: String,
    },
    /// It was refused, for good or until the time was over: it is not stored.
    #[error("appending {subject}: {reason}; nothing was stored")]
    Refused {
        /// The slot's subject.
        subject: String,
        /// What the last attempt met.
        reason: String,
    },
    /// The stream took nothing more until the time was over: it is not stored.
    #[error(
        "appending {subject}: the stream {stream} is full ({reason}); nothing was stored. Raise its max_bytes or wait until old runs expire"
    )]
    Full {
        /// The slot's subject.
        subject: String,
        /// The stream.
        stream: String,
        /// The server's words.
        reason: String,
    },
    /// Nothing takes records there: it is not stored.
    #[error(
        "appending {subject}: no stream takes it; start a lockstep-coordinator, which creates {stream}, and see `lockstep doctor`"
    )]
    NoStream {
        /// The slot's subject.
        subject: String,
        /// The stream that should.
        stream: String,
    },
    /// The server does not let us write there; said at once.
    #[error("appending {subject}: {denial}")]
    Denied {
        /// The slot's subject.
        subject: String,
        /// What was refused.
        denial: Denial,
    },
    /// The record is larger than the server takes.
    #[error(
        "appending {subject}: its {bytes} bytes are more than the server's max_payload of {limit}; raise max_payload to 1 MiB"
    )]
    TooLarge {
        /// The slot's subject.
        subject: String,
        /// The message's size.
        bytes: usize,
        /// The server's limit.
        limit: usize,
    },
}

impl AppendError {
    /// Whether the record may still be stored.
    pub fn in_doubt(&self) -> bool {
        matches!(self, Self::InDoubt { .. })
    }
}

impl Bus {
    /// Publishes the draft, the same bytes with the same message id, until it is known what the
    /// slot holds or until `until`.
    ///
    /// # Errors
    /// [`AppendError`]; only [`AppendError::in_doubt`] ones may still be stored.
    pub async fn append(&self, draft: &Draft, until: Instant) -> Result<Appended, AppendError> {
        let write = SlotWrite {
            stream: STREAM,
            subject: &draft.subject,
            event: &draft.event,
            headers: &draft.headers,
            payload: &draft.payload,
        };
        let ours = |stored: &RawMessage| event_of(stored) == Some(draft.event.as_str());
        match self.fill_slot(&write, ours, until).await? {
            Holds::Ours(seq) => Ok(Appended::Stored(seq)),
            Holds::Other(stored) => match codec::decode(self.subjects(), &stored) {
                Some(entry) => Ok(Appended::Taken(Box::new(entry))),
                None => Err(AppendError::Refused {
                    subject: draft.subject.clone(),
                    reason: "it is no slot of the protocol".to_owned(),
                }),
            },
        }
    }
}

/// The event id a stored message claims, without judging the rest of it.
fn event_of(stored: &RawMessage) -> Option<&str> {
    stored.headers.iter().find(|(name, _)| name == "ce-id").map(|(_, value)| value.as_str())
}
