//! The reference story on a real control plane: a backend and a frontend, each in a namespace of its
//! own, deployed together and taken back together.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use lockstep_tests::{
    cluster::Cluster,
    stage::{FILE, Objects, Played, Stage},
    world::{Process, SOON, until},
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

fn manifests(name: &str, tag: &str) -> String {
    MANIFESTS.replace("NAME", name).replace("TAG", tag)
}

/// Two namespaces with version 1 in each, applied as a person does it.
struct Shop {
    stage: Stage,
    namespaces: [String; 2],
}

/// The agents of both workflows.
struct Agents {
    backend: Process,
    _frontend: Process,
}

impl Shop {
    async fn open() -> Result<(Self, Agents)> {
        let shop = Self::without_agents().await?;
        let [backend, frontend] = &shop.namespaces;
        let backend = shop.stage.agent("backend", backend).await?;
        let _frontend = shop.stage.agent("frontend", frontend).await?;
        Ok((shop, Agents { backend, _frontend }))
    }

    async fn without_agents() -> Result<Self> {
        let cluster = Cluster::shared().await?;
        let stage = Stage::new(cluster).await?;
        let namespaces =
            [cluster.namespace("backend").await?, cluster.namespace("frontend").await?];
        for (namespace, name) in namespaces.iter().zip(["backend", "frontend"]) {
            cluster.apply(namespace, &manifests(name, "1")).await?;
        }
        let pipeline =
            PIPELINE.replace("BACKEND", &namespaces[0]).replace("FRONTEND", &namespaces[1]);
        stage.write(FILE, &pipeline)?;
        let shop = Self { stage, namespaces };
        shop.write("2", "2")?;
        shop.steady("1", "1").await?;
        Ok(shop)
    }

    /// Starts the backend's agent again, where the last one kept its state.
    async fn backend_again(&self) -> Result<Process> {
        self.stage.agent("backend", &self.namespaces[0]).await
    }

    /// Runs the pipeline with these versions.
    async fn run(&self, backend: &str, frontend: &str) -> Result<Played> {
        self.write(backend, frontend)?;
        self.stage.run(&[]).await
    }

    /// Writes the manifests of these versions.
    fn write(&self, backend: &str, frontend: &str) -> Result<()> {
        self.stage.write("backend.yaml", &manifests("backend", backend))?;
        self.stage.write("frontend.yaml", &(manifests("frontend", frontend) + ADDED))
    }

    /// Runs a verb with the pipeline file and a kubeconfig.
    async fn verb(&self, arguments: &[&str], kubeconfig: &Path) -> Result<Played> {
        let kubeconfig = kubeconfig.to_str().context("a path of text")?;
        self.stage.lockstep(&[arguments, &["--kubeconfig", kubeconfig]].concat()).await
    }

    async fn objects(&self) -> Result<Objects> {
        let [backend, frontend] = &self.namespaces;
        Objects::live(self.stage.cluster, &[backend, frontend]).await
    }

    /// Waits until both run these versions, and nothing but that.
    async fn steady(&self, backend: &str, frontend: &str) -> Result<()> {
        let services = [("backend", backend), ("frontend", frontend)];
        for (namespace, (name, tag)) in self.namespaces.iter().zip(services) {
            self.stage.steady(namespace, name, &format!("shop/{name}:{tag}")).await?;
        }
        Ok(())
    }

    /// Waits until a version is applied to the backend, healthy or not.
    async fn applied(&self, tag: &str) -> Result<()> {
        let image = format!("shop/backend:{tag}");
        let object = ["deployment", "backend", "-n", &self.namespaces[0]];
        let at = "/spec/template/spec/containers/0/image";
        let is_so = |seen: &Value| (seen.pointer(at)? == image.as_str()).then_some(());
        self.stage.cluster.sees("is applied", &object, is_so).await
    }
}

#[tokio::test]
async fn parity_01_both_arrive_and_both_namespaces_run_the_new_version() -> Result<()> {
    let (shop, _agents) = Shop::open().await?;
    shop.run("2", "2").await?.expect(0)?;
    shop.steady("2", "2").await?;
    let leases = ["leases", "-n", &shop.namespaces[0]];
    let none = |seen: &Value| seen["items"].as_array()?.is_empty().then_some(());
    shop.stage.cluster.sees("the lock is given up", &leases, none).await
}

#[tokio::test]
async fn parity_03_a_failed_frontend_takes_both_back_to_what_they_were() -> Result<()> {
    let (shop, _agents) = Shop::open().await?;
    let before = shop.objects().await?;
    let text = shop.run("2", "2-crashloop").await?.expect(4)?;
    ensure!(text.contains("frontend") && text.contains("CrashLoopBackOff"), "{text}");
    shop.steady("1", "1").await?;
    shop.objects().await?.must_be(&before)?;
    // As before, the person's next apply changes nothing and conflicts with nobody.
    shop.stage.cluster.apply(&shop.namespaces[0], &manifests("backend", "1")).await
}

#[tokio::test]
async fn parity_15_an_agent_killed_in_the_middle_of_a_deployment_goes_on_with_it() -> Result<()> {
    let (shop, mut agents) = Shop::open().await?;
    let kill = async {
        shop.applied("2-slow").await?;
        agents.backend.kill()?;
        shop.backend_again().await
    };
    let (output, again) = tokio::join!(shop.run("2-slow", "2"), kill);
    let (output, again) = (output?, again?);
    output.expect(0).with_context(|| again.tail())?;
    shop.steady("2-slow", "2").await
}

#[tokio::test]
async fn parity_15_an_agent_that_was_killed_while_it_waited_gives_back_what_was_live() -> Result<()>
{
    let (shop, mut agents) = Shop::open().await?;
    let before = shop.objects().await?;
    let kill = async {
        shop.stage.steady(&shop.namespaces[0], "backend", "shop/backend:2").await?;
        agents.backend.prints("passed barrier BE", SOON).await?;
        agents.backend.kill()?;
        shop.backend_again().await
    };
    let (output, again) = tokio::join!(shop.run("2", "2-crashloop"), kill);
    let (output, again) = (output?, again?);
    output.expect(4).with_context(|| again.tail())?;
    shop.objects().await?.must_be(&before)
}

#[tokio::test]
async fn dev_deploys_with_nothing_else_running_and_destroy_takes_it_away() -> Result<()> {
    let shop = Shop::without_agents().await?;
    let home = &shop.namespaces[0];
    let account = &shop.stage.account_of(&["backend", "frontend"], home).await?;
    let verb = async |arguments: &[&str]| {
        shop.verb(&[arguments, &["--kube-namespace", home]].concat(), account).await
    };
    verb(&["dev", FILE]).await?.expect(0)?;
    shop.steady("2", "2").await?;
    verb(&["destroy", FILE]).await?.expect(2)?;
    let destroy = ["destroy", FILE, "--yes", "--kube-namespace", home];
    shop.verb(&destroy, shop.stage.cluster.kubeconfig()).await?.expect(0)?;
    // The server takes a moment for what it deletes in the foreground.
    until("nothing is left", SOON, || async {
        let objects = shop.objects().await.map_err(|error| format!("{error:#}"))?;
        let left: Vec<&str> = objects.names().collect();
        if left.is_empty() { Ok(()) } else { Err(left.join(", ")) }
    })
    .await
}
