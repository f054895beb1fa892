//! Questions to servers and their answers, over one subscription for all of them.
//!
//! Own code rather than the client library's requests: an answer of a direct get is a *stored*
//! message with whatever status line its writer gave it, which the library would take for its
//! own; some questions have many answers; and a refusal or a lost connection must end the wait
//! at once.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use async_nats::{Client, HeaderMap, Message, StatusCode};
use bytes::Bytes;
use futures::StreamExt;
use tokio::{
    sync::{broadcast, mpsc},
    time::Instant,
};
use tokio_util::task::AbortOnDropHandle;

use crate::{
    connect::Bus,
    link::{Action, Denial},
    wire,
};

type Waiting = Arc<Mutex<HashMap<u64, mpsc::Sender<Message>>>>;

/// Where answers arrive.
pub(crate) struct Inbox {
    prefix: String,
    waiting: Waiting,
    next: AtomicU64,
    _router: AbortOnDropHandle<()>,
}

/// One open question.
pub(crate) struct Asked {
    bus: Bus,
    token: u64,
    subject: String,
    generation: u64,
    answers: mpsc::Receiver<Message>,
    denials: broadcast::Receiver<Denial>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskError {
    #[error(transparent)]
    Denied(#[from] Denial),
    #[error("nobody answers at {0}")]
    NobodyThere(String),
    #[error("no answer in time")]
    TimedOut,
    #[error("the connection to NATS was lost")]
    Disconnected,
    #[error("there is no connection to NATS")]
    NotConnected,
    #[error("the connection to NATS was closed")]
    Closed,
    #[error("{bytes} bytes are more than the server's max_payload of {limit}")]
    TooLarge { bytes: usize, limit: usize },
    #[error("{0}")]
    Unsendable(String),
}

impl AskError {
    /// Whether the connection ended over it.
    pub(crate) fn is_loss(&self) -> bool {
        matches!(self, Self::Disconnected)
    }

    /// Whether the question may have reached somebody all the same.
    pub(crate) fn may_have_arrived(&self) -> bool {
        matches!(self, Self::TimedOut | Self::Disconnected)
    }
}

impl Inbox {
    /// Subscribes; `None` if the connection is already closed.
    pub(crate) async fn open(client: &Client) -> Option<Self> {
        let prefix = client.new_inbox();
        let mut answers = client.subscribe(format!("{prefix}.*")).await.ok()?;
        let waiting = Waiting::default();
        let routed = waiting.clone();
        let router = tokio::spawn(async move {
            while let Some(message) = answers.next().await {
                route(&routed, message);
            }
        });
        let next = AtomicU64::new(0);
        Some(Self { prefix, waiting, next, _router: AbortOnDropHandle::new(router) })
    }
}

/// Late answers find nobody waiting and are dropped; so are those beyond what was expected.
fn route(waiting: &Waiting, message: Message) {
    let token = message.subject.rsplit('.').next().and_then(|token| token.parse().ok());
    let waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(asker) = token.and_then(|token: u64| waiting.get(&token)) {
        asker.try_send(message).ok();
    }
}

impl Bus {
    /// Asks once and takes the first answer.
    pub(crate) async fn ask(
        &self,
        subject: &str,
        headers: Option<HeaderMap>,
        payload: Bytes,
        until: Instant,
    ) -> Result<Message, AskError> {
        self.ask_many(subject, headers, payload, 1, until).await?.next(until).await
    }

    /// Asks once; at most `capacity` answers wait to be taken.
    pub(crate) async fn ask_many(
        &self,
        subject: &str,
        headers: Option<HeaderMap>,
        payload: Bytes,
        capacity: usize,
        until: Instant,
    ) -> Result<Asked, AskError> {
        let generation = self.wait_until_up(until).await?;
        self.refuse_oversize(headers.as_ref(), &payload)?;
        let (asked, reply) = self.expect(subject, generation, capacity);
        let client = self.client();
        let sent = async {
            match headers {
                Some(headers) => {
                    let subject = subject.to_owned();
                    client.publish_with_reply_and_headers(subject, reply, headers, payload).await
                }
                None => client.publish_with_reply(subject.to_owned(), reply, payload).await,
            }
        };
        match tokio::time::timeout_at(until, sent).await {
            Ok(Ok(())) => Ok(asked),
            Ok(Err(error)) => Err(AskError::Unsendable(error.to_string())),
            Err(_) => Err(AskError::TimedOut),
        }
    }

    /// The number of the connection that stands.
    async fn wait_until_up(&self, until: Instant) -> Result<u64, AskError> {
        let mut link = self.link();
        let up = link.wait_for(|link| link.up || link.closed);
        match tokio::time::timeout_at(until, up).await {
            Ok(Ok(link)) if link.up => Ok(link.generation),
            Ok(_) => Err(AskError::Closed),
            Err(_) => Err(AskError::NotConnected),
        }
    }

    /// A server answers an oversized message by closing the connection, for everybody.
    fn refuse_oversize(
        &self,
        headers: Option<&HeaderMap>,
        payload: &Bytes,
    ) -> Result<(), AskError> {
        let bytes = payload.len() + headers.map_or(0, wire::header_bytes);
        let limit = self.max_payload();
        if bytes > limit { Err(AskError::TooLarge { bytes, limit }) } else { Ok(()) }
    }

    fn expect(&self, subject: &str, generation: u64, capacity: usize) -> (Asked, String) {
        let inbox = self.inbox();
        let token = inbox.next.fetch_add(1, Ordering::Relaxed);
        let (sender, answers) = mpsc::channel(capacity);
        inbox.waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(token, sender);
        let asked = Asked {
            bus: self.clone(),
            token,
            subject: subject.to_owned(),
            generation,
            answers,
            denials: self.denials(),
        };
        (asked, format!("{}.{token}", inbox.prefix))
    }
}

impl Asked {
    /// The next answer. A refusal or a lost connection ends the wait at once.
    pub(crate) async fn next(&mut self, until: Instant) -> Result<Message, AskError> {
        let mut link = self.bus.link();
        let generation = self.generation;
        let lost = link.wait_for(|link| !link.up || link.generation != generation);
        let denied = refused(&mut self.denials, &self.subject, &self.bus.inbox().prefix);
        tokio::select! {
            biased;
            Some(answer) = self.answers.recv() => {
                if answer.status == Some(StatusCode::NO_RESPONDERS) && !wire::is_stored(&answer) {
                    Err(AskError::NobodyThere(self.subject.clone()))
                } else {
                    Ok(answer)
                }
            }
            denial = denied => Err(AskError::Denied(denial)),
            _ = lost => Err(AskError::Disconnected),
            () = tokio::time::sleep_until(until) => Err(AskError::TimedOut),
        }
    }
}

/// Waits for a refusal of this question or of its answers.
async fn refused(denials: &mut broadcast::Receiver<Denial>, subject: &str, inbox: &str) -> Denial {
    loop {
        match denials.recv().await {
            Ok(denial) => {
                let ours = match denial.action {
                    Action::Publish => denial.subject == subject,
                    Action::Answer | Action::Subscribe => denial.subject.starts_with(inbox),
                };
                if ours {
                    return denial;
                }
            }
            Err(broadcast::error::RecvError::Lagged(_)) => {}
            Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
        }
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        let inbox = self.bus.inbox();
        inbox.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.token);
    }
}
