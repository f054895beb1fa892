//! What a run tells besides how it went: that one tag is two images, and what was the matter with a
//! pod that is gone by then.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::{BOTH, Scene};

/// One Deployment, for both; the tag's last word says what its pods do.
const WEB: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: { name: web }
spec:
  selector: { matchLabels: { app: web } }
  template:
    metadata: { labels: { app: web } }
    spec: { containers: [{ name: app, image: "shop/web:TAG" }] }
"#;

/// A scene in which version 1 runs in both namespaces.
async fn scene() -> Result<(Scene, [lockstep_tests::world::Process; 2])> {
    let scene = Scene::open(BOTH).await?;
    for file in ["backend.yaml", "frontend.yaml"] {
        scene.stage.write(file, &WEB.replace("TAG", "1"))?;
    }
    let agents = scene.agents().await?;
    let text = scene.stage.run_as("r1").await?.expect(0)?;
    ensure!(!text.contains("is not the same everywhere"), "{text}");
    Ok((scene, agents))
}

impl Scene {
    /// The one pod of a namespace that runs this image.
    async fn pod(&self, namespace: &str, image: &str) -> Result<Value> {
        let of = |pods: &Value| {
            let mut pods = pods["items"].as_array()?.iter();
            pods.find(|pod| pod["spec"]["containers"][0]["image"] == image).cloned()
        };
        self.stage.cluster.sees(image, &["pods", "-n", namespace], of).await
    }
}

#[tokio::test]
async fn a_tag_that_is_another_image_in_each_workflow_is_warned_of() -> Result<()> {
    let (scene, _agents) = scene().await?;
    // As if the tag had been moved between the two.
    let moved = format!("sha256:{}", "7".repeat(64));
    let pod = scene.pod(&scene.backend, "shop/web:1").await?;
    let mut statuses = pod["status"]["containerStatuses"].clone();
    let first = statuses[0]["imageID"].as_str().unwrap_or_default().to_owned();
    statuses[0]["imageID"] = format!("registry.test/shop/web@{moved}").into();
    let patch = json!({ "status": { "containerStatuses": statuses } }).to_string();
    let name = pod["metadata"]["name"].as_str().context("a pod's name")?;
    let patch = ["patch", "pod", name, "-n", &scene.backend, "--subresource=status", "-p", &patch];
    scene.stage.cluster.kubectl(&patch).await?;

    let text = scene.stage.run_as("r2").await?.expect(0)?;
    let (_, first) = first.rsplit_once('@').context("a digest")?;
    let parts = [(moved.as_str(), "backend"), (first, "frontend")]
        .map(|(digest, workflow)| Some(format!("{} in {workflow}", digest.get(..19)?)));
    let line = |text: &str| -> Result<String> {
        let line = text.lines().find(|line| line.contains("is not the same everywhere"));
        Ok(line.with_context(|| text.to_owned())?.to_owned())
    };
    for told in [line(&text)?, line(&scene.stage.lockstep(&["status", "r2"]).await?.expect(0)?)?] {
        ensure!(told.contains("warning") && told.contains("shop/web:1"), "{told}");
        for part in &parts {
            let part = part.as_ref().context("a whole digest")?;
            ensure!(told.contains(part), "{part} is not in {told}");
        }
    }
    let status = scene.json(&["status", "r2"], 0).await?;
    ensure!(status["warnings"].to_string().contains("is not the same everywhere"), "{status:#}");
    Ok(())
}

#[tokio::test]
async fn a_warning_about_a_failed_pod_is_part_of_the_cause() -> Result<()> {
    let (scene, _agents) = scene().await?;
    scene.pipeline(&BOTH.replace("timeout: 1m", "timeout: 6s"))?;
    scene.stage.write("backend.yaml", &WEB.replace("TAG", "2-crashloop"))?;
    let warn = async {
        let pod = scene.pod(&scene.backend, "shop/web:2-crashloop").await?;
        let event = json!({
            "apiVersion": "v1", "kind": "Event",
            "metadata": { "name": "told-by-the-test" },
            "type": "Warning", "reason": "Trouble", "message": "the disk is on fire", "count": 3,
            "source": { "component": "test" },
            "involvedObject": {
                "apiVersion": "v1", "kind": "Pod", "namespace": scene.backend,
                "name": pod["metadata"]["name"], "uid": pod["metadata"]["uid"],
            },
        });
        let name = pod["metadata"]["name"].as_str().context("a pod's name")?.to_owned();
        scene.stage.cluster.apply(&scene.backend, &event.to_string()).await?;
        Ok(name)
    };
    let (played, pod) = tokio::try_join!(scene.stage.run_as("r2"), warn)?;
    played.expect(4)?;
    let told = format!("Pod {pod}: Trouble: the disk is on fire (3 times)");
    let text = scene.stage.lockstep(&["logs", "r2"]).await?.expect(0)?;
    ensure!(text.contains(&told), "{told} is not in\n{text}");
    ensure!(text.contains("Back-off restarting failed container"), "its node's warning: {text}");
    let events = scene.stage.lockstep(&["events", "r2", "-o", "json"]).await?.expect(0)?;
    ensure!(events.contains(&told), "{told} is not in the record of the failure:\n{events}");
    let web = scene.object(&scene.backend, "deployments", "web").await?.context("web")?;
    assert_eq!(web["spec"]["template"]["spec"]["containers"][0]["image"], "shop/web:1");
    Ok(())
}
