//! What can be wrong with the settings, in words that lead to the right ones.

use std::{fmt, io, path::PathBuf};

use lockstep_shared::subject::InvalidPrefix;

/// Where a setting was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A flag or a variable.
    Environment,
    /// A context file of the nats CLI.
    Context(PathBuf),
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Environment => formatter.write_str("the environment"),
            Self::Context(path) => write!(formatter, "the NATS context {}", path.display()),
        }
    }
}

/// Why the settings make no connection.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// A file that a setting names cannot be read.
    #[error("cannot read the {what} {}; check the path and its permissions", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What it should be.
        what: &'static str,
        /// What the system says.
        source: io::Error,
    },
    /// A credentials file holds no credentials.
    #[error(
        "{} is no NATS credentials file: it needs a user JWT and a seed, as `nsc generate creds` writes them",
        path.display()
    )]
    Credentials {
        /// The file.
        path: PathBuf,
    },
    /// An nkey file holds no seed.
    #[error(
        "{} holds no nkey seed: it needs a line of 58 characters that begins with SU, as `nk -gen user` writes it",
        path.display()
    )]
    Nkey {
        /// The file.
        path: PathBuf,
    },
    /// A password without a user.
    #[error("{origin} gives a NATS password but no user; set NATS_USER too")]
    PasswordAlone {
        /// Where.
        origin: Origin,
    },
    /// Half of a pair.
    #[error("TLS has {have} but not {lack}; give both or neither")]
    Incomplete {
        /// What is there.
        have: &'static str,
        /// What is not.
        lack: &'static str,
    },
    /// No such context.
    #[error(
        "there is no NATS context {name:?} ({} is missing); known contexts: {known}; `nats context ls` lists them",
        path.display()
    )]
    NoContext {
        /// Its name.
        name: String,
        /// Where it should be.
        path: PathBuf,
        /// The names that exist.
        known: String,
    },
    /// A context file that is no context.
    #[error("the NATS context {} is not readable as JSON; `nats context validate` tells more", path.display())]
    Context {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// A context that needs something we do not do.
    #[error("the NATS context {} uses {what}, which Lockstep does not support; {instead}", path.display())]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// What it uses.
        what: &'static str,
        /// What to do instead.
        instead: &'static str,
    },
    /// A SOCKS proxy, which we would silently go past.
    #[error(
        "a SOCKS proxy ({proxy}) is set for NATS, which Lockstep does not support; unset NATS_SOCKS_PROXY and connect directly or through a leaf node"
    )]
    Proxy {
        /// The proxy.
        proxy: String,
    },
    /// No address.
    #[error(
        "{url:?} is no address of a NATS server ({reason}); use nats://host:port or tls://host:port"
    )]
    Url {
        /// The text.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// No duration.
    #[error("{text:?} is no time-out for NATS; use something like 5s or 500ms")]
    Timeout {
        /// The text.
        text: String,
    },
    /// No subject prefix.
    #[error(transparent)]
    Prefix(#[from] InvalidPrefix),
}
