//! What changes of the connection mean.

use lockstep_bus::Link;
use lockstep_coordinator_core::Event;
use tokio::sync::watch;

/// The connection's state, as events.
pub(crate) struct Links {
    link: watch::Receiver<Link>,
    told: (bool, u64),
}

impl Links {
    pub(crate) fn new(mut link: watch::Receiver<Link>) -> Self {
        let now = link.borrow_and_update().clone();
        Self { link, told: (now.up, now.generation) }
    }

    /// Whether it stands at this moment, as the first event.
    pub(crate) fn first(&self) -> Event {
        if self.told.0 { Event::Connected } else { Event::Disconnected }
    }

    /// The next change; cancel-safe. `None` once it is closed for good.
    pub(crate) async fn next(&mut self) -> Option<Event> {
        loop {
            self.link.changed().await.ok()?;
            let link = self.link.borrow_and_update().clone();
            if link.closed {
                return None;
            }
            let now = (link.up, link.generation);
            if now != std::mem::replace(&mut self.told, now) {
                return Some(if link.up { Event::Connected } else { Event::Disconnected });
            }
        }
    }
}
