//! The connection: made, kept, named and observed.
//!
//! A refusal by the server's permissions comes only as an event of the connection, never as an
//! answer; so events are kept where whoever waits for an answer can see them at once.

use std::{
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use async_nats::{Client, ConnectErrorKind, ConnectOptions};
use lockstep_shared::subject::Subjects;
use tokio::{
    sync::{broadcast, watch},
    time::Instant,
};

use crate::{
    inbox::Inbox,
    link::LinkWatcher,
    pauses::pauses,
    settings::{Connection, Identity},
    unreadable::Unreadable,
};

pub use crate::link::{Denial, Link};

/// How often an idle connection is tried (PROTOCOL section 5).
const PING_INTERVAL: Duration = Duration::from_secs(5);

/// How long one attempt to connect may take (PROTOCOL section 5).
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(2);

/// The first pause between two attempts to connect.
const FIRST_PAUSE: Duration = Duration::from_millis(25);

/// The longest pause between two attempts, chance aside: a restarted server is found within a second.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// How many messages a subscription holds before it loses some; who loses some reads again.
const SUBSCRIPTION_CAPACITY: usize = 8192;

/// How many unseen refusals are kept for each waiter.
const DENIALS_KEPT: usize = 256;

/// A connection to the log; clones share it.
#[derive(Clone)]
pub struct Bus {
    inner: Arc<Inner>,
}

struct Inner {
    client: Client,
    subjects: Subjects,
    api: String,
    timeout: Duration,
    imported_info: AtomicBool,
    link: watch::Receiver<Link>,
    denials: broadcast::Sender<Denial>,
    inbox: Inbox,
    unreadable: Unreadable,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// No server answered in time.
    #[error(
        "no NATS server answered at {urls} within {}s; check that it runs and that --server (NATS_URL) names it, or use `lockstep dev`, which brings its own",
        limit.as_secs()
    )]
    Unreachable {
        /// Where.
        urls: String,
        /// How long it was tried.
        limit: Duration,
        /// What the last attempt met.
        source: async_nats::ConnectError,
    },
    /// A server refused us.
    #[error(
        "NATS at {urls} refuses {identity}; check NATS_CREDS, NATS_NKEY, NATS_USER and NATS_PASSWORD, NATS_TOKEN or the chosen NATS context"
    )]
    Refused {
        /// Where.
        urls: String,
        /// What kind of proof was shown.
        identity: &'static str,
        /// What the server said.
        source: async_nats::ConnectError,
    },
    /// TLS could not be set up.
    #[error("cannot set up TLS with NATS at {urls}; check --tls-ca, --tls-cert and --tls-key")]
    Tls {
        /// Where.
        urls: String,
        /// What is wrong.
        source: async_nats::ConnectError,
    },
    /// The settings cannot be used.
    #[error("cannot use {what} for NATS at {urls}")]
    Unusable {
        /// Where.
        urls: String,
        /// Which setting.
        what: &'static str,
        /// What is wrong.
        source: std::io::Error,
    },
    /// The server hung up before we could ask for anything.
    #[error("NATS at {urls} closed the connection at once; its log says why")]
    HungUp {
        /// Where.
        urls: String,
    },
}

impl Bus {
    /// Connects, trying again for at most `limit` while no server answers; wrong credentials fail
    /// at once. `name` is what the server calls this connection. Once made, the connection is
    /// remade without end.
    ///
    /// # Errors
    /// [`ConnectError`] says where, why, and what to do.
    pub async fn connect(
        connection: &Connection,
        name: &str,
        limit: Duration,
    ) -> Result<Self, ConnectError> {
        // The process' default; whoever came first chose the same one.
        rustls::crypto::ring::default_provider().install_default().ok();
        let urls = connection.shown_urls();
        let watcher = LinkWatcher::new(&urls, DENIALS_KEPT);
        let options = options(connection, name, &watcher)?;
        let client = first_connect(connection, options, limit).await?;
        let mut link = watcher.link();
        let hung_up = || ConnectError::HungUp { urls: urls.clone() };
        let up = link.wait_for(|link| link.up);
        let up = tokio::time::timeout(CONNECTION_TIMEOUT, up).await;
        up.map_err(|_| hung_up())?.map_err(|_| hung_up())?;
        let inbox = Inbox::open(&client).await.ok_or_else(hung_up)?;
        let api = match &connection.js_domain {
            Some(domain) => format!("$JS.{domain}.API"),
            None => "$JS.API".to_owned(),
        };
        Ok(Self {
            inner: Arc::new(Inner {
                client,
                subjects: connection.subjects.clone(),
                api,
                timeout: connection.timeout,
                imported_info: AtomicBool::new(false),
                link: watcher.link(),
                denials: watcher.denials(),
                inbox,
                unreadable: Unreadable::default(),
            }),
        })
    }

    /// The subjects in use.
    pub fn subjects(&self) -> &Subjects {
        &self.inner.subjects
    }

    /// The state of the connection, to look at or to wait on.
    pub fn link(&self) -> watch::Receiver<Link> {
        self.inner.link.clone()
    }

    /// What the server's permissions refuse from now on.
    pub fn denials(&self) -> broadcast::Receiver<Denial> {
        self.inner.denials.subscribe()
    }

    /// The largest message that the server takes, in bytes.
    pub fn max_payload(&self) -> usize {
        self.inner.client.max_payload()
    }

    /// How long one exchange with NATS should be given, from the settings.
    pub fn timeout(&self) -> Duration {
        self.inner.timeout
    }

