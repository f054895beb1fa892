//! Somebody else at work: on the objects that a run is about to write, while it is held, and in the
//! API server itself. All by the real programs on a real control plane.
//!
//! A run is held at two gates, one before its first write and one after its last: what happens at
//! either is therefore no matter of luck.

mod admission;
mod before_the_write;
mod bookkeeping;
mod habits;
mod owners;
mod parked;
mod rights;
mod stale_status;
mod webhook;

use anyhow::Result;
use lockstep_tests::{
    cluster::Cluster,
    stage::{FILE, Objects, Played, Stage},
    world::Process,
};
use serde_json::Value;

/// One workflow with a gate before its deployment and one after it.
const PIPELINE: &str = r#"
apiVersion: lockstep.dev/v1alpha1
kind: Pipeline
metadata: { name: shop }
spec:
  barriers: { start: { parties: [tester], timeout: 5m }, end: { parties: [tester], timeout: 5m } }
  workflows:
    - name: backend
      target: { kubernetes: { namespace: NAMESPACE } }
      steps:
        - barrier: start
        - deploy: { manifests: [backend.yaml], timeout: 2m, settle: 0s STEP }
        - barrier: end
"#;

/// What the service is, at a version; the tag's last word says what its pods do.
const SERVICE: &str = r#"
apiVersion: v1
kind: ConfigMap
metadata: { name: web }
data: { version: "TAG", kept: "1" }
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: web }
spec:
  replicas: 2
  selector: { matchLabels: { app: web } }
  template:
    metadata: { labels: { app: web } }
    spec:
      terminationGracePeriodSeconds: 1
      containers: [{ name: app, image: "shop/web:TAG" }]
"#;

/// A namespace with the service at version 1, as a person has applied it.
struct Service {
    stage: Stage,
    namespace: String,
}

/// What becomes of a run at its second gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tester {
    Lets,
    Refuses,
    /// Says nothing: the run has to end without.
    Waits,
}

impl Service {
    async fn open() -> Result<(Self, Process)> {
        Self::open_in(Cluster::shared().await?, &["apply"]).await
    }

    /// The same in a certain cluster, where the person deploys by this verb and flags of kubectl.
    async fn open_in(cluster: &'static Cluster, way: &[&str]) -> Result<(Self, Process)> {
        let stage = Stage::new(cluster).await?;
        let namespace = cluster.namespace("web").await?;
        let service = Self { stage, namespace };
        service.deploy_by(way, &SERVICE.replace("TAG", "1")).await?;
        service.steady("1").await?;
        service.pipeline("")?;
        service.brings(&SERVICE.replace("TAG", "2"))?;
        let agent = service.stage.agent("backend", &service.namespace).await?;
        Ok((service, agent))
    }

    /// Writes the pipeline, with further keys of its step.
    fn pipeline(&self, step: &str) -> Result<()> {
        let pipeline = PIPELINE.replace("NAMESPACE", &self.namespace);
        self.stage.write(FILE, &pipeline.replace("STEP", step))
    }

    /// Writes what the next run brings.
    fn brings(&self, manifests: &str) -> Result<()> {
        self.stage.write("backend.yaml", manifests)
    }

    /// A person's `kubectl apply`.
    async fn apply(&self, manifests: &str) -> Result<()> {
        self.deploy_by(&["apply"], manifests).await
    }

    /// Has kubectl write manifests, by this verb and flags.
    async fn deploy_by(&self, way: &[&str], manifests: &str) -> Result<()> {
        let cluster = self.stage.cluster;
        let arguments = [way, &["-n", &self.namespace, "-f", "-"]].concat();
        cluster.kubectl_as(cluster.kubeconfig(), &arguments, manifests).await.map(drop)
    }

    /// Has kubectl do something in the namespace; the words are separated by spaces.
    async fn kubectl(&self, words: &str) -> Result<String> {
        let mut arguments: Vec<&str> = words.split(' ').collect();
        arguments.extend(["-n", &self.namespace]);
        self.stage.cluster.kubectl(&arguments).await
    }

    async fn objects(&self) -> Result<Objects> {
        Objects::live(self.stage.cluster, &[&self.namespace]).await
    }

    /// One object, as it is now.
    async fn object(&self, kind: &str) -> Result<Value> {
        let object = [kind, "web", "-n", &self.namespace, "--show-managed-fields"];
        self.stage.cluster.get(&object).await
    }

    async fn steady(&self, tag: &str) -> Result<()> {
        self.stage.steady(&self.namespace, "web", &format!("shop/web:{tag}")).await
    }

    /// Plays a run: somebody meddles at each gate, then the tester has his say. A run that ends
    /// before a gate is as well.
    async fn play(
        &self,
        run: &str,
        at_start: impl Future<Output = Result<()>>,
        at_end: impl Future<Output = Result<()>>,
        tester: Tester,
    ) -> Result<Played> {
        let meddle = async {
            self.stage.stands(run, "backend", "start").await?;
            at_start.await?;
            self.stage.open(run, "start").await?;
            self.stage.stands(run, "backend", "end").await?;
            at_end.await?;
            match tester {
                Tester::Lets => self.stage.open(run, "end").await,
                Tester::Refuses => self.stage.refuse(run, "end").await,
                Tester::Waits => Ok(()),
            }
        };
        let mut running = std::pin::pin!(self.stage.run_as(run));
        tokio::select! {
            played = &mut running => return played,
            meddled = meddle => meddled?,
        }
        running.await
    }
}

/// Leaves everybody alone.
async fn nothing() -> Result<()> {
    Ok(())
}
