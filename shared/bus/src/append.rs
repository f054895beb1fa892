//! Append: one record into one write-once slot (PROTOCOL section 4).

use lockstep_shared::{
    codec::{Draft, Entry},
    id::Sequence,
};
use tokio::time::Instant;

use crate::connect::{Bus, Denial};

/// What became of a record that was appended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Appended {
    /// It is stored there. An acknowledgement is not a reading: nobody acts on it.
    Stored(Sequence),
    /// The slot holds something else.
    Taken(Box<Entry>),
}

/// Why it is not known to be stored, or known not to be.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// The time is over and an attempt may have reached the log: it may still be stored.
    #[error("{subject}: no answer ({reason}); the record may still be stored")]
    InDoubt {
        /// The slot's subject.
        subject: String,
        /// What the last attempt met.
        reason: String,
    },
    /// The time is over and every attempt was refused: it is not stored.
    #[error("{subject}: {reason}")]
    Refused {
        /// The slot's subject.
        subject: String,
        /// What the last attempt met.
        reason: String,
    },
    /// The stream took nothing more until the time was over.
    #[error("{subject}: the stream is full")]
    Full {
        /// The slot's subject.
        subject: String,
    },
    /// The server does not let us write there; said at once.
    #[error("{0}")]
    Denied(Denial),
    /// The record is larger than the server takes.
    #[error("{subject}: {bytes} bytes are more than the server's max_payload of {limit}")]
    TooLarge {
        /// The slot's subject.
        subject: String,
        /// The message's size.
        bytes: usize,
        /// The server's limit.
        limit: usize,
    },
    /// The connection was closed by this program.
    #[error("closed")]
    Closed,
}

impl AppendError {
    /// Whether the record may still be stored.
    pub fn in_doubt(&self) -> bool {
        panic!("being written")
    }
}

impl Bus {
    /// Publishes the draft, the same bytes with the same message id, until it is known what the
    /// slot holds or until `until`.
    ///
    /// # Errors
    /// [`AppendError`]; only [`AppendError::in_doubt`] ones may still be stored.
    pub async fn append(&self, _draft: &Draft, _until: Instant) -> Result<Appended, AppendError> {
        panic!("being written")
    }
}
