//! What was written through a proxy, and which write is held.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use hyper::{Method, http::request::Parts};
use serde_json::Value;
use tokio::sync::watch;

use crate::world::until;

/// One write.
#[derive(Debug, Clone)]
pub struct Write {
    /// The method: `POST`, `PUT`, `PATCH` or `DELETE`.
    pub method: String,
    /// The path, without what follows the question mark.
    pub path: String,
    /// What it carries; null if that is no JSON.
    pub body: Value,
    /// Whether it was sent on.
    pub sent: bool,
    /// The code of the API server's answer, once there is one.
    pub answer: Option<u16>,
}

impl Write {
    /// The write that a request is, if it is one.
    pub(super) fn of(head: &Parts, body: &[u8]) -> Option<Self> {
        let writes = [Method::POST, Method::PUT, Method::PATCH, Method::DELETE];
        let query = head.uri.query().unwrap_or_default();
        let path = head.uri.path();
        let is_question = path.contains("accessreviews");
        if !writes.contains(&head.method) || query.contains("dryRun=") || is_question {
            return None;
        }
        let body = serde_json::from_slice(body).unwrap_or_default();
        let (method, path) = (head.method.to_string(), path.to_owned());
        Some(Self { method, path, body, sent: false, answer: None })
    }

    /// Whether it renews a Lease, or takes one that is there.
    pub fn is_renewal(&self) -> bool {
        self.is_of_lease() && self.method == "PATCH"
    }

    /// Whether it is about a Lease.
    pub fn is_of_lease(&self) -> bool {
        self.path.contains("/leases")
    }

    /// Whether it is about an object of the user's: neither a Lease, nor a Secret that lockstep
    /// keeps for itself.
    pub fn is_of_user(&self) -> bool {
        let kept = self.path.contains("/secrets/lockstep.")
            || self.body["type"].as_str().is_some_and(|kind| kind.starts_with("lockstep.dev/"));
        !self.is_of_lease() && !kept
    }

    /// Whether the API server has done it.
    pub fn is_done(&self) -> bool {
        self.answer.is_some_and(|code| (200..300).contains(&code))
    }
}

impl fmt::Display for Write {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { method, path, sent, answer, .. } = self;
        write!(formatter, "{method} {path}: ")?;
        match (sent, answer) {
            (_, Some(code)) => write!(formatter, "{code}"),
            (true, None) => formatter.write_str("sent"),
            (false, None) => formatter.write_str("held"),
        }
    }
}

/// At which end a write is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// It has come, and is not sent on.
    Before,
    /// The API server has done it, and its answer is not given back.
    After,
}

type Chooses = Box<dyn Fn(&Write, usize) -> bool + Send + Sync>;

/// A write to be held, and how far that is.
pub(super) struct Hold {
    when: When,
    /// How many were done when it was asked for.
    from: usize,
    chooses: Chooses,
    stand: watch::Sender<Stand>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stand {
    /// It has not come.
    Awaited,
    /// It is held; its place in the book.
    Reached(usize),
    /// It need not be held.
    LetGo,
}

impl Hold {
    /// Ends when the write may go on.
    pub(super) async fn passes(&self) {
        // Who sends is here as well, so it does not end otherwise.
        let _ = self.stand.subscribe().wait_for(|stand| *stand == Stand::LetGo).await;
    }
}

/// A write that is held, or will be.
pub struct Held {
    hold: Arc<Hold>,
    book: Arc<Book>,
}

impl Held {
    /// Waits until the write is held.
    ///
    /// # Errors
    /// If it has not come within `limit`; the error shows what has.
    pub async fn reached(&self, limit: Duration) -> Result<Write> {
        let mut stand = self.hold.stand.subscribe();
        let reached = stand.wait_for(|stand| matches!(stand, Stand::Reached(_)));
        let reached = tokio::time::timeout(limit, reached).await;
        let reached = reached.with_context(|| {
            format!("the write to be held did not come; there were\n{}", self.book)
        })?;
        match *reached.context("the hold is there")? {
            Stand::Reached(place) => self.book.write(place),
            _ => bail!("it was let go"),
        }
    }