    /// The version of the server we are connected to.
    pub fn server_version(&self) -> String {
        self.inner.client.server_info().version
    }

    /// Sends what is still in hand and closes the connection for all clones, waiting for at most
    /// `limit`.
    pub async fn close(self, limit: Duration) {
        let deadline = Instant::now() + limit;
        let mut link = self.link();
        tokio::time::timeout_at(deadline, self.inner.client.flush()).await.ok();
        if self.inner.client.drain().await.is_ok() {
            tokio::time::timeout_at(deadline, link.wait_for(|link| link.closed)).await.ok();
        }
    }

    pub(crate) fn client(&self) -> &Client {
        &self.inner.client
    }

    pub(crate) fn inbox(&self) -> &Inbox {
        &self.inner.inbox
    }

    /// Whether a stream's state was last found by its imported name.
    pub(crate) fn imported_info(&self) -> &AtomicBool {
        &self.inner.imported_info
    }

    /// Subjects whose records end connections.
    pub(crate) fn unreadable(&self) -> &Unreadable {
        &self.inner.unreadable
    }

    /// A subject of the JetStream API, in the domain that was asked for.
    pub(crate) fn api(&self, operation: &str) -> String {
        format!("{}.{operation}", self.inner.api)
    }
}

/// The first connection is retried here rather than by the client library, which would report
/// wrong credentials and an absent server alike, as text.
async fn first_connect(
    connection: &Connection,
    options: ConnectOptions,
    limit: Duration,
) -> Result<Client, ConnectError> {
    let started = Instant::now();
    let urls = connection.shown_urls();
    let mut pauses = pauses(FIRST_PAUSE, LONGEST_PAUSE);
    loop {
        let pause = pauses.next().unwrap_or(LONGEST_PAUSE);
        let source = match options.clone().connect(&connection.urls[..]).await {
            Ok(client) => return Ok(client),
            Err(source) => source,
        };
        match source.kind() {
            ConnectErrorKind::AuthorizationViolation | ConnectErrorKind::Authentication => {
                let identity = shown_identity(connection);
                return Err(ConnectError::Refused { urls, identity, source });
            }
            ConnectErrorKind::Tls => return Err(ConnectError::Tls { urls, source }),
            _ if started.elapsed() + pause >= limit => {
                return Err(ConnectError::Unreachable { urls, limit, source });
            }
            _ => {
                tracing::info!(urls, error = %source, "NATS does not answer yet; trying again");
                tokio::time::sleep(pause).await;
            }
        }
    }
}

fn shown_identity(connection: &Connection) -> &'static str {
    match &connection.identity {
        Identity::None if connection.urls.iter().any(|url| url.contains('@')) => {
            "the credentials in its address"
        }
        Identity::None => "a connection without credentials",
        identity => identity.kind(),
    }
}

fn options(
    connection: &Connection,
    name: &str,
    watcher: &LinkWatcher,
) -> Result<ConnectOptions, ConnectError> {
    let watcher = watcher.clone();
    let mut options = ConnectOptions::new()
        .name(name)
        .ping_interval(PING_INTERVAL)
        .connection_timeout(CONNECTION_TIMEOUT)
        .request_timeout(Some(connection.timeout))
        .subscription_capacity(SUBSCRIPTION_CAPACITY)
        .reconnect_delay_callback(pause_before)
        .event_callback(move |event| {
            let watcher = watcher.clone();
            async move { watcher.notice(&event) }
        });
    if let Some(prefix) = &connection.inbox_prefix {
        options = options.custom_inbox_prefix(prefix);
    }
    let tls = &connection.tls;
    if let Some(ca) = &tls.ca {
        options = options.add_root_certificates(ca.clone()).require_tls(true);
    }
    if let (Some(cert), Some(key)) = (&tls.cert, &tls.key) {
        options = options.add_client_certificate(cert.clone(), key.clone()).require_tls(true);
    }
    if tls.first {
        options = options.tls_first();
    }
    with_identity(options, connection)
}

fn with_identity(
    options: ConnectOptions,
    connection: &Connection,
) -> Result<ConnectOptions, ConnectError> {
    match &connection.identity {
        Identity::None => Ok(with_address_identity(options, &connection.urls)),
        Identity::Credentials(text) => options.credentials(text).map_err(|source| {
            let what = "the credentials file";
            ConnectError::Unusable { urls: connection.shown_urls(), what, source }
        }),
        Identity::Nkey(seed) => Ok(options.nkey(seed.clone())),
        Identity::User(user, password) => {
            Ok(options.user_and_password(user.clone(), password.clone()))
        }
        Identity::Token(token) => Ok(options.token(token.clone())),
    }
}

/// The client library leaves what an address says to us; a user alone is a token.
fn with_address_identity(options: ConnectOptions, urls: &[String]) -> ConnectOptions {
    let addresses = urls.iter().filter_map(|url| url.parse::<async_nats::ServerAddr>().ok());
    for address in addresses {
        match (address.username(), address.password()) {
            (Some(user), Some(password)) => {
                return options.user_and_password(user.to_owned(), password.to_owned());
            }
            (Some(token), None) => return options.token(token.to_owned()),
            (None, _) => {}
        }
    }
    options
}

/// None before the first attempt, so that a restarted server is soon found.
fn pause_before(attempt: usize) -> Duration {
    match attempt.checked_sub(2) {
        None => Duration::ZERO,
        // Beyond that all are the longest.
        Some(earlier) => {
            pauses(FIRST_PAUSE, LONGEST_PAUSE).nth(earlier.min(8)).unwrap_or(LONGEST_PAUSE)
        }
    }
}
