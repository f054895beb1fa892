//! What changes of the connection mean.

use lockstep_bus::Link;
use tokio::sync::watch;

/// The connection's state, change by change.
pub(crate) struct Links {
    link: watch::Receiver<Link>,
    told: Told,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Told {
    up: bool,
    generation: u64,
    overflows: u64,
}

impl From<&Link> for Told {
    fn from(link: &Link) -> Self {
        Self { up: link.up, generation: link.generation, overflows: link.overflows }
    }
}

/// One change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LinkChange {
    /// It is lost.
    Lost,
    /// It stands again; perhaps at another server, perhaps with another log behind it.
    Remade,
    /// It stood all the time, but messages were lost because nobody took them in time.
    Overflowed,
}

impl Links {
    pub(crate) fn new(mut link: watch::Receiver<Link>) -> Self {
        let told = Told::from(&*link.borrow_and_update());
        Self { link, told }
    }

    /// Whether the connection of this number stands now, and no later one.
    pub(crate) fn is_current(&self, generation: u64) -> bool {
        let link = self.link.borrow();
        link.up && link.generation == generation
    }

    /// The next change; cancel-safe. `None` once it is closed for good.
    pub(crate) async fn next(&mut self) -> Option<LinkChange> {
        loop {
            self.link.changed().await.ok()?;
            let link = self.link.borrow_and_update();
            if link.closed {
                return None;
            }
            let now = Told::from(&*link);
            let before = std::mem::replace(&mut self.told, now);
            if !now.up && before.up {
                return Some(LinkChange::Lost);
            }
            if now.up && (now.generation != before.generation || !before.up) {
                return Some(LinkChange::Remade);
            }
            if now.up && now.overflows != before.overflows {
                return Some(LinkChange::Overflowed);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn up(generation: u64, overflows: u64) -> Link {
        Link { up: true, generation, overflows, ..Link::default() }
    }

    #[tokio::test]
    async fn only_the_connection_that_stands_is_current() {
        let (sender, receiver) = watch::channel(up(1, 0));
        let links = Links::new(receiver);
        assert!(links.is_current(1));
        sender.send_replace(Link { up: false, ..up(1, 0) });
        assert!(!links.is_current(1));
        sender.send_replace(up(2, 0));
        assert!(!links.is_current(1) && links.is_current(2));
    }

    #[tokio::test]
    async fn every_change_is_told_once_also_a_loss_that_nobody_saw() {
        let (sender, receiver) = watch::channel(up(1, 0));
        let mut links = Links::new(receiver);
        sender.send_replace(Link { up: false, ..up(1, 0) });
        assert_eq!(links.next().await, Some(LinkChange::Lost));
        sender.send_replace(up(2, 0));
        assert_eq!(links.next().await, Some(LinkChange::Remade));
        sender.send_replace(Link { up: false, ..up(2, 0) });
        sender.send_replace(up(3, 0));
        assert_eq!(links.next().await, Some(LinkChange::Remade));
        sender.send_replace(up(3, 1));
        assert_eq!(links.next().await, Some(LinkChange::Overflowed));
        sender.send_replace(Link { closed: true, ..up(3, 1) });
        assert_eq!(links.next().await, None);
    }
}
