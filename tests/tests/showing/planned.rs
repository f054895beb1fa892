//! The live plan: what all agents would do, in one answer, while nothing is written.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use lockstep_tests::stage::FILE;
use serde_json::{Value, json};

use super::{BOTH, Scene};

/// What an earlier run brings to the backend.
const FIRST: &str = r#"
{ apiVersion: v1, kind: ConfigMap, metadata: { name: same }, data: { a: b } }
---
{ apiVersion: v1, kind: ConfigMap, metadata: { name: old }, data: { a: b } }
---
{ apiVersion: v1, kind: ConfigMap, metadata: { name: settings }, data: { version: "1", gone: "1", kept: "1" } }
---
{ apiVersion: v1, kind: Secret, metadata: { name: credentials }, stringData: { password: hidden-1 } }
---
apiVersion: v1
kind: Service
metadata: { name: web }
spec: { type: NodePort, selector: { app: web }, ports: [{ port: 80 }] }
"#;

/// What a person has applied since.
const THEIRS: &str = r#"
{ apiVersion: v1, kind: ConfigMap, metadata: { name: theirs }, data: { version: "1" } }
"#;

/// What the plan is for.
const NEXT: &str = r#"
{ apiVersion: v1, kind: ConfigMap, metadata: { name: same }, data: { a: b } }
---
{ apiVersion: v1, kind: ConfigMap, metadata: { name: settings }, data: { version: "2", added: "2", kept: "1" } }
---
{ apiVersion: v1, kind: ConfigMap, metadata: { name: theirs }, data: { version: "2" } }
---
{ apiVersion: v1, kind: ConfigMap, metadata: { name: new }, data: { a: b } }
---
{ apiVersion: v1, kind: Secret, metadata: { name: credentials }, stringData: { password: hidden-2 } }
---
apiVersion: v1
kind: Service
metadata: { name: web }
spec: { type: ClusterIP, selector: { app: web }, ports: [{ port: 80 }] }
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: { name: data }
spec: { accessModes: [ReadWriteOnce], resources: { requests: { storage: 1Gi } } }
"#;

/// A Deployment of the frontend, at a version; the tag's last word says what its pods do.
const WEB: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: { name: web }
spec:
  replicas: 1
  selector: { matchLabels: { app: web } }
  template:
    metadata: { labels: { app: web } }
    spec: { containers: [{ name: app, image: "shop/web:TAG" }] }
"#;

/// A Service as a person has applied it, and as the frontend brings it: without the name of its port.
const DOOR: &str = r#"
---
apiVersion: v1
kind: Service
metadata: { name: door }
spec: { type: NodePort, selector: { app: web }, ports: [{ port: 80, name: http }] }
"#;

/// What the frontend brings besides.
const JOB: &str = r#"
---
apiVersion: batch/v1
kind: Job
metadata: { name: migrate }
spec:
  template:
    spec: { restartPolicy: Never, containers: [{ name: app, image: "shop/migrate:1" }] }
"#;

/// The version of every object of both namespaces, but for what tells of the past.
async fn versions(scene: &Scene) -> Result<BTreeMap<String, String>> {
    let mut versions = BTreeMap::new();
    for namespace in [&scene.backend, &scene.frontend] {
        for object in scene.all_but(namespace, &["events"]).await? {
            let metadata = &object["metadata"];
            let name = format!("{namespace} {} {}", object["kind"], metadata["name"]);
            versions.insert(name, metadata["resourceVersion"].to_string());
        }
    }
    Ok(versions)
}

/// The objects of a view's first step, without the namespace in their names.
fn shown<'a>(view: &'a Value, namespace: &str) -> Result<BTreeMap<String, &'a Value>> {
    let objects = view["steps"][0]["objects"].as_array().with_context(|| view.to_string())?;
    let named = objects.iter().map(|object| {
        let name = object["object"].as_str().unwrap_or_default();
        (name.replace(&format!("{namespace}/"), ""), object)
    });
    Ok(named.collect())
}

/// What becomes of each: the change, and how a rollback gives it back.
fn classes<'a>(
    objects: &'a BTreeMap<String, &Value>,
) -> BTreeMap<&'a str, (Option<&'a str>, Option<&'a str>)> {
    let told = |object: &'a Value| (object["change"].as_str(), object["undo"].as_str());
    objects.iter().map(|(name, object)| (name.as_str(), told(object))).collect()
}

/// The notes on an object, in one text.
fn notes(objects: &BTreeMap<String, &Value>, name: &str) -> String {
    let notes = objects.get(name).and_then(|object| object["notes"].as_array());
    let notes: Vec<&str> = notes.into_iter().flatten().filter_map(Value::as_str).collect();
    notes.join("; ")
}

