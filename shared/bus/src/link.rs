//! What the connection is doing, kept where everybody can see it, and every event of it logged.

use std::{
    collections::BTreeSet,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use async_nats::{Event, ServerError};
use tokio::sync::{broadcast, watch};

/// What the connection is doing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Link {
    /// Whether it stands.
    pub up: bool,
    /// Whether this program closed it for good.
    pub closed: bool,
    /// How often it has been made, counted from 1: a new number is a reconnect.
    pub generation: u64,
    /// How often copies or answers were lost because nobody took them in time.
    pub overflows: u64,
    /// The last thing that the server refused, with a running number.
    pub denial: Option<(u64, Denial)>,
}

/// Something that the server did not let us do; it comes only as an event of the connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// What was refused.
    pub action: Action,
    /// The subject.
    pub subject: String,
    /// The server's own words.
    pub text: String,
}

/// What a server can refuse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Action {
    /// To publish there.
    Publish,
    /// To have answers sent there.
    Answer,
    /// To subscribe there.
    Subscribe,
}

impl fmt::Display for Denial {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = match self.action {
            Action::Publish => "publish to",
            Action::Answer => "receive answers at",
            Action::Subscribe => "subscribe to",
        };
        write!(
            formatter,
            "NATS does not permit this user to {verb} {}; grant it in the server's configuration (docs/operations.md lists what each role needs)",
            self.subject
        )
    }
}

impl std::error::Error for Denial {}

impl Denial {
    /// Reads the server's words; nothing if they speak of something else.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix("Permissions Violation for ")?;
        let (action, rest) = [
            ("Publish with Reply of ", Action::Answer),
            ("Publish to ", Action::Publish),
            ("Subscription to ", Action::Subscribe),
        ]
        .into_iter()
        .find_map(|(verb, action)| Some((action, rest.strip_prefix(verb)?)))?;
        let subject = rest.split('"').nth(1)?.to_owned();
        Some(Self { action, subject, text: text.to_owned() })
    }
}

/// Turns events into the state of the link, refusals and log lines.
#[derive(Clone)]
pub(crate) struct LinkWatcher {
    urls: String,
    link: watch::Sender<Link>,
    denials: broadcast::Sender<Denial>,
    told: Arc<Mutex<Told>>,
}

/// Which refusals were logged loudly on this connection: what is tried again and again is not.
#[derive(Debug, Default)]
struct Told(BTreeSet<(Action, String)>);

/// How many are kept in mind; after that they are forgotten, and said again.
const MAX_TOLD: usize = 256;

impl Told {
    fn is_new(&mut self, denial: &Denial) -> bool {
        if self.0.len() >= MAX_TOLD {
            self.0.clear();
        }
        self.0.insert((denial.action, denial.subject.clone()))
    }
}

impl LinkWatcher {
    pub(crate) fn new(urls: &str, denials_kept: usize) -> Self {
        Self {
            urls: urls.to_owned(),
            link: watch::Sender::new(Link::default()),
            denials: broadcast::Sender::new(denials_kept),
            told: Arc::default(),
        }
    }

    pub(crate) fn link(&self) -> watch::Receiver<Link> {
        self.link.subscribe()
    }

    pub(crate) fn denials(&self) -> broadcast::Sender<Denial> {
        self.denials.clone()
    }

    pub(crate) fn notice(&self, event: &Event) {
        let urls = self.urls.as_str();
        match event {
            Event::Connected => {
                *self.told.lock().unwrap_or_else(PoisonError::into_inner) = Told::default();
                self.link.send_modify(|link| {
                    link.up = true;
                    link.generation += 1;
                });
                let generation = self.link.borrow().generation;
                tracing::info!(urls, generation, "connected to NATS");
            }
            Event::Disconnected => {
                self.link.send_modify(|link| link.up = false);
                tracing::warn!(urls, "lost the connection to NATS; connecting again");
            }
            Event::Closed => {
                self.link.send_modify(|link| {
                    link.up = false;
                    link.closed = true;
                });
                tracing::info!(urls, "closed the connection to NATS");
            }
            Event::SlowConsumer(_) => {
                self.link.send_modify(|link| link.overflows += 1);
                tracing::warn!(
                    urls,
                    "messages from NATS came faster than they were taken; reading again"
                );
            }
            Event::ServerError(ServerError::Other(text)) => self.notice_error(text),
            Event::ServerError(error) => tracing::warn!(urls, %error, "NATS reports an error"),
            Event::ClientError(error) => tracing::warn!(urls, %error, "NATS is out of reach"),
            Event::LameDuckMode => tracing::info!(urls, "this NATS server is shutting down"),
            Event::Draining => tracing::debug!(urls, "closing the connection to NATS"),
        }
    }

    fn notice_error(&self, text: &str) {
        let Some(denial) = Denial::parse(text) else {
            tracing::warn!(urls = self.urls, error = text, "NATS reports an error");
            return;
        };
        // Whoever asked for it says what it means; some questions are only tried.
        if self.told.lock().unwrap_or_else(PoisonError::into_inner).is_new(&denial) {
            tracing::warn!(urls = self.urls, subject = denial.subject, "{denial}");
        } else {
            tracing::debug!(urls = self.urls, subject = denial.subject, "{denial}");
        }
        self.link.send_modify(|link| {
            let number = link.denial.as_ref().map_or(0, |(number, _)| *number) + 1;
            link.denial = Some((number, denial.clone()));
        });
        // Nobody may be waiting; the link keeps the last one all the same.
        self.denials.send(denial).ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_read_from_the_servers_words() {
        let cases = [
            ("Permissions Violation for Publish to \"a.b\"", Action::Publish, "a.b"),
            ("Permissions Violation for Publish with Reply of \"_I.x\"", Action::Answer, "_I.x"),
            (
                "Permissions Violation for Subscription to \"a.>\" using queue \"q\"",
                Action::Subscribe,
                "a.>",
            ),
        ];
        for (text, action, subject) in cases {
            let denial = Denial::parse(text).unwrap();
            assert_eq!((denial.action, denial.subject.as_str()), (action, subject), "{text}");
        }
        assert_eq!(Denial::parse("Stale Connection"), None);
    }

    #[test]
    fn the_same_refusal_is_said_loudly_once_a_connection() {
        let mut told = Told::default();
        let denial = |subject: &str| {
            Denial::parse(&format!("Permissions Violation for Publish to \"{subject}\"")).unwrap()
        };
        assert!(told.is_new(&denial("a")) && told.is_new(&denial("b")));
        assert!(!told.is_new(&denial("a")));
    }

    #[test]
    fn every_connect_has_a_number_of_its_own() {
        let watcher = LinkWatcher::new("nats://x", 4);
        let link = watcher.link();
        for event in [Event::Connected, Event::Disconnected, Event::Connected] {
            watcher.notice(&event);
        }
        assert_eq!((link.borrow().up, link.borrow().generation), (true, 2));
        watcher.notice(&Event::Disconnected);
        assert!(!link.borrow().up);
    }
}
