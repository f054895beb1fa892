//! A private server with both streams, and records to put into them.

use std::{future::Future, time::Duration};

use anyhow::{Context, Result};
use lockstep_bus::{Bus, Connection, DevServer, StreamOptions, settings::Identity};
use lockstep_shared::{
    codec::{self, Draft, Entry},
    id::{RunId, RunKey},
    record::Record,
    source::Source,
    subject::{Family, Slot},
    time::Timestamp,
};
use tokio::time::Instant;

/// How long anything in these tests may take.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

/// A server, and a connection that may do everything.
pub(crate) struct World {
    pub(crate) server: DevServer,
    pub(crate) bus: Bus,
}

impl World {
    pub(crate) async fn new() -> Result<Self> {
        Self::on(DevServer::start().await?).await
    }

    pub(crate) async fn on(server: DevServer) -> Result<Self> {
        let bus = Bus::connect(&server.connection(), "test", LIMIT).await?;
        bus.ensure_streams(&small_streams(), limit()).await?;
        Ok(Self { server, bus })
    }

    /// Another connection, for what a stranger does.
    pub(crate) async fn client(&self) -> Result<async_nats::Client> {
        Ok(async_nats::connect(self.server.url()).await?)
    }
}

pub(crate) fn small_streams() -> StreamOptions {
    StreamOptions { replicas: 1, log_max_bytes: 64 << 20, bundle_max_bytes: 64 << 20 }
}

pub(crate) fn limit() -> Instant {
    Instant::now() + LIMIT
}

pub(crate) fn key(run: &str) -> RunKey {
    RunKey { pipeline: "shop".parse().unwrap(), run: run.parse::<RunId>().unwrap() }
}

/// A connection's settings for one user.
pub(crate) fn as_user(server: &DevServer, user: &str) -> Connection {
    let identity = Identity::User(user.to_owned(), "pw".to_owned());
    Connection { identity, ..server.connection() }
}

/// A request to abort, as a draft for slot `n` of the run's requests.
pub(crate) fn request(bus: &Bus, run: &str, n: u32) -> Draft {
    let record = Record::AbortRequested { by: "me".to_owned(), reason: format!("because {n}") };
    draft(bus, run, &Family::Request.slot(n), &record, &Source::Operator("me".to_owned()))
}

pub(crate) fn verdict(bus: &Bus, run: &str, n: u32) -> Draft {
    let record = Record::Committed { at: 1 };
    draft(bus, run, &Family::Verdict.slot(n), &record, &Source::Coordinator("c1".to_owned()))
}

pub(crate) fn draft(bus: &Bus, run: &str, slot: &Slot, record: &Record, source: &Source) -> Draft {
    codec::encode(bus.subjects(), &key(run), slot, record, source, Timestamp(0), None).unwrap()
}

pub(crate) fn event(entry: &Entry) -> Option<&str> {
    entry.content.as_ref().ok().map(|stated| stated.event.as_str())
}

/// Polls until `check` gives something; an error says what was last seen.
pub(crate) async fn eventually<T, F>(what: &str, mut check: impl FnMut() -> F) -> Result<T>
where
    F: Future<Output = std::result::Result<T, String>>,
{
    let deadline = limit();
    loop {
        match check().await {
            Ok(value) => return Ok(value),
            Err(seen) if Instant::now() > deadline => anyhow::bail!("{what}: last seen: {seen}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

pub(crate) async fn in_time<T>(what: &str, future: impl Future<Output = T>) -> Result<T> {
    tokio::time::timeout(LIMIT, future).await.with_context(|| format!("{what} took too long"))
}
