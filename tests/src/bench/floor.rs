//! The floor: what a durable barrier costs at least over this server. Clients store an arrival
//! each; one that hears them all stores the verdict; all hear that by its republished copy.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use async_nats::{Client, HeaderMap, jetstream};
use futures::StreamExt;
use tokio::{sync::mpsc, task::JoinSet};

use crate::world::{SOON, World, until};

/// As large as a real arrival, headers apart.
const BODY: [u8; 160] = [b'x'; 160];

/// Bare clients around one barrier after the other.
pub struct Floor {
    parties: usize,
    round: usize,
    gate: Client,
    heard: mpsc::Receiver<Instant>,
    waiting: mpsc::Receiver<usize>,
    _tasks: JoinSet<Result<()>>,
}

fn arrival(round: usize, party: &str) -> String {
    format!("floor.run.bench.r.barrier.b{round}.party.{party}.1")
}

fn verdict(round: usize) -> String {
    format!("floor.run.bench.r.barrier.b{round}.verdict.1")
}

impl Floor {
    /// The clients, with a stream of the same configuration as `LOCKSTEP`.
    ///
    /// # Errors
    /// If the server refuses any of it.
    pub async fn new(world: &World, parties: usize) -> Result<Self> {
        let agents = async_nats::connect(world.nats.url()).await?;
        let coordinator = async_nats::connect(world.nats.url()).await?;
        let context = jetstream::new(coordinator.clone());
        copy_stream(&context).await?;
        let (waits, waiting) = mpsc::channel(16);
        let (hears, heard) = mpsc::channel(parties);
        let mut tasks = JoinSet::new();
        let arrivals = coordinator.subscribe("floor.live.run.bench.r.barrier.*.party.*.1").await?;
        coordinator.flush().await?;
        tasks.spawn(decide(coordinator, arrivals, parties, waits));
        for party in 0..parties {
            // As in a real agent process, all its workflows share one connection.
            let verdicts = agents.subscribe("floor.live.run.bench.r.barrier.*.verdict.1").await?;
            tasks.spawn(meet(agents.clone(), verdicts, party, hears.clone()));
        }
        agents.flush().await?;
        let gate = async_nats::connect(world.nats.url()).await?;
        Ok(Self { parties, round: 0, gate, heard, waiting, _tasks: tasks })
    }

    /// Waits until every client has stored its arrival at the next barrier.
    ///
    /// # Errors
    /// If a client has failed.
    pub async fn everybody_waits(&mut self) -> Result<()> {
        self.round += 1;
        if self.round == 1 {
            for party in 0..self.parties {
                store(&self.gate, arrival(1, &party.to_string())).await?;
            }
        }
        let round = tokio::time::timeout(SOON, self.waiting.recv()).await?;
        ensure!(round == Some(self.round), "the floor is at {round:?}, not at {}", self.round);
        Ok(())
    }

    /// The last arrival.
    ///
    /// # Errors
    /// If the server does not store it.
    pub async fn arrive(&mut self) -> Result<()> {
        store(&self.gate, arrival(self.round, "gate")).await
    }

    /// When the last client heard the verdict.
    ///
    /// # Errors
    /// If one never does.
    pub async fn last_out(&mut self) -> Result<Instant> {
        let mut last = None;
        for _ in 0..self.parties {
            last = tokio::time::timeout(SOON, self.heard.recv()).await?.max(last);
        }
        last.context("the floor's clients are gone")
    }
}

async fn copy_stream(context: &jetstream::Context) -> Result<()> {
    let model = until("the stream exists", SOON, || async {
        context.get_stream("LOCKSTEP").await.map_err(|error| error.to_string())
    })
    .await?;
    let mut config = model.cached_info().config.clone();
    config.name = "FLOOR".to_owned();
    config.subjects = vec!["floor.run.>".to_owned()];
    if let Some(republish) = &mut config.republish {
        republish.source = "floor.run.>".to_owned();
        republish.destination = "floor.live.run.>".to_owned();
    }
    context.create_stream(config).await?;
    Ok(())
}

/// Stores one message, acknowledged.
async fn store(client: &Client, subject: String) -> Result<()> {
    let mut headers = HeaderMap::new();
    headers.insert("Nats-Msg-Id", subject.as_str());
    headers.insert("Nats-Expected-Stream", "FLOOR");
    let request = async_nats::Request::new().headers(headers).payload(BODY.to_vec().into());
    let answer = client.send_request(subject, request).await?;
    let text = String::from_utf8_lossy(&answer.payload);
    ensure!(!text.contains("error"), "{text}");
    Ok(())
}

/// Counts arrivals and stores a verdict once the gate has arrived with all others.
async fn decide(
    client: Client,
    mut arrivals: async_nats::Subscriber,
    parties: usize,
    waits: mpsc::Sender<usize>,
) -> Result<()> {
    let mut round = 1;
    let mut count = 0;
    while arrivals.next().await.is_some() {
        count += 1;
        if count == parties {
            waits.send(round).await?;
        }
        if count == parties + 1 {
            store(&client, verdict(round)).await?;
            round += 1;
            count = 0;
        }
    }
    Ok(())
}

/// One party: hears a verdict, is out, and arrives at the next barrier.
async fn meet(
    client: Client,
    mut verdicts: async_nats::Subscriber,
    party: usize,
    hears: mpsc::Sender<Instant>,
) -> Result<()> {
    let mut round = 1;
    while verdicts.next().await.is_some() {
        hears.send(Instant::now()).await?;
        round += 1;
        store(&client, arrival(round, &party.to_string())).await?;
    }
    Ok(())
}
