//! The reference story on a real control plane: a backend and a frontend, each in a namespace of its
//! own, deployed together and taken back together.

use std::{collections::BTreeMap, fs, path::PathBuf, process::Output};

use anyhow::{Context, Result, ensure};
use lockstep_tests::{
    cluster::Cluster,
    world::{Process, SOON, World},
};
use serde_json::Value;

/// What both services bring, at a version; the tag's last word says what its pods do.
const MANIFESTS: &str = r#"
apiVersion: v1
kind: ConfigMap
metadata: { name: NAME }
data: { version: "TAG" }
---
apiVersion: v1
kind: Service
metadata: { name: NAME }
spec: { selector: { app: NAME }, ports: [{ port: 80 }] }
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: NAME }
spec:
  replicas: 2
  progressDeadlineSeconds: 600
  selector: { matchLabels: { app: NAME } }
  template:
    metadata: { labels: { app: NAME } }
    spec: { containers: [{ name: app, image: "shop/NAME:TAG" }] }
"#;

/// What a new version of the frontend brings besides.
const ADDED: &str = r#"
---
apiVersion: v1
kind: ConfigMap
metadata: { name: extra }
data: { a: b }
"#;

const PIPELINE: &str = r#"
apiVersion: lockstep.dev/v1alpha1
kind: Pipeline
metadata: { name: shop }
spec:
  barriers: { BE: {}, FE: {} }
  workflows:
    - name: backend
      target: { kubernetes: { namespace: BACKEND } }
      steps:
        - deploy: { manifests: [backend.yaml], timeout: 2m, settle: 1s }
        - barrier: BE
        - barrier: FE
    - name: frontend
      target: { kubernetes: { namespace: FRONTEND } }
      steps:
        - barrier: BE
        - deploy: { manifests: [frontend.yaml], timeout: 2m, settle: 1s }
        - barrier: FE
"#;

/// Fields that the server changes with every write, and that say nothing.
const SERVERS: &[&str] = &["resourceVersion", "generation", "managedFields"];

fn manifests(name: &str, tag: &str) -> String {
    MANIFESTS.replace("NAME", name).replace("TAG", tag)
}

/// Two namespaces with version 1 in each, applied as a person does it, and an agent for each.
struct Shop {
    cluster: &'static Cluster,
    world: World,
    namespaces: [String; 2],
    folder: PathBuf,
    _running: Vec<Process>,
}

impl Shop {
    async fn open() -> Result<Self> {
        let (cluster, world) = (Cluster::shared().await?, World::new().await?);
        let namespaces =
            [cluster.namespace("backend").await?, cluster.namespace("frontend").await?];
        for (namespace, name) in namespaces.iter().zip(["backend", "frontend"]) {
            cluster.apply(namespace, &manifests(name, "1")).await?;
        }
        for (namespace, name) in namespaces.iter().zip(["backend", "frontend"]) {
            steady(cluster, namespace, name, "1").await?;
        }
        let folder = world.folder().join("site");
        fs::create_dir_all(&folder)?;
        let pipeline =
            PIPELINE.replace("BACKEND", &namespaces[0]).replace("FRONTEND", &namespaces[1]);
        fs::write(folder.join("pipeline.yaml"), pipeline)?;
        let mut running = vec![world.ready_coordinator("coordinator").await?];
        for (namespace, name) in namespaces.iter().zip(["backend", "frontend"]) {
            let state = world.folder().join(format!("state-{name}"));
            let kubeconfig = cluster.kubeconfig().to_str().context("a path of text")?;
            let state = state.to_str().context("a path of text")?;
            let arguments = [
                "serve",
                "--pipeline",
                "shop",
                "--workflow",
                name,
                "--state-dir",
                state,
                "--kubeconfig",
                kubeconfig,
                "--kube-namespace",
                namespace,
            ];
            running.push(world.start(name, "lockstep-agent", &arguments, &folder)?);
        }
        for agent in &running[1..] {
            agent.prints("ready", SOON).await?;
        }
        Ok(Self { cluster, world, namespaces, folder, _running: running })
    }

