//! A proxy between one agent and its API server, on loopback, at which a test makes the network
//! fail: a write is held before it is sent or before its answer is given back, and everything is
//! refused for a while.
//!
//! It writes down every write. What a dry run asks for is none; renewals of a Lease are written
//! down, but not counted, since how many there are depends on the time. A write that is held
//! outlives its connection, and its sender, as one does that is still on its way.

mod book;
mod door;
mod relay;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::Value;
use tempfile::TempDir;
use tokio::{net::TcpListener, sync::watch, task::JoinSet};

pub use self::book::{Held, When, Write};
use self::{book::Book, door::Door, relay::Relay};
use crate::{
    cluster::{
        Cluster,
        authority::{Authority, write_kubeconfig},
        free_port,
    },
    world::SOON,
};

/// A running proxy; gone when dropped, with what it holds.
pub struct Proxy {
    folder: TempDir,
    server: String,
    known_by: String,
    book: Arc<Book>,
    relay: Arc<Relay>,
    wanted: watch::Sender<bool>,
    stands: watch::Receiver<bool>,
    _door: JoinSet<Result<()>>,
}

impl Proxy {
    /// One in front of a cluster, open, which holds nothing.
    ///
    /// # Errors
    /// If it cannot listen, or the cluster's kubeconfig does not say how to get in.
    pub async fn before(cluster: &Cluster) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("lockstep-proxy-").tempdir()?;
        let view = ["config", "view", "--raw", "--minify", "--flatten", "-o", "json"];
        let config: Value = serde_json::from_str(&cluster.kubectl(&view).await?)?;
        let book = Arc::new(Book::default());
        let relay = Arc::new(Relay::new(&config, cluster.server(), book.clone())?);

        let authority = Authority::in_folder(folder.path())?;
        let shown = authority.server("proxy", &["127.0.0.1"])?;
        let (port, listener) = listen().await?;
        let known_by = STANDARD.encode(std::fs::read(authority.file("ca.crt"))?);
        let server = format!("https://127.0.0.1:{port}");

        let (wanted, is_wanted) = watch::channel(true);
        let (is_standing, stands) = watch::channel(false);
        let door = Door::new(port, &shown, relay.clone())?;
        let mut _door = JoinSet::new();
        _door.spawn(door.keep(listener, is_wanted, is_standing));
        let proxy = Self { folder, server, known_by, book, relay, wanted, stands, _door };
        proxy.stands(true).await?;
        Ok(proxy)
    }

    /// What an agent needs to come this way with the token of an account's kubeconfig.
    ///
    /// # Errors
    /// If there is no token in it.
    pub fn kubeconfig(&self, account: &Path) -> Result<PathBuf> {
        let config: Value = serde_json::from_slice(&std::fs::read(account)?)?;
        let user = config.pointer("/users/0/user").filter(|user| user["token"].is_string());
        let path = self.folder.path().join("kubeconfig");
        let user = user.with_context(|| format!("no token in {}", account.display()))?;
        write_kubeconfig(&path, &self.server, &self.known_by, user)?;
        Ok(path)
    }

    /// Every write that has come, in that order.
    pub fn writes(&self) -> Vec<Write> {
        self.book.writes()
    }

    /// Whether an object whose path ends so was read since the last write came, renewals of a Lease
    /// apart.
    pub fn has_read(&self, end: &str) -> bool {
        self.book.has_read(end)
    }

    /// Holds one write: the next that is chosen, by itself and by its number among those that are
    /// done from now on, from 1.
    pub fn hold(
        &self,
        when: When,
        chosen: impl Fn(&Write, usize) -> bool + Send + Sync + 'static,
    ) -> Held {
        self.book.hold(when, Box::new(chosen))
    }

    /// Refuses connections and ends those that are open, until [`open`](Self::open). What was sent
    /// to the server is done by it all the same.
    ///
    /// # Errors
    /// If it does not get that far.
    pub async fn shut(&self) -> Result<()> {
        self.wanted.send_replace(false);
        self.stands(false).await
    }

    /// Lets connections in again.
    ///
    /// # Errors
    /// If it does not get that far.
    pub async fn open(&self) -> Result<()> {
        self.wanted.send_replace(true);
        self.stands(true).await
    }

    async fn stands(&self, open: bool) -> Result<()> {
        let mut stands = self.stands.clone();
        let changed = tokio::time::timeout(SOON, stands.wait_for(|is| *is == open)).await;
        changed.context("the proxy does not obey")?.context("the proxy has ended").map(drop)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.relay.drop_held();
    }
}

/// How long a proxy waits for what should take a moment.
const MOMENT: Duration = Duration::from_secs(30);

/// How often another port is tried when somebody else took one.
const TRIES: usize = 10;

/// Listens on a port that nobody takes by chance while the proxy is shut.
async fn listen() -> Result<(u16, TcpListener)> {
    for _ in 0..TRIES {
        let port = free_port()?;
        if let Ok(listener) = TcpListener::bind(("127.0.0.1", port)).await {
            return Ok((port, listener));
        }
    }
    bail!("no port for a proxy after {TRIES} tries")
}
