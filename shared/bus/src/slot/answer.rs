//! What a stream's answer to one attempt says about the slot.

use async_nats::Message;
use lockstep_shared::id::Sequence;
use serde::Deserialize;

/// What one attempt says about the slot.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Stored(Sequence),
    /// A message of this id was stored before, at this position.
    Duplicate(Sequence),
    Taken,
    Full(String),
    /// Not now.
    NotYet(String),
    /// Never.
    Never(String),
}

#[derive(Deserialize)]
struct PubAck {
    #[serde(default)]
    stream: String,
    #[serde(default)]
    seq: Sequence,
    #[serde(default)]
    duplicate: bool,
    error: Option<ApiError>,
}

#[derive(Deserialize)]
struct ApiError {
    #[serde(default)]
    err_code: u64,
    #[serde(default)]
    description: String,
}

/// What the acknowledgement says; anything odd about it is no acknowledgement.
pub(super) fn judge(answer: &Message, stream: &str) -> Answer {
    let Ok(ack) = serde_json::from_slice::<PubAck>(&answer.payload) else {
        return Answer::NotYet("what answered is no stream".to_owned());
    };
    if let Some(error) = ack.error {
        return judge_error(error);
    }
    if ack.stream != stream || ack.seq == 0 {
        return Answer::NotYet(format!("stream {:?} answered instead of {stream}", ack.stream));
    }
    if ack.duplicate { Answer::Duplicate(ack.seq) } else { Answer::Stored(ack.seq) }
}

/// The server has one code for several refusals; only its words tell them apart.
fn judge_error(error: ApiError) -> Answer {
    let ApiError { err_code, description } = error;
    match err_code {
        10077 if description.contains("per subject") => Answer::Taken,
        // Store failed (by size), account limits, storage limits.
        10077 | 10002 | 10028 | 10047 => Answer::Full(description),
        10054 => Answer::Never(description),
        _ => Answer::NotYet(format!("{description} ({err_code})")),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn judge_text(text: &str) -> Answer {
        let message = Message {
            subject: "x".into(),
            reply: None,
            payload: Bytes::copy_from_slice(text.as_bytes()),
            headers: None,
            status: None,
            description: None,
            length: 0,
        };
        judge(&message, "LOCKSTEP")
    }

    #[test]
    fn the_same_error_code_means_taken_or_full_by_its_words() {
        let taken = r#"{"error":{"code":503,"err_code":10077,"description":"maximum messages per subject exceeded"}}"#;
        assert_eq!(judge_text(taken), Answer::Taken);
        let full =
            r#"{"error":{"code":503,"err_code":10077,"description":"maximum bytes exceeded"}}"#;
        assert_eq!(judge_text(full), Answer::Full("maximum bytes exceeded".to_owned()));
    }

    #[test]
    fn only_this_stream_acknowledges() {
        assert_eq!(judge_text(r#"{"stream":"LOCKSTEP","seq":3}"#), Answer::Stored(3));
        let duplicate = r#"{"stream":"LOCKSTEP","seq":3,"duplicate":true}"#;
        assert_eq!(judge_text(duplicate), Answer::Duplicate(3));
        for odd in [r#"{"stream":"OTHER","seq":3}"#, r#"{"stream":"LOCKSTEP"}"#, "", "[]", "ok"] {
            assert!(matches!(judge_text(odd), Answer::NotYet(_)), "{odd}");
        }
    }
}
