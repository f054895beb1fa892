//! Past a record whose headers the client library cannot read.
//!
//! The server stores whatever headers a writer sends. The client library gives the connection up
//! over malformed ones, so that a single such record would end every follower for as long as the
//! log keeps it. The leader's JSON interface shows any record; who is suspected is fetched there.

use lockstep_shared::{codec::RawMessage, id::Sequence, subject::STREAM};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{BUILD_WITHIN, FollowTask};
use crate::{connect::Bus, unreadable};

impl FollowTask {
    /// Reports the next record by the other way. Harmless if it was never the culprit: it is
    /// judged as always.
    ///
    /// # Errors
    /// What must be done to look at it by the other way.
    pub(super) async fn step_over(&mut self) -> Result<(), String> {
        let position = self.applied.load(std::sync::atomic::Ordering::Acquire);
        let until = Instant::now() + BUILD_WITHIN;
        let mut next: Option<RawMessage> = None;
        for filter in &self.filters {
            let found = self.fetch_next(filter, position + 1, until).await?;
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
        Ok(())
    }

    async fn fetch_next(
        &self,
        filter: &str,
        from: Sequence,
        until: Instant,
    ) -> Result<Option<RawMessage>, String> {
        let question = json!({ "seq": from, "next_by_subj": filter });
        let found = fetch(&self.bus, &question, until).await;
        found.map_err(|error| {
            format!(
                "connections end behind #{}, perhaps at a record with malformed headers, and it \
                 cannot be looked at by another way: {error}",
                from - 1
            )
        })
    }
}

/// One message from the leader, whatever its headers; nothing if none matches.
pub(super) async fn fetch(
    bus: &Bus,
    question: &Value,
    until: Instant,
) -> Result<Option<RawMessage>, String> {
    let shown = unreadable::fetch(bus, STREAM, question, until).await;
    shown.map(|shown| shown.map(|shown| shown.stored)).map_err(|error| error.to_string())
}
