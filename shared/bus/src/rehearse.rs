//! Whether something would be permitted, found out without leaving anything.
//!
//! A publish into a stream names the stream that it expects; one that expects another stream is
//! refused by the stream before anything is stored. So that answer means that the publish was
//! permitted. All else is done for a moment, emptily. A missing permission comes as what it is,
//! an event of the connection (PROTOCOL section 4).

use std::time::Duration;

use async_nats::HeaderMap;
use bytes::Bytes;
use lockstep_shared::{
    id::{PipelineName, WorkflowName},
    subject::{BUNDLE_STREAM, STREAM},
};
use serde::Deserialize;
use tokio::{sync::broadcast, time::Instant};

use crate::{
    connect::{Bus, Denial},
    inbox::AskError,
    link::Action,
    reading::{Query, ReadError},
    unreadable::{self, FetchError},
};

/// The stream that nobody has: whoever keeps the subject refuses.
const EXPECTED: &str = "LOCKSTEP_REHEARSAL_NOTHING_IS_STORED";

/// The server's number for "expected stream does not match".
const STREAM_MISMATCH: u64 = 10060;

/// How long a refusal may be on its way through this process once its place in the server's words
/// has passed.
const ON_ITS_WAY: Duration = Duration::from_millis(100);

/// What came of a rehearsal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rehearsed {
    /// It would have been done.
    Permitted,
    /// The server does not let this user.
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
    /// Whether this user may publish to a subject of one of the streams.
    pub async fn rehearse(&self, subject: &str, until: Instant) -> Rehearsed {
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Expected-Stream", EXPECTED);
        match self.ask(subject, Some(headers), Bytes::new(), until).await {
            Ok(answer) => judge(&answer.payload),
            Err(AskError::Denied(denial)) => Rehearsed::Denied(denial),
            Err(error) => Rehearsed::Unknown(error.to_string()),
        }
    }

    /// Whether this user may publish to a subject that no stream keeps: an empty message is sent,
    /// which no listener takes for anything.
    pub async fn rehearse_word(&self, subject: &str, until: Instant) -> Rehearsed {
        let denials = self.denials();
        if let Err(error) = self.client().publish(subject.to_owned(), Bytes::new()).await {
            return Rehearsed::Unknown(error.to_string());
        }
        self.whether_refused(denials, Action::Publish, subject, until).await
    }

    /// Whether this user may subscribe to a subject.
    pub async fn rehearse_listening(&self, subject: &str, until: Instant) -> Rehearsed {
        let denials = self.denials();
        let _subscription = match self.client().subscribe(subject.to_owned()).await {
            Ok(subscription) => subscription,
            Err(error) => return Rehearsed::Unknown(error.to_string()),
        };
        self.whether_refused(denials, Action::Subscribe, subject, until).await
    }

    /// Whether this user may answer to others' inboxes, as who is asked for open runs does.
    pub async fn rehearse_answering(&self, until: Instant) -> Rehearsed {
        self.rehearse_word(&self.client().new_inbox(), until).await
    }

    /// Whether this user may answer the flow control of a consumer; who may not is cut off
    /// whenever there is much to read.
    pub async fn rehearse_flow_control(&self, until: Instant) -> Rehearsed {
        self.rehearse_word(&format!("$JS.FC.{STREAM}.rehearsal"), until).await
    }

    /// Whether this user may look at a single stored record, whatever its headers.
    pub async fn rehearse_look(&self, until: Instant) -> Rehearsed {
        let any = unreadable::last_of(&self.subjects().all_runs());
        match unreadable::fetch(self, STREAM, &any, until).await {
            Ok(_) => Rehearsed::Permitted,
            Err(FetchError::Ask(AskError::Denied(denial))) => Rehearsed::Denied(denial),
            Err(error) => Rehearsed::Unknown(error.to_string()),
        }
    }

    /// Whether this user may read a workflow's bundles.
    pub async fn rehearse_bundle(
        &self,
        pipeline: &PipelineName,
        workflow: &WorkflowName,
        until: Instant,
    ) -> Rehearsed {
        let chunk = self.subjects().bundle(pipeline, workflow, "rehearsal", 1);
        match self.direct_get(BUNDLE_STREAM, &Query::InSubject(&chunk), until).await {
            Ok(_) => Rehearsed::Permitted,
            Err(ReadError::Denied(denial)) => Rehearsed::Denied(denial),
            Err(error) => Rehearsed::Unknown(error.to_string()),
        }
    }

    /// The server answers in turn: what it refuses it has said before it answers what is asked
    /// afterwards, and every role may ask for the log's state.
    async fn whether_refused(
        &self,
        mut denials: broadcast::Receiver<Denial>,
        action: Action,
        subject: &str,
        until: Instant,
    ) -> Rehearsed {
        if let Err(error) = self.log_state(until).await {
            return Rehearsed::Unknown(error.to_string());
        }
        let by = Instant::now() + ON_ITS_WAY;
        while let Ok(Ok(denial)) = tokio::time::timeout_at(by, denials.recv()).await {
            if denial.action == action && denial.subject == subject {
                return Rehearsed::Denied(denial);
            }
        }
        Rehearsed::Permitted
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
