//! Every kind of object on a real control plane, deployed and given back, by agents that hold exactly
//! the rights that `lockstep doctor --kube` names.
//!
//! `before.yaml` is what is there, `after.yaml` its next version, and `added.yaml` what comes besides.

mod back;
mod claims;
mod custom;
mod first;
mod quota;
mod refused;
mod scaled;
mod services;

use std::collections::BTreeMap;

use anyhow::{Context, Result, anyhow, ensure};
use lockstep_tests::{
    cluster::Cluster,
    stage::{FILE, Objects, Played, Seat, Stage},
    world::{Process, SOON, until},
};
use serde_json::Value;

const BEFORE: &str = include_str!("before.yaml");
const AFTER: &str = include_str!("after.yaml");
const ADDED: &str = include_str!("added.yaml");

/// The one workflow of every pipeline here.
const WORKFLOW: &str = "all";

/// The pipelines' beginning; their steps follow.
const PIPELINE: &str = r#"
apiVersion: lockstep.dev/v1alpha1
kind: Pipeline
metadata: { name: shop }
spec:
  workflows:
    - name: all
      target: { kubernetes: { namespace: NAMESPACE } }
      steps:
"#;

/// Deploys `all.yaml`, and then fails if it was told to: once it is let go on.
const HELD: &str = r#"
        - deploy: { manifests: [all.yaml], timeout: 2m, settle: 0s, irreversible: accept }
        - run:
            command: "test ! -e fails || { touch held; until test -e go; do sleep 0.1; done; false; }"
            timeout: 2m
            undo: none
"#;

/// A namespace, and a pipeline for it.
struct Scene {
    stage: Stage,
    namespace: String,
}

impl Scene {
    /// An empty namespace, and a pipeline with these steps.
    async fn new(steps: &str) -> Result<Self> {
        let stage = Stage::new(Cluster::shared().await?).await?;
        let namespace = stage.cluster.namespace("kinds").await?;
        stage.write(FILE, &(PIPELINE.replace("NAMESPACE", &namespace) + steps))?;
        Ok(Self { stage, namespace })
    }

    /// Starts the agent, with the rights that it needs for what is written by now.
    async fn agent(&self) -> Result<Process> {
        let account = self.stage.account(WORKFLOW, &self.namespace).await?;
        let seat = Seat {
            workflow: WORKFLOW,
            namespace: &self.namespace,
            kubeconfig: &account,
            called: "agent",
            more: &["--allow-commands"],
        };
        self.stage.seat(&seat).await
    }

    /// Applies manifests as a person does.
    async fn apply(&self, manifests: &str) -> Result<()> {
        self.stage.cluster.apply(&self.namespace, manifests).await
    }

    /// Applies objects on the server, as a manager.
    async fn apply_as(&self, manager: &str, objects: &[Value]) -> Result<()> {
        self.stage.cluster.apply_as(manager, &self.namespace, objects).await
    }

    /// Runs the pipeline, and does something while it runs.
    async fn run_while(&self, meanwhile: impl Future<Output = Result<()>>) -> Result<Played> {
        let mut run = std::pin::pin!(self.stage.run(&[]));
        tokio::select! {
            ended = &mut run => {
                Err(anyhow!("it ended before it should, and said\n{}", ended?))
            }
            done = meanwhile => {
                done?;
                run.await
            }
        }
    }

    /// Has a run of [`HELD`] fail after its deployment, when it is let go on.
    fn fails_when_told(&self) -> Result<()> {
        self.stage.write("fails", "")
    }

    /// Waits until a run of [`HELD`] has deployed everything.
    async fn held(&self) -> Result<()> {
        let file = self.stage.folder().join("held");
        let is_there = || async { file.exists().then_some(()).ok_or_else(String::new) };
        until("everything is deployed", SOON, is_there).await
    }

    /// Lets it go on.
    fn go_on(&self) -> Result<()> {
        self.stage.write("go", "")
    }