#[tokio::test]
async fn the_live_plan_shows_what_all_agents_would_do_and_writes_nothing() -> Result<()> {
    let scene =
        Scene::open(&BOTH.replace("settle: 0s", "settle: 0s, irreversible: accept")).await?;
    let cluster = scene.stage.cluster;
    scene.stage.write("backend.yaml", FIRST)?;
    scene.stage.write("frontend.yaml", THEIRS)?;
    let _agents = scene.agents().await?;
    scene.stage.run(&[]).await?.expect(0)?;
    cluster.apply(&scene.backend, THEIRS).await?;
    cluster.apply(&scene.frontend, &(WEB.replace("TAG", "1-unready") + DOOR)).await?;
    let web = ["deployment", "web", "-n", &scene.frontend];
    let is_down = |web: &Value| (web["status"]["unavailableReplicas"] == 1).then_some(());
    cluster.sees("is not healthy", &web, is_down).await?;
    let pods = ["pods", "-n", &scene.frontend];
    let runs = |pods: &Value| (pods["items"][0]["status"]["phase"] == "Running").then_some(());
    cluster.sees("run", &pods, runs).await?;

    scene.stage.write("backend.yaml", NEXT)?;
    let door = DOOR.replace(", name: http", "");
    scene
        .stage
        .write("frontend.yaml", &(WEB.replace("TAG", "2") + &door + JOB + "---" + THEIRS))?;
    scene.stage.grant(&[]).await?;
    let before = versions(&scene).await?;
    let text = scene.stage.lockstep(&["plan", FILE, "--live"]).await?.expect(0)?;
    let plan = scene.json(&["plan", FILE, "--live"], 0).await?;
    assert_eq!(versions(&scene).await?, before, "nothing is written");

    let narrow = scene.json(&["plan", FILE, "--live", "--workflow", "frontend"], 0).await?;
    assert_eq!(versions(&scene).await?, before, "nor by a narrow one");
    assert_eq!(narrow["views"]["frontend"], plan["views"]["frontend"], "the same of it");
    assert_eq!(narrow["views"]["backend"], Value::Null, "and nothing else");

    let backend = shown(&plan["views"]["backend"], &scene.backend)?;
    let expected = [
        ("ConfigMap new", ("create", "by delete")),
        ("ConfigMap same", ("unchanged", "exact")),
        ("ConfigMap settings", ("update", "exact")),
        ("ConfigMap theirs", ("update", "exact")),
        ("PersistentVolumeClaim data", ("create", "kept")),
        ("Secret credentials", ("update", "exact")),
        ("Service web", ("update", "costly")),
    ];
    let some = |(name, (change, undo))| (name, (Some(change), Some(undo)));
    assert_eq!(classes(&backend), expected.map(some).into(), "{plan:#}");
    let frontend = shown(&plan["views"]["frontend"], &scene.frontend)?;
    let expected = [
        ("ConfigMap theirs", ("unchanged", "exact")),
        ("Deployment web", ("update", "exact")),
        ("Job migrate", ("create", "one-way")),
        ("Service door", ("update", "exact")),
    ];
    assert_eq!(classes(&frontend), expected.map(some).into(), "{plan:#}");

    let fields = |objects: &BTreeMap<String, &Value>, name: &str| {
        objects.get(name).map(|object| object["fields"].clone()).context("an object")
    };
    let changes = json!([
        { "path": ".data.added", "after": "\"2\"" },
        { "path": ".data.gone", "before": "\"1\"" },
        { "path": ".data.version", "before": "\"1\"", "after": "\"2\"" },
    ]);
    assert_eq!(fields(&backend, "ConfigMap settings")?, changes);
    // What kubectl has set by default is set by default again, and addresses stay.
    let paths = |name: &str| {
        let fields = frontend.get(name).and_then(|object| object["fields"].as_array());
        let paths = fields.into_iter().flatten().filter_map(|field| field["path"].as_str());
        paths.map(str::to_owned).collect::<Vec<_>>()
    };
    let applied = ".metadata.annotations.kubectl.kubernetes.io/last-applied-configuration";
    let owner = ".metadata.labels.lockstep.dev/owner";
    let image = ".spec.template.spec.containers[name=\"app\"].image";
    assert_eq!(paths("Deployment web"), [applied, owner, image]);
    let port = ".spec.ports[port=80,protocol=\"TCP\"].name";
    assert_eq!(paths("Service door"), [applied, owner, port]);
    let hidden = json!([
        { "path": ".data.password", "before": "\"(hidden)\"", "after": "\"(hidden)\"" },
    ]);
    assert_eq!(fields(&backend, "Secret credentials")?, hidden);
    let old = json!([{ "object": format!("ConfigMap {}/old", scene.backend) }]);
    assert_eq!(plan["views"]["backend"]["dropped"], old, "what a commit deletes");
    let taken = notes(&backend, "ConfigMap theirs");
    ensure!(
        taken.starts_with("takes over:") && taken.contains("kubectl-client-side-apply"),
        "{taken}"
    );
    let broken = notes(&frontend, "Deployment web");
    ensure!(
        broken.contains("it is not healthy now, so a rollback is not judged by it"),
        "{broken}"
    );

    for line in [
        "backend would".to_owned(),
        "frontend would".to_owned(),
        format!("unchanged ConfigMap {}/same", scene.backend),
        format!("delete ConfigMap {}/old", scene.backend),
        format!("update Secret {}/credentials", scene.backend),
        "; rollback: costly)".to_owned(),
        "; rollback: one-way)".to_owned(),
        ".data.version: \"1\" -> \"2\"".to_owned(),
        ".data.gone: \"1\" -> nothing".to_owned(),
        ".data.added: nothing -> \"2\"".to_owned(),
        ".data.password: \"(hidden)\" -> \"(hidden)\"".to_owned(),
        ".spec.template.spec.containers[name=\"app\"].image: \"shop/web:1-unready\" -> \"shop/web:2\""
            .to_owned(),
        "takes over:".to_owned(),
        "it is not healthy now".to_owned(),
    ] {
        ensure!(text.contains(&line), "{line} is not in\n{text}");
    }
    Ok(())
}
