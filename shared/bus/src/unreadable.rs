//! Records whose headers the client library cannot read, and reading around them.
//!
//! The server stores whatever headers a writer sends, and the library gives the connection up over
//! malformed ones: a direct get that includes such a record would end the connection each time,
//! for as long as the log keeps the record. The leader's JSON interface shows any record. So a
//! reader whose connections end asks there which records they are, leaves them out of its direct
//! gets from then on, and takes them in by the other way, as the rubbish that they are.

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
};

use async_nats::{HeaderName, StatusCode};
use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use lockstep_shared::{
    codec::{RawMessage, Via},
    id::Sequence,
};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::{connect::Bus, inbox::AskError, wire};

/// How many connections in a row may be lost over one question, or without anything having been
/// delivered, until the record itself is suspected.
pub(crate) const SUSPICIOUS: u32 = 2;

/// How many subjects are kept in mind; a reader that meets more forgets, and finds them again.
const MAX_KNOWN: usize = 1024;

/// Subjects that hold a record which the client library cannot read.
#[derive(Debug, Default)]
pub(crate) struct Unreadable(Mutex<BTreeSet<String>>);

impl Unreadable {
    /// Those that any of the filters asks for.
    pub(crate) fn within(&self, filters: &[String]) -> Vec<String> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_asked = |subject: &&String| filters.iter().any(|filter| matches(filter, subject));
        known.iter().filter(is_asked).cloned().collect()
    }

    pub(crate) fn add(&self, subject: &str) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MAX_KNOWN {
            known.clear();
        }
        known.insert(subject.to_owned());
    }

    pub(crate) fn remove(&self, subject: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(subject);
    }
}

/// Whether a subject matches a filter with wildcards.
fn matches(filter: &str, subject: &str) -> bool {
    let mut tokens = subject.split('.');
    for wanted in filter.split('.') {
        match (wanted, tokens.next()) {
            (">", Some(_)) => return true,
            ("*", Some(_)) => {}
            (wanted, Some(token)) if wanted == token => {}
            _ => return false,
        }
    }
    tokens.next().is_none()
}

/// A stored message as the leader's JSON interface shows it.
#[derive(Debug)]
pub(crate) struct Shown {
    pub(crate) stored: RawMessage,
    /// Whether the client library can read it too.
    pub(crate) is_readable: bool,
}

/// Why the leader shows nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    #[error(transparent)]
    Ask(#[from] AskError),
    #[error("{0}")]
    Refused(String),
}

impl FetchError {
    /// Whether asking again by this name is of no use.
    fn is_final(&self) -> bool {
        matches!(self, Self::Ask(AskError::Denied(_) | AskError::NobodyThere(_)) | Self::Refused(_))
    }
}

#[derive(Deserialize)]
struct Answer {
    message: Option<Stored>,
    error: Option<Refusal>,
}

#[derive(Deserialize)]
struct Refusal {
    #[serde(default)]
    err_code: u64,
    #[serde(default)]
    description: String,
}

#[derive(Deserialize)]
struct Stored {
    subject: String,
    seq: Sequence,
    time: String,
    #[serde(default)]
    hdrs: String,
    #[serde(default)]
    data: String,
}

/// One message from the stream's leader, whatever its headers; nothing if none matches. Asked by
/// the API's own name or, from an account without JetStream, by the name that it is imported as.
pub(crate) async fn fetch(
    bus: &Bus,
    stream: &str,
    question: &Value,
    until: Instant,
) -> Result<Option<Shown>, FetchError> {
    let own = bus.api(&format!("STREAM.MSG.GET.{stream}"));
    match fetch_at(bus, &own, question, until).await {
        Err(refused) if refused.is_final() => {
            let imported = bus.subjects().imported_message_get(stream);
            // What the API's own name says is what an operator can do something about.
            fetch_at(bus, &imported, question, until).await.map_err(|_| refused)
        }
        shown => shown,
    }
}

