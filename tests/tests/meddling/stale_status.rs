//! A status that tells of the generation before ours and looks complete.

use anyhow::Result;
use lockstep_shared::record::Record;
use lockstep_tests::{
    cluster::{CONTROLLERS, Cluster},
    stage::{FILE, PIPELINE, Seat, Stage},
    world::{SOON, key},
};

use super::SERVICE;

/// Deploys, and is through.
const ALONE: &str = r#"
apiVersion: lockstep.dev/v1alpha1
kind: Pipeline
metadata: { name: shop }
spec:
  workflows:
    - name: backend
      target: { kubernetes: { namespace: NAMESPACE } }
      steps:
        - deploy: { manifests: [backend.yaml], timeout: 2m, settle: 0s }
"#;

#[tokio::test]
async fn a_step_is_not_healthy_before_the_controller_has_seen_what_was_applied() -> Result<()> {
    let cluster = Cluster::private().await?;
    let stage = Stage::new(Cluster::shared().await?).await?;
    let namespace = cluster.namespace("web").await?;
    cluster.apply(&namespace, &SERVICE.replace("TAG", "1")).await?;
    stage.steady_in(&cluster, &namespace, "web", "shop/web:1").await?;
    stage.write(FILE, &ALONE.replace("NAMESPACE", &namespace))?;
    stage.write("backend.yaml", &SERVICE.replace("TAG", "2"))?;
    let workflow = "backend";
    let kubeconfig = &stage.account_in(&cluster, workflow, &namespace).await?;
    let seat = Seat { workflow, namespace: &namespace, kubeconfig, called: "agent", more: &[] };
    let agent = stage.seat(&seat).await?;

    // Nobody acts on what is applied; what the status says is what it said of version 1.
    cluster.kill(CONTROLLERS)?;
    let look = async {
        agent.prints("its controller has not seen the change yet", SOON).await?;
        let web = cluster.get(&["deployment", "web", "-n", &namespace]).await?;
        let (status, wanted) = (&web["status"], &web["spec"]["replicas"]);
        for count in ["replicas", "updatedReplicas", "readyReplicas", "availableReplicas"] {
            assert_eq!(status[count], *wanted, "{count}: the trap is set");
        }
        assert_ne!(status["observedGeneration"], web["metadata"]["generation"]);
        let records = stage.world.records(&stage.world.bus().await?, &key(PIPELINE, "r1")?).await?;
        let finished = |record: &Record| matches!(record, Record::StepFinished { .. });
        assert!(!records.iter().any(finished), "{records:?}");
        cluster.restart(CONTROLLERS).await
    };
    let (played, ()) = tokio::try_join!(stage.run_as("r1"), look)?;
    played.expect(0)?;
    stage.steady_in(&cluster, &namespace, "web", "shop/web:2").await
}
