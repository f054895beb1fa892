//! Manifests as kubectl reads them: what lockstep makes of one is what kubectl makes of it.

use anyhow::{Context, Result};
use lockstep_agent::kubernetes::object::{OWNER_LABEL, RUN_ANNOTATION};
use lockstep_tests::stage::Objects;
use serde_json::{Map, Value};

use super::{MANIFESTS, Twins};

/// Scalars of YAML 1.1, nulls, lists, comments, empty documents, anchors.
const TRICKY: &str = r#"
# Nothing but a comment.
---
apiVersion: v1
kind: List
items:
  - apiVersion: v1
    kind: ServiceAccount
    metadata: { name: tricky }
    automountServiceAccountToken: no
  - apiVersion: v1
    kind: ConfigMap
    metadata: { name: listed, namespace: ~ }
    immutable: off
    data: { yes: "yes", octal: "0644", empty: "", lines: "a\nb\n" }
    binaryData: { raw: AAEC }
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: tricky, annotations: { "example.com/on": "on" } }
spec:
  replicas: 1
  revisionHistoryLimit: 0x3
  strategy: { type: Recreate, rollingUpdate: null }
  selector: &selector { matchLabels: &labels { app: tricky } }
  template:
    metadata: { labels: *labels }
    spec:
      serviceAccountName: tricky
      automountServiceAccountToken: Off
      enableServiceLinks: NO
      shareProcessNamespace: y
      volumes:
        - name: config
          configMap: { name: listed, defaultMode: 0644, optional: True }
        - name: later
          emptyDir: { sizeLimit: 1e6 }
      containers:
        - name: app
          image: shop/tricky:1
          tty: on
          stdin: yes
          env: [{ name: EMPTY, value: }, { name: "NO", value: "no" }]
          volumeMounts: [{ name: config, mountPath: /config, readOnly: yes }]
          resources: { requests: { cpu: 0.1, memory: 64Mi } }
---
---
apiVersion: v1
kind: Service
metadata: { name: tricky }
spec:
  selector: { app: tricky }
  ports: [{ name: http, port: 0120, targetPort: 80 }]
"#;

/// A Job without a name, which kubectl can only create.
const JOB: &str = r#"
apiVersion: batch/v1
kind: Job
metadata: { generateName: migrate- }
spec:
  backoffLimit: 03
  template:
    spec:
      restartPolicy: Never
      containers: [{ name: app, image: "shop/migrate:1", tty: yes }]
"#;

/// The same without lockstep's two marks, and as if somebody else had applied it.
fn unmarked(object: &Value) -> Value {
    let mut object = without_marks(object).unwrap_or_default();
    let entries = object.pointer_mut("/metadata/managedFields").and_then(Value::as_array_mut);
    for entry in entries.into_iter().flatten() {
        entry["manager"] = "somebody".into();
    }
    object
}

/// A value without the marks; nothing, if it had nothing else in it.
fn without_marks(value: &Value) -> Option<Value> {
    let is_mark = |name: &str| {
        let name = name.strip_prefix("f:").unwrap_or(name);
        name == OWNER_LABEL || name == RUN_ANNOTATION
    };
    match value {
        Value::Object(fields) => {
            let kept = fields.iter().filter(|(name, _)| !is_mark(name));
            let kept = kept.filter_map(|(name, value)| Some((name.clone(), without_marks(value)?)));
            let kept: Map<String, Value> = kept.collect();
            (fields.is_empty() || !kept.is_empty()).then_some(Value::Object(kept))
        }
        Value::Array(items) => Some(items.iter().filter_map(without_marks).collect()),
        other => Some(other.clone()),
    }
}

#[tokio::test]
async fn the_objects_are_those_that_kubectl_makes_of_the_same_manifests() -> Result<()> {
    let twins = Twins::open().await?;
    let [ours, other] = twins.both();
    let cluster = twins.stage.cluster;
    let way = ["apply", "--server-side", "-n", other, "-f", "-"];
    cluster.kubectl_as(cluster.kubeconfig(), &way, TRICKY).await?;
    let create = ["create", "-n", other, "-f", "-"];
    cluster.kubectl_as(cluster.kubeconfig(), &create, JOB).await?;

    twins.pipeline("", ", irreversible: accept")?;
    twins.stage.write(MANIFESTS, &format!("{TRICKY}---{JOB}"))?;
    let _agent = twins.stage.agent("backend", ours).await?;
    let before = twins.objects().await?;
    // A Job that has run is one-way: the run is let through to its end.
    let open = async {
        twins.stage.stands("r1", "backend", "end").await?;
        twins.stage.open("r1", "end").await
    };
    let (played, ()) = tokio::try_join!(twins.stage.run_as("r1"), open)?;
    played.expect(0)?;
    assert_eq!(before.names().next(), None);

    let objects = twins.objects().await?.of_a_twin(ours)?;
    let theirs = Objects::live(cluster, &[other]).await?.of_a_twin(other)?;
    for name in ["ServiceAccount tricky", "ConfigMap listed", "Deployment tricky", "Service tricky"]
    {
        let name = format!("TWIN: {name}");
        let found = |objects: &Objects| objects.get(&name).map(unmarked).context(name.clone());
        assert_eq!(found(&objects)?, found(&theirs)?, "{name}: ours, and kubectl's");
    }
    let made = twins.objects().await?;
    let created = Objects::live(cluster, &[other]).await?;
    assert_eq!(job(&made, ours)?, job(&created, other)?, "the Job: ours, and kubectl's");
    Ok(())
}