async fn fetch_at(
    bus: &Bus,
    subject: &str,
    question: &Value,
    until: Instant,
) -> Result<Option<Shown>, FetchError> {
    let answer = bus.ask(subject, None, Bytes::from(question.to_string()), until).await?;
    let answer: Answer = serde_json::from_slice(&answer.payload)
        .map_err(|error| FetchError::Refused(error.to_string()))?;
    match (answer.message, answer.error) {
        (Some(message), _) => Ok(read(message)),
        (None, Some(Refusal { err_code: 10037, .. }) | None) => Ok(None),
        (None, Some(refusal)) => Err(FetchError::Refused(refusal.description)),
    }
}

/// The last message of a subject.
pub(crate) fn last_of(subject: &str) -> Value {
    json!({ "last_by_subj": subject })
}

fn read(stored: Stored) -> Option<Shown> {
    let block = BASE64_STANDARD.decode(stored.hdrs).ok()?;
    let headers = if block.is_empty() { Some(Vec::new()) } else { headers_in(&block) };
    let is_readable = headers.is_some();
    let stored = RawMessage {
        seq: stored.seq,
        time: wire::parse_time(&stored.time)?,
        subject: stored.subject,
        // None at all if any is malformed: that makes the record rubbish.
        headers: headers.unwrap_or_default(),
        payload: BASE64_STANDARD.decode(stored.data).ok()?,
        via: Via::Consumer,
    };
    Some(Shown { stored, is_readable })
}

/// The headers of a block as the client library reads them; nothing if it would give the
/// connection up over it. Both ways of reading have to judge a record alike.
fn headers_in(block: &[u8]) -> Option<Vec<(String, String)>> {
    let mut lines = std::str::from_utf8(block).ok()?.lines().peekable();
    let status = lines.next()?.strip_prefix("NATS/1.0")?.trim();
    let code = status.split_once(' ').map_or(status, |(code, _)| code.trim());
    if !code.is_empty() {
        code.parse::<StatusCode>().ok()?;
    }
    let mut headers = Vec::new();
    while let Some(line) = lines.next() {
        if line.is_empty() {
            continue;
        }
        let (name, value) = line.split_once(':')?;
        name.parse::<HeaderName>().ok()?;
        let mut value = value.trim_start().to_owned();
        while let Some(more) = lines.next_if(|line| line.starts_with(char::is_whitespace)) {
            value.push_str(more);
        }
        let value = value.trim_end();
        if value.contains('\r') {
            return None;
        }
        headers.push((name.to_owned(), value.to_owned()));
    }
    Some(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_and_malformed_ones_are_noticed() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let good = headers_in(b"NATS/1.0\r\nce-id: a:b\r\nx:y\r\n z\r\n\r\n").unwrap();
        assert_eq!(good, [pair("ce-id", "a:b"), pair("x", "y z")]);
        let status = headers_in(b"NATS/1.0 404 No Messages\r\nx: y\r\n\r\n").unwrap();
        assert_eq!(status, [pair("x", "y")]);
        for bad in [
            &b"NATS/1.0\r\nno colon\r\n\r\n"[..],
            b"NATS/1.0 what\r\n\r\n",
            b"NATS/1.0\r\na b: c\r\n\r\n",
            b"NATS/1.0\r\na: b\rc\r\n\r\n",
            b"\xff\xfe",
            b"",
            b"HTTP/1.1\r\na: b\r\n",
        ] {
            assert_eq!(headers_in(bad), None, "{}", String::from_utf8_lossy(bad));
        }
    }

    #[test]
    fn a_filter_asks_for_what_it_matches() {
        assert!(matches("a.*.c", "a.b.c") && matches("a.>", "a.b.c") && matches("a.b", "a.b"));
        for (filter, subject) in [("a.*", "a.b.c"), ("a.b.c", "a.b"), ("a.>", "a"), ("a.x", "a.b")]
        {
            assert!(!matches(filter, subject), "{filter} {subject}");
        }
    }

    #[test]
    fn no_more_subjects_are_kept_in_mind_than_fit() {
        let known = Unreadable::default();
        for number in 0..=MAX_KNOWN {
            known.add(&format!("a.{number}"));
        }
        assert_eq!(known.within(&["a.*".to_owned()]).len(), 1);
        known.remove(&format!("a.{MAX_KNOWN}"));
        assert!(known.within(&["a.*".to_owned()]).is_empty());
    }
}
