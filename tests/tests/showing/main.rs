//! What people are shown of a deployment to a cluster, and what they never are: the live plan, what
//! is refused, what is warned of, evidence; Secrets. By the real programs on a real control plane.

mod existing;
mod planned;
mod pruned;
mod refused;
mod rendered;
mod rules;
mod secrets;
mod told;

use anyhow::{Context, Result, anyhow, ensure};
use lockstep_tests::{
    cluster::Cluster,
    stage::{FILE, Objects, Played, Stage},
    world::{Process, SOON, until},
};
use serde_json::Value;

/// Two workflows that deploy what their files bring, and commit together.
const BOTH: &str = r#"
apiVersion: lockstep.dev/v1alpha1
kind: Pipeline
metadata: { name: shop }
spec:
  barriers: { both: {} }
  workflows:
    - name: backend
      target: { kubernetes: { namespace: BACKEND } }
      steps:
        - deploy: { manifests: [backend.yaml], timeout: 1m, settle: 0s }
        - barrier: both
    - name: frontend
      target: { kubernetes: { namespace: FRONTEND } }
      steps:
        - deploy: { manifests: [frontend.yaml], timeout: 1m, settle: 0s }
        - barrier: both
"#;

/// A stage with two namespaces, one for each of the workflows `backend` and `frontend`.
struct Scene {
    stage: Stage,
    backend: String,
    frontend: String,
}

impl Scene {
    /// Two empty namespaces and a pipeline, which speaks of them as `BACKEND` and `FRONTEND`.
    async fn open(pipeline: &str) -> Result<Self> {
        let cluster = Cluster::shared().await?;
        let stage = Stage::new(cluster).await?;
        let (backend, frontend) =
            tokio::try_join!(cluster.namespace("backend"), cluster.namespace("frontend"))?;
        let scene = Self { stage, backend, frontend };
        scene.pipeline(pipeline)?;
        Ok(scene)
    }

    /// Writes the pipeline anew.
    fn pipeline(&self, pipeline: &str) -> Result<()> {
        self.stage.write(FILE, &self.placed(pipeline))
    }

    /// A text with the names of the namespaces in it.
    fn placed(&self, text: &str) -> String {
        text.replace("BACKEND", &self.backend).replace("FRONTEND", &self.frontend)
    }

    /// An agent for the workflow `backend`.
    async fn agent(&self) -> Result<Process> {
        self.stage.agent("backend", &self.backend).await
    }

    /// The agents of both workflows.
    async fn agents(&self) -> Result<[Process; 2]> {
        let frontend = self.stage.agent("frontend", &self.frontend);
        let (backend, frontend) = tokio::try_join!(self.agent(), frontend)?;
        Ok([backend, frontend])
    }

    /// What users have in both namespaces.
    async fn objects(&self) -> Result<Objects> {
        Objects::live(self.stage.cluster, &[&self.backend, &self.frontend]).await
    }

    /// One object of a namespace, if it is there.
    async fn object(&self, namespace: &str, kind: &str, name: &str) -> Result<Option<Value>> {
        let all = self.stage.cluster.get(&[kind, "-n", namespace]).await?;
        let all = all["items"].as_array().context("a list")?;
        Ok(all.iter().find(|object| object["metadata"]["name"] == name).cloned())
    }

    /// All objects of a namespace, but for those of some resources.
    async fn all_but(&self, namespace: &str, resources: &[&str]) -> Result<Vec<Value>> {
        let cluster = self.stage.cluster;
        let listed = async || {
            let mut kinds = cluster.kinds().await?;
            kinds.retain(|kind| !resources.contains(&kind.split('.').next().unwrap_or(kind)));
            let list = cluster.get(&[&kinds.join(","), "-n", namespace]).await?;
            list["items"].as_array().cloned().context("a list")
        };
        // A kind that another test has defined may go between two requests.
        until("all objects are listed", SOON, || async {
            listed().await.map_err(|error| format!("{error:#}"))
        })
        .await
    }

    /// What a verb says on stdout, as JSON, if it ends with this code.
    async fn json(&self, arguments: &[&str], code: i32) -> Result<Value> {
        let arguments = [arguments, &["-o", "json"]].concat();
        let output = self.stage.world.lockstep_in(self.stage.folder(), &arguments).await?;
        let (said, told) = (lossy(&output.stdout), lossy(&output.stderr));
        ensure!(
            output.status.code() == Some(code),
            "{arguments:?}: {}\n{told}{said}",
            output.status
        );
        serde_json::from_str(&said).context(said)
    }

    /// Runs the pipeline as this run, and does something while it runs.
    async fn run_while(
        &self,
        run: &str,
        meanwhile: impl Future<Output = Result<()>>,
    ) -> Result<Played> {
        self.run_with_while(&["--run-id", run], meanwhile).await
    }

    /// The same with these arguments.
    async fn run_with_while(
        &self,
        arguments: &[&str],
        meanwhile: impl Future<Output = Result<()>>,
    ) -> Result<Played> {
        let mut running = std::pin::pin!(self.stage.run(arguments));
        tokio::select! {
            ended = &mut running => {
                Err(anyhow!("it ended before it should, and said\n{}", ended?))
            }
            done = meanwhile => {
                done?;
                running.await
            }
        }
    }
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