    /// Runs the pipeline with these versions.
    async fn run(&self, backend: &str, frontend: &str) -> Result<Output> {
        fs::write(self.folder.join("backend.yaml"), manifests("backend", backend))?;
        let frontend = manifests("frontend", frontend) + ADDED;
        fs::write(self.folder.join("frontend.yaml"), frontend)?;
        self.world.lockstep_in(&self.folder, &["run", "pipeline.yaml"]).await
    }

    /// Everything of both namespaces that a user made, without what changes by itself.
    async fn objects(&self) -> Result<BTreeMap<String, Value>> {
        let mut all = BTreeMap::new();
        for namespace in &self.namespaces {
            let kinds = "configmaps,services,deployments,secrets";
            let list = self.cluster.get(&[kinds, "-n", namespace]).await?;
            for mut object in list["items"].as_array().cloned().unwrap_or_default() {
                let name = format!("{} {namespace}/{}", object["kind"], object["metadata"]["name"]);
                // What the agents keep for themselves is bookkeeping.
                if object["type"].as_str().is_some_and(|kind| kind.starts_with("lockstep.dev/")) {
                    continue;
                }
                let fields = object.as_object_mut().context("an object")?;
                fields.remove("status");
                let metadata = object["metadata"].as_object_mut().context("an object")?;
                SERVERS.iter().for_each(|name| drop(metadata.remove(*name)));
                if let Some(annotations) = metadata.get_mut("annotations")
                    && let Some(annotations) = annotations.as_object_mut()
                {
                    // Counts rollouts, of which there were two.
                    annotations.remove("deployment.kubernetes.io/revision");
                }
                all.insert(name, object);
            }
        }
        Ok(all)
    }
}

/// Waits until a Deployment runs a version, and nothing but that.
async fn steady(cluster: &Cluster, namespace: &str, name: &str, tag: &str) -> Result<()> {
    let image = format!("shop/{name}:{tag}");
    let is_so = |seen: &Value| {
        let status = &seen["status"];
        let whole = ["replicas", "updatedReplicas", "availableReplicas"];
        let steady = seen["spec"]["template"]["spec"]["containers"][0]["image"] == image.as_str()
            && status["observedGeneration"] == seen["metadata"]["generation"]
            && whole.iter().all(|count| status[count] == 2);
        steady.then_some(())
    };
    cluster.sees("is steady", &["deployment", name, "-n", namespace], is_so).await
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stderr.clone(), output.stdout.clone()].concat()).into_owned()
}

#[tokio::test]
async fn parity_01_both_arrive_and_both_namespaces_run_the_new_version() -> Result<()> {
    let shop = Shop::open().await?;
    let output = shop.run("2", "2").await?;
    let text = said(&output);
    ensure!(output.status.code() == Some(0), "{:?}; it said\n{text}", output.status);
    let [backend, frontend] = &shop.namespaces;
    steady(shop.cluster, backend, "backend", "2").await?;
    steady(shop.cluster, frontend, "frontend", "2").await?;
    let leases = shop.cluster.get(&["leases", "-n", backend]).await?;
    assert_eq!(leases["items"].as_array().map(Vec::len), Some(0), "the lock is given up");
    Ok(())
}

#[tokio::test]
async fn parity_03_a_failed_frontend_takes_both_back_to_what_they_were() -> Result<()> {
    let shop = Shop::open().await?;
    let before = shop.objects().await?;
    let output = shop.run("2", "2-crashloop").await?;
    let text = said(&output);
    ensure!(output.status.code() == Some(4), "{:?}; it said\n{text}", output.status);
    ensure!(text.contains("frontend") && text.contains("CrashLoopBackOff"), "{text}");
    let [backend, frontend] = &shop.namespaces;
    steady(shop.cluster, backend, "backend", "1").await?;
    steady(shop.cluster, frontend, "frontend", "1").await?;
    let after = shop.objects().await?;
    for (name, object) in &before {
        assert_eq!(after.get(name), Some(object), "{name}");
    }
    assert_eq!(after.len(), before.len(), "what the run created is gone: {:?}", after.keys());
    // As before, the person's next apply changes nothing and conflicts with nobody.
    shop.cluster.apply(backend, &manifests("backend", "1")).await?;
    Ok(())
}
