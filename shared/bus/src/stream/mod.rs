//! The two streams: created if absent, compared field by field, watched for how full they are
//! (PROTOCOL section 2).

mod api;
mod config;

use std::fmt::Write as _;

use bytes::Bytes;
use lockstep_shared::{
    id::Sequence,
    subject::{BUNDLE_STREAM, STREAM},
    time::Span,
};
use tokio::time::Instant;

use crate::{
    connect::{Bus, Denial},
    reading::ReadError,
};

use self::api::{ApiError, StreamInfo};
pub use self::config::Difference;

/// Above this a stream accepts no new plan: the rest is for ending what is open.
const FULL_PERCENT: u64 = 80;

const GIB: u64 = 1024 * 1024 * 1024;

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

impl Default for StreamOptions {
    /// The sizes of PROTOCOL section 2 on one server.
    fn default() -> Self {
        Self { replicas: 1, log_max_bytes: 8 * GIB, bundle_max_bytes: 16 * GIB }
    }
}

impl StreamOptions {
    /// Sizes that fit beside everything else on somebody's machine.
    pub fn dev() -> Self {
        Self { replicas: 1, log_max_bytes: GIB, bundle_max_bytes: GIB }
    }
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
    /// How long it keeps a message; the longest span there is means for ever.
    pub max_age: Span,
    /// How many servers keep each message.
    pub replicas: usize,
    /// What weakens the guarantees, each a sentence for a person.
    pub warnings: Vec<String>,
}

impl StreamReport {
    /// How full it is, in percent.
    pub fn fill_percent(&self) -> u64 {
        let percent = u128::from(self.bytes) * 100 / u128::from(self.max_bytes.max(1));
        u64::try_from(percent).unwrap_or(u64::MAX)
    }

    /// Whether it is more than 80 % full and so accepts no new plan.
    pub fn refuses_plans(&self) -> bool {
        u128::from(self.bytes) * 100 > u128::from(self.max_bytes) * u128::from(FULL_PERCENT)
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

/// Why the streams cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// A stream of that name has another configuration.
    #[error(
        "the stream {stream} is configured differently from what Lockstep needs:{}\nChange it with `nats stream edit {stream}`, or let Lockstep use another account or --prefix",
        shown(differences)
    )]
    Mismatch {
        /// The stream.
        stream: String,
        /// What differs.
        differences: Vec<Difference>,
    },
    /// There is no such stream.
    #[error("there is no stream {0}; start a lockstep-coordinator, which creates it")]
    Absent(String),
    /// The server or this account has no JetStream.
    #[error(
        "NATS has no JetStream for this user ({0}); start nats-server with --jetstream, and enable it for the account"
    )]
    NoJetStream(String),
    /// There is no room for a stream of this size.
    #[error(
        "NATS cannot reserve the {bytes} bytes of stream {stream} ({reason}); give the server more storage, or choose a smaller size"
    )]
    NoRoom {
        /// The stream.
        stream: String,
        /// Its size limit.
        bytes: u64,
        /// The server's words.
        reason: String,
    },
    /// The server does not let us ask.
    #[error("cannot look at the streams: {0}")]
    Denied(Denial),
    /// No answer that helps in time.
    #[error("cannot {what} the stream {stream}: {reason}")]
    Failed {
        /// What was tried.
        what: &'static str,
        /// The stream.
        stream: String,
        /// What the last attempt met.
        reason: String,
    },
}

fn shown(differences: &[Difference]) -> String {
    let mut text = String::new();
    for Difference { field, expected, found } in differences {
        write!(text, "\n  {field}: found {found}, needed {expected}")
            .expect("writing to a text cannot fail");
    }
    text
}

