//! What is told of pods that failed, and what is not.

use anyhow::{Context, Result, ensure};
use lockstep_shared::record::Record;
use lockstep_tests::{stage::PIPELINE, world::key};
use serde_json::json;

use super::{House, PODS};

/// What a fake container prints.
const PRINTED: &str = "this container is a fake and has written this line";

/// What is in the log of a run that brought pods which crash, for an agent with these flags.
async fn evidence(house: &House, flags: &[&str]) -> Result<String> {
    let _agent = house.agent(flags).await?;
    house.run("r1", 0).await?;
    let records =
        house.stage.world.records(&house.stage.world.bus().await?, &key(PIPELINE, "r1")?).await?;
    let ran = records.iter().find_map(|record| match record {
        Record::StepFinished { images, .. } => images.get("house/web:1"),
        _ => None,
    });
    let digests = ran.context("the image that runs is in the log")?;
    ensure!(digests.iter().all(|digest| digest.starts_with("sha256:")), "{digests:?}");
    house.write("backend.yaml", &PODS.replace("TAG", "2-crashloop"))?;
    house.run("r2", 4).await?;
    let web = house.object("deployments", "web").await?.context("web")?;
    assert_eq!(web["spec"]["template"]["spec"]["containers"][0]["image"], "house/web:1");
    let text = house.lockstep(&["logs", "r2"], 0).await?;
    ensure!(text.contains("container app ended with 1"), "how it ended: {text}");
    Ok(text)
}

#[tokio::test]
async fn the_logs_of_pods_that_failed_are_told_only_if_that_was_said() -> Result<()> {
    let house = House::open().await?;
    house.write("backend.yaml", &PODS.replace("TAG", "1"))?;
    let text = evidence(&house, &[]).await?;
    ensure!(!text.contains(PRINTED), "a log has left the cluster unasked: {text}");
    let house = House::open().await?;
    let flags = ["--evidence", "logs"];
    house.write("backend.yaml", &PODS.replace("TAG", "1"))?;
    let text = evidence(&house, &flags).await?;
    ensure!(text.contains("container app, before it ended:"), "whose log: {text}");
    ensure!(text.contains(PRINTED), "and what it says: {text}");
    Ok(())
}

#[tokio::test]
async fn logs_that_may_not_be_read_hinder_no_rollback() -> Result<()> {
    let house = House::open().await?;
    house.write("backend.yaml", &PODS.replace("TAG", "1"))?;
    house.stage.account("backend", &house.namespace).await?;
    // All that the agent needs, but for the logs of pods.
    let name = ["role", "lockstep.shop.backend", "-n", &house.namespace];
    let mut role = house.cluster().get(&name).await?;
    let rules = role["rules"].as_array_mut().context("rules")?;
    let count = rules.len();
    rules.retain(|rule| rule["resources"] != json!(["pods/log"]));
    ensure!(rules.len() + 1 == count, "one rule is about logs: {role}");
    house.cluster().apply(&house.namespace, &role.to_string()).await?;
    let text = evidence(&house, &["--evidence", "logs"]).await?;
    ensure!(text.contains("no log of pod web-") && !text.contains(PRINTED), "{text}");
    Ok(())
}
