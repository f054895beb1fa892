//! When an object is healthy, in its author's words; and objects that tell nothing of it.

use anyhow::{Context, Result, ensure};
use lockstep_tests::world::SOON;
use serde_json::{Value, json};

use super::Scene;

const PIPELINE: &str = r#"
apiVersion: lockstep.dev/v1alpha1
kind: Pipeline
metadata: { name: shop }
spec:
  workflows:
    - name: backend
      target: { kubernetes: { namespace: BACKEND } }
      steps:
        - deploy: { manifests: [backend.yaml], timeout: 1m, settle: 0s STEP }
"#;

/// The rule for a Till, which no other kind has.
const RULE: &str = r#"healthy: { Till.GROUP: { current: "status.phase == 'Open'", failed: "status.phase == 'Broken'" } }"#;

const DEFINITION: &str = r#"
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: { name: tills.GROUP }
spec:
  group: GROUP
  scope: Namespaced
  names: { kind: Till, plural: tills, singular: till }
  versions:
    - name: v1
      served: true
      storage: true
      subresources: { status: {} }
      schema:
        openAPIV3Schema:
          type: object
          properties:
            spec: { type: object, properties: { level: { type: string } } }
            status: { type: object, x-kubernetes-preserve-unknown-fields: true }
"#;

const TILL: &str = r#"
{ apiVersion: GROUP/v1, kind: Till, metadata: { name: NAME }, spec: { level: LEVEL } }
"#;

/// What no step that waits could bring.
const NEVER_READY: &str = r#"
---
apiVersion: apps/v1
kind: StatefulSet
metadata: { name: by-hand }
spec:
  serviceName: by-hand
  updateStrategy: { type: OnDelete }
  selector: { matchLabels: { app: by-hand } }
  template:
    metadata: { labels: { app: by-hand } }
    spec: { containers: [{ name: app, image: "shop/web:1-unready" }] }
"#;

/// A scene with a kind of its own, and who else would be its controller.
struct Tills {
    scene: Scene,
    group: String,
}

impl Tills {
    async fn open() -> Result<Self> {
        let scene = Scene::open(PIPELINE).await?;
        // Definitions are the whole cluster's.
        let group = format!("{}.example", scene.backend);
        let tills = Self { scene, group };
        let cluster = tills.scene.stage.cluster;
        cluster.apply(&tills.scene.backend, &DEFINITION.replace("GROUP", &tills.group)).await?;
        let definition = ["customresourcedefinition", &format!("tills.{}", tills.group)];
        let established = |crd: &Value| {
            let conditions = crd["status"]["conditions"].as_array()?;
            let is_so = |it: &Value| it["type"] == "Established" && it["status"] == "True";
            conditions.iter().any(is_so).then_some(())
        };
        cluster.sees("is established", &definition, established).await?;
        Ok(tills)
    }

    /// Writes a pipeline with further keys of its step, and what it brings.
    fn brings(&self, step: &str, name: &str, level: &str, more: &str) -> Result<()> {
        let step = if step.is_empty() { String::new() } else { format!(", {step}") };
        let step = step.replace("GROUP", &self.group);
        self.scene.pipeline(&PIPELINE.replace("STEP", &step))?;
        let till = TILL.replace("GROUP", &self.group).replace("NAME", name);
        self.scene.stage.write("backend.yaml", &(till.replace("LEVEL", level) + more))
    }

    fn named<'a>(&'a self, kind: &'a str) -> [&'a str; 4] {
        [kind, "till", "-n", &self.scene.backend]
    }

    /// Waits until the till is at a level; its generation.
    async fn applied(&self, level: &str) -> Result<i64> {
        let kind = format!("tills.{}", self.group);
        let is_so = |till: &Value| {
            (till["spec"]["level"] == level).then_some(till["metadata"]["generation"].as_i64()?)
        };
        self.scene.stage.cluster.sees("is applied", &self.named(&kind), is_so).await
    }

    /// Says as a controller how the till is.
    async fn reports(&self, generation: i64, phase: &str) -> Result<()> {
        let status = json!({ "status": { "observedGeneration": generation, "phase": phase } });
        let kind = format!("tills.{}", self.group);
        let flags = ["--subresource=status", "--type=merge", "-p", &status.to_string()];
        let patch = [&["patch"], &self.named(&kind)[..], &flags].concat();
        self.scene.stage.cluster.kubectl(&patch).await.map(drop)
    }
}

#[tokio::test]
async fn a_custom_resource_is_healthy_when_its_rule_says_so_and_fails_when_it_says_so() -> Result<()>
{
    let tills = Tills::open().await?;
    let scene = &tills.scene;
    tills.brings(RULE, "till", "low", "")?;
    let agent = scene.agent().await?;
    let opens = async {
        let generation = tills.applied("low").await?;
        agent.prints("`current` of its `healthy` rule: there is no phase yet", SOON).await?;
        tills.reports(generation, "Closed").await?;
        agent.prints("`current` of its `healthy` rule is false", SOON).await?;
        tills.reports(generation, "Open").await
    };
    let played = scene.run_while("r1", opens).await?;
    played.expect(0).with_context(|| agent.tail())?;
    let before = scene.objects().await?;

    tills.brings(RULE, "till", "high", "")?;
    let breaks = async {
        // What it was for the earlier generation says nothing.
        let generation = tills.applied("high").await?;
        tills.reports(generation, "Broken").await?;
        let generation = tills.applied("low").await?;
        tills.reports(generation, "Open").await
    };
    let text = scene.run_while("r2", breaks).await?.expect(4).with_context(|| agent.tail())?;
    ensure!(text.contains("Till till: `failed` of its `healthy` rule is true"), "{text}");
    scene.objects().await?.must_be(&before)?;

    // Who does not wait is done when it is applied.
    tills.brings(&format!("wait: false, {RULE}"), "till", "mid", NEVER_READY)?;
    scene.stage.run_as("r3").await?.expect(0).with_context(|| agent.tail())?;
    tills.applied("mid").await?;
    ensure!(scene.object(&scene.backend, "statefulsets", "by-hand").await?.is_some());

    // Without a rule and without a status there is nothing to be seen but that it is there.
    tills.brings("", "bare", "low", "")?;
    let text = scene.stage.run_as("r4").await?.expect(0).with_context(|| agent.tail())?;
    let logs = scene.stage.lockstep(&["logs", "r4"]).await?.expect(0)?;
    ensure!(logs.contains("bare: it exists, and nothing else is known"), "{logs}\n{text}");
    let definition = format!("tills.{}", tills.group);
    scene.stage.cluster.kubectl(&["delete", "crd", &definition]).await.map(drop)
}
