//! What existed gets back what it was, owners included; what was added goes.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::{ADDED, AFTER, BEFORE, HELD, Scene, together};

/// A StatefulSet that replaces one pod after the other.
const SET: &str = r#"
apiVersion: apps/v1
kind: StatefulSet
metadata: { name: store }
spec:
  serviceName: store
  replicas: 2
  selector: { matchLabels: { app: store } }
  template:
    metadata: { labels: { app: store } }
    spec: { containers: [ { name: app, image: "shop/store:TAG" } ] }
"#;

/// What the plan says of each object of `after.yaml` and `added.yaml`: what is done, and how it is
/// undone.
const PLANNED: &[(&str, &str)] = &[
    ("ConfigMap listed", "update, exact"),
    ("ServiceAccount worker", "update, exact"),
    ("ConfigMap settings", "update, exact"),
    ("ConfigMap sealed", "update, exact"),
    ("Secret token", "update, exact"),
    ("Secret words", "update, exact"),
    ("NetworkPolicy web", "update, exact"),
    ("ResourceQuota roomy", "update, exact"),
    ("LimitRange small", "update, exact"),
    // Of `minAvailable` and `maxUnavailable` only one may be there: no dry run can show both.
    ("PodDisruptionBudget web", "apply, exact"),
    ("PersistentVolumeClaim data", "update, exact"),
    ("Role reader", "update, exact"),
    ("RoleBinding readers", "update, exact"),
    ("Service web", "update, exact"),
    ("DaemonSet everywhere", "update, exact"),
    // Nor a strategy of its own with the numbers of another one.
    ("Deployment web", "apply, exact"),
    ("Deployment plain", "update, exact"),
    ("Job seed", "update, exact"),
    ("CronJob nightly", "update, exact"),
    ("Ingress web", "update, exact"),
    ("HorizontalPodAutoscaler other", "update, exact"),
    ("ConfigMap added", "create, by delete"),
    ("Secret added", "create, by delete"),
    ("ServiceAccount added", "create, by delete"),
    ("NetworkPolicy added", "create, by delete"),
    ("PodDisruptionBudget added", "create, by delete"),
    ("PersistentVolumeClaim added", "create, kept"),
    ("Role added", "create, by delete"),
    // Its Role comes with it.
    ("RoleBinding added", "apply, by delete"),
    ("Service added", "create, by delete"),
    ("DaemonSet added", "create, by delete"),
    ("Deployment added", "create, by delete"),
    ("StatefulSet added", "create, by delete"),
    ("Job migrate-", "create, one-way"),
    ("CronJob added", "create, by delete"),
    ("Ingress added", "create, by delete"),
    ("HorizontalPodAutoscaler added", "create, by delete"),
];

#[tokio::test]
async fn what_a_person_has_applied_is_given_back_after_a_crash_looping_step() -> Result<()> {
    let scene = Scene::new(
        "        - deploy: { manifests: [all.yaml], timeout: 2m, settle: 0s, irreversible: accept }
        - deploy: { manifests: [set.yaml], timeout: 2m, settle: 0s }\n",
    )
    .await?;
    scene.stage.write("all.yaml", &together(&[AFTER, ADDED]))?;
    scene.stage.write("set.yaml", &SET.replace("TAG", "2-crashloop"))?;
    scene.apply(&together(&[BEFORE, &SET.replace("TAG", "1")])).await?;
    scene.quiet().await?;
    let agent = scene.agent().await?;
    let before = scene.objects().await?;
    let planned = scene.planned(0).await?;
    for (object, what) in PLANNED {
        let found = planned.iter().find(|(found, _)| found.starts_with(object));
        let found = found.with_context(|| format!("no {object} in {planned:?}"))?;
        assert_eq!(found.1, *what, "{object}");
    }
    assert_eq!(planned.len(), PLANNED.len(), "{planned:?}");

    let output = scene.stage.run(&[]).await?;
    let text = output.expect(4).with_context(|| agent.tail())?;
    ensure!(text.contains("CrashLoopBackOff"), "{text}");
    scene.must_have_kept_the_claims(&text, &["added"])?;
    scene.quiet().await?;
    let claim = scene.named("PersistentVolumeClaim added");
    scene.objects().await?.must_be_with(&before, &[&claim])?;
    // As before, the person's next apply changes nothing and conflicts with nobody.
    scene.apply(&together(&[BEFORE, &SET.replace("TAG", "1")])).await?;
    scene.objects().await?.must_be_with(&before, &[&claim])
}

