//! What `lockstep destroy` takes away, and what others still need.

use std::fs;

use anyhow::{Result, ensure};
use lockstep_tests::{
    stage::FILE,
    world::{SOON, until},
};

use super::{Contexts, House};

#[tokio::test]
async fn what_is_destroyed_in_one_namespace_is_still_known_in_another() -> Result<()> {
    let house = House::open().await?;
    let Contexts { agent: kubeconfig, admin, home } = house.contexts().await?;
    house.target("context: eu")?;
    let other = house.cluster().namespace("other").await?;
    let there = format!("namespace={other}");
    house.bring("1", false)?;
    house.dev(&kubeconfig, &["--run-id", "here"], 0).await?;
    house.dev(&kubeconfig, &["--param", &there, "--run-id", "there"], 0).await?;
    house.with(&admin, &["destroy", FILE, "--yes"], 0).await?;
    assert_eq!(house.object("configmaps", "of-1").await?, None);
    let kept = house.kept(&home).await?;
    ensure!(kept.iter().all(|name| !name.contains("here") || name.contains("there")), "{kept:?}");
    ensure!(kept.contains(&"lockstep.shop.backend".to_owned()), "the other's inventory: {kept:?}");
    ensure!(kept.contains(&"lockstep.shop.backend.there".to_owned()), "its record: {kept:?}");
    house.bring("2", false)?;
    house.dev(&kubeconfig, &["--param", &there], 0).await?;
    let left = house.list("configmaps", &other).await?;
    let names: Vec<&str> = left.iter().filter_map(|it| it["metadata"]["name"].as_str()).collect();
    ensure!(names.contains(&"of-2") && !names.contains(&"of-1"), "it is pruned there: {names:?}");
    Ok(())
}

#[tokio::test]
async fn what_is_in_no_namespace_is_destroyed_with_the_only_one_that_the_workflow_has() -> Result<()>
{
    let house = House::open().await?;
    let Contexts { agent, admin, .. } = house.contexts().await?;
    house.target("context: eu, allowClusterScoped: true")?;
    let (name, other) = (house.namespace.clone(), house.cluster().namespace("other").await?);
    let class = format!(
        "apiVersion: scheduling.k8s.io/v1\nkind: PriorityClass\nmetadata: {{ name: {name} }}\n\
         value: 7\n"
    );
    house.write("backend.yaml", &class)?;
    // Nobody else in this cluster runs a pipeline of this name for other namespaces.
    let pipeline = fs::read_to_string(house.stage.folder().join(FILE))?;
    house.write(FILE, &pipeline.replace("name: shop", &format!("name: {name}")))?;
    let there = format!("namespace={other}");
    house.dev(&agent, &[], 0).await?;
    house.dev(&agent, &["--param", &there], 0).await?;
    let is_there = async || {
        let classes = house.cluster().get(&["priorityclasses"]).await?;
        let mut names = classes["items"].as_array().into_iter().flatten();
        anyhow::Ok(names.any(|class| class["metadata"]["name"] == name.as_str()))
    };
    let told = house.with(&admin, &["destroy", FILE, "--yes"], 0).await?;
    ensure!(is_there().await?, "the other namespace's run has brought it too: {told}");
    ensure!(told.contains("run for other namespaces too"), "and that is told: {told}");
    house.with(&admin, &["destroy", FILE, "--yes", "--param", &there], 0).await?;
    // The server takes a moment for what it deletes in the foreground.
    until("it is gone with the last namespace", SOON, async || match is_there().await {
        Ok(false) => Ok(()),
        Ok(true) => Err("it is left".to_owned()),
        Err(error) => Err(format!("{error:#}")),
    })
    .await
}

/// A StatefulSet whose pods find no storage: its claims are made all the same.
const STORE: &str = r#"
apiVersion: apps/v1
kind: StatefulSet
metadata: { name: store }
spec:
  serviceName: store
  selector: { matchLabels: { app: store } }
  template:
    metadata: { labels: { app: store } }
    spec: { containers: [{ name: app, image: "house/store:1" }] }
  volumeClaimTemplates:
    - metadata: { name: data }
      spec: { accessModes: [ReadWriteOnce], resources: { requests: { storage: 1Gi } } }
"#;

#[tokio::test]
async fn claims_that_a_set_has_made_outlive_it_and_are_told_of() -> Result<()> {
    let house = House::open().await?;
    let pipeline = fs::read_to_string(house.stage.folder().join(FILE))?;
    let pipeline = pipeline.replace("settle: 0s", "settle: 0s, wait: false");
    let waits = "until test -e go; do sleep 0.1; done; test ! -e fail";
    house.write(FILE, &pipeline.replace("test ! -e fail", waits))?;
    house.write("backend.yaml", STORE)?;
    house.write("fail", "")?;
    let _agent = house.agent(&[]).await?;
    let kept = format!(
        "PersistentVolumeClaims {0}/data-store-*, made for StatefulSet {0}/store: kept on purpose",
        house.namespace
    );
    let made = async {
        let claim = ["persistentvolumeclaims", "data-store-0", "-n", &house.namespace];
        house.cluster().sees("is made", &claim, |_| Some(())).await?;
        house.write("go", "")
    };
    let (told, made) = tokio::join!(house.run("r1", 4), made);
    made?;
    ensure!(told?.contains(&kept), "it is told: {kept}");
    assert_eq!(house.object("statefulsets", "store").await?, None);
    let claim = async || house.object("persistentvolumeclaims", "data-store-0").await;
    ensure!(claim().await?.is_some(), "what it holds cannot be made again");

    fs::remove_file(house.stage.folder().join("fail"))?;
    house.run("r2", 0).await?;
    let told = house.with(house.cluster().kubeconfig(), &["destroy", FILE, "--yes"], 0).await?;
    ensure!(told.contains(&format!("kept {kept}")), "it is told: {told}");
    ensure!(claim().await?.is_some(), "nor does who destroys all else");
    Ok(())
}

#[tokio::test]
async fn what_was_deployed_is_destroyed_last_installed_first_by_whoever_may_list_it() -> Result<()>
{
    let house = House::open().await?;
    let Contexts { agent, admin, home } = house.contexts().await?;
    house.target("context: eu")?;
    house.dev(&agent, &[], 0).await?;
    let kept = house.kept(&home).await?;
    let told = house.with(&agent, &["destroy", FILE, "--yes"], 8).await?;
    ensure!(told.contains("list") && told.contains("forbidden"), "what is missing: {told}");
    assert_eq!(house.kept(&home).await?, kept, "and nothing is forgotten");
    let told = house.with(&admin, &["destroy", FILE, "--yes"], 0).await?;
    let [service, config] = ["deleted Service", "deleted ConfigMap"].map(|line| told.find(line));
    ensure!(service.is_some() && service < config, "the last one first: {told}");
    Ok(())
}
