//! The two streams: created if absent, compared field by field, watched for how full they are
//! (PROTOCOL section 2).

mod config;

use std::{fmt::Write as _, sync::atomic::Ordering, time::Duration};

use bytes::Bytes;
use lockstep_shared::{
    id::Sequence,
    subject::{BUNDLE_STREAM, STREAM},
    time::Span,
};
use serde::Deserialize;
use serde_json::Value;
use tokio::time::Instant;

use crate::{
    connect::{Bus, Denial},
    history::LogState,
    inbox::AskError,
    reading::ReadError,
};

pub use self::config::Difference;

/// Above this a stream accepts no new plan: the rest is for ending what is open.
const FULL_PERCENT: u64 = 80;

/// How long one answer of the JetStream API may take before it is asked for again.
const ATTEMPT: Duration = Duration::from_secs(2);

/// How soon the API is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(250);

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
    /// How long it keeps a message; zero is for ever.
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

/// The server's answer about a stream.
#[derive(Debug, Deserialize)]
pub(crate) struct StreamInfo {
    created: String,
    config: Value,
    state: StreamState,
    #[serde(default)]
    ts: Option<String>,
}

#[derive(Debug, Deserialize)]
struct StreamState {
    messages: u64,
    bytes: u64,
    first_seq: Sequence,
    last_seq: Sequence,
}

/// An answer of the JetStream API, or its error.
#[derive(Debug, Deserialize)]
struct ApiAnswer {
    error: Option<ApiError>,
    #[serde(flatten)]
    rest: Value,
}

#[derive(Debug, Deserialize)]
struct ApiError {
    #[serde(default)]
    err_code: u64,
    #[serde(default)]
    description: String,
}

impl ApiError {
    fn says_no_jetstream(&self) -> bool {
        // Not enabled on the server, not enabled for the account.
        matches!(self.err_code, 10076 | 10039)
    }
}

impl StreamInfo {
    pub(crate) fn log_state(&self) -> LogState {
        let StreamState { first_seq, last_seq, .. } = self.state;
        LogState { created: self.created.clone(), first: first_seq, last: last_seq }
    }

    fn report(&self, name: &str) -> StreamReport {
        let number = |field: &str| self.config.get(field).and_then(Value::as_u64).unwrap_or(0);
        StreamReport {
            name: name.to_owned(),
            created: self.created.clone(),
            first: self.state.first_seq,
            last: self.state.last_seq,
            messages: self.state.messages,
            bytes: self.state.bytes,
            max_bytes: number("max_bytes"),
            max_age: Span(number("max_age") / 1_000_000),
            replicas: usize::try_from(number("num_replicas")).unwrap_or(usize::MAX),
            warnings: config::warnings(name, &self.config),
        }
    }
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

    /// Asks until somebody answers at all.
    async fn ask_api(
        &self,
        what: &'static str,
        stream: &str,
        subject: &str,
        body: Bytes,
        until: Instant,
    ) -> Result<ApiAnswer, StreamError> {
        let failed =
            |reason: String| StreamError::Failed { what, stream: stream.to_owned(), reason };
        loop {
            let attempt = until.min(Instant::now() + ATTEMPT);
            let reason = match self.ask(subject, None, body.clone(), attempt).await {
                Ok(answer) => match serde_json::from_slice::<ApiAnswer>(&answer.payload) {
                    // A cluster that has no leader yet says so with an error of this class.
                    Ok(ApiAnswer { error: Some(error), .. }) if error.err_code == 10008 => {
                        error.description
                    }
                    Ok(answer) => return Ok(answer),
                    Err(error) => return Err(failed(error.to_string())),
                },
                Err(AskError::Denied(denial)) => return Err(StreamError::Denied(denial)),
                Err(AskError::NobodyThere(subject)) => {
                    return Err(StreamError::NoJetStream(format!("nobody answers at {subject}")));
                }
                Err(error @ AskError::Closed) => return Err(failed(error.to_string())),
                Err(error) => error.to_string(),
            };
            if Instant::now() + ASK_AGAIN >= until {
                return Err(failed(reason));
            }
            tokio::time::sleep(ASK_AGAIN).await;
        }
    }

    /// A stream's state, from its leader: by the API's own name or, from an account without
    /// JetStream, by the name under which the state is imported. What worked is tried first the
    /// next time.
    pub(crate) async fn stream_info(
        &self,
        stream: &str,
        until: Instant,
    ) -> Result<StreamInfo, ReadError> {
        let names = [
            self.api(&format!("STREAM.INFO.{stream}")),
            self.subjects().imported_stream_info(stream),
        ];
        let mut turn = self.imported_info().load(Ordering::Relaxed);
        let mut reasons = [None, None];
        loop {
            match self.stream_info_at(&names[usize::from(turn)], until).await {
                Ok(info) => {
                    self.imported_info().store(turn, Ordering::Relaxed);
                    return Ok(info);
                }
                Err(InfoError::Closed) => return Err(ReadError::Closed),
                Err(error) => reasons[usize::from(turn)] = Some(error),
            }
            turn = !turn;
            if let [Some(InfoError::Denied(denial)), Some(other)] = &reasons
                && other.is_final()
            {
                return Err(ReadError::Denied(denial.clone()));
            }
            if Instant::now() + ASK_AGAIN >= until {
                let first = reasons.into_iter().flatten().next();
                let reason = first.map_or_else(String::new, |error| error.to_string());
                return Err(ReadError::TimedOut { reason });
            }
            if reasons.iter().all(Option::is_some) {
                tokio::time::sleep(ASK_AGAIN).await;
            }
        }
    }

    async fn stream_info_at(&self, subject: &str, until: Instant) -> Result<StreamInfo, InfoError> {
        let attempt = until.min(Instant::now() + ATTEMPT);
        let answer = match self.ask(subject, None, Bytes::new(), attempt).await {
            Ok(answer) => answer,
            Err(AskError::Denied(denial)) => return Err(InfoError::Denied(denial)),
            Err(AskError::Closed) => return Err(InfoError::Closed),
            Err(error @ AskError::NobodyThere(_)) => {
                return Err(InfoError::Nobody(error.to_string()));
            }
            Err(error) => return Err(InfoError::NotNow(error.to_string())),
        };
        let answer: ApiAnswer = serde_json::from_slice(&answer.payload)
            .map_err(|error| InfoError::NotNow(format!("{subject} answers nonsense: {error}")))?;
        match answer.error {
            Some(error) if error.says_no_jetstream() => {
                Err(InfoError::Nobody(format!("{subject} answers: {}", error.description)))
            }
            Some(error) => {
                Err(InfoError::NotNow(format!("{subject} answers: {}", error.description)))
            }
            None => serde_json::from_value(answer.rest)
                .map_err(|error| InfoError::NotNow(format!("{subject} answers nonsense: {error}"))),
        }
    }
}

/// Why one name of a stream's state gave nothing.
#[derive(Debug, thiserror::Error)]
enum InfoError {
    #[error("{0}")]
    Denied(Denial),
    #[error("{0}")]
    Nobody(String),
    #[error("{0}")]
    NotNow(String),
    #[error("closed")]
    Closed,
}

impl InfoError {
    /// Whether asking again by this name is of no use.
    fn is_final(&self) -> bool {
        matches!(self, Self::Denied(_) | Self::Nobody(_))
    }
}

fn failure(what: &'static str, stream: &str, error: ApiError) -> StreamError {
    if error.says_no_jetstream() {
        return StreamError::NoJetStream(error.description);
    }
    let reason = format!("{} ({})", error.description, error.err_code);
    StreamError::Failed { what, stream: stream.to_owned(), reason }
}
