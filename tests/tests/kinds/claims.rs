//! A claim that grows: accepted or refused, and never taken back.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::{FILE, HELD, PIPELINE, Scene, left};

fn claim(class: &str, size: &str, label: &str) -> String {
    json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": { "name": "data", "labels": { "version": label } },
        "spec": {
            "accessModes": ["ReadWriteOnce"], "storageClassName": class,
            "resources": { "requests": { "storage": size } },
        },
    })
    .to_string()
}

/// A class whose volumes can grow, and one volume of it; both go with the namespace.
async fn bring_a_volume(scene: &Scene) -> Result<()> {
    let (cluster, name) = (scene.stage.cluster, &scene.namespace);
    let namespace = cluster.get(&["namespace", name]).await?;
    let metadata = json!({ "name": name, "ownerReferences": [{
        "apiVersion": "v1", "kind": "Namespace", "name": name, "uid": namespace["metadata"]["uid"],
    }] });
    let class = json!({
        "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": metadata,
        "provisioner": "kubernetes.io/no-provisioner", "allowVolumeExpansion": true,
    });
    let volume = json!({
        "apiVersion": "v1", "kind": "PersistentVolume", "metadata": metadata,
        "spec": {
            "capacity": { "storage": "1Gi" }, "accessModes": ["ReadWriteOnce"],
            "storageClassName": name, "hostPath": { "path": "/none" },
        },
    });
    for object in [class, volume] {
        scene.apply(&object.to_string()).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_claim_that_has_grown_keeps_its_size_and_gets_all_else_back() -> Result<()> {
    let scene = Scene::new(&HELD.replace(", irreversible: accept", "")).await?;
    bring_a_volume(&scene).await?;
    let class = &scene.namespace;
    scene.apply(&claim(class, "1Gi", "1")).await?;
    let object = ["persistentvolumeclaim", "data", "-n", &scene.namespace];
    let bound = |seen: &Value| (seen["status"]["phase"] == "Bound").then_some(());
    scene.stage.cluster.sees("is bound", &object, bound).await?;
    scene.stage.write("all.yaml", &claim(class, "2Gi", "2"))?;
    scene.stage.write("fails", "")?;
    scene.go_on()?;
    let agent = scene.agent().await?;

    let refused = scene.stage.lockstep(&["plan", FILE, "--live"]).await?.expect(4)?;
    ensure!(refused.contains("a volume that has grown does not shrink"), "{refused}");
    ensure!(refused.contains("`irreversible: accept`"), "{refused}");

    scene.stage.write(FILE, &(PIPELINE.replace("NAMESPACE", &scene.namespace) + HELD))?;
    let planned = scene.planned(0).await?;
    let data = planned.get("PersistentVolumeClaim data").map(String::as_str);
    assert_eq!(data, Some("update, one-way"), "{planned:?}");
    let text = scene.stage.run(&[]).await?.expect(4).with_context(|| agent.tail())?;
    let kept = format!(
        "PersistentVolumeClaim {}/data: .spec.resources.requests.storage: kept on purpose: a \
         volume that has grown does not shrink",
        scene.namespace
    );
    assert_eq!(left(&text), [kept], "{text}");
    let now = scene.stage.cluster.get(&object).await?;
    assert_eq!(now["spec"]["resources"]["requests"]["storage"], "2Gi");
    assert_eq!(now["metadata"]["labels"], json!({ "version": "1" }));
    Ok(())
}
