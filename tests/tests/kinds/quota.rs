//! Quotas of the namespace: one that refuses pods, and one that leaves no room for an undo record.

use anyhow::{Context, Result, ensure};

use super::{HELD, Scene, left};

const DEPLOYMENT: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: { name: web }
spec:
  replicas: COUNT
  progressDeadlineSeconds: 600
  selector: { matchLabels: { app: web } }
  template:
    metadata: { labels: { app: web } }
    spec: { containers: [ { name: app, image: "shop/web:TAG" } ] }
"#;

fn quota(name: &str, hard: &str) -> String {
    format!(
        "apiVersion: v1\nkind: ResourceQuota\nmetadata: {{ name: {name} }}\nspec: {{ hard: {{ {hard} }} }}\n"
    )
}

fn deployment(count: u32, tag: &str) -> String {
    DEPLOYMENT.replace("COUNT", &count.to_string()).replace("TAG", tag)
}

#[tokio::test]
async fn pods_that_a_quota_refuses_fail_the_step_and_the_rollback_fits_into_it() -> Result<()> {
    let scene = Scene::new(HELD).await?;
    scene.apply(&quota("few-pods", "pods: \"3\"")).await?;
    scene.apply(&deployment(2, "1")).await?;
    scene.quiet().await?;
    scene.stage.write("all.yaml", &deployment(5, "2"))?;
    let agent = scene.agent().await?;
    let before = scene.objects().await?;
    let output = scene.stage.run(&[]).await?;
    let text = output.expect(4).with_context(|| agent.tail())?;
    ensure!(text.contains("few-pods"), "it names the quota: {text}");
    ensure!(left(&text).is_empty(), "{text}");
    scene.quiet().await?;
    scene.objects().await?.must_be(&before)
}

#[tokio::test]
async fn a_quota_without_room_for_the_undo_record_is_named_before_anything_is_written() -> Result<()>
{
    let scene = Scene::new(HELD).await?;
    scene.apply(&deployment(1, "1")).await?;
    scene.quiet().await?;
    scene.stage.write("all.yaml", &deployment(1, "2"))?;
    let agent = scene.agent().await?;
    scene.apply(&quota("no-secrets", "secrets: \"0\"")).await?;
    let counted = ["resourcequota", "no-secrets", "-n", &scene.namespace];
    let is_counted =
        |seen: &serde_json::Value| seen["status"]["used"]["secrets"].is_string().then_some(());
    scene.stage.cluster.sees("is in force", &counted, is_counted).await?;
    let before = scene.objects().await?;
    let output = scene.stage.run(&[]).await?;
    let text = output.expect(4).with_context(|| agent.tail())?;
    ensure!(text.contains("no-secrets") && text.contains("undo"), "it names the quota: {text}");
    ensure!(text.contains("wrote nothing"), "{text}");
    scene.objects().await?.must_be(&before)
}
