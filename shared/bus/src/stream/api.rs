//! Questions to the JetStream API about streams, and its answers.

use std::{collections::BTreeMap, sync::atomic::Ordering, time::Duration};

use bytes::Bytes;
use lockstep_shared::id::Sequence;
use serde::Deserialize;
use serde_json::Value;
use tokio::time::Instant;

use super::{StreamError, StreamReport, config};
use crate::{
    connect::{Bus, Denial},
    history::LogState,
    inbox::AskError,
    reading::ReadError,
};

/// How long one answer of the JetStream API may take before it is asked for again.
const ATTEMPT: Duration = Duration::from_secs(2);

/// How soon the API is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(250);

/// The server's answer about a stream.
#[derive(Debug, Deserialize)]
pub(crate) struct StreamInfo {
    created: String,
    pub(super) config: Value,
    state: StreamState,
    #[serde(default)]
    pub(super) ts: Option<String>,
}

#[derive(Debug, Deserialize)]
struct StreamState {
    messages: u64,
    bytes: u64,
    first_seq: Sequence,
    last_seq: Sequence,
    /// Listed only if asked for.
    #[serde(default)]
    subjects: Option<BTreeMap<String, u64>>,
}

/// An answer of the JetStream API, or its error.
#[derive(Debug, Deserialize)]
pub(super) struct ApiAnswer {
    pub(super) error: Option<ApiError>,
    #[serde(flatten)]
    pub(super) rest: Value,
}

#[derive(Debug, Deserialize)]
pub(super) struct ApiError {
    #[serde(default)]
    pub(super) err_code: u64,
    #[serde(default)]
    pub(super) description: String,
}

impl ApiError {
    pub(super) fn says_no_jetstream(&self) -> bool {
        // Not enabled on the server, not enabled for the account.
        matches!(self.err_code, 10076 | 10039)
    }
}

impl StreamInfo {
    pub(crate) fn log_state(&self) -> LogState {
        let StreamState { first_seq, last_seq, .. } = self.state;
        LogState { created: self.created.clone(), first: first_seq, last: last_seq }
    }

    /// The subjects that were asked for and hold a message.
    pub(crate) fn subjects(self) -> impl Iterator<Item = String> {
        self.state.subjects.into_iter().flatten().map(|(subject, _)| subject)
    }

    pub(super) fn report(&self, name: &str) -> StreamReport {
        let number = |field: &str| self.config.get(field).and_then(Value::as_u64).unwrap_or(0);
        StreamReport {
            name: name.to_owned(),
            created: self.created.clone(),
            first: self.state.first_seq,
            last: self.state.last_seq,
            messages: self.state.messages,
            bytes: self.state.bytes,
            max_bytes: number("max_bytes"),
            max_age: config::max_age(&self.config),
            replicas: usize::try_from(number("num_replicas")).unwrap_or(usize::MAX),
            warnings: config::warnings(name, &self.config),
        }
    }
}

impl Bus {
    /// Asks until somebody answers at all.
    pub(super) async fn ask_api(
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
        self.stream_info_asked(stream, Bytes::new(), until).await
    }

    /// The same, with a question of its own.
    pub(crate) async fn stream_info_asked(
        &self,
        stream: &str,
        question: Bytes,
        until: Instant,
    ) -> Result<StreamInfo, ReadError> {
        let names = [
            self.api(&format!("STREAM.INFO.{stream}")),
            self.subjects().imported_stream_info(stream),
        ];
        let mut turn = self.imported_info().load(Ordering::Relaxed);
        let mut reasons = [None, None];
        loop {
            match self.stream_info_at(&names[usize::from(turn)], question.clone(), until).await {
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

    async fn stream_info_at(
        &self,
        subject: &str,
        question: Bytes,
        until: Instant,
    ) -> Result<StreamInfo, InfoError> {
        let attempt = until.min(Instant::now() + ATTEMPT);
        let answer = match self.ask(subject, None, question, attempt).await {
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
