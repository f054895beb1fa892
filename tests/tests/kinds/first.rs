//! A first installation that fails leaves nothing but what is kept on purpose.

use anyhow::{Context, Result};

use super::{ADDED, BEFORE, HELD, Scene, together};

#[tokio::test]
async fn parity_22_a_first_installation_of_every_kind_goes_away_and_its_claims_are_kept()
-> Result<()> {
    let scene = Scene::new(HELD).await?;
    scene.stage.write("all.yaml", &together(&[BEFORE, ADDED]))?;
    scene.stage.write("fails", "")?;
    scene.go_on()?;
    let agent = scene.agent().await?;
    let empty = scene.objects().await?;
    let output = scene.stage.run(&[]).await?;
    let text = output.expect(4).with_context(|| agent.tail())?;
    scene.must_have_kept_the_claims(&text, &["added", "data"])?;
    let claims =
        ["added", "data"].map(|name| scene.named(&format!("PersistentVolumeClaim {name}")));
    scene.objects().await?.must_be_with(&empty, &[&claims[0], &claims[1]])?;
    let pods = scene.stage.cluster.get(&["pods,replicasets", "-n", &scene.namespace]).await?;
    assert_eq!(pods["items"].as_array().map(Vec::len), Some(0), "{pods}");
    Ok(())
}
