//! Deploying what somebody else has deployed before, beside what somebody else deploys, and to more
//! than one place: on real API servers, by the real programs.
//!
//! What has to be as if lockstep had never been there is compared with a *twin*: a namespace in
//! which everything else was done as well, but lockstep was never run.

mod manifests;
mod owners;
mod places;
mod workflows;

use anyhow::Result;
use lockstep_tests::{
    cluster::Cluster,
    stage::{FILE, Objects, Stage},
};

/// One workflow that deploys `backend.yaml`, held at the gate `end` before it may commit.
const PIPELINE: &str = r#"
apiVersion: lockstep.dev/v1alpha1
kind: Pipeline
metadata: { name: shop }
spec:
  barriers: { end: { parties: [tester], timeout: 5m } }
  workflows:
    - name: backend
      target: { kubernetes: { namespace: NAMESPACE TARGET } }
      steps:
        - deploy: { manifests: [backend.yaml], timeout: 2m, settle: 0s STEP }
        - barrier: end
"#;

/// The file of the workflow's manifests.
const MANIFESTS: &str = "backend.yaml";

/// A stage, and two namespaces of which lockstep deploys to the first only.
struct Twins {
    stage: Stage,
    ours: String,
    other: String,
}

impl Twins {
    async fn open() -> Result<Self> {
        let cluster = Cluster::shared().await?;
        let stage = Stage::new(cluster).await?;
        let (ours, other) = (cluster.namespace("ours").await?, cluster.namespace("twin").await?);
        Ok(Self { stage, ours, other })
    }

    /// Writes the pipeline, with further keys of its target and of its step.
    fn pipeline(&self, target: &str, step: &str) -> Result<()> {
        let pipeline = PIPELINE.replace("NAMESPACE", &self.ours);
        self.stage.write(FILE, &pipeline.replace("TARGET", target).replace("STEP", step))
    }

    /// Both namespaces.
    fn both(&self) -> [&str; 2] {
        [&self.ours, &self.other]
    }

    /// What lockstep's namespace has.
    async fn objects(&self) -> Result<Objects> {
        Objects::live(self.stage.cluster, &[&self.ours]).await
    }

    /// Fails with what differs between the two.
    async fn are_alike(&self) -> Result<()> {
        let [ours, other] = self.both();
        let twin = Objects::live(self.stage.cluster, &[other]).await?.of_a_twin(other)?;
        self.objects().await?.of_a_twin(ours)?.must_be(&twin)
    }

    /// Runs the pipeline, and lets the tester refuse it once everything is deployed.
    async fn deploy_and_go_back(&self, run: &str) -> Result<String> {
        let refuse = async {
            self.stage.stands(run, "backend", "end").await?;
            self.stage.refuse(run, "end").await
        };
        let (played, ()) = tokio::try_join!(self.stage.run_as(run), refuse)?;
        played.expect(4)
    }
}
