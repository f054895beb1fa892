//! Whether a record could be published, found out without publishing one.
//!
//! A publish names the stream that it expects; one that expects another stream is refused by the
//! stream before anything is stored. So that answer means that the publish was permitted, and a
//! missing permission comes as what it is, an event of the connection (PROTOCOL section 4).

use async_nats::HeaderMap;
use bytes::Bytes;
use serde::Deserialize;
use tokio::time::Instant;

use crate::{
    connect::{Bus, Denial},
    inbox::AskError,
};

/// The stream that nobody has: whoever keeps the subject refuses.
const EXPECTED: &str = "LOCKSTEP_REHEARSAL_NOTHING_IS_STORED";

/// The server's number for "expected stream does not match".
const STREAM_MISMATCH: u64 = 10060;

/// What came of a rehearsal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rehearsed {
    /// A record would have been taken.
    Permitted,
    /// The server does not let this user publish there.
    Denied(Denial),
    /// It is not known, and why.
    Unknown(String),
}

#[derive(Deserialize)]
struct Answer {
    error: Option<Refusal>,
}

#[derive(Deserialize)]
struct Refusal {
    #[serde(default)]
    err_code: u64,
    #[serde(default)]
    description: String,
}

impl Bus {
    /// Whether this user may publish to a subject of one of the streams; leaves nothing.
    pub async fn rehearse(&self, subject: &str, until: Instant) -> Rehearsed {
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Expected-Stream", EXPECTED);
        match self.ask(subject, Some(headers), Bytes::new(), until).await {
            Ok(answer) => judge(&answer.payload),
            Err(AskError::Denied(denial)) => Rehearsed::Denied(denial),
            Err(error) => Rehearsed::Unknown(error.to_string()),
        }
    }
}

fn judge(payload: &[u8]) -> Rehearsed {
    match serde_json::from_slice::<Answer>(payload) {
        Ok(Answer { error: Some(Refusal { err_code: STREAM_MISMATCH, .. }) }) => {
            Rehearsed::Permitted
        }
        Ok(Answer { error: Some(refusal) }) => {
            Rehearsed::Unknown(format!("the stream answers: {}", refusal.description))
        }
        Ok(Answer { error: None }) => {
            Rehearsed::Unknown("the server did not look at which stream was expected".to_owned())
        }
        Err(error) => Rehearsed::Unknown(format!("the answer cannot be read: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_awaited_refusal_means_permitted() {
        let mismatch = br#"{"error":{"code":400,"err_code":10060,"description":"x"},"seq":0}"#;
        assert_eq!(judge(mismatch), Rehearsed::Permitted);
        for other in [
            &br#"{"error":{"code":503,"err_code":10077,"description":"full"}}"#[..],
            br#"{"stream":"LOCKSTEP","seq":7}"#,
            b"",
        ] {
            assert!(matches!(judge(other), Rehearsed::Unknown(_)));
        }
    }
}
