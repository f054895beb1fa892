//! Past a record whose headers the client library cannot read.
//!
//! The server stores whatever headers a writer sends. The client library gives the connection up
//! over malformed ones, so that a single such record would end every follower for as long as the
//! log keeps it. The leader's JSON interface shows any record; who is suspected is fetched there.

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use lockstep_shared::{
    codec::{RawMessage, Via},
    id::Sequence,
    subject::STREAM,
};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{BUILD_WITHIN, FollowTask};
use crate::{connect::Bus, wire};

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

impl FollowTask {
    /// Reports the next record by the other way. Harmless if it was never the culprit: it is
    /// judged as always.
    pub(super) async fn step_over(&mut self) {
        let position = self.applied.load(std::sync::atomic::Ordering::Acquire);
        let until = Instant::now() + BUILD_WITHIN;
        let mut next: Option<RawMessage> = None;
        for filter in &self.filters {
            let found = self.fetch_next(filter, position + 1, until).await;
            if let Some(found) = found
                && next.as_ref().is_none_or(|next| found.seq < next.seq)
            {
                next = Some(found);
            }
        }
        if let Some(next) = next {
            let (seq, subject) = (next.seq, next.subject.clone());
            tracing::warn!(
                seq,
                subject,
                "connections end at this record; fetched it by another way"
            );
            // Not to be looked for again by the way that ends connections.
            let landmark = self.landmark.clone();
            self.apply(next).await;
            self.landmark = landmark;
        }
    }

    async fn fetch_next(&self, filter: &str, from: Sequence, until: Instant) -> Option<RawMessage> {
        let question = json!({ "seq": from, "next_by_subj": filter });
        fetch(&self.bus, &question, until).await.ok().flatten()
    }
}

/// One message from the leader, whatever its headers; nothing if none matches.
pub(super) async fn fetch(
    bus: &Bus,
    question: &Value,
    until: Instant,
) -> Result<Option<RawMessage>, String> {
    let subject = bus.api(&format!("STREAM.MSG.GET.{STREAM}"));
    let answer = bus.ask(&subject, None, Bytes::from(question.to_string()), until).await;
    let answer = answer.map_err(|error| error.to_string())?;
    let answer: Answer =
        serde_json::from_slice(&answer.payload).map_err(|error| error.to_string())?;
    match (answer.message, answer.error) {
        (Some(message), _) => Ok(read(message)),
        (None, Some(Refusal { err_code: 10037, .. }) | None) => Ok(None),
        (None, Some(refusal)) => Err(refusal.description),
    }
}

fn read(stored: Stored) -> Option<RawMessage> {
    Some(RawMessage {
        seq: stored.seq,
        time: wire::parse_time(&stored.time)?,
        subject: stored.subject,
        headers: read_headers(&BASE64_STANDARD.decode(stored.hdrs).ok()?),
        payload: BASE64_STANDARD.decode(stored.data).ok()?,
        via: Via::Consumer,
    })
}

/// The headers, or none at all if any of them is malformed: that makes the record rubbish.
fn read_headers(bytes: &[u8]) -> Vec<(String, String)> {
    let lines = std::str::from_utf8(bytes).ok().and_then(|text| text.strip_prefix("NATS/1.0\r\n"));
    let pairs = lines.unwrap_or_default().lines().filter(|line| !line.is_empty());
    let headers: Option<Vec<(String, String)>> = pairs
        .map(|line| {
            let (name, value) = line.split_once(':')?;
            Some((name.to_owned(), value.trim().to_owned()))
        })
        .collect();
    headers.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_and_malformed_ones_count_as_none() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let good = read_headers(b"NATS/1.0\r\nce-id: a:b\r\nx:y\r\n\r\n");
        assert_eq!(good, [pair("ce-id", "a:b"), pair("x", "y")]);
        for bad in [&b"NATS/1.0\r\nno colon\r\n\r\n"[..], b"\xff\xfe", b"", b"HTTP/1.1\r\na: b\r\n"]
        {
            assert_eq!(read_headers(bad), []);
        }
    }
}
