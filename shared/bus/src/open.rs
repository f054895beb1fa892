//! "Which runs of mine are open?": asked by agents and parties, answered by a coordinator that has
//! read to the end (PROTOCOL section 2).

use async_nats::{Subject, Subscriber};
use bytes::Bytes;
use futures::StreamExt;
use lockstep_shared::id::{PartyName, PipelineName, RunId};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::{connect::Bus, inbox::AskError, reading::ReadError};

/// The answer as it travels.
#[derive(Debug, Serialize, Deserialize)]
struct OpenRuns {
    runs: Vec<RunId>,
}

/// The questions that arrive.
pub struct Questions {
    bus: Bus,
    /// Nothing once the connection was closed.
    subscription: Option<Subscriber>,
}

/// One question.
pub struct Question {
    /// The pipeline asked about.
    pub pipeline: PipelineName,
    /// The workflow or foreign party asked about.
    pub party: PartyName,
    bus: Bus,
    reply: Subject,
}

impl Bus {
    /// Asks for the open runs of a party, oldest first; `None` if nobody who knows answered.
    ///
    /// # Errors
    /// [`ReadError::Denied`] or [`ReadError::Closed`].
    pub async fn ask_open(
        &self,
        pipeline: &PipelineName,
        party: &PartyName,
        until: Instant,
    ) -> Result<Option<Vec<RunId>>, ReadError> {
        let subject = self.subjects().open(pipeline, party);
        match self.ask(&subject, None, Bytes::new(), until).await {
            Ok(answer) => {
                let runs = serde_json::from_slice::<OpenRuns>(&answer.payload);
                if let Err(error) = &runs {
                    tracing::warn!(subject, %error, "ignored an answer about open runs");
                }
                Ok(runs.ok().map(|answer| answer.runs))
            }
            Err(AskError::Denied(denial)) => Err(ReadError::Denied(denial)),
            Err(AskError::Closed) => Err(ReadError::Closed),
            Err(error) => {
                tracing::debug!(subject, %error, "nobody told the open runs");
                Ok(None)
            }
        }
    }

    /// Takes the questions from now on. To be called only once everything is read: who does not
    /// know must not be asked.
    pub async fn open_questions(&self) -> Questions {
        let subscription = self.client().subscribe(self.subjects().all_open()).await.ok();
        Questions { bus: self.clone(), subscription }
    }
}

impl Questions {
    /// The next question; cancel-safe. `None` once the connection was closed.
    pub async fn next(&mut self) -> Option<Question> {
        loop {
            let message = self.subscription.as_mut()?.next().await?;
            let about = self.bus.subjects().parse_open(&message.subject);
            if let (Some((pipeline, party)), Some(reply)) = (about, message.reply) {
                return Some(Question { pipeline, party, bus: self.bus.clone(), reply });
            }
        }
    }
}

impl Question {
    /// Answers it; lost without a word if the connection is down, since it will be asked again.
    pub async fn answer(self, runs: &[RunId]) {
        if !self.bus.link().borrow().up {
            return;
        }
        let answer = OpenRuns { runs: runs.to_vec() };
        let body = serde_json::to_vec(&answer).expect("an answer has only string keys");
        if let Err(error) = self.bus.client().publish(self.reply, Bytes::from(body)).await {
            tracing::debug!(%error, "an answer about open runs was not sent");
        }
    }
}
