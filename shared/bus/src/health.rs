//! What can be seen of the server's promises: all guarantees assume that it keeps what it
//! acknowledged (PROTOCOL section 2).

use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;
use tokio::time::Instant;

use crate::connect::Bus;

/// Every server's JetStream settings. Answered in the system account only, unless the operator
/// exports it.
const JETSTREAM_OF_ALL: &str = "$SYS.REQ.SERVER.PING.JSZ";

/// How long further servers of a cluster are waited for.
const FURTHER_ANSWERS: Duration = Duration::from_millis(300);

/// How many servers are listened to.
const SERVERS: usize = 64;

/// What the sizes of the protocol assume, in bytes.
const ASSUMED_PAYLOAD: usize = 1024 * 1024;

/// The first server that has everything that is used.
const OLDEST: (u64, u64) = (2, 12);

/// When the servers write what they acknowledge to disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Syncing {
    /// Before they acknowledge it.
    Always,
    /// At least one of them only every so often: a power failure can take records back.
    Every(Duration),
    /// It cannot be seen from this account.
    Unknown,
}

/// What a server says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerHealth {
    /// The version of the server we are connected to.
    pub version: String,
    /// The largest message that it takes, in bytes.
    pub max_payload: usize,
    /// When records reach the disk.
    pub syncing: Syncing,
}

impl ServerHealth {
    /// What weakens the guarantees or the limits, each a sentence for a person.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        match self.syncing {
            Syncing::Always => {}
            Syncing::Every(interval) => warnings.push(format!(
                "NATS writes to disk only every {}s: after a power failure acknowledged records can be gone. Set `jetstream {{ sync_interval: always }}` on every server",
                interval.as_secs()
            )),
            Syncing::Unknown => warnings.push(
                "whether NATS writes to disk before it acknowledges cannot be seen from this account; make sure that every server has `jetstream { sync_interval: always }`".to_owned(),
            ),
        }
        if self.max_payload < ASSUMED_PAYLOAD {
            warnings.push(format!(
                "the server's max_payload is {} bytes, so plans, records and chunks must be smaller than usual; raise it to 1 MiB",
                self.max_payload
            ));
        }
        if is_too_old(&self.version) {
            warnings.push(format!(
                "nats-server {} is older than {}.{}, which Lockstep needs; upgrade it",
                self.version, OLDEST.0, OLDEST.1
            ));
        }
        warnings
    }
}

/// What cannot be read is left to the tests with that server.
fn is_too_old(version: &str) -> bool {
    let mut parts = version.split('.').map(|part| part.parse::<u64>().ok());
    match (parts.next().flatten(), parts.next().flatten()) {
        (Some(major), Some(minor)) => (major, minor) < OLDEST,
        _ => false,
    }
}

#[derive(Deserialize)]
struct Answer {
    data: Option<JetStream>,
}

#[derive(Deserialize)]
struct JetStream {
    config: Option<Config>,
}

#[derive(Deserialize)]
struct Config {
    #[serde(default)]
    sync_always: bool,
    /// In nanoseconds.
    #[serde(default)]
    sync_interval: u64,
}

impl Bus {
    /// What the server says of itself; for warnings at the start and for `doctor`.
    pub async fn server_health(&self, until: Instant) -> ServerHealth {
        ServerHealth {
            version: self.server_version(),
            max_payload: self.max_payload(),
            syncing: self.syncing(until).await,
        }
    }

    /// The weakest of all servers that answer.
    async fn syncing(&self, until: Instant) -> Syncing {
        let asked = self.ask_many(JETSTREAM_OF_ALL, None, Bytes::new(), SERVERS, until).await;
        let Ok(mut asked) = asked else {
            return Syncing::Unknown;
        };
        let mut weakest = Syncing::Unknown;
        let mut until = until;
        while let Ok(answer) = asked.next(until).await {
            until = until.min(Instant::now() + FURTHER_ANSWERS);
            let answer = serde_json::from_slice::<Answer>(&answer.payload).ok();
            let Some(config) = answer.and_then(|answer| answer.data?.config) else {
                continue;
            };
            let interval = Duration::from_nanos(config.sync_interval);
            weakest = match weakest {
                Syncing::Every(longest) if !config.sync_always => {
                    Syncing::Every(longest.max(interval))
                }
                Syncing::Every(longest) => Syncing::Every(longest),
                _ if config.sync_always => Syncing::Always,
                _ => Syncing::Every(interval),
            };
        }
        weakest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn health(version: &str, max_payload: usize, syncing: Syncing) -> ServerHealth {
        ServerHealth { version: version.to_owned(), max_payload, syncing }
    }

    #[test]
    fn only_a_server_that_keeps_what_it_acknowledged_gives_no_warning() {
        assert_eq!(health("2.15.1", 1 << 20, Syncing::Always).warnings(), Vec::<String>::new());
        let every = Syncing::Every(Duration::from_secs(120));
        assert!(health("2.15.1", 1 << 20, every).warnings()[0].contains("every 120s"));
        assert!(health("2.15.1", 1 << 20, Syncing::Unknown).warnings()[0].contains("always"));
    }

    #[test]
    fn a_small_payload_and_an_old_server_are_named() {
        let warnings = health("2.9.10", 65_536, Syncing::Always).warnings();
        assert_eq!(warnings.len(), 2);
        assert!(warnings[0].contains("65536") && warnings[1].contains("2.9.10"), "{warnings:?}");
        assert_eq!(health("2.12.0-RC.1", 1 << 20, Syncing::Always).warnings().len(), 0);
    }
}
