//! Load: 200 parties on one barrier, and 500 two-party runs of 500 pipelines at once, each
//! pipeline with an agent process of its own that serves both workflows. Prints times and the
//! memory of the coordinator and of one agent; fails if any run does not end as it should.
//!
//! Everything runs on loopback, in a bounded number and time, and is gone at the end.

#![expect(clippy::print_stdout, reason = "a program whose result is what it prints")]

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use futures::{StreamExt, TryStreamExt, stream};
use lockstep_shared::record::RunResult;
use lockstep_tests::world::{Process, World, key};

/// How long the whole of one load may take.
const LIMIT: Duration = Duration::from_secs(900);

/// How many `lockstep run --detach` run beside each other.
const SUBMITTERS: usize = 4;

#[derive(Parser)]
struct Arguments {
    /// Parties on one barrier
    #[arg(long, default_value_t = 200)]
    parties: usize,
    /// Pipelines, each with one run of two parties
    #[arg(long, default_value_t = 500)]
    pipelines: usize,
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    wide(arguments.parties).await?;
    many(arguments.pipelines).await
}

fn write_pipeline(world: &World, name: &str, workflows: usize, steps: &str) -> Result<PathBuf> {
    let folder = world.folder().join(name);
    std::fs::create_dir(&folder)?;
    let mut text = format!(
        "apiVersion: lockstep.dev/v1alpha1\nkind: Pipeline\nmetadata: {{ name: {name} }}\n\
         spec:\n  barriers: {{ B: {{}} }}\n  workflows:\n"
    );
    for number in 0..workflows {
        writeln!(
            text,
            "    - {{ name: w{number}, target: {{ command: {{}} }}, steps: [ {steps} ] }}"
        )?;
    }
    std::fs::write(folder.join("pipeline.yaml"), text)?;
    Ok(folder)
}

fn agent(world: &World, pipeline: &str, workflows: usize, folder: &Path) -> Result<Process> {
    let names: Vec<String> = (0..workflows).map(|number| format!("w{number}")).collect();
    let state = world.folder().join(format!("state-{pipeline}")).to_string_lossy().into_owned();
    let mut arguments =
        vec!["serve", "--pipeline", pipeline, "--allow-commands", "--state-dir", &state];
    for name in &names {
        arguments.extend(["--workflow", name]);
    }
    world.start(&format!("agent-{pipeline}"), "lockstep-agent", &arguments, folder)
}

/// One run whose workflows all meet at one barrier.
async fn wide(parties: usize) -> Result<()> {
    let world = World::new().await?;
    let coordinator = world.ready_coordinator("coordinator").await?;
    let folder = write_pipeline(&world, "wide", parties, "{ barrier: B }, { run: 'true' }")?;
    let agent = agent(&world, "wide", parties, &folder)?;
    let bus = world.bus().await?;
    let started = Instant::now();
    let submitted =
        world.lockstep_in(&folder, &["run", "pipeline.yaml", "--run-id", "r1", "--detach"]).await?;
    ensure!(submitted.status.success(), "{}", String::from_utf8_lossy(&submitted.stderr));
    let key = key("wide", "r1")?;
    let result = world.closed(&bus, &key, LIMIT).await.with_context(|| coordinator.tail())?;
    ensure!(result == RunResult::Succeeded, "{result:?}\n{}", agent.tail());
    println!(
        "{parties} parties on one barrier: {result:?} in {:.1} s; coordinator {} KiB, agent of all \
         {parties} workflows {} KiB",
        started.elapsed().as_secs_f64(),
        coordinator.resident_kib()?,
        agent.resident_kib()?
    );
    Ok(())
}

/// Many runs at once, each with an agent process of its own.
async fn many(pipelines: usize) -> Result<()> {
    let world = World::new().await?;
    let coordinator = world.ready_coordinator("coordinator").await?;
    let bus = world.bus().await?;
    let at_rest = coordinator.resident_kib()?;
    let started = Instant::now();
    let mut agents = Vec::new();
    for number in 0..pipelines {
        let name = format!("p{number}");
        let steps = "{ run: 'true' }, { barrier: B }, { wait: 60s }, { run: 'true' }";
        let folder = write_pipeline(&world, &name, 2, steps)?;
        agents.push((agent(&world, &name, 2, &folder)?, folder));
    }
    println!("{pipelines} agents started in {:.1} s", started.elapsed().as_secs_f64());
    let started = Instant::now();
    stream::iter(&agents)
        .map(|(_, folder)| {
            let world = &world;
            async move {
                let arguments = ["run", "pipeline.yaml", "--run-id", "r1", "--detach"];
                let output = world.lockstep_in(folder, &arguments).await?;
                let printed = String::from_utf8_lossy(&output.stderr).into_owned();
                ensure!(output.status.success(), "{}: {printed}", folder.display());
                Ok(())
            }
        })
        .buffer_unordered(SUBMITTERS)
        .try_collect::<()>()
        .await?;
    println!("{pipelines} runs submitted in {:.1} s", started.elapsed().as_secs_f64());
    let busy = (coordinator.resident_kib()?, agents[0].0.resident_kib()?);
    for (number, (agent, _)) in agents.iter().enumerate() {
        let key = key(&format!("p{number}"), "r1")?;
        let result = world.closed(&bus, &key, LIMIT).await.with_context(|| coordinator.tail())?;
        ensure!(result == RunResult::Succeeded, "{key}: {result:?}\n{}", agent.tail());
    }
    println!(
        "{pipelines} two-party runs: all succeeded, {:.1} s after the first was submitted",
        started.elapsed().as_secs_f64()
    );
    println!(
        "coordinator {at_rest} KiB at rest, {} KiB with {pipelines} runs open, {} KiB after; \
         one agent {} KiB",
        busy.0,
        coordinator.resident_kib()?,
        busy.1
    );
    Ok(())
}
