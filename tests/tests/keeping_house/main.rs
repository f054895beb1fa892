//! What an agent keeps in a real cluster beyond one run: debts and how they are settled, undo
//! records, inventories, evidence; and what takes them away again.

mod debts;
mod destroyed;
mod evidence;
mod records;

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use lockstep_tests::{
    cluster::Cluster,
    stage::{FILE, PIPELINE, Stage},
    world::{Process, SOON},
};
use serde_json::{Value, json};

/// What the one workflow brings, at a version.
const MANIFESTS: &str = r#"
apiVersion: v1
kind: ConfigMap
metadata: { name: settings }
data: { version: "TAG" }
---
apiVersion: v1
kind: ConfigMap
metadata: { name: of-TAG }
data: { a: b }
---
apiVersion: v1
kind: Service
metadata: { name: backend }
spec: { selector: { app: backend }, ports: [{ port: 80 }] }
"#;

/// Deploys, and fails after that while the file `fail` is there.
const DEPLOYS: &str = r#"
apiVersion: lockstep.dev/v1alpha1
kind: Pipeline
metadata: { name: shop }
spec:
  params: { namespace: { default: NAMESPACE } }
  workflows:
    - name: backend
      target: { kubernetes: { namespace: "${{ params.namespace }}" } }
      steps:
        - deploy: { manifests: [backend.yaml], timeout: 2m, settle: 0s }
        - run: { command: "test ! -e fail", undo: none }
"#;

/// A Deployment whose pods do what the version says.
const PODS: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: { name: web }
spec:
  selector: { matchLabels: { app: web } }
  template:
    metadata: { labels: { app: web } }
    spec: { containers: [{ name: app, image: "house/web:TAG" }] }
"#;

/// A namespace, and a pipeline for it.
struct House {
    stage: Stage,
    namespace: String,
}

impl House {
    async fn open() -> Result<Self> {
        let cluster = Cluster::shared().await?;
        let stage = Stage::new(cluster).await?;
        let namespace = cluster.namespace("house").await?;
        let house = Self { stage, namespace };
        house.write(FILE, &DEPLOYS.replace("NAMESPACE", &house.namespace))?;
        house.bring("1", false)?;
        Ok(house)
    }

