//! What cannot be changed, or not be given back, is refused while nothing has been written.

use anyhow::{Context, Result, ensure};

use super::{HELD, Scene};

/// One object of each kind in which something can never be changed.
const BEFORE: &str = r#"
apiVersion: v1
kind: List
items:
  - { apiVersion: v1, kind: ConfigMap, metadata: { name: sealed }, immutable: true, data: { a: a } }
  - { apiVersion: v1, kind: Secret, metadata: { name: sealed }, immutable: true, stringData: { a: a } }
  - { apiVersion: v1, kind: Secret, metadata: { name: typed }, type: Opaque, stringData: { a: a } }
  - apiVersion: v1
    kind: PersistentVolumeClaim
    metadata: { name: data }
    spec: { accessModes: [ ReadWriteOnce ], storageClassName: a, resources: { requests: { storage: 1Gi } } }
  - apiVersion: rbac.authorization.k8s.io/v1
    kind: RoleBinding
    metadata: { name: readers }
    roleRef: { apiGroup: rbac.authorization.k8s.io, kind: Role, name: lockstep-all }
  - { apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: { name: other }, rules: [] }
  - { apiVersion: v1, kind: Service, metadata: { name: web }, spec: { type: ClusterIP, ports: [ { port: 80 } ] } }
  - apiVersion: apps/v1
    kind: Deployment
    metadata: { name: web }
    spec:
      replicas: 0
      selector: { matchLabels: { app: a } }
      template: { metadata: { labels: { app: a } }, spec: { containers: [ { name: app, image: "shop/web:1" } ] } }
  - apiVersion: apps/v1
    kind: StatefulSet
    metadata: { name: web }
    spec:
      replicas: 0
      serviceName: a
      selector: { matchLabels: { app: a } }
      template: { metadata: { labels: { app: a } }, spec: { containers: [ { name: app, image: "shop/web:1" } ] } }
  - apiVersion: apps/v1
    kind: DaemonSet
    metadata: { name: web }
    spec:
      selector: { matchLabels: { app: set } }
      template: { metadata: { labels: { app: set } }, spec: { containers: [ { name: app, image: "shop/web:1" } ] } }
  - apiVersion: batch/v1
    kind: Job
    metadata: { name: seed }
    spec: { template: { spec: { restartPolicy: Never, containers: [ { name: app, image: "shop/seed:1" } ] } } }
"#;

/// How each is changed.
const CHANGES: &[(&str, &str)] = &[
    ("immutable: true, data: { a: a }", "immutable: true, data: { a: b }"),
    ("immutable: true, stringData: { a: a }", "immutable: true, stringData: { a: b }"),
    ("type: Opaque, stringData", "type: example/other, stringData"),
    ("storageClassName: a", "storageClassName: b"),
    ("kind: Role, name: lockstep-all", "kind: Role, name: other"),
    ("type: ClusterIP", "clusterIP: 10.96.200.200"),
    (
        "matchLabels: { app: a } }\n      template: { metadata: { labels: { app: a } }",
        "matchLabels: { app: b } }\n      template: { metadata: { labels: { app: b } }",
    ),
    ("serviceName: a", "serviceName: b"),
    (
        "matchLabels: { app: set } }\n      template: { metadata: { labels: { app: set } }",
        "matchLabels: { app: b } }\n      template: { metadata: { labels: { app: b } }",
    ),
    ("shop/seed:1", "shop/seed:2"),
];

/// What is refused, by kind and name.
const REFUSED: &[&str] = &[
    "ConfigMap NS/sealed",
    "Secret NS/sealed",
    "Secret NS/typed",
    "PersistentVolumeClaim NS/data",
    "RoleBinding NS/readers",
    "Service NS/web",
    "Deployment NS/web",
    "StatefulSet NS/web",
    "DaemonSet NS/web",
    "Job NS/seed",
];

#[tokio::test]
async fn what_can_never_be_changed_is_refused_with_the_way_out() -> Result<()> {
    let scene = Scene::new(HELD).await?;
    let mut after = BEFORE.to_owned();
    for (was, is) in CHANGES {
        ensure!(after.contains(was), "{was}");
        after = after.replacen(was, is, 1);
    }
    scene.stage.write("all.yaml", &after)?;
    let agent = scene.agent().await?;
    scene.apply(BEFORE).await?;
    scene.quiet().await?;
    let before = scene.objects().await?;
    let output = scene.stage.lockstep(&["plan", super::FILE, "--live"]).await?;
    let text = output.expect(4).with_context(|| agent.tail())?;
    let told = agent.output();
    for object in REFUSED {
        let object = object.replace("NS", &scene.namespace);
        let start = format!("{object}: it cannot be changed in place: ");
        ensure!(text.contains(&start), "no {start}\n{text}\n{told}");
    }
    ensure!(text.contains("give the object a new name (a Job may use generateName)"), "{text}");
    scene.objects().await?.must_be(&before)
}

#[tokio::test]
async fn a_role_that_grants_more_than_the_agent_holds_is_not_changed() -> Result<()> {
    let scene = Scene::new(HELD).await?;
    let role = |rules: &str| {
        format!(
            "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {{ name: strong }}\n\
             rules: [ {{ apiGroups: [ '' ], {rules} }} ]\n"
        )
    };
    scene.stage.write("all.yaml", &role("resources: [ pods ], verbs: [ get ]"))?;
    let agent = scene.agent().await?;
    scene.apply(&role("resources: [ nodes ], verbs: [ get ]")).await?;
    let output = scene.stage.lockstep(&["plan", super::FILE, "--live"]).await?;
    let text = output.expect(4).with_context(|| agent.tail())?;
    ensure!(text.contains("Role ") && text.contains("a rollback could not give it back"), "{text}");
    ensure!(text.contains("nodes"), "it names the right: {text}");
    Ok(())
}