impl Bus {
    /// Creates the streams that are absent and compares those that are there.
    ///
    /// # Errors
    /// [`StreamError`].
    pub async fn ensure_streams(
        &self,
        options: &StreamOptions,
        until: Instant,
    ) -> Result<StreamReports, StreamError> {
        Ok(StreamReports {
            log: self.ensure(STREAM, options, until).await?,
            bundles: self.ensure(BUNDLE_STREAM, options, until).await?,
        })
    }

    /// Compares both streams and creates nothing.
    ///
    /// # Errors
    /// [`StreamError`].
    pub async fn inspect_streams(&self, until: Instant) -> Result<StreamReports, StreamError> {
        Ok(StreamReports {
            log: self.inspect(STREAM, until).await?,
            bundles: self.inspect(BUNDLE_STREAM, until).await?,
        })
    }

    /// What the log is and holds, not compared; for how full it is.
    ///
    /// # Errors
    /// [`ReadError`] if no answer came in time.
    pub async fn log_report(&self, until: Instant) -> Result<StreamReport, ReadError> {
        Ok(self.stream_info(STREAM, until).await?.report(STREAM))
    }

    /// The time at the server that answers for the log, as RFC 3339; `None` if it does not say.
    ///
    /// # Errors
    /// [`ReadError`] if no answer came in time.
    pub async fn server_time(&self, until: Instant) -> Result<Option<String>, ReadError> {
        Ok(self.stream_info(STREAM, until).await?.ts)
    }

    async fn ensure(
        &self,
        stream: &str,
        options: &StreamOptions,
        until: Instant,
    ) -> Result<StreamReport, StreamError> {
        match self.inspect(stream, until).await {
            Err(StreamError::Absent(_)) => {}
            found => return found,
        }
        self.create(stream, options, until).await?;
        // Somebody else may have created it first, and otherwise.
        self.inspect(stream, until).await
    }

    async fn inspect(&self, stream: &str, until: Instant) -> Result<StreamReport, StreamError> {
        let subject = self.api(&format!("STREAM.INFO.{stream}"));
        let answer = self.ask_api("look at", stream, &subject, Bytes::new(), until).await?;
        if let Some(error) = answer.error {
            return Err(match error.err_code {
                10059 => StreamError::Absent(stream.to_owned()),
                _ => failure("look at", stream, error),
            });
        }
        let info: StreamInfo =
            serde_json::from_value(answer.rest).map_err(|error| StreamError::Failed {
                what: "understand the answer about",
                stream: stream.to_owned(),
                reason: error.to_string(),
            })?;
        let differences = config::compare(self.subjects(), stream, &info.config);
        if differences.is_empty() {
            Ok(info.report(stream))
        } else {
            Err(StreamError::Mismatch { stream: stream.to_owned(), differences })
        }
    }

    async fn create(
        &self,
        stream: &str,
        options: &StreamOptions,
        until: Instant,
    ) -> Result<(), StreamError> {
        let wanted = config::wanted(self.subjects(), stream, options);
        let subject = self.api(&format!("STREAM.CREATE.{stream}"));
        let body = Bytes::from(wanted.to_string());
        let answer = self.ask_api("create", stream, &subject, body, until).await?;
        match answer.error {
            None => {
                tracing::info!(stream, "created the stream");
                Ok(())
            }
            // Already there, by somebody else in this moment.
            Some(ApiError { err_code: 10058, .. }) => Ok(()),
            // Storage of the server, of the account.
            Some(ApiError { err_code: 10047 | 10002 | 10028, description: reason }) => {
                let bytes = config::max_bytes(stream, options);
                Err(StreamError::NoRoom { stream: stream.to_owned(), bytes, reason })
            }
            Some(error) => Err(failure("create", stream, error)),
        }
    }
}

fn failure(what: &'static str, stream: &str, error: ApiError) -> StreamError {
    if error.says_no_jetstream() {
        return StreamError::NoJetStream(error.description);
    }
    let reason = format!("{} ({})", error.description, error.err_code);
    StreamError::Failed { what, stream: stream.to_owned(), reason }
}