    fn cluster(&self) -> &'static Cluster {
        self.stage.cluster
    }

    fn write(&self, name: &str, text: &str) -> Result<()> {
        self.stage.write(name, text)
    }

    /// Writes the manifests of a version, and whether its run is to fail after they are deployed.
    fn bring(&self, tag: &str, fails: bool) -> Result<()> {
        self.write("backend.yaml", &MANIFESTS.replace("TAG", tag))?;
        match fails {
            true => self.write("fail", ""),
            false => Ok(fs::remove_file(self.stage.folder().join("fail")).or_else(is_absent)?),
        }
    }

    /// Adds to what the pipeline says of its target.
    fn target(&self, more: &str) -> Result<()> {
        let pipeline = DEPLOYS.replace("NAMESPACE", &self.namespace);
        let namespace = "namespace: \"${{ params.namespace }}\"";
        self.write(FILE, &pipeline.replace(namespace, &format!("{namespace}, {more}")))
    }

    /// The kubeconfigs of the agent and of an administrator whose context `eu` is the cluster, with
    /// undo records in a namespace of their own, and whose current context leads nowhere.
    async fn contexts(&self) -> Result<Contexts> {
        let home = self.cluster().namespace("home").await?;
        let account = self.stage.account("backend", &home).await?;
        let agent = self.leading_nowhere("agent", fs::read(account)?, &home)?;
        let view = ["config", "view", "--raw", "--flatten", "--minify", "-o", "json"];
        let admin = self.cluster().kubectl(&view).await?.into_bytes();
        let admin = self.leading_nowhere("admin", admin, &home)?;
        Ok(Contexts { agent, admin, home })
    }

    fn leading_nowhere(&self, whose: &str, config: Vec<u8>, home: &str) -> Result<PathBuf> {
        let mut config: Value = serde_json::from_slice(&config)?;
        let eu = &mut config["contexts"][0];
        eu["name"] = "eu".into();
        eu["context"]["namespace"] = home.into();
        let user = eu["context"]["user"].clone();
        let nowhere = json!({ "name": "nowhere", "cluster": { "server": "https://127.0.0.1:1" } });
        let clusters = config["clusters"].as_array_mut().context("clusters")?;
        clusters.push(nowhere);
        let context =
            json!({ "name": "nowhere", "context": { "cluster": "nowhere", "user": user } });
        config["contexts"].as_array_mut().context("contexts")?.push(context);
        config["current-context"] = "nowhere".into();
        let path = self.stage.world.folder().join(format!("{whose}.kubeconfig"));
        fs::write(&path, config.to_string())?;
        Ok(path)
    }

    /// Starts the workflow's agent, which keeps its records beside the objects.
    async fn agent(&self, flags: &[&str]) -> Result<Process> {
        let account = self.stage.account("backend", &self.namespace).await?;
        let flags = [flags, &["--kube-namespace", &self.namespace]].concat();
        self.agent_with("agent", &account, &flags).await
    }

    /// Starts the workflow's agent, which keeps its records where its context says.
    async fn agent_with(&self, called: &str, kubeconfig: &Path, flags: &[&str]) -> Result<Process> {
        let state = self.stage.world.folder().join("state");
        let state = state.to_str().context("a path of text")?;
        let kubeconfig = kubeconfig.to_str().context("a path of text")?;
        let mut arguments = vec!["serve", "--pipeline", PIPELINE, "--workflow", "backend"];
        arguments.extend(["--state-dir", state, "--allow-commands", "--kubeconfig", kubeconfig]);
        arguments.extend(flags);
        let folder = self.stage.folder();
        let agent = self.stage.world.start(called, "lockstep-agent", &arguments, folder)?;
        agent.prints("ready", SOON).await?;
        Ok(agent)
    }

    /// Has the pipeline run as a run of this id, which has to end with this code; what it said.
    async fn run(&self, run: &str, code: i32) -> Result<String> {
        self.stage.run_as(run).await?.expect(code)
    }

    /// Runs a verb of `lockstep` that has to end with this code; what it said.
    async fn lockstep(&self, arguments: &[&str], code: i32) -> Result<String> {
        let played = self.stage.lockstep(arguments).await?;
        played.expect(code).with_context(|| format!("{arguments:?}"))
    }

    /// Runs the pipeline as `lockstep dev` does, with a kubeconfig, once that may.
    async fn dev(&self, kubeconfig: &Path, more: &[&str], code: i32) -> Result<String> {
        self.stage.grant(more).await?;
        self.with(kubeconfig, &[&["dev", FILE], more].concat(), code).await
    }

    /// Runs a verb with a kubeconfig.
    async fn with(&self, kubeconfig: &Path, arguments: &[&str], code: i32) -> Result<String> {
        let kubeconfig = kubeconfig.to_str().context("a path of text")?;
        self.lockstep(&[arguments, &["--kubeconfig", kubeconfig]].concat(), code).await
    }

    /// One object of the namespace; `None` if it is not there.
    async fn object(&self, kind: &str, name: &str) -> Result<Option<Value>> {
        let all = self.list(kind, &self.namespace).await?;
        Ok(all.into_iter().find(|object| object["metadata"]["name"] == name))
    }

    async fn list(&self, kind: &str, namespace: &str) -> Result<Vec<Value>> {
        let all = self.cluster().get(&[kind, "-n", namespace, "--show-managed-fields"]).await?;
        Ok(all["items"].as_array().cloned().unwrap_or_default())
    }

    /// The names of the Secrets in which agents keep house.
    async fn kept(&self, namespace: &str) -> Result<Vec<String>> {
        let secrets = self.list("secrets", namespace).await?;
        let is_kept = |secret: &&Value| {
            secret["type"].as_str().is_some_and(|kind| kind.starts_with("lockstep.dev/"))
        };
        let name = |secret: &Value| secret["metadata"]["name"].as_str().unwrap_or("").to_owned();
        Ok(secrets.iter().filter(is_kept).map(name).collect())
    }

    /// The version that is live.
    async fn version(&self) -> Result<String> {
        let settings = self.object("configmaps", "settings").await?.context("settings")?;
        Ok(settings["data"]["version"].as_str().context("a version")?.to_owned())
    }
}

/// Kubeconfigs with contexts, and the namespace of the context `eu`.
struct Contexts {
    agent: PathBuf,
    admin: PathBuf,
    home: String,
}

fn is_absent(error: std::io::Error) -> std::io::Result<()> {
    if error.kind() == std::io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}
