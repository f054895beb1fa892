//! The bell: republished copies of what is stored tell a reader that there is something to read.
//!
//! A bell may be rung by anybody, late, twice or not at all; only a reading counts.

use std::{
    collections::{BTreeMap, BTreeSet},
    task::Poll,
};

use async_nats::{Message, Subscriber};
use futures::{FutureExt, StreamExt, future::poll_fn};
use lockstep_shared::codec::{self, Entry};
use tokio::sync::watch;

use crate::{
    connect::{Bus, Link},
    wire,
};

/// Subscriptions to the republished copies of a changing set of filters.
pub struct Bell {
    bus: Bus,
    link: watch::Receiver<Link>,
    /// The connection and the losses that the listener has been told of.
    seen: (u64, u64),
    subscriptions: BTreeMap<String, Subscriber>,
}

/// One ring.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ring {
    /// A record was stored; may be taken as read only for appending the next one.
    Copy(Box<Entry>),
    /// Copies may have been missed (overflow, reconnect): make a reading.
    Missed,
}

impl Bus {
    /// A bell that listens to nothing yet.
    pub fn bell(&self) -> Bell {
        let link = self.link();
        let seen = seen(&link.borrow());
        Bell { bus: self.clone(), link, seen, subscriptions: BTreeMap::new() }
    }
}

fn seen(link: &Link) -> (u64, u64) {
    (link.generation, link.overflows)
}

impl Bell {
    /// Listens to exactly these filters (stored subjects, wildcards allowed) from now on; only
    /// what changed costs anything. A reading asked for afterwards misses nothing.
    pub async fn listen(&mut self, filters: &BTreeSet<String>) {
        self.subscriptions.retain(|filter, _| filters.contains(filter));
        for filter in filters {
            if self.subscriptions.contains_key(filter) {
                continue;
            }
            // It fails only once the connection was closed, which `next` reports.
            let live = self.bus.subjects().live(filter);
            if let Ok(subscription) = self.bus.client().subscribe(live).await {
                self.subscriptions.insert(filter.clone(), subscription);
            }
        }
    }

    /// The next ring; cancel-safe. Waits for ever while nothing is stored; `None` once the
    /// connection was closed.
    pub async fn next(&mut self) -> Option<Ring> {
        loop {
            {
                let link = self.link.borrow_and_update();
                if link.closed {
                    return None;
                }
                if link.up && seen(&link) != self.seen {
                    self.seen = seen(&link);
                    drop(link);
                    // What came over the old connection may be of a log that is no more.
                    while next_of(&mut self.subscriptions).now_or_never().is_some() {}
                    return Some(Ring::Missed);
                }
            }
            tokio::select! {
                message = next_of(&mut self.subscriptions) => {
                    if let Some(entry) = self.entry(message) {
                        return Some(Ring::Copy(Box::new(entry)));
                    }
                }
                changed = self.link.changed() => changed.ok()?,
            }
        }
    }

    /// Whoever may publish there can ring; what is no copy of a slot is not even that.
    fn entry(&self, message: Message) -> Option<Entry> {
        let stored_subject = self.bus.subjects().stored(&message.subject)?;
        let copy = wire::from_copy(message).filter(|copy| copy.subject == stored_subject)?;
        codec::decode(self.bus.subjects(), &copy)
    }
}

/// The next message of any subscription; waits for ever if there is none.
async fn next_of(subscriptions: &mut BTreeMap<String, Subscriber>) -> Message {
    poll_fn(|context| {
        for subscription in subscriptions.values_mut() {
            if let Poll::Ready(Some(message)) = subscription.poll_next_unpin(context) {
                return Poll::Ready(message);
            }
        }
        Poll::Pending
    })
    .await
}
