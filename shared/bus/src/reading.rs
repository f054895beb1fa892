//! Readings: everything that a filter holds up to one position, by one multi-last direct get
//! (PROTOCOL section 5). Needs no consumer, so it works from an account of its own.
//!
//! Slots are write-once, so "the last message of each subject" is every message.

use std::time::Duration;

use async_nats::Message;
use bytes::Bytes;
use lockstep_shared::{
    codec::{self, Entry, RawMessage},
    id::Sequence,
    subject::STREAM,
};
use tokio::time::Instant;

use crate::{
    connect::{Bus, Denial},
    inbox::AskError,
    unreadable::SUSPICIOUS,
    wire,
};

mod around;

/// How many records the server puts into one answer at most.
pub const MAX_READING: usize = 1024;

/// How soon a lagging follower is asked again (PROTOCOL section 5).
const ASK_AGAIN: Duration = Duration::from_millis(20);

/// How soon a server is asked again that did not answer at all.
const AFTER_SILENCE: Duration = Duration::from_millis(250);

/// How long one answer may take before it is asked for again.
const ATTEMPT: Duration = Duration::from_secs(2);

/// Exactly the filter's records up to a position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// The position; 0 if nothing matches and nothing was expected.
    pub upto: Sequence,
    /// The records in stream order, rubbish included.
    pub entries: Vec<Entry>,
    /// How long after the call the question was sent whose answer this is.
    pub asked_after: Duration,
}

/// Why there is no reading.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// No answer counted before the time was over.
    #[error("cannot read the log: {reason}")]
    TimedOut {
        /// What the last attempt met.
        reason: String,
    },
    /// The filter matches more records than one reading may hold.
    #[error("more than {MAX_READING} records match; this reader has to follow the run instead")]
    TooMany,
    /// The server does not let us ask.
    #[error("cannot read the log: {0}")]
    Denied(Denial),
    /// The connection was closed by this program.
    #[error("cannot read the log: the connection to NATS was closed")]
    Closed,
}

