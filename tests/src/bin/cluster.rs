//! A test cluster for a person: starts one, says how to use it, and ends it on Ctrl-C.

#![expect(clippy::print_stdout, reason = "a program whose result is what it prints")]

use std::{io::Write, time::Instant};

use anyhow::{Context, Result};
use clap::Parser;
use lockstep_tests::cluster::Cluster;
use tokio::signal::unix::{SignalKind, signal};

/// Starts a Kubernetes cluster for tests on loopback, and ends it on Ctrl-C.
#[derive(Parser)]
struct Arguments {
    /// With a real node that runs real pods, instead of a fake one; needs root
    #[arg(long)]
    real_node: bool,
    /// An image that the real node is to have, besides those of the examples: one that does what
    /// its name says, or another program of this build
    #[arg(long = "image", value_name = "NAME[=PROGRAM]", requires = "real_node")]
    images: Vec<String>,
    /// A namespace to be made; it gets a further name behind this one, and goes with the cluster
    #[arg(long = "namespace", value_name = "NAME")]
    namespaces: Vec<String>,
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    // From here on, so that a Ctrl-C during the start also takes back what was started.
    let mut interrupted = signal(SignalKind::interrupt()).context("listening for Ctrl-C")?;
    let mut terminated = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
    let ended = async {
        tokio::select! {
            _ = interrupted.recv() => {}
            _ = terminated.recv() => {}
        }
    };
    tokio::select! {
        served = serve(arguments) => served,
        () = ended => Ok(()),
    }
}

/// Starts a cluster and keeps it until this is dropped.
async fn serve(arguments: Arguments) -> Result<()> {
    let began = Instant::now();
    println!("starting a cluster");
    let images: Vec<&str> = arguments.images.iter().map(String::as_str).collect();
    let cluster = if arguments.real_node {
        Cluster::with_node(&images).await?
    } else {
        Cluster::start().await?
    };
    for name in &arguments.namespaces {
        println!("namespace {name}: {}", cluster.namespace(name).await?);
    }
    println!("ready after {:.1} s; end it with Ctrl-C", began.elapsed().as_secs_f32());
    println!("export KUBECONFIG={}", cluster.kubeconfig().display());
    std::io::stdout().flush()?;
    std::future::pending().await
}
