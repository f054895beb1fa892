//! A namespace in which one run does every kind of write: it changes what an earlier run has brought,
//! beside an autoscaler, another manager and somebody who edits an object before it is written; it
//! deletes what the earlier one brought and this one drops.
//!
//! What is taken over from kubectl, and what a run creates, is in the plain site already.

use std::sync::atomic::{AtomicU16, Ordering};

use anyhow::Result;
use lockstep_tests::{
    stage::{Objects, comparable},
    world::Process,
};
use serde_json::{Value, json};

use crate::site::{RUN, Site};

/// Two deploy steps, with a gate before the second, and one before the commit.
const STEPS: [&str; 4] = [
    "deploy: { manifests: [one.yaml], timeout: 2m, settle: 0s, forceConflicts: [data.theirs] }",
    "barrier: start",
    "deploy: { manifests: [two.yaml], timeout: 2m, settle: 0s MORE }",
    "barrier: end",
];

const GATES: &str = "  barriers:
    start: { parties: [tester], timeout: 5m }
    end: { parties: [tester], timeout: 5m }
";

/// What the first step brings: one object that never changes, one of which another manager has a part
/// ([`THEIRS`]), and one whose replicas an autoscaler has taken ([`AUTOSCALER`]).
const ONE: &str = r#"
apiVersion: v1
kind: ConfigMap
metadata: { name: same }
data: { a: b }
---
apiVersion: v1
kind: ConfigMap
metadata: { name: shared }
data: { version: "TAG" }
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: web }
spec:
  replicas: 2
  selector: { matchLabels: { app: web } }
  template:
    metadata: { labels: { app: web } }
    spec: { terminationGracePeriodSeconds: 0, containers: [{ name: app, image: "shop/web:TAG" }] }
"#;

/// What the second step brings: pods that are replaced one after the other, and no sooner than each
/// is ready.
const TWO: &str = r#"
---
apiVersion: apps/v1
kind: StatefulSet
metadata: { name: store }
spec:
  serviceName: store
  replicas: 1
  selector: { matchLabels: { app: store } }
  template:
    metadata: { labels: { app: store } }
    spec: { terminationGracePeriodSeconds: 0, containers: [{ name: app, image: "shop/store:TAG" }] }
"#;

/// A Service with numbers that the server has given, and one that has none.
const OPEN: &str = r#"
apiVersion: v1
kind: Service
metadata: { name: door }
spec: { type: NodePort, selector: { app: web }, ports: [{ port: 80 NUMBER }] }
"#;
const SHUT: &str = r#"
apiVersion: v1
kind: Service
metadata: { name: door }
spec: { type: ExternalName, externalName: door.example }
"#;

/// What the earlier run brings, and this one does not.
const DROPPED: &str = r#"
---
apiVersion: v1
kind: ConfigMap
metadata: { name: dropped }
data: { a: b }
"#;

/// What a person applies once the earlier run has brought what it scales.
const AUTOSCALER: &str = r#"
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: { name: web }
spec:
  scaleTargetRef: { apiVersion: apps/v1, kind: Deployment, name: web }
  minReplicas: 2
  maxReplicas: 5
"#;

/// The next of the numbers that Services are opened at: none may get one that another is to be given
/// back.
static NUMBER: AtomicU16 = AtomicU16::new(30_000);

/// The version whose pods become ready, and the one whose pods never do.
fn next(is_good: bool) -> &'static str {
    if is_good { "2" } else { "2-unready" }
}

/// The namespace after the earlier run, and the agent that did it.
pub(crate) async fn open(is_good: bool) -> Result<(Site, Process)> {
    let site = Site::empty().await?;
    let cluster = site.stage.cluster;
    let number = format!(", nodePort: {}", NUMBER.fetch_add(1, Ordering::Relaxed));
    cluster.apply(&site.namespace, &OPEN.replace("NUMBER", &number)).await?;
    site.stage.write("one.yaml", &(ONE.replace("TAG", "1") + DROPPED))?;
    site.stage.write("two.yaml", &(OPEN.replace("NUMBER", "") + &TWO.replace("TAG", "1")))?;
    let [one, _, two, _] = STEPS;
    site.pipeline(&[one, &two.replace("MORE", "")], ("", ""))?;
    let agent = site.agent().await?;
    let brought = async {
        site.stage.run_as("r0").await?.expect(0)?;
        site.settled().await
    };
    site.explained(brought.await, &[&agent])?;

    cluster.apply(&site.namespace, AUTOSCALER).await?;
    let theirs = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": { "name": "shared" }, "data": { "theirs": "1" },
    });
    cluster.apply_as("auditor", &site.namespace, &[theirs]).await?;
    let one = ONE.replace("TAG", "2").replace("replicas: 2", "replicas: 1");
    site.stage.write("one.yaml", &one.replace("version:", "theirs: \"2\", version:"))?;
    site.stage.write("two.yaml", &(SHUT.to_owned() + &TWO.replace("TAG", next(is_good))))?;
    let more = if is_good { "" } else { ", wait: false" };
    let steps = STEPS.map(|step| step.replace("MORE", more));
    site.pipeline(&steps.each_ref().map(String::as_str), (GATES, ""))?;
    Ok((site, agent))
}

/// Stands at both gates of the run: edits an object that it will write, where it does not, and lets it
/// through; then lets it commit, or sees that a pod is stuck, and refuses. What was before, with the
/// edit.
pub(crate) async fn test(site: &Site, is_good: bool, mut before: Objects) -> Result<Objects> {
    let (stage, namespace) = (&site.stage, site.namespace.as_str());
    let cluster = stage.cluster;
    stage.stands(RUN, "web", "start").await?;
    let door = ["service", "door", "-n", namespace];
    let edit = [&["annotate"][..], &door, &["example.com/on-call=anna"]].concat();
    cluster.kubectl(&edit).await?;
    let door = cluster.get(&[&door[..], &["--show-managed-fields"]].concat()).await?;
    before.put(&format!("{namespace}: Service door"), comparable(door)?);
    stage.open(RUN, "start").await?;
    stage.stands(RUN, "web", "end").await?;
    if is_good {
        stage.open(RUN, "end").await?;
        return Ok(before);
    }
    let image = format!("shop/store:{}", next(false));
    let is_stuck = |pod: &Value| {
        let runs = pod["spec"]["containers"][0]["image"] == image.as_str();
        (runs && pod["status"]["phase"] == "Running").then_some(())
    };
    cluster.sees("is stuck", &["pod", "store-0", "-n", namespace], is_stuck).await?;
    stage.refuse(RUN, "end").await?;
    Ok(before)
}

/// Waits until everything is new, and what was dropped is gone.
pub(crate) async fn is_new(site: &Site) -> Result<()> {
    site.steady(next(true)).await?;
    let maps = ["configmaps", "-n", &site.namespace];
    let gone = |seen: &Value| {
        let mut all = seen["items"].as_array()?.iter();
        all.all(|map| map["metadata"]["name"] != "dropped").then_some(())
    };
    site.stage.cluster.sees("what was dropped is gone", &maps, gone).await
}

/// Waits until everything runs what it ran before.
pub(crate) async fn is_back(site: &Site) -> Result<()> {
    site.steady("1").await?;
    let store = ["statefulset", "store", "-n", &site.namespace];
    let is_back = |set: &Value| {
        let status = &set["status"];
        let is_back = status["observedGeneration"] == set["metadata"]["generation"]
            && status["currentRevision"] == status["updateRevision"]
            && status["readyReplicas"] == 1;
        is_back.then_some(())
    };
    site.stage.cluster.sees("is back", &store, is_back).await
}
