//! One workflow in a namespace of its own, at version 1, with a proxy before its API server.

use anyhow::{Context, Result};
use lockstep_tests::{
    cluster::Cluster,
    proxy::Proxy,
    stage::{FILE, Objects, Seat, Stage},
    world::Process,
};
use serde_json::Value;

/// What is live, and what is deployed at another version; the tag's last word says what pods do.
const MANIFESTS: &str = r#"
apiVersion: v1
kind: ConfigMap
metadata: { name: web }
data: { version: "TAG" }
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: web }
spec:
  replicas: 1
  progressDeadlineSeconds: 600
  selector: { matchLabels: { app: web } }
  template:
    metadata: { labels: { app: web } }
    spec: { terminationGracePeriodSeconds: 0, containers: [{ name: app, image: "shop/web:TAG" }] }
"#;

/// What a new version brings besides.
const ADDED: &str = r#"
---
apiVersion: v1
kind: ConfigMap
metadata: { name: extra }
data: { a: b }
"#;

/// The deployment of everything at once.
pub(crate) const DEPLOY: &str = "{ manifests: [web.yaml], timeout: 2m, settle: 1s }";

/// One pipeline of one workflow, with version 1 live as a person has applied it.
pub(crate) struct Site {
    pub(crate) stage: Stage,
    pub(crate) namespace: String,
    pub(crate) proxy: Proxy,
}

impl Site {
    /// The version to deploy, and the workflow's steps.
    pub(crate) async fn open(tag: &str, steps: &[&str]) -> Result<Self> {
        Self::with(tag, steps, "").await
    }

    /// The same, with more in the pipeline.
    pub(crate) async fn with(tag: &str, steps: &[&str], more: &str) -> Result<Self> {
        let cluster = Cluster::shared().await?;
        let stage = Stage::new(cluster).await?;
        let namespace = cluster.namespace("web").await?;
        cluster.apply(&namespace, &MANIFESTS.replace("TAG", "1")).await?;
        stage.write("web.yaml", &(MANIFESTS.replace("TAG", tag) + ADDED))?;
        let steps: String = steps.iter().map(|step| format!("        - {step}\n")).collect();
        let pipeline = format!(
            "apiVersion: lockstep.dev/v1alpha1\nkind: Pipeline\nmetadata: {{ name: shop }}\nspec:\n\
             {more}  workflows:\n    - name: web\n      target: {{ kubernetes: {{ namespace: {namespace} }} }}\n      \
             steps:\n{steps}"
        );
        stage.write(FILE, &pipeline)?;
        let proxy = Proxy::before(cluster).await?;
        let site = Self { stage, namespace, proxy };
        site.steady("1").await?;
        Ok(site)
    }

    /// Starts the workflow's agent behind the proxy, where the last one kept its state.
    pub(crate) async fn agent(&self) -> Result<Process> {
        self.agent_called("web", &self.proxy).await
    }

    /// Starts an agent behind a proxy; another name is another machine.
    pub(crate) async fn agent_called(&self, called: &str, proxy: &Proxy) -> Result<Process> {
        let kubeconfig = &proxy.kubeconfig();
        let seat =
            Seat { workflow: "web", namespace: &self.namespace, kubeconfig, called, more: &[] };
        self.stage.seat(&seat).await
    }

    pub(crate) async fn objects(&self) -> Result<Objects> {
        Objects::live(self.stage.cluster, &[&self.namespace]).await
    }

    /// Waits until the Deployment runs a version, and nothing else.
    pub(crate) async fn steady(&self, tag: &str) -> Result<()> {
        self.stage.steady(&self.namespace, "web", &format!("shop/web:{tag}")).await
    }

    /// Waits until a version is there in whole.
    pub(crate) async fn is_new(&self, tag: &str) -> Result<()> {
        self.steady(tag).await?;
        let objects = self.objects().await?;
        let data = |name: &str| {
            let object = objects.get(&format!("{}: ConfigMap {name}", self.namespace));
            object.map(|object| object["data"].clone())
        };
        let wanted = [serde_json::json!({ "version": tag }), serde_json::json!({ "a": "b" })];
        let found = [data("web"), data("extra")];
        anyhow::ensure!(found == wanted.map(Some), "the new version is not there: {found:?}");
        Ok(())
    }

    /// Waits until nothing is owed: every undo record is settled.
    pub(crate) async fn settled(&self) -> Result<()> {
        let records = ["secrets", "-n", &self.namespace, "-l", "lockstep.dev/undo=head"];
        let settled = |seen: &Value| {
            let state = |record: &Value| record["metadata"]["labels"]["lockstep.dev/state"].clone();
            seen["items"].as_array()?.iter().all(|record| state(record) == "settled").then_some(())
        };
        self.stage.cluster.sees("nothing is owed", &records, settled).await
    }

    /// What there is to see of this when it goes wrong.
    pub(crate) fn told(&self, agents: &[&Process]) -> String {
        let agents: String = agents.iter().map(|agent| agent.tail()).collect();
        let writes = self.proxy.writes();
        let writes: String = writes.iter().map(|write| format!("{write}\n")).collect();
        format!("{agents}--- writes\n{writes}")
    }

    /// The result, with what there is to see if it went wrong.
    pub(crate) fn explained<T>(&self, result: Result<T>, agents: &[&Process]) -> Result<T> {
        result.with_context(|| self.told(agents))
    }
}
