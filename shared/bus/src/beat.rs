//! Beats: an agent's unstored word that it is alive (PROTOCOL section 6).
//!
//! Who listens concludes something from silence, so not being permitted to listen must never look
//! like it: the server says it only as an event of the connection, which is told here in place of
//! beats for as long as it is so.

use std::time::Duration;

use async_nats::Subscriber;
use bytes::Bytes;
use futures::StreamExt;
use lockstep_shared::id::{Epoch, RunKey, StepIndex, WorkflowName};
use serde::{Deserialize, Serialize};
use tokio::{
    sync::broadcast::{self, error::RecvError},
    time::Instant,
};

use crate::{
    connect::{Bus, Denial},
    link::Action,
};

/// How soon a subscription that was refused is tried again: well below what any listener calls
/// silence, so that it knows all the time that it cannot hear, and hears once it may.
const TRY_AGAIN: Duration = Duration::from_secs(5);

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
    subject: String,
    /// Nothing once the connection was closed.
    subscription: Option<Subscriber>,
    denials: broadcast::Receiver<Denial>,
    again: Option<Instant>,
}

/// What comes of listening.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// A beat.
    Beat(RunKey, WorkflowName, Beat),
    /// The server does not let us listen: until now there was no silence, only deafness. Said
    /// again every few seconds for as long as it is so.
    Deaf(Denial),
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

    /// The beats of one run: for who watches it.
    pub async fn beats_of_run(&self, key: &RunKey) -> Beats {
        self.subscribe_beats(self.subjects().beats_of_run(key)).await
    }

    /// One workflow's beats in one run: for an incarnation that stands by.
    pub async fn beats_of(&self, key: &RunKey, workflow: &WorkflowName) -> Beats {
        self.subscribe_beats(self.subjects().beat(key, workflow)).await
    }

    async fn subscribe_beats(&self, subject: String) -> Beats {
        // Before the subscription, so that its refusal is not missed.
        let denials = self.denials();
        let subscription = self.client().subscribe(subject.clone()).await.ok();
        Beats { bus: self.clone(), subject, subscription, denials, again: None }
    }
}

impl Beats {
    /// The next beat, or that none can be heard; cancel-safe. `None` once the connection was
    /// closed.
    pub async fn next(&mut self) -> Option<Heard> {
        loop {
            let message = tokio::select! {
                // Word that we are deaf comes before what may follow from silence.
                biased;
                denial = self.denials.recv() => {
                    if let Some(deaf) = self.refused(denial) {
                        return Some(deaf);
                    }
                    continue;
                }
                () = sleep_until(self.again) => {
                    let subject = self.subject.clone();
                    self.subscription = self.bus.client().subscribe(subject).await.ok();
                    self.again = None;
                    continue;
                }
                message = self.subscription.as_mut()?.next() => message?,
            };
            let Some((key, workflow)) = self.bus.subjects().parse_beat(&message.subject) else {
                continue;
            };
            match serde_json::from_slice(&message.payload) {
                Ok(beat) => return Some(Heard::Beat(key, workflow, beat)),
                Err(error) => tracing::debug!(%key, %workflow, %error, "ignored a beat"),
            }
        }
    }

    fn refused(&mut self, denial: Result<Denial, RecvError>) -> Option<Heard> {
        match denial {
            Ok(denial) if denial.action == Action::Subscribe && denial.subject == self.subject => {
                self.again = Some(Instant::now() + TRY_AGAIN);
                Some(Heard::Deaf(denial))
            }
            // One of those that were missed may have been ours: it is said again if we ask again.
            Err(RecvError::Lagged(_)) => {
                self.again = Some(Instant::now());
                None
            }
            // The bus that we hold keeps it open.
            Ok(_) | Err(RecvError::Closed) => None,
        }
    }
}

async fn sleep_until(instant: Option<Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant).await,
        None => std::future::pending().await,
    }
}
