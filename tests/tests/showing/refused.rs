//! What cannot be deployed is told in prepare, all of it at once, while nothing has been written.

use anyhow::{Result, ensure};
use lockstep_tests::stage::FILE;

use super::{BOTH, Scene};

/// One object that could be deployed, and six that cannot.
const BACKEND: &str = r#"
{ apiVersion: v1, kind: ConfigMap, metadata: { name: fine }, data: { a: b } }
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: paused }
spec:
  paused: true
  selector: { matchLabels: { app: paused } }
  template:
    metadata: { labels: { app: paused } }
    spec: { containers: [{ name: app, image: "shop/web:1" }] }
---
apiVersion: apps/v1
kind: DaemonSet
metadata: { name: by-hand }
spec:
  updateStrategy: { type: OnDelete }
  selector: { matchLabels: { app: set } }
  template:
    metadata: { labels: { app: set } }
    spec: { containers: [{ name: app, image: "shop/web:1" }] }
---
apiVersion: apps/v1
kind: StatefulSet
metadata: { name: by-hand }
spec:
  serviceName: by-hand
  updateStrategy: { type: OnDelete }
  selector: { matchLabels: { app: stateful } }
  template:
    metadata: { labels: { app: stateful } }
    spec: { containers: [{ name: app, image: "shop/web:1" }] }
---
{ apiVersion: v1, kind: ConfigMap, metadata: { name: misspelt }, dta: { a: b } }
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: misspelt }
spec:
  selector: { matchLabels: { app: misspelt } }
  template:
    metadata: { labels: { app: misspelt } }
    spec: { containers: [{ name: app, image: "shop/web:1", imagePolicy: Always }] }
---
apiVersion: batch/v1
kind: Job
metadata: { name: migrate }
spec:
  template:
    spec: { restartPolicy: Never, containers: [{ name: app, image: "shop/migrate:1" }] }
"#;

/// What no Role can be shown for.
const UNKNOWN: &str = r#"---
{ apiVersion: example.com/v1, kind: Nothing, metadata: { name: unknown } }
"#;

/// What is said of each.
const SAID: &[&str] = &[
    "Deployment paused is paused, so its change would never be rolled out; ",
    "DaemonSet by-hand has updateStrategy OnDelete",
    "StatefulSet by-hand has updateStrategy OnDelete",
    "/misspelt: the server finds it invalid: ",
    ".dta: field not declared in schema",
    ".spec.template.spec.containers[name=\"app\"].imagePolicy: field not declared in schema",
    "/migrate: no rollback takes it back: ",
    "the cluster serves no Nothing of example.com/v1",
];

#[tokio::test]
async fn all_that_cannot_be_deployed_is_told_at_once_and_nothing_is_written() -> Result<()> {
    let scene = Scene::open(BOTH).await?;
    scene.stage.write("backend.yaml", BACKEND)?;
    let fine = "{ apiVersion: v1, kind: ConfigMap, metadata: { name: fine }, data: { a: b } }";
    scene.stage.write("frontend.yaml", fine)?;
    let _agents = scene.agents().await?;
    scene.stage.write("backend.yaml", &format!("{BACKEND}{UNKNOWN}"))?;
    let before = scene.objects().await?;
    let text = scene.stage.lockstep(&["run", FILE, "--run-id", "r1"]).await?.expect(4)?;
    let logs = scene.stage.lockstep(&["logs", "r1"]).await?.expect(0)?;
    for said in SAID {
        ensure!(text.contains(said), "the run does not say {said:?}:\n{text}");
        ensure!(logs.contains(said), "the logs do not say {said:?}:\n{logs}");
    }
    ensure!(!text.contains("/fine:"), "what could be deployed is not told of: {text}");
    scene.objects().await?.must_be(&before)?;
    let status = scene.json(&["status", "r1"], 0).await?;
    ensure!(status["cause"].to_string().contains("backend"), "who refused: {status:#}");
    Ok(())
}
