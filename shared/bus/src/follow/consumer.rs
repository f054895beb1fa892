//! One ordered push consumer: made, taken from in order, dropped.

use std::time::Duration;

use async_nats::{Message, StatusCode, Subscriber};
use bytes::Bytes;
use futures::StreamExt;
use lockstep_shared::{id::Sequence, subject::STREAM};
use serde::Deserialize;
use serde_json::json;
use tokio::time::Instant;

use super::{Content, End, Follow, FollowTask};
use crate::wire;

/// How often the server says that the consumer lives when there is nothing to deliver.
const HEARTBEAT_EVERY: Duration = Duration::from_secs(5);

/// How long silence lasts until the consumer counts as lost.
const SILENT_FOR: Duration = Duration::from_secs(12);

/// How long the server keeps a consumer that nobody listens to.
const KEPT_FOR: Duration = Duration::from_secs(30);

/// Names the last message delivered to this consumer, in a heartbeat.
const LAST_CONSUMER: &str = "Nats-Last-Consumer";

/// Where a stalled consumer waits for a word.
const STALLED: &str = "Nats-Consumer-Stalled";

/// A consumer that was just made.
pub(super) struct Consumer {
    pub(super) name: String,
    subscription: Subscriber,
    generation: u64,
    /// How many matching messages stood before it.
    pending: u64,
}

#[derive(Deserialize)]
struct Created {
    #[serde(default)]
    num_pending: u64,
    error: Option<Refusal>,
}

#[derive(Deserialize)]
struct Refusal {
    #[serde(default)]
    description: String,
}

impl FollowTask {
    pub(super) async fn make_consumer(
        &self,
        from: Sequence,
        generation: u64,
        deadline: Instant,
    ) -> Result<Consumer, String> {
        let client = self.bus.client();
        let deliver_to = client.new_inbox();
        let subscription =
            client.subscribe(deliver_to.clone()).await.map_err(|error| error.to_string())?;
        let name = format!("lockstep-{}", uuid::Uuid::now_v7().simple());
        let subject = self.bus.api(&format!("CONSUMER.CREATE.{STREAM}.{name}"));
        let nanos = |span: Duration| u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        let question = json!({
            "stream_name": STREAM,
            "action": "create",
            "config": {
                "name": name,
                "description": "lockstep follows runs",
                "deliver_subject": deliver_to,
                "deliver_policy": "by_start_sequence",
                "opt_start_seq": from,
                "ack_policy": "none",
                "max_deliver": 1,
                "replay_policy": "instant",
                "filter_subjects": self.filters,
                "headers_only": self.content == Content::Headings,
                "flow_control": true,
                "idle_heartbeat": nanos(HEARTBEAT_EVERY),
                "inactive_threshold": nanos(KEPT_FOR),
                "mem_storage": true,
                "num_replicas": 1,
            },
        });
        let question = Bytes::from(question.to_string());
        let answer = self.bus.ask(&subject, None, question, deadline).await;
        let answer = answer.map_err(|error| format!("cannot make a consumer: {error}"))?;
        let created: Created = serde_json::from_slice(&answer.payload)
            .map_err(|error| format!("cannot make a consumer: {error}"))?;
        match created.error {
            None => Ok(Consumer { name, subscription, generation, pending: created.num_pending }),
            Some(refusal) => Err(format!("cannot make a consumer: {}", refusal.description)),
        }
    }

    /// Takes what the consumer delivers, in order and without a gap, until it is lost. `last` was
    /// the log's last position before the consumer was made.
    pub(super) async fn deliver(&mut self, mut consumer: Consumer, last: Sequence) -> End {
        let mut link = self.bus.link();
        let generation = consumer.generation;
        let mut delivered = 0;
        let mut caught_up = false;
        if consumer.pending == 0 {
            caught_up = true;
            if !self.report(Follow::CaughtUp { upto: last, generation }).await {
                return End::Over;
            }
        }
        loop {
            let changed = link.wait_for(|link| !link.up || link.generation != generation);
            let message = tokio::select! {
                biased;
                changed = changed => match changed {
                    Ok(link) if !link.closed => return End::Lost("the connection was lost".to_owned()),
                    _ => return End::Over,
                },
                message = consumer.subscription.next() => message,
                () = tokio::time::sleep(SILENT_FOR) => {
                    return End::Lost(format!("silent for {}s", SILENT_FOR.as_secs()));
                }
            };
            let Some(message) = message else {
                return End::Lost("the subscription ended".to_owned());
            };
            // A stored message may carry any status line: where it stands tells it from the
            // server's own words.
            if wire::is_delivery(&message) {
                let Some((delivery, stored)) = wire::from_consumer(message) else {
                    return End::Lost("a message came without its position".to_owned());
                };
                if delivery.consumer_seq != delivered + 1 {
                    return End::Lost(format!("gap behind #{delivered} of the consumer"));
                }
                delivered = delivery.consumer_seq;
                if !self.apply(stored).await {
                    return End::Over;
                }
                if delivery.pending == 0 && !caught_up {
                    caught_up = true;
                    let upto = delivery.stream_seq.max(last);
                    if !self.report(Follow::CaughtUp { upto, generation }).await {
                        return End::Over;
                    }
                }
            } else if let Some(why) = self.control(&message, delivered).await {
                return End::Lost(why);
            }
        }
    }

    /// Answers flow control and looks at heartbeats; why the consumer is lost, if it is.
    async fn control(&self, message: &Message, delivered: u64) -> Option<String> {
        if message.status != Some(StatusCode::IDLE_HEARTBEAT) {
            let text = message.description.as_deref().unwrap_or("no description");
            return Some(format!("the server ended the consumer: {text}"));
        }
        let stalled = wire::last(message, STALLED).map(str::to_owned);
        if let Some(subject) = stalled.or(message.reply.as_ref().map(ToString::to_string)) {
            // A lost answer shows as silence, which ends the consumer.
            self.bus.client().publish(subject, Bytes::new()).await.ok();
        }
        match wire::last_number(message, LAST_CONSUMER) {
            Some(last) if last != delivered => {
                Some(format!("gap behind #{delivered} of the consumer"))
            }
            _ => None,
        }
    }

    /// Best effort: the server drops it by itself soon after.
    pub(super) async fn drop_consumer(&self, name: &str) {
        if self.bus.link().borrow().up {
            let subject = self.bus.api(&format!("CONSUMER.DELETE.{STREAM}.{name}"));
            self.bus.client().publish(subject, Bytes::new()).await.ok();
        }
    }
}
