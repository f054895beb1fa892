//! Beats: an agent's unstored word that it is alive (PROTOCOL section 6).

use async_nats::Subscriber;
use bytes::Bytes;
use futures::StreamExt;
use lockstep_shared::id::{Epoch, RunKey, StepIndex, WorkflowName};
use serde::{Deserialize, Serialize};

use crate::connect::Bus;

/// What a beat says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beat {
    /// The incarnation that beats; 0 before it has joined.
    pub epoch: Epoch,
    /// The step it is at, if it is at one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<StepIndex>,
    /// One line for a person: what it is doing now.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub progress: String,
}

/// A subscription to beats.
pub struct Beats {
    bus: Bus,
    /// Nothing once the connection was closed.
    subscription: Option<Subscriber>,
}

impl Bus {
    /// Says that a workflow's agent is alive. Without a connection nothing is said: a beat that
    /// waits for one would tell of a moment long past.
    pub async fn beat(&self, key: &RunKey, workflow: &WorkflowName, beat: &Beat) {
        if !self.link().borrow().up {
            return;
        }
        let body = serde_json::to_vec(beat).expect("a beat has only string keys");
        let subject = self.subjects().beat(key, workflow);
        if let Err(error) = self.client().publish(subject, Bytes::from(body)).await {
            tracing::debug!(%error, "a beat was not sent");
        }
    }

    /// Every agent's beats.
    pub async fn all_beats(&self) -> Beats {
        self.subscribe_beats(self.subjects().all_beats()).await
    }

    /// One workflow's beats in one run: for an incarnation that stands by.
    pub async fn beats_of(&self, key: &RunKey, workflow: &WorkflowName) -> Beats {
        self.subscribe_beats(self.subjects().beat(key, workflow)).await
    }

    async fn subscribe_beats(&self, subject: String) -> Beats {
        Beats { bus: self.clone(), subscription: self.client().subscribe(subject).await.ok() }
    }
}

impl Beats {
    /// The next beat; cancel-safe. `None` once the connection was closed.
    pub async fn next(&mut self) -> Option<(RunKey, WorkflowName, Beat)> {
        loop {
            let message = self.subscription.as_mut()?.next().await?;
            let Some((key, workflow)) = self.bus.subjects().parse_beat(&message.subject) else {
                continue;
            };
            match serde_json::from_slice(&message.payload) {
                Ok(beat) => return Some((key, workflow, beat)),
                Err(error) => tracing::debug!(%key, %workflow, %error, "ignored a beat"),
            }
        }
    }
}
