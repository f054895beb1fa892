//! Several workflows in one namespace: each has its own objects, and no object has two.

use anyhow::{Result, ensure};
use lockstep_tests::{
    cluster::Cluster,
    stage::{FILE, Objects, Stage},
};

/// Two workflows that deploy to one namespace.
const PIPELINE: &str = r#"
apiVersion: lockstep.dev/v1alpha1
kind: Pipeline
metadata: { name: shop }
spec:
  barriers: { end: { parties: [tester] } }
  workflows:
    - name: backend
      target: { kubernetes: { namespace: NAMESPACE } }
      steps:
        - deploy: { manifests: [backend.yaml], timeout: 2m, settle: 0s }
        - barrier: end
    - name: frontend
      target: { kubernetes: { namespace: NAMESPACE } }
      steps:
        - deploy: { manifests: [frontend.yaml], timeout: 2m, settle: 0s }
        - barrier: end
"#;

fn config(name: &str, value: &str) -> String {
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{ name: {name} }}\ndata: {{ a: {value} }}\n"
    )
}

/// One namespace with an object for each of the two workflows.
async fn shared_namespace() -> Result<(Stage, String)> {
    let cluster = Cluster::shared().await?;
    let (stage, namespace) = (Stage::new(cluster).await?, cluster.namespace("shared").await?);
    stage.write(FILE, &PIPELINE.replace("NAMESPACE", &namespace))?;
    for name in ["backend", "frontend"] {
        cluster.apply(&namespace, &config(name, "first")).await?;
        stage.write(&format!("{name}.yaml"), &config(name, "second"))?;
    }
    Ok((stage, namespace))
}

#[tokio::test]
async fn two_workflows_share_a_namespace_and_each_writes_and_gives_back_its_own() -> Result<()> {
    let (stage, namespace) = shared_namespace().await?;
    let _agents =
        [stage.agent("backend", &namespace).await?, stage.agent("frontend", &namespace).await?];
    let objects = async || Objects::live(stage.cluster, &[&namespace]).await;
    let before = objects().await?;
    let go = async |run: &str, gate: fn(&Stage) -> bool| {
        let tester = async {
            stage.stands(run, "backend", "end").await?;
            stage.stands(run, "frontend", "end").await?;
            match gate(&stage) {
                true => stage.open(run, "end").await,
                false => stage.refuse(run, "end").await,
            }
        };
        let (played, ()) = tokio::try_join!(stage.run_as(run), tester)?;
        anyhow::Ok(played)
    };
    go("r1", |_| false).await?.expect(4)?;
    objects().await?.must_be(&before)?;
    go("r2", |_| true).await?.expect(0)?;

    // Each prunes what it had brought itself, and nothing of the other's.
    stage.write("backend.yaml", &config("renamed", "third"))?;
    go("r3", |_| true).await?.expect(0)?;
    let after = objects().await?;
    let names: Vec<&str> = after.names().collect();
    let named = ["frontend", "renamed"].map(|name| format!("{namespace}: ConfigMap {name}"));
    assert_eq!(names, named);
    Ok(())
}

#[tokio::test]
async fn parity_24_an_object_of_two_workflows_is_refused_before_the_run_with_both_places()
-> Result<()> {
    let (stage, namespace) = shared_namespace().await?;
    stage.write(
        "frontend.yaml",
        &format!("{}---\n{}", config("frontend", "second"), config("backend", "third")),
    )?;
    let before = Objects::live(stage.cluster, &[&namespace]).await?;
    let said = stage.run(&[]).await?.expect(3)?;
    for place in ["backend.yaml", "frontend.yaml", "ConfigMap"] {
        ensure!(said.contains(place), "{place} is not in {said}");
    }
    Objects::live(stage.cluster, &[&namespace]).await?.must_be(&before)
}

#[tokio::test]
async fn an_object_that_is_labelled_as_another_workflows_is_refused() -> Result<()> {
    let (stage, namespace) = shared_namespace().await?;
    let label =
        ["label", "configmap", "frontend", "-n", &namespace, "lockstep.dev/owner=other.web"];
    stage.cluster.kubectl(&label).await?;
    let _agents =
        [stage.agent("backend", &namespace).await?, stage.agent("frontend", &namespace).await?];
    let before = Objects::live(stage.cluster, &[&namespace]).await?;
    let said = stage.run(&[]).await?.expect(4)?;
    let told = format!("ConfigMap {namespace}/frontend: it belongs to other.web");
    ensure!(said.contains(&told), "{told:?} is not in {said}");
    Objects::live(stage.cluster, &[&namespace]).await?.must_be(&before)
}