/// One message that a direct get asks for.
#[derive(Debug)]
pub(crate) enum Query<'a> {
    /// The last one whose subject matches.
    Last(&'a str),
    /// The one at this position.
    Sequence(Sequence),
    /// The last one of this subject, asked for in the API's own subject: a permission or an
    /// export can then be given for some subjects only.
    InSubject(&'a str),
}

/// What one multi-last direct get says.
#[derive(Debug)]
enum Answer {
    Complete {
        upto: Sequence,
        stored: Vec<RawMessage>,
    },
    NothingMatches,
    TooMany,
    /// No reading, and why.
    None(String),
}

impl Bus {
    /// Reads the whole filter (stored subjects, wildcards allowed) at a position not below
    /// `floor`: the greatest of the reader's own last stored sequence, the bell's, and any
    /// position it has had; 0 if it expects nothing. Asks again every 20 ms until `until`.
    ///
    /// # Errors
    /// [`ReadError`] if no answer counted in time.
    pub async fn read(
        &self,
        filter: &[String],
        floor: Sequence,
        until: Instant,
    ) -> Result<Reading, ReadError> {
        let called = Instant::now();
        if filter.is_empty() {
            return Ok(self.reading(floor, &[], Duration::ZERO));
        }
        // What a server last said: more than that the last question was not answered in time.
        let (mut lost, mut said) = (0, None);
        loop {
            let asked_after = called.elapsed();
            let (reason, pause) = match self.read_once(filter, until).await {
                Ok(Answer::Complete { upto, stored }) if upto >= floor => {
                    return Ok(self.reading(upto, &stored, asked_after));
                }
                Ok(Answer::NothingMatches) if floor == 0 => {
                    return Ok(self.reading(0, &[], asked_after));
                }
                Ok(Answer::Complete { upto, .. }) => {
                    (format!("the server that answers is at #{upto}, behind #{floor}"), ASK_AGAIN)
                }
                Ok(Answer::NothingMatches) => {
                    (format!("nothing matches, though #{floor} was stored"), ASK_AGAIN)
                }
                Ok(Answer::TooMany) => return Err(ReadError::TooMany),
                Ok(Answer::None(reason)) => (reason, ASK_AGAIN),
                Err(error) => {
                    lost = if error.is_loss() { lost + 1 } else { 0 };
                    let mut reason = worth_retrying(error)?;
                    if lost >= SUSPICIOUS
                        && let Err(suspect) = self.find_unreadable(filter, until).await
                    {
                        reason = suspect;
                    }
                    (reason, AFTER_SILENCE)
                }
            };
            if pause == ASK_AGAIN {
                said = Some(reason.clone());
            }
            if Instant::now() + pause >= until {
                return Err(ReadError::TimedOut { reason: said.unwrap_or(reason) });
            }
            tracing::debug!(reason, "no reading yet; asking again");
            tokio::time::sleep(pause).await;
        }
    }

    /// The record of one slot, or `None` if the server that answered has none there (a follower
    /// may lag). Not a reading: for the plan, and for looking at a slot.
    ///
    /// # Errors
    /// [`ReadError`] if no server answered in time.
    pub async fn get_one(&self, subject: &str, until: Instant) -> Result<Option<Entry>, ReadError> {
        let found = self.direct_get(STREAM, &Query::Last(subject), until).await?;
        Ok(found.and_then(|stored| codec::decode(self.subjects(), &stored)))
    }

    /// One stored message, asked for until a server answers.
    pub(crate) async fn direct_get(
        &self,
        stream: &str,
        query: &Query<'_>,
        until: Instant,
    ) -> Result<Option<RawMessage>, ReadError> {
        let (subject, body) = self.direct_get_question(stream, query);
        let mut lost = if self.is_unreadable(query) { SUSPICIOUS } else { 0 };
        loop {
            if lost >= SUSPICIOUS
                && let Ok(shown) = self.get_around(stream, query, until).await
            {
                return Ok(shown);
            }
            let attempt = until.min(Instant::now() + ATTEMPT);
            let reason = match self.ask(&subject, None, body.clone(), attempt).await {
                Ok(answer) if wire::is_stored(&answer) => return Ok(wire::from_copy(answer)),
                Ok(answer) if status(&answer) == Some(404) => return Ok(None),
                Ok(answer) => unexpected(&answer),
                Err(error) => {
                    lost = if error.is_loss() { lost + 1 } else { 0 };
                    worth_retrying(error)?
                }
            };
            if Instant::now() + AFTER_SILENCE >= until {
                return Err(ReadError::TimedOut { reason });
            }
            tokio::time::sleep(AFTER_SILENCE).await;
        }
    }

    fn direct_get_question(&self, stream: &str, query: &Query<'_>) -> (String, Bytes) {
        let subject = self.api(&format!("DIRECT.GET.{stream}"));
        match query {
            Query::Last(filter) => (subject, json(&serde_json::json!({ "last_by_subj": filter }))),
            Query::Sequence(seq) => (subject, json(&serde_json::json!({ "seq": seq }))),
            Query::InSubject(slot) => (format!("{subject}.{slot}"), Bytes::new()),
        }
    }

    async fn read_once(&self, filter: &[String], until: Instant) -> Result<Answer, AskError> {
        let unreadable = self.unreadable().within(filter);
        if unreadable.is_empty() {
            return self.read_plainly(filter, until).await;
        }
        self.read_around(filter, &unreadable, until).await
    }

    async fn read_plainly(&self, filter: &[String], until: Instant) -> Result<Answer, AskError> {
        let until = until.min(Instant::now() + ATTEMPT);
        let subject = self.api(&format!("DIRECT.GET.{STREAM}"));
        let question = json(&serde_json::json!({ "multi_last": filter }));
        let mut asked = self.ask_many(&subject, None, question, MAX_READING + 1, until).await?;
        let mut collected = Collected::default();
        loop {
            if let Some(answer) = collected.take(asked.next(until).await?) {
                return Ok(answer);
            }
        }
    }

    fn reading(&self, upto: Sequence, stored: &[RawMessage], asked_after: Duration) -> Reading {
        let decode = |message: &RawMessage| codec::decode(self.subjects(), message);
        let mut entries: Vec<Entry> = stored.iter().filter_map(decode).collect();
        entries.sort_by_key(|entry| entry.seq);
        Reading { upto, entries, asked_after }
    }
}

/// The answers of one multi-last direct get, until its end message.
#[derive(Debug, Default)]
struct Collected {
    stored: Vec<RawMessage>,
    /// How many the first one said would come, itself included.
    announced: Option<u64>,
}

impl Collected {
    /// Takes the next message; the answer once it is the end.
    fn take(&mut self, message: Message) -> Option<Answer> {
        if wire::is_stored(&message) {
            let pending = wire::last_number(&message, wire::NUM_PENDING);
            self.announced = self.announced.or(pending.map(|pending| pending + 1));
            return match wire::from_copy(message) {
                Some(stored) => {
                    self.stored.push(stored);
                    None
                }
                None => Some(Answer::None("a record came without its position".to_owned())),
            };
        }
        Some(match status(&message) {
            Some(204) => self.end(&message),
            Some(404) if self.stored.is_empty() => Answer::NothingMatches,
            Some(413) => Answer::TooMany,
            _ => Answer::None(unexpected(&message)),
        })
    }

    /// A reading only if nothing is missing: neither cut off by the server, which the end message
    /// tells, nor lost on the way, which only what the first record announced can tell.
    fn end(&mut self, message: &Message) -> Answer {
        let Some(upto) = wire::last_number(message, wire::UP_TO) else {
            return Answer::None("the end message names no position".to_owned());
        };
        let pending = wire::last_number(message, wire::NUM_PENDING);
        let count = self.stored.len() as u64;
        if pending != Some(0) || self.announced != Some(count) {
            return Answer::None(format!("the answer came incomplete, with {count} records"));
        }
        Answer::Complete { upto, stored: std::mem::take(&mut self.stored) }
    }
}

fn json(question: &serde_json::Value) -> Bytes {
    Bytes::from(question.to_string())
}

fn status(message: &Message) -> Option<u16> {
    message.status.map(|status| status.as_u16())
}

fn unexpected(message: &Message) -> String {
    let code = status(message).map_or_else(|| "no status".to_owned(), |code| code.to_string());
    let text = message.description.as_deref().unwrap_or("no description");
    format!("the server answers {code}: {text}")
}

/// The reason, if asking again may help.
fn worth_retrying(error: AskError) -> Result<String, ReadError> {
    match error {
        AskError::Denied(denial) => Err(ReadError::Denied(denial)),
        AskError::Closed => Err(ReadError::Closed),
        AskError::NobodyThere(subject) => Ok(format!(
            "nobody answers at {subject}; start a lockstep-coordinator, which creates the streams, and see `lockstep doctor`"
        )),
        error => Ok(error.to_string()),
    }
}
