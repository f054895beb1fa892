//! Readings: everything that a filter holds up to one position, by one multi-last direct get
//! (PROTOCOL section 5). Needs no consumer, so it works from an account of its own.

use lockstep_shared::{codec::Entry, id::Sequence};
use tokio::time::Instant;

use crate::connect::{Bus, Denial};

/// Exactly the filter's records up to a position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// The position; 0 if nothing matches and nothing was expected.
    pub upto: Sequence,
    /// The records in stream order, rubbish included.
    pub entries: Vec<Entry>,
}

/// Why there is no reading.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// No answer counted before the time was over.
    #[error("no reading of the log: {reason}")]
    TimedOut {
        /// What the last attempt met.
        reason: String,
    },
    /// The filter matches more subjects than one reading may hold.
    #[error("more than 1,024 records match")]
    TooMany,
    /// The server does not let us ask.
    #[error("{0}")]
    Denied(Denial),
    /// The connection was closed by this program.
    #[error("closed")]
    Closed,
}

impl Bus {
    /// Reads the whole filter (subjects, wildcards allowed) at a position not below `floor`: the
    /// greatest of the reader's own last stored sequence, the bell's, and any position it has had;
    /// 0 if it expects nothing. Asks again every 20 ms until `until`.
    ///
    /// # Errors
    /// [`ReadError`] if no answer counted in time.
    pub async fn read(
        &self,
        _filter: &[String],
        _floor: Sequence,
        _until: Instant,
    ) -> Result<Reading, ReadError> {
        panic!("being written")
    }

    /// The record of one slot, or `None` if the server that answered has none there (a follower
    /// may lag). Not a reading: for the plan, and for looking at a slot.
    ///
    /// # Errors
    /// [`ReadError`] if no server answered in time.
    pub async fn get_one(
        &self,
        _subject: &str,
        _until: Instant,
    ) -> Result<Option<Entry>, ReadError> {
        panic!("being written")
    }
}
