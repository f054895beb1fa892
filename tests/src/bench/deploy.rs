//! A deployment by Lockstep beside the same by kubectl: `kubectl apply` and `kubectl rollout status` of
//! the same manifests, on the same control plane, in turns.
//!
//! The nodes are fake and their pods ready at once, so that what is measured is what either program
//! adds; the pods' own time would only bring the ratio nearer to one.

use std::{
    fmt::Write as _,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use futures::future::try_join_all;

use super::percentile;
use crate::{
    cluster::Cluster,
    stage::{FILE, Stage},
    world::Process,
};

/// What is deployed: as many namespaces as workflows.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// Workflows of one run, each with an agent process and a namespace of its own; they meet at a
    /// barrier after their deployments.
    pub workflows: usize,
    /// Deployments of each workflow, with one pod each.
    pub deployments: usize,
}

/// Times of the same rounds, and the memory that was resident after them.
#[derive(Debug)]
pub struct Compared {
    /// What was deployed.
    pub shape: Shape,
    /// How long kubectl took, in all namespaces at once.
    pub kubectl: Vec<Duration>,
    /// How long `lockstep run` took.
    pub lockstep: Vec<Duration>,
    /// Of the largest agent.
    pub agent_kib: u32,
}

impl Compared {
    /// The medians, their ratio and the memory, on one line.
    pub fn line(&mut self) -> String {
        let median = |times: &mut Vec<Duration>| percentile(times, 50).as_secs_f64();
        let (kubectl, lockstep) = (median(&mut self.kubectl), median(&mut self.lockstep));
        let Shape { workflows, deployments } = self.shape;
        format!(
            "{workflows:>9} {deployments:>11} {:>7} | {kubectl:>9.2} {lockstep:>10.2} | {:>5.2} | {:>10.1}",
            self.rounds(),
            lockstep / kubectl,
            f64::from(self.agent_kib) / 1024.0,
        )
    }

    /// What the columns of a line are.
    pub const HEAD: &str =
        "workflows deployments  rounds | kubectl s lockstep s |     x | agent MiB";

    fn rounds(&self) -> usize {
        self.lockstep.len()
    }
}

/// Deploys this many versions after a first one, each by kubectl into some namespaces and by
/// Lockstep into others.
///
/// # Errors
/// If a deployment of either fails.
pub async fn compare(cluster: &'static Cluster, shape: Shape, rounds: usize) -> Result<Compared> {
    let stage = Stage::new(cluster).await?;
    let names = (0..shape.workflows).map(|number| format!("w{number}"));
    let names: Vec<String> = names.collect();
    let theirs = try_join_all(names.iter().map(|_| cluster.namespace("kubectl"))).await?;
    let ours = try_join_all(names.iter().map(|_| cluster.namespace("lockstep"))).await?;
    stage.write(FILE, &pipeline(&names, &ours)?)?;
    stage.write("all.yaml", &manifests(shape.deployments, 0)?)?;
    by_kubectl(&stage, &theirs).await?;
    by_kubectl(&stage, &ours).await?;
    let agents = names.iter().zip(&ours);
    let agents: Vec<Process> =
        try_join_all(agents.map(|(name, namespace)| stage.agent(name, namespace))).await?;
    let mut compared = Compared { shape, kubectl: Vec::new(), lockstep: Vec::new(), agent_kib: 0 };
    for round in 1..=rounds {
        stage.write("all.yaml", &manifests(shape.deployments, round)?)?;
        let began = Instant::now();
        by_kubectl(&stage, &theirs).await?;
        compared.kubectl.push(began.elapsed());
        stage.grant(&[]).await?;
        let began = Instant::now();
        let played = stage.lockstep(&["run", FILE]).await?;
        compared.lockstep.push(began.elapsed());
        played.expect(0).with_context(|| agents.iter().map(Process::tail).collect::<String>())?;
    }
    for agent in &agents {
        compared.agent_kib = compared.agent_kib.max(agent.resident_kib()?.try_into()?);
    }
    Ok(compared)
}

/// What a person's script does, in all namespaces at once.
async fn by_kubectl(stage: &Stage, namespaces: &[String]) -> Result<()> {
    let file = stage.folder().join("all.yaml");
    let file = file.to_str().context("a path of text")?;
    let one = async |namespace: &String| {
        stage.cluster.kubectl(&["apply", "-n", namespace, "-f", file]).await?;
        let watch = ["rollout", "status", "-n", namespace, "-f", file, "--timeout=100s"];
        stage.cluster.kubectl(&watch).await
    };
    try_join_all(namespaces.iter().map(one)).await.map(drop)
}

fn pipeline(names: &[String], namespaces: &[String]) -> Result<String> {
    let mut text = format!(
        "apiVersion: lockstep.dev/v1alpha1\nkind: Pipeline\nmetadata: {{ name: {} }}\nspec:\n",
        crate::stage::PIPELINE
    );
    let meet = if names.len() > 1 { ", { barrier: all }" } else { "" };
    if names.len() > 1 {
        text.push_str("  barriers: { all: {} }\n");
    }
    text.push_str("  workflows:\n");
    for (name, namespace) in names.iter().zip(namespaces) {
        // Neither side waits longer than until everything is there.
        writeln!(
            text,
            "    - name: {name}\n      target: {{ kubernetes: {{ namespace: {namespace} }} }}\n      \
             steps: [ {{ deploy: {{ manifests: [all.yaml], timeout: 2m, settle: 0s }} }}{meet} ]"
        )?;
    }
    Ok(text)
}

fn manifests(deployments: usize, version: usize) -> Result<String> {
    let mut text = String::new();
    for number in 0..deployments {
        writeln!(
            text,
            "---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {{ name: d{number} }}\nspec:\n  \
             selector: {{ matchLabels: {{ app: d{number} }} }}\n  template:\n    \
             metadata: {{ labels: {{ app: d{number} }} }}\n    \
             spec: {{ containers: [ {{ name: app, image: \"shop/d:{version}\" }} ] }}"
        )?;
    }
    Ok(text)
}