    /// Lets it go on, wherever its sender is; or does not hold it, if it has not come.
    pub fn let_go(&self) {
        self.hold.stand.send_replace(Stand::LetGo);
    }

    /// Lets it go on, and waits for the API server's answer to it.
    ///
    /// # Errors
    /// If there is none within `limit`, or it is not held.
    pub async fn goes_on(&self, limit: Duration) -> Result<u16> {
        let Stand::Reached(place) = *self.hold.stand.borrow() else { bail!("it is not held") };
        self.let_go();
        let what = "the write that was held is answered";
        until(what, limit, || async {
            let write = self.book.write(place).map_err(|error| error.to_string())?;
            write.answer.ok_or_else(|| write.to_string())
        })
        .await
    }
}

/// All writes, and what is to be held.
#[derive(Default)]
pub(super) struct Book(Mutex<Pages>);

#[derive(Default)]
struct Pages {
    writes: Vec<Write>,
    /// The paths that were read since the last of them that is counted.
    read: Vec<String>,
    done: usize,
    holds: Vec<Arc<Hold>>,
}

impl Book {
    pub(super) fn hold(self: &Arc<Self>, when: When, chooses: Chooses) -> Held {
        let mut pages = self.pages();
        let (from, stand) = (pages.done, watch::Sender::new(Stand::Awaited));
        let hold = Arc::new(Hold { when, from, chooses, stand });
        pages.holds.push(hold.clone());
        Held { hold, book: self.clone() }
    }

    pub(super) fn writes(&self) -> Vec<Write> {
        self.pages().writes.clone()
    }

    /// Notes a read.
    pub(super) fn was_read(&self, path: &str) {
        self.pages().read.push(path.to_owned());
    }

    /// Whether a path of this end was read since the last write.
    pub(super) fn has_read(&self, end: &str) -> bool {
        self.pages().read.iter().any(|path| path.ends_with(end))
    }

    fn write(&self, place: usize) -> Result<Write> {
        self.pages().writes.get(place).cloned().context("it is in the book")
    }

    /// Notes a write that has come: its place, and what holds it.
    pub(super) fn came(&self, write: Write) -> (usize, Option<Arc<Hold>>) {
        let mut pages = self.pages();
        if !write.is_renewal() {
            pages.read.clear();
        }
        pages.writes.push(write);
        let (place, number) = (pages.writes.len() - 1, pages.done + 1);
        (place, pages.holds(When::Before, place, number))
    }

    /// Notes that it is sent on.
    pub(super) fn sent(&self, place: usize) {
        self.pages().writes[place].sent = true;
    }

    /// Notes the answer: what holds it.
    pub(super) fn answered(&self, place: usize, code: u16) -> Option<Arc<Hold>> {
        let mut pages = self.pages();
        pages.writes[place].answer = Some(code);
        let write = &pages.writes[place];
        if !write.is_done() || write.is_renewal() {
            return None;
        }
        pages.done += 1;
        let number = pages.done;
        pages.holds(When::After, place, number)
    }

    fn pages(&self) -> MutexGuard<'_, Pages> {
        // A test that panicked while it held this has told why.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pages {
    fn holds(&self, when: When, place: usize, number: usize) -> Option<Arc<Hold>> {
        let write = &self.writes[place];
        let is_wanted = |hold: &&Arc<Hold>| {
            hold.when == when
                && *hold.stand.borrow() == Stand::Awaited
                && !write.is_renewal()
                && (hold.chooses)(write, number - hold.from)
        };
        let hold = self.holds.iter().find(is_wanted)?;
        hold.stand.send_replace(Stand::Reached(place));
        Some(hold.clone())
    }
}

impl fmt::Display for Book {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let writes = self.writes();
        writes.iter().enumerate().try_for_each(|(n, write)| writeln!(formatter, "{n}: {write}"))
    }
}
