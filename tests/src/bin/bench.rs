//! Barrier release, durable: from the moment the last party begins to store its arrival until the
//! last party is out, through real agents and a real coordinator, beside a floor in the same run.
//!
//! The floor is bare clients of the same server that store the same arrivals and verdict in a
//! stream of the same configuration and hear the verdict by its republished copy. Rounds of both
//! alternate, so that the machine's moods hit both. Figures are ratios; the times are printed for
//! scale only.
//!
//! Then deployments to a Kubernetes cluster of its own, beside kubectl (`bench::deploy`).

#![expect(clippy::print_stdout, reason = "a program whose result is what it prints")]

use std::{
    fmt::Write as _,
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use lockstep_bus::dev_server::DevServerOptions;
use lockstep_tests::{
    bench::{Agents, Compared, Floor, Gate, Shape, compare, percentile},
    cluster::Cluster,
    world::World,
};

#[derive(Parser)]
struct Arguments {
    /// Rounds of each kind
    #[arg(long, default_value_t = 200)]
    rounds: usize,
    /// Workflows that meet at the barrier, beside the one foreign party that arrives last
    #[arg(long, value_delimiter = ',', default_value = "2,10,100")]
    parties: Vec<usize>,
    /// Which syncs to measure
    #[arg(long, value_delimiter = ',', default_value = "always,default")]
    sync: Vec<String>,
    /// Versions to deploy to Kubernetes in each shape; 0 for none
    #[arg(long, default_value_t = 10)]
    versions: usize,
}

/// What is deployed: much by one workflow, and little by many.
const SHAPES: [Shape; 2] =
    [Shape { workflows: 1, deployments: 50 }, Shape { workflows: 20, deployments: 1 }];

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    println!(
        "{:>8} {:>7} {:>7} | {:>9} {:>9} | {:>9} {:>9} | {:>6} {:>6}",
        "sync", "parties", "rounds", "floor p50", "p99 ms", "real p50", "p99 ms", "x p50", "x p99"
    );
    for sync in &arguments.sync {
        ensure!(sync == "always" || sync == "default", "--sync takes always and default");
        for &parties in &arguments.parties {
            measure(sync, parties, arguments.rounds).await?;
        }
    }
    if arguments.versions > 0 {
        let cluster = Cluster::shared().await?;
        println!("{}", Compared::HEAD);
        for shape in SHAPES {
            println!("{}", compare(cluster, shape, arguments.versions).await?.line());
        }
    }
    Ok(())
}

/// How many barriers one run holds, so that its plan stays within its size.
fn rounds_per_run(parties: usize) -> usize {
    (4000 / parties.max(20)).max(10)
}

async fn measure(sync: &str, parties: usize, rounds: usize) -> Result<()> {
    let options = DevServerOptions { sync_always: sync == "always", ..Default::default() };
    let world = World::with(options).await?;
    let _coordinator = world.ready_coordinator("coordinator").await?;
    let per_run = rounds_per_run(parties).min(rounds);
    let folder = world.folder().join("bench");
    std::fs::create_dir(&folder)?;
    std::fs::write(folder.join("pipeline.yaml"), pipeline(parties, per_run)?)?;
    let mut agents = Agents::start(&world, parties, &folder)?;
    let bus = world.bus().await?;
    let mut floor = Floor::new(&world, parties).await?;
    floor.everybody_waits().await?;
    let (mut floors, mut reals) = (Vec::new(), Vec::new());
    let mut run = 0;
    while reals.len() < rounds {
        run += 1;
        let id = format!("run-{run}");
        let submitted = ["run", "pipeline.yaml", "--run-id", &id, "--detach"];
        let submitted = world.lockstep_in(&folder, &submitted).await?;
        ensure!(submitted.status.success(), "{}", String::from_utf8_lossy(&submitted.stderr));
        let mut gate = Gate::new(&bus, &id).await?;
        for barrier in (1..=per_run).map(|number| format!("b{number}")) {
            // Each side is measured while everybody of the other stands still.
            gate.everybody_waits(&barrier, parties).await.with_context(|| agents.tail())?;
            let began = Instant::now();
            floor.arrive().await?;
            floors.push(floor.last_out().await?.duration_since(began));
            floor.everybody_waits().await?;
            let began = SystemTime::now();
            gate.arrive(&barrier).await?;
            let out = agents.last_out(&id, &barrier, parties).await?;
            reals.push(out.duration_since(began).context("the clock went back")?);
        }
        gate.closed(&world).await?;
    }
    report(sync, parties, &mut floors, &mut reals);
    Ok(())
}

fn pipeline(parties: usize, rounds: usize) -> Result<String> {
    let mut text = "apiVersion: lockstep.dev/v1alpha1\nkind: Pipeline\nmetadata: { name: bench }\n\
                    spec:\n  barriers:\n"
        .to_owned();
    for round in 1..=rounds {
        writeln!(text, "    b{round}: {{ parties: [gate] }}")?;
    }
    text.push_str("  workflows:\n");
    for party in 0..parties {
        write!(text, "    - {{ name: w{party}, target: {{ command: {{}} }}, steps: [ ")?;
        let steps: Vec<String> = (1..=rounds).map(|round| format!("barrier: b{round}")).collect();
        writeln!(text, "{{ {} }} ] }}", steps.join(" }, { "))?;
    }
    Ok(text)
}

fn report(sync: &str, parties: usize, floors: &mut [Duration], reals: &mut [Duration]) {
    let millis = |duration: Duration| duration.as_secs_f64() * 1000.0;
    let [floor_50, floor_99] = [50, 99].map(|percent| millis(percentile(floors, percent)));
    let [real_50, real_99] = [50, 99].map(|percent| millis(percentile(reals, percent)));
    println!(
        "{sync:>8} {parties:>7} {:>7} | {floor_50:>9.2} {floor_99:>9.2} | {real_50:>9.2} \
         {real_99:>9.2} | {:>6.2} {:>6.2}",
        reals.len(),
        real_50 / floor_50,
        real_99 / floor_99
    );
}
