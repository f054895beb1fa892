//! Custom resources: with their definition in the same run, and with one that is there.

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::{FILE, HELD, PIPELINE, Scene, left, together};

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
            spec:
              type: object
              properties:
                level: { type: string, default: low }
                drawers:
                  type: array
                  x-kubernetes-list-type: map
                  x-kubernetes-list-map-keys: [ name ]
                  items:
                    type: object
                    required: [ name ]
                    properties: { name: { type: string }, coins: { type: integer } }
"#;

const BEFORE: &str = r#"
apiVersion: GROUP/v1
kind: Till
metadata: { name: till, annotations: { drop: a } }
spec:
  level: high
  drawers: [ { name: keep, coins: 1 }, { name: change, coins: 1 }, { name: drop } ]
"#;

const AFTER: &str = r#"
apiVersion: GROUP/v1
kind: Till
metadata: { name: till, annotations: { add: b } }
spec:
  drawers: [ { name: add, coins: 2 }, { name: change, coins: 2 }, { name: keep, coins: 1 } ]
---
apiVersion: GROUP/v1
kind: Till
metadata: { name: added }
spec: {}
"#;

#[tokio::test]
async fn a_custom_resource_goes_back_and_its_new_definition_is_kept() -> Result<()> {
    let scene = Scene::new(HELD).await?;
    // Definitions are the whole cluster's.
    let group = format!("{}.example", scene.namespace);
    let of_group = |text: &str| text.replace("GROUP", &group);
    let (definition, before, after) = (of_group(DEFINITION), of_group(BEFORE), of_group(AFTER));
    let name = format!("CustomResourceDefinition tills.{group}");
    let pipeline =
        PIPELINE.replace("namespace: NAMESPACE", "namespace: NAMESPACE, allowClusterScoped: true");
    scene.stage.write(FILE, &(pipeline.replace("NAMESPACE", &scene.namespace) + HELD))?;
    scene.stage.write("all.yaml", &together(&[&before, &definition]))?;
    scene.stage.write("fails", "")?;
    scene.go_on()?;
    let agent = scene.agent().await?;
    let empty = scene.objects().await?;

    let planned = scene.planned(0).await?;
    assert_eq!(planned.get(&name).map(String::as_str), Some("create, one-way"), "{planned:?}");
    assert_eq!(
        planned.get("Till till").map(String::as_str),
        Some("apply, by delete"),
        "{planned:?}"
    );
    let text = scene.stage.run(&[]).await?.expect(4).with_context(|| agent.tail())?;
    let kept = format!("{name}: kept on purpose");
    ensure!(matches!(left(&text)[..], [only] if only.starts_with(&kept)), "{text}");
    scene.objects().await?.must_be(&empty)?;

    // Its definition is there now, and stays as it is.
    scene.apply(&before).await?;
    scene.stage.write("all.yaml", &together(&[&after, &definition]))?;
    let with_till = scene.objects().await?;
    let planned = scene.planned(0).await?;
    let of_tills = ["Till added", "Till till"].map(|name| planned.get(name).map(String::as_str));
    assert_eq!(of_tills, [Some("create, by delete"), Some("update, exact")], "{planned:?}");
    let text = scene.stage.run(&[]).await?.expect(4).with_context(|| agent.tail())?;
    ensure!(left(&text).is_empty(), "{text}");
    scene.objects().await?.must_be(&with_till)?;

    let live: Value =
        scene.stage.cluster.get(&["customresourcedefinition", &format!("tills.{group}")]).await?;
    assert_eq!(live["spec"]["group"], group.as_str());
    scene.stage.cluster.kubectl(&["delete", "crd", &format!("tills.{group}")]).await.map(drop)
}
