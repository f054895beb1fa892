//! The connection: made, kept, named and observed.

use std::time::Duration;

use lockstep_shared::subject::Subjects;
use tokio::sync::watch;

use crate::settings::Connection;

/// A connection to the log; clones share it.
#[derive(Clone)]
pub struct Bus {}

/// What the connection is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Whether it stands.
    pub up: bool,
    /// How often it has been made, counted from 1: a new number is a reconnect.
    pub generation: u64,
    /// The last thing that the server refused us, with a running number.
    pub denial: Option<(u64, Denial)>,
}

/// Something that the server did not let us do; it comes only as an event of the connection.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("NATS refuses {}: {text}", self.subject)]
pub struct Denial {
    /// Whether it was a subscription (else a publish).
    pub subscription: bool,
    /// The subject.
    pub subject: String,
    /// The server's own words.
    pub text: String,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// x
    #[error("x")]
    X,
}

impl Bus {
    /// Connects, trying again for at most `limit` while no server answers; wrong credentials fail
    /// at once. `name` is what the server calls this connection.
    ///
    /// # Errors
    /// [`ConnectError`] says where, why, and what to do.
    pub async fn connect(
        _connection: &Connection,
        _name: &str,
        _limit: Duration,
    ) -> Result<Self, ConnectError> {
        panic!("being written")
    }

    /// The subjects in use.
    pub fn subjects(&self) -> &Subjects {
        panic!("being written")
    }

    /// The state of the connection, to look at or to wait on.
    pub fn link(&self) -> watch::Receiver<Link> {
        panic!("being written")
    }

    /// The largest message that the server takes, in bytes.
    pub fn max_payload(&self) -> usize {
        panic!("being written")
    }

    /// Sends what is still in hand and closes the connection, for at most `limit`.
    pub async fn close(self, _limit: Duration) {
        panic!("being written")
    }
}
