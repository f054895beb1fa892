//! What a run created does not go, since nobody removes its finalizer (rule 25).

use anyhow::{Result, ensure};
use lockstep_tests::{
    stage::FILE,
    world::{Ended, SOON},
};

use crate::site::{BAD, Site};

/// Created by the run, and held by somebody who never lets it go.
const HELD: &str = "apiVersion: v1\nkind: ConfigMap\n\
    metadata: { name: held, finalizers: [example.com/held] }\ndata: { a: b }\n";

/// Fails as soon as everything is written.
const FAIL: &str = "deploy: { manifests: [web.yaml, held.yaml], timeout: 30s, settle: 1s }";

#[tokio::test]
async fn what_a_finalizer_holds_past_the_deadline_is_named_and_all_else_is_as_before() -> Result<()>
{
    let site = Site::open(BAD, &[FAIL]).await?;
    site.stage.write("held.yaml", HELD)?;
    let before = site.objects().await?;
    let agent = site.agent().await?;
    let folder = site.stage.folder();
    // An undo has two minutes at least.
    let mut run = site.stage.world.start("run", "lockstep", &["run", FILE], folder)?;
    let held = format!("{}: ConfigMap held", site.namespace);
    let ended = async {
        let ended = run.end(5 * SOON).await?;
        let said = run.output();
        ensure!(ended == Ended::Code(4), "{ended:?}: {said}");
        let named = format!(
            "left: ConfigMap {}/held: it is being deleted and held by example.com/held",
            site.namespace
        );
        ensure!(said.contains(&named), "{named:?} is not in {said}");
        ensure!(said.matches("left: ").count() == 1, "{said}");
        site.steady("1").await?;
        site.objects().await?.must_be_with(&before, &[&held])?;
        site.settled().await
    };
    site.explained(ended.await, &[&agent])?;
    // Whoever clears the namespace away would wait for it as well.
    let free = r#"{"metadata":{"finalizers":null}}"#;
    let patch = ["patch", "configmap", "held", "-n", &site.namespace, "--type=merge", "-p", free];
    site.stage.cluster.kubectl(&patch).await.map(drop)
}
