//! Where NATS is and who we are there: flags, then environment, then the nats CLI's context files.
//!
//! Secrets never come by flag; a path to one may (DESIGN section 9).

use std::{path::PathBuf, time::Duration};

use lockstep_shared::subject::Subjects;

/// The address tried when nothing says otherwise.
pub const DEFAULT_URL: &str = "nats://127.0.0.1:4222";

/// How long one request to NATS may take unless `NATS_TIMEOUT` says otherwise, as in the nats CLI.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);

/// The connection flags that every program takes; flatten it into a clap parser.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "NATS")]
pub struct ConnectionArgs {
    /// Addresses of NATS servers, separated by commas [default: nats://127.0.0.1:4222]
    #[arg(long = "server", short = 's', env = "NATS_URL", value_name = "URL", global = true)]
    pub server: Option<String>,
}

/// Everything that it takes to connect, resolved and read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    /// Addresses of servers, tried in order.
    pub urls: Vec<String>,
    /// What proves who we are.
    pub identity: Identity,
    /// Certificates and how TLS begins.
    pub tls: Tls,
    /// The JetStream domain to ask, if it is not the connection's own.
    pub js_domain: Option<String>,
    /// What the subjects of answers to us begin with.
    pub inbox_prefix: Option<String>,
    /// The subjects that Lockstep uses there.
    pub subjects: Subjects,
    /// How long one request may take.
    pub timeout: Duration,
}

/// What proves to NATS who we are.
#[derive(Clone, Default, PartialEq, Eq)]
pub enum Identity {
    /// Nothing; or what the address itself says.
    #[default]
    None,
    /// A credentials file's text: a JWT and a seed.
    Credentials(String),
    /// An nkey seed.
    Nkey(String),
    /// A user and a password.
    User(String, String),
    /// A token.
    Token(String),
}

/// Certificates and how TLS begins.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tls {
    /// The authorities to trust; the system's if absent.
    pub ca: Option<PathBuf>,
    /// Our certificate.
    pub cert: Option<PathBuf>,
    /// Our certificate's key.
    pub key: Option<PathBuf>,
    /// Whether TLS comes before the server's greeting.
    pub first: bool,
}

/// Why the settings make no connection.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// x
    #[error("x")]
    X,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Identity")
    }
}

impl Connection {
    /// A connection to these addresses, without credentials.
    pub fn to(_url: &str) -> Self {
        panic!("being written")
    }

    /// Resolves flags, this process' environment and the nats CLI's context files.
    ///
    /// # Errors
    /// [`SettingsError`] says which setting is wrong, where it came from and what to do.
    pub fn resolve(_args: &ConnectionArgs) -> Result<Self, SettingsError> {
        panic!("being written")
    }
}
