//! Filling one write-once slot, of either stream, until it is known what it holds.

mod answer;
mod attempts;

use std::time::Duration;

use async_nats::{HeaderMap, HeaderName, HeaderValue};
use bytes::Bytes;
use lockstep_shared::{codec::RawMessage, id::Sequence};
use tokio::time::Instant;

use self::{
    answer::{Answer, judge},
    attempts::{Attempts, Failure},
};
use crate::{
    append::AppendError,
    connect::Bus,
    inbox::AskError,
    pauses::pauses,
    reading::{Query, ReadError},
    wire,
};

/// The shortest and longest pause between two attempts (PROTOCOL section 4).
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// How long one attempt waits for its acknowledgement before the same bytes are sent again.
const ATTEMPT: Duration = Duration::from_secs(2);

/// How far a follower may lag behind what the leader acknowledged (PROTOCOL section 4).
const LAG: Duration = Duration::from_secs(5);

/// How soon a lagging follower is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(20);

/// What is to stand in a slot.
pub(crate) struct SlotWrite<'a> {
    pub(crate) stream: &'a str,
    pub(crate) subject: &'a str,
    /// The message id of the first attempts.
    pub(crate) event: &'a str,
    /// All headers but the message id.
    pub(crate) headers: &'a [(String, String)],
    pub(crate) payload: &'a [u8],
}

/// What stands in it.
pub(crate) enum Holds {
    Ours(Sequence),
    Other(RawMessage),
}

impl Bus {
    /// Publishes until it is known what the slot holds; `ours` recognises what we wrote.
    pub(crate) async fn fill_slot(
        &self,
        write: &SlotWrite<'_>,
        ours: impl Fn(&RawMessage) -> bool,
        until: Instant,
    ) -> Result<Holds, AppendError> {
        let mut message_id = write.event.to_owned();
        let mut attempts = Attempts::default();
        let mut pauses = pauses(PAUSES.0, PAUSES.1);
        loop {
            match self.publish_once(write, &message_id, until).await {
                Ok(Answer::Stored(seq)) => return Ok(Holds::Ours(seq)),
                Ok(Answer::Taken) => match self.read_back(write, until).await? {
                    Some(stored) => return Ok(judged(stored, &ours)),
                    None => attempts.note("the slot is taken, but no server shows by what"),
                },
                Ok(Answer::Duplicate(seq)) => match self.find_duplicate(write, seq, until).await? {
                    Some(stored) => return Ok(judged(stored, &ours)),
                    None => {
                        tracing::warn!(
                            subject = write.subject,
                            seq,
                            "this message id was used elsewhere; publishing under a fresh one"
                        );
                        message_id = uuid::Uuid::now_v7().to_string();
                        continue;
                    }
                },
                Ok(Answer::Full(reason)) => attempts.last = Some(Failure::Full(reason)),
                Ok(Answer::NotYet(reason)) => attempts.note(&reason),
                Ok(Answer::Never(reason)) => {
                    return Err(AppendError::Refused { subject: write.subject.to_owned(), reason });
                }
                Err(error) => attempts.fail(write, error)?,
            }
            let pause = pauses.next().unwrap_or(PAUSES.1);
            if Instant::now() + pause >= until {
                return Err(attempts.give_up(write));
            }
            tracing::debug!(subject = write.subject, ?pause, "not appended yet; trying again");
            tokio::time::sleep(pause).await;
        }
    }

    async fn publish_once(
        &self,
        write: &SlotWrite<'_>,
        message_id: &str,
        until: Instant,
    ) -> Result<Answer, AskError> {
        let headers = headers(write, message_id)?;
        let payload = Bytes::copy_from_slice(write.payload);
        let until = until.min(Instant::now() + ATTEMPT);
        let answer = self.ask(write.subject, Some(headers), payload, until).await?;
        Ok(judge(&answer, write.stream))
    }

    /// What the slot holds, once a server shows it; a follower may lag.
    async fn read_back(
        &self,
        write: &SlotWrite<'_>,
        until: Instant,
    ) -> Result<Option<RawMessage>, AppendError> {
        let until = until.min(Instant::now() + LAG);
        loop {
            let found = self.look(write, &Query::Last(write.subject), until).await?;
            if found.is_some() || Instant::now() + ASK_AGAIN >= until {
                return Ok(found);
            }
            tokio::time::sleep(ASK_AGAIN).await;
        }
    }

    /// What the slot holds, or `None` if the message of this id stands elsewhere. The position in
    /// the acknowledgement settles it, however far the answering server lags.
    async fn find_duplicate(
        &self,
        write: &SlotWrite<'_>,
        seq: Sequence,
        until: Instant,
    ) -> Result<Option<RawMessage>, AppendError> {
        let until = until.min(Instant::now() + LAG);
        loop {
            if let Some(stored) = self.look(write, &Query::Last(write.subject), until).await? {
                return Ok(Some(stored));
            }
            match self.look(write, &Query::Sequence(seq), until).await? {
                Some(stored) if stored.subject != write.subject => return Ok(None),
                Some(stored) => return Ok(Some(stored)),
                None if Instant::now() + ASK_AGAIN >= until => return Ok(None),
                None => tokio::time::sleep(ASK_AGAIN).await,
            }
        }
    }

    /// One direct get; only a refusal is an error, since the record may well be stored.
    async fn look(
        &self,
        write: &SlotWrite<'_>,
        query: &Query<'_>,
        until: Instant,
    ) -> Result<Option<RawMessage>, AppendError> {
        let subject = write.subject.to_owned();
        match self.direct_get(write.stream, query, until).await {
            Ok(found) => Ok(found),
            Err(ReadError::Denied(denial)) => Err(AppendError::InDoubt {
                subject,
                reason: format!("the slot is taken, but {denial}"),
            }),
            Err(error) => {
                tracing::debug!(subject, %error, "cannot look at the slot yet");
                Ok(None)
            }
        }
    }
}

fn judged(stored: RawMessage, ours: impl Fn(&RawMessage) -> bool) -> Holds {
    if ours(&stored) { Holds::Ours(stored.seq) } else { Holds::Other(stored) }
}

fn headers(write: &SlotWrite<'_>, message_id: &str) -> Result<HeaderMap, AskError> {
    let mut headers = HeaderMap::new();
    let id = (wire::MESSAGE_ID, message_id);
    let given = write.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    for (name, value) in given.chain([id]) {
        let unsendable = || AskError::Unsendable(format!("the header {name:?} cannot be sent"));
        let name: HeaderName = name.parse().map_err(|_| unsendable())?;
        let value: HeaderValue = value.parse().map_err(|_| unsendable())?;
        headers.append(name, value);
    }
    Ok(headers)
}
