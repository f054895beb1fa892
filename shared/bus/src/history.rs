//! Whether the log went backwards: a restored backup, or power loss on one replica.

use lockstep_shared::{codec::Entry, id::Sequence, time::Timestamp};

use crate::{connect::Bus, reading::ReadError};
use tokio::time::Instant;

/// What the stream's leader says of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogState {
    /// When the stream was created, in the server's own words.
    pub created: String,
    /// The first sequence that is still kept.
    pub first: Sequence,
    /// The last sequence that was given.
    pub last: Sequence,
}

/// A record that a reader has applied, to be found again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Landmark {
    /// Its position.
    pub seq: Sequence,
    /// When it was stored.
    pub time: Timestamp,
    /// Its event id, unless it was rubbish.
    pub event: Option<String>,
}

/// What a comparison of then and now says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Continuity {
    /// It is the same log, as long or longer.
    Same,
    /// It lost records; the text says how that shows, for a person.
    WentBack(String),
}

impl Landmark {
    /// The landmark that an applied entry is.
    pub fn of(_entry: &Entry) -> Self {
        panic!("being written")
    }
}

/// The rule, pure: what the reader knew (`before`, the highest position it `applied`, its own last
/// record or the last one it applied) against what is there now.
pub fn compare(
    _before: &LogState,
    _applied: Sequence,
    _landmark: Option<&Landmark>,
    _now: &LogState,
    _found: Option<&Landmark>,
) -> Continuity {
    panic!("being written")
}

impl Bus {
    /// Asks the leader for the log's state, under both names that an account may know it by.
    ///
    /// # Errors
    /// [`ReadError`] if no answer came in time.
    pub async fn log_state(&self, _until: Instant) -> Result<LogState, ReadError> {
        panic!("being written")
    }

    /// Asks the leader, looks for the landmark, and compares; for agents at each connect.
    ///
    /// # Errors
    /// [`ReadError`] if no answer came in time.
    pub async fn check_history(
        &self,
        _before: &LogState,
        _applied: Sequence,
        _landmark: Option<&Landmark>,
        _until: Instant,
    ) -> Result<(Continuity, LogState), ReadError> {
        panic!("being written")
    }
}