    /// What the plan says of each object of a step: what is done, and how it is undone.
    async fn planned(&self, step: usize) -> Result<BTreeMap<String, String>> {
        self.stage.grant(&[]).await?;
        let plan = self.stage.lockstep(&["plan", FILE, "--live", "-o", "json"]).await?;
        let text = plan.expect(0)?;
        let json = text.find('{').and_then(|at| text.get(at..)).unwrap_or_default();
        let plan: Value = serde_json::from_str(json).with_context(|| text.clone())?;
        let objects = plan["views"][WORKFLOW]["steps"][step]["objects"].as_array();
        let objects = objects.with_context(|| text.clone())?;
        let told = |object: &Value| {
            let text = |field: &str| object[field].as_str().unwrap_or_default().to_owned();
            let name = text("object").replace(&format!("{}/", self.namespace), "");
            (name, format!("{}, {}", text("change"), text("undo")))
        };
        Ok(objects.iter().map(told).collect())
    }

    /// Fails unless a run left nothing but these claims, on purpose.
    fn must_have_kept_the_claims(&self, text: &str, claims: &[&str]) -> Result<()> {
        let kept = |claim: &&str| {
            let (kind, namespace) = ("PersistentVolumeClaim", &self.namespace);
            format!(
                "{kind} {namespace}/{claim}: kept on purpose: a rollback never deletes a {kind}"
            )
        };
        let kept: Vec<String> = claims.iter().map(kept).collect();
        let mut left = left(text);
        left.sort_unstable();
        ensure!(left == kept, "left are {left:?}, not {kept:?}\n{text}");
        Ok(())
    }

    /// Every object there is.
    async fn objects(&self) -> Result<Objects> {
        Objects::live(self.stage.cluster, &[&self.namespace]).await
    }

    /// Waits until every workload has come to rest.
    async fn quiet(&self) -> Result<()> {
        let workloads = ["deployments,statefulsets,daemonsets,jobs", "-n", &self.namespace];
        let rest = |seen: &Value| seen["items"].as_array()?.iter().all(is_at_rest).then_some(());
        self.stage.cluster.sees("all are at rest", &workloads, rest).await
    }

    /// An object's name, as [`Objects`] tell it.
    fn named(&self, object: &str) -> String {
        format!("{}: {object}", self.namespace)
    }
}

/// Whether a workload runs what it is to run, in whole, and nothing else.
fn is_at_rest(workload: &Value) -> bool {
    let (spec, status) = (&workload["spec"], &workload["status"]);
    // What is nothing is not said.
    let count = |count: &Value| count.as_u64().unwrap_or_default();
    let all = |wanted: &Value, counts: &[&str]| {
        counts.iter().all(|name| count(&status[name]) == count(wanted))
    };
    let complete = || {
        let conditions = status["conditions"].as_array();
        conditions.is_some_and(|all| all.iter().any(|it| it["type"] == "Complete"))
    };
    if workload["kind"] == "Job" {
        return complete();
    }
    status["observedGeneration"] == workload["metadata"]["generation"]
        && match workload["kind"].as_str() {
            Some("DaemonSet") => {
                all(&status["desiredNumberScheduled"], &["updatedNumberScheduled", "numberReady"])
            }
            Some("StatefulSet") => {
                let counts = ["replicas", "readyReplicas", "currentReplicas"];
                all(&spec["replicas"], &counts)
                    && status["currentRevision"] == status["updateRevision"]
            }
            _ => {
                let counts = ["replicas", "updatedReplicas", "availableReplicas"];
                all(&spec["replicas"], &counts)
            }
        }
}

/// What a run says that it left.
fn left(text: &str) -> Vec<&str> {
    text.lines().filter_map(|line| line.trim().strip_prefix("left: ")).collect()
}

/// Manifests of one stream.
fn together(manifests: &[&str]) -> String {
    manifests.join("\n---\n")
}
