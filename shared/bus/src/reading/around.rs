//! Readings around records that the client library cannot read (see `unreadable.rs`): the leader
//! says which subjects the filter holds, the readable ones are read as always, and the others are
//! taken in by the leader's JSON interface.

use bytes::Bytes;
use lockstep_shared::{codec::RawMessage, subject::STREAM};
use serde_json::json;
use tokio::time::Instant;

use super::{Answer, Query, ReadError};
use crate::{
    connect::Bus,
    inbox::AskError,
    unreadable::{FetchError, fetch, last_of},
};

impl Bus {
    /// Looks which of the filter's records end connections, and remembers them.
    ///
    /// # Errors
    /// What is suspected and what to do about it, if they cannot be looked at.
    pub(super) async fn find_unreadable(
        &self,
        filter: &[String],
        until: Instant,
    ) -> Result<(), String> {
        let subjects = self.held(filter, until).await.map_err(|error| error.to_string())?;
        for subject in &subjects {
            match fetch(self, STREAM, &last_of(subject), until).await {
                Ok(Some(shown)) if !shown.is_readable => {
                    tracing::warn!(
                        subject,
                        seq = shown.stored.seq,
                        "connections end at this record, whose headers are malformed: it is read by \
                         another way from now on, and counts as rubbish"
                    );
                    self.unreadable().add(subject);
                }
                Ok(_) => {}
                // Lost once more, or not in time: the next try goes on.
                Err(FetchError::Ask(error)) if error.may_have_arrived() => {
                    return Err(error.to_string());
                }
                Err(error) => return Err(self.name_suspect(&subjects, &error, until).await),
            }
        }
        Ok(())
    }

    /// Reads what can be read as always, and the rest by the leader's word, up to one position.
    pub(super) async fn read_around(
        &self,
        filter: &[String],
        unreadable: &[String],
        until: Instant,
    ) -> Result<Answer, AskError> {
        // In this order: what is listed later holds everything up to here.
        let listed = match self.log_state(until).await {
            Ok(state) => self.held(filter, until).await.map(|subjects| (state.last, subjects)),
            Err(error) => Err(error),
        };
        let (upto, subjects) = match listed {
            Ok(listed) => listed,
            Err(ReadError::Closed) => return Err(AskError::Closed),
            Err(ReadError::Denied(denial)) => return Err(AskError::Denied(denial)),
            Err(error) => return Ok(Answer::None(error.to_string())),
        };
        let (apart, plain): (Vec<String>, Vec<String>) =
            subjects.into_iter().partition(|subject| unreadable.contains(subject));
        let mut stored = Vec::new();
        for subject in unreadable {
            if !apart.contains(subject) {
                // It expired, or the log lost it.
                self.unreadable().remove(subject);
            }
        }
        for subject in &apart {
            match self.get_around(STREAM, &Query::Last(subject), until).await {
                Ok(shown) => stored.extend(shown),
                Err(FetchError::Ask(error)) => return Err(error),
                Err(error) => return Ok(Answer::None(error.to_string())),
            }
        }
        if !plain.is_empty() {
            match self.read_plainly(&plain, until).await? {
                Answer::Complete { upto: reached, stored: more } if reached >= upto => {
                    stored.extend(more);
                }
                Answer::Complete { upto: reached, .. } => {
                    let behind =
                        format!("the server that answers is at #{reached}, behind #{upto}");
                    return Ok(Answer::None(behind));
                }
                Answer::NothingMatches => {
                    let behind = "the server that answers lags behind its leader";
                    return Ok(Answer::None(behind.to_owned()));
                }
                other => return Ok(other),
            }
        }
        // What came while this was read belongs to the next reading.
        stored.retain(|message| message.seq <= upto);
        Ok(Answer::Complete { upto, stored })
    }

    /// Whether the one message that is asked for is known to end connections.
    pub(super) fn is_unreadable(&self, query: &Query<'_>) -> bool {
        match query {
            Query::Last(subject) | Query::InSubject(subject) => {
                !self.unreadable().within(&[(*subject).to_owned()]).is_empty()
            }
            Query::Sequence(_) => false,
        }
    }

    /// One message by the leader's JSON interface.
    pub(super) async fn get_around(
        &self,
        stream: &str,
        query: &Query<'_>,
        until: Instant,
    ) -> Result<Option<RawMessage>, FetchError> {
        let question = match query {
            Query::Last(subject) | Query::InSubject(subject) => last_of(subject),
            Query::Sequence(seq) => json!({ "seq": seq }),
        };
        let shown = fetch(self, stream, &question, until).await?;
        if let Some(shown) = &shown {
            if shown.is_readable {
                self.unreadable().remove(&shown.stored.subject);
            } else {
                self.unreadable().add(&shown.stored.subject);
            }
        }
        Ok(shown.map(|shown| shown.stored))
    }

    /// The subjects of a filter that hold a record, by the leader's word.
    async fn held(&self, filter: &[String], until: Instant) -> Result<Vec<String>, ReadError> {
        let mut subjects = Vec::new();
        for filter in filter {
            let question = Bytes::from(json!({ "subjects_filter": filter }).to_string());
            let info = self.stream_info_asked(STREAM, question, until).await?;
            subjects.extend(info.subjects());
        }
        subjects.sort();
        subjects.dedup();
        Ok(subjects)
    }

    /// Without a look at the records: asks for one after the other until the connection ends.
    async fn name_suspect(
        &self,
        subjects: &[String],
        refused: &FetchError,
        until: Instant,
    ) -> String {
        for subject in subjects {
            let read = self.read_plainly(std::slice::from_ref(subject), until).await;
            if read.is_err_and(|error| error.is_loss()) {
                let api = self.api(&format!("STREAM.MSG.GET.{STREAM}"));
                return format!(
                    "the connection ends whenever {subject} is read, whose headers are malformed; \
                     permit this user to publish to {api}, so that the record is read by another \
                     way and skipped (docs/operations.md, \"Permissions\"; now: {refused})"
                );
            }
        }
        "connections end while this is read, but over no single record".to_owned()
    }
}
