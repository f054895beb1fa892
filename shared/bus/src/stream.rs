//! The two streams: created if absent, compared field by field, watched for how full they are
//! (PROTOCOL section 2).

use lockstep_shared::{id::Sequence, time::Span};
use tokio::time::Instant;

use crate::connect::{Bus, Denial};

/// What is the operator's to choose when the streams are created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamOptions {
    /// How many servers keep each record: 1 or 3.
    pub replicas: usize,
    /// The log's size limit, in bytes.
    pub log_max_bytes: u64,
    /// The bundles' size limit, in bytes.
    pub bundle_max_bytes: u64,
}

/// What one stream is and holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamReport {
    /// The stream's name.
    pub name: String,
    /// When it was created, in the server's own words.
    pub created: String,
    /// The first sequence that is still kept.
    pub first: Sequence,
    /// The last sequence that was given.
    pub last: Sequence,
    /// How many messages it holds.
    pub messages: u64,
    /// How many bytes it holds.
    pub bytes: u64,
    /// How many bytes it may hold.
    pub max_bytes: u64,
    /// How long it keeps a message.
    pub max_age: Span,
    /// How many servers keep each message.
    pub replicas: usize,
    /// What weakens the guarantees, each a sentence for a person.
    pub warnings: Vec<String>,
}

impl StreamReport {
    /// How full it is, in percent.
    pub fn fill_percent(&self) -> u64 {
        panic!("being written")
    }

    /// Whether it is more than 80 % full and so accepts no new plan.
    pub fn refuses_plans(&self) -> bool {
        panic!("being written")
    }
}

/// Both streams.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamReports {
    /// `LOCKSTEP`.
    pub log: StreamReport,
    /// `LOCKSTEP_BUNDLES`.
    pub bundles: StreamReport,
}

/// One field of a stream's configuration that is not as it has to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The field, as the server spells it.
    pub field: String,
    /// What it has to be.
    pub expected: String,
    /// What it is.
    pub found: String,
}

/// Why the streams cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// A stream of that name has another configuration.
    #[error("mismatch")]
    Mismatch {
        /// The stream.
        stream: String,
        /// What differs.
        differences: Vec<Difference>,
    },
    /// There is no such stream.
    #[error("no stream {0}")]
    Absent(String),
    /// The server or this account has no JetStream.
    #[error("no JetStream")]
    NoJetStream(String),
    /// The server does not let us ask.
    #[error("{0}")]
    Denied(Denial),
    /// No answer that helps in time.
    #[error("{0}")]
    Failed(String),
}

impl Bus {
    /// Creates the streams that are absent and compares those that are there.
    ///
    /// # Errors
    /// [`StreamError`].
    pub async fn ensure_streams(
        &self,
        _options: &StreamOptions,
        _until: Instant,
    ) -> Result<StreamReports, StreamError> {
        panic!("being written")
    }

    /// Compares both streams and creates nothing.
    ///
    /// # Errors
    /// [`StreamError`].
    pub async fn inspect_streams(&self, _until: Instant) -> Result<StreamReports, StreamError> {
        panic!("being written")
    }
}