/// The only Job of a namespace, as it would be by any name and in any namespace; without who owns
/// what, since kubectl creates it and does not apply it.
fn job(objects: &Objects, namespace: &str) -> Result<Value> {
    let name = objects.names().find(|name| name.contains(": Job migrate-")).context("a Job")?;
    let mut job = objects.get(name).map(unmarked).context("a Job")?;
    let metadata = job["metadata"].as_object_mut().context("metadata")?;
    // The server gives a Job without labels those of its pods; ours has a label.
    for of_its_own in ["managedFields", "generateName", "creationTimestamp", "labels"] {
        metadata.remove(of_its_own);
    }
    let mut text = job.to_string();
    for (field, placeholder) in [("uid", "UID"), ("name", "NAME")] {
        let value = job["metadata"][field].as_str().context(field)?;
        text = text.replace(value, placeholder);
    }
    Ok(serde_json::from_str(&text.replace(namespace, "TWIN"))?)
}

/// A Deployment that is rolled out bit by bit.
const ROLLING: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: { name: NAME }
spec:
  replicas: 1
  strategy: { type: RollingUpdate, rollingUpdate: { maxSurge: 1, maxUnavailable: 0 } }
  selector: { matchLabels: { app: NAME } }
  template:
    metadata: { labels: { app: NAME } }
    spec: { containers: [{ name: app, image: "shop/web:1" }] }
"#;

#[tokio::test]
async fn a_null_takes_away_what_was_there_as_it_does_for_kubectl() -> Result<()> {
    let twins = Twins::open().await?;
    let [ours, other] = twins.both();
    let cluster = twins.stage.cluster;
    let ways: [(&str, &[&str]); 2] =
        [("by-apply", &["apply"]), ("by-server", &["apply", "--server-side"])];
    let recreated = ROLLING
        .replace("type: RollingUpdate", "type: Recreate")
        .replace("rollingUpdate: { maxSurge: 1, maxUnavailable: 0 }", "rollingUpdate: null");
    let mut brought = Vec::new();
    for (name, way) in ways {
        let apply = async |namespace: &str, manifest: &str| {
            let arguments = [way, &["-n", namespace, "-f", "-"]].concat();
            let manifest = manifest.replace("NAME", name);
            cluster.kubectl_as(cluster.kubeconfig(), &arguments, &manifest).await
        };
        apply(ours, ROLLING).await?;
        apply(other, ROLLING).await?;
        apply(other, &recreated).await?;
        brought.push(recreated.replace("NAME", name));
    }
    for (name, _) in ways {
        twins.stage.steady(ours, name, "shop/web:1").await?;
    }
    let before = twins.objects().await?;
    twins.pipeline("", "")?;
    twins.stage.write(MANIFESTS, &brought.join("---"))?;
    let _agent = twins.stage.agent("backend", ours).await?;
    twins.deploy_and_go_back("r1").await?;
    twins.objects().await?.must_be(&before)?;

    let open = async {
        twins.stage.stands("r2", "backend", "end").await?;
        twins.stage.open("r2", "end").await
    };
    let (played, ()) = tokio::try_join!(twins.stage.run_as("r2"), open)?;
    played.expect(0)?;
    let objects = twins.objects().await?.of_a_twin(ours)?;
    let theirs = Objects::live(cluster, &[other]).await?.of_a_twin(other)?;
    let found = |objects: &Objects, name: &str| {
        let name = format!("TWIN: Deployment {name}");
        let mut object = objects.get(&name).map(unmarked).context(name)?;
        // Nothing but a controller's is as good as none.
        if object["metadata"]["annotations"] == serde_json::json!({}) {
            object["metadata"].as_object_mut().context("metadata")?.remove("annotations");
        }
        anyhow::Ok(object)
    };
    let spec = |objects: &Objects, name: &str| {
        Ok::<_, anyhow::Error>(found(objects, name)?["spec"].clone())
    };
    assert_eq!(spec(&objects, "by-apply")?["strategy"], serde_json::json!({ "type": "Recreate" }));
    assert_eq!(spec(&objects, "by-apply")?, spec(&theirs, "by-apply")?);
    assert_eq!(found(&objects, "by-server")?, found(&theirs, "by-server")?, "owners included");
    Ok(())
}