#[tokio::test]
async fn what_a_person_has_applied_is_given_back_around_a_third_partys_fields() -> Result<()> {
    let scene = Scene::new(HELD).await?;
    scene.apply(BEFORE).await?;
    there_and_back(&scene).await
}

#[tokio::test]
async fn what_an_earlier_run_has_brought_is_given_back_around_a_third_partys_fields() -> Result<()>
{
    let scene = Scene::new(HELD).await?;
    scene.stage.write("all.yaml", BEFORE)?;
    let mut agent = scene.agent().await?;
    let output = scene.stage.run(&[]).await.with_context(|| agent.tail())?;
    output.expect(0).with_context(|| agent.tail())?;
    agent.kill()?;
    there_and_back(&scene).await
}

/// Brings the next version and takes it back, while somebody else writes to every object.
async fn there_and_back(scene: &Scene) -> Result<()> {
    let objects = scene.objects().await?;
    let audited: Vec<&Value> = objects.names().filter_map(|name| objects.get(name)).collect();
    let worker = objects.get(&scene.named("ServiceAccount worker")).context("worker")?;
    let uid = &worker["metadata"]["uid"];
    let owner =
        json!({ "apiVersion": "v1", "kind": "ServiceAccount", "name": "worker", "uid": uid });
    let early: Vec<Value> = audited.iter().map(|object| audit(object, &owner, false)).collect();
    let late: Vec<Value> = audited.iter().map(|object| audit(object, &owner, true)).collect();
    scene.apply_as("auditor", &early).await?;
    scene.quiet().await?;
    scene.stage.write("all.yaml", &together(&[AFTER, ADDED]))?;
    let agent = scene.agent().await?;
    scene.fails_when_told()?;
    let before = scene.objects().await?;
    let settings = before.get(&scene.named("ConfigMap settings")).context("settings")?;
    assert_eq!(settings["metadata"]["ownerReferences"], json!([owner]));
    let meanwhile = async {
        scene.held().await?;
        scene.apply_as("auditor", &late).await?;
        scene.go_on()
    };
    let output = scene.run_while(meanwhile).await.with_context(|| agent.tail())?;
    let text = output.expect(4).with_context(|| agent.tail())?;
    scene.must_have_kept_the_claims(&text, &["added"])?;
    scene.quiet().await?;
    let after = scene.objects().await?;
    for object in &late {
        let text = |field: &str| object[field].as_str().unwrap_or_default();
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        let name = scene.named(&format!("{} {name}", text("kind")));
        let found = after.get(&name).with_context(|| format!("{name} is gone"))?;
        assert_eq!(found["metadata"]["labels"]["audited"], "late", "{name}");
    }
    // Without what came meanwhile, all is as it was.
    scene.apply_as("auditor", &early).await?;
    let claim = scene.named("PersistentVolumeClaim added");
    scene.objects().await?.must_be_with(&before, &[&claim])
}

/// What a third party writes to an object, before the run or (also) in it: also what owns the object.
fn audit(object: &Value, owner: &Value, late: bool) -> Value {
    let (kind, name) = (&object["kind"], &object["metadata"]["name"]);
    let mut audited = json!({
        "apiVersion": object["apiVersion"], "kind": kind,
        "metadata": { "name": name, "annotations": { "audit/early": "yes" } },
    });
    if kind == "Deployment" {
        let env = json!([{ "name": "AUDIT", "value": "a" }]);
        audited["spec"]["template"]["spec"]["containers"] = json!([{ "name": "app", "env": env }]);
    }
    if kind == "ConfigMap" {
        audited["metadata"]["ownerReferences"] = json!([owner]);
    }
    if late {
        audited["metadata"]["labels"] = json!({ "audited": "late" });
        audited["metadata"]["annotations"]["audit/late"] = "yes".into();
    }
    audited
}
