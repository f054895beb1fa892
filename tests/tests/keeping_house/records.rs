//! What undo records keep, and how long.

use anyhow::{Context, Result, ensure};
use lockstep_tests::world::{SOON, until};
use serde_json::{Value, json};

use super::{House, PODS};

#[tokio::test]
async fn as_many_undo_records_of_settled_runs_are_kept_as_was_said() -> Result<()> {
    let house = House::open().await?;
    let _agent = house.agent(&["--undo-history", "2"]).await?;
    for (run, tag) in [("r1", "1"), ("r2", "2"), ("r3", "3"), ("r4", "4")] {
        house.bring(tag, false)?;
        house.run(run, 0).await?;
    }
    // An agent settles its record after it has read that the run is closed.
    until("only the latest are kept", SOON, || async {
        let kept = house.kept(&house.namespace).await.map_err(|error| error.to_string())?;
        let of = |run: &str| {
            kept.iter().any(|name| name.starts_with(&format!("lockstep.shop.backend.{run}")))
        };
        let found = ["r1", "r2", "r3", "r4"].map(of);
        if found == [false, false, true, true] { Ok(()) } else { Err(format!("{kept:?}")) }
    })
    .await
}

#[tokio::test]
async fn a_variable_that_is_there_twice_is_given_back_twice_and_refused_in_a_manifest() -> Result<()>
{
    let house = House::open().await?;
    let _agent = house.agent(&[]).await?;
    let with = |image: &str, env: Value| {
        let pods = PODS.replace("TAG", image);
        pods.replace("name: app,", &format!("name: app, env: {env},"))
    };
    let twice = json!([
        { "name": "A", "value": "1" }, { "name": "B", "value": "b" }, { "name": "A", "value": "2" },
    ]);
    let cluster = house.cluster();
    cluster.apply(&house.namespace, &with("1", twice.clone())).await?;
    let before = house.object("deployments", "web").await?.context("web")?;
    house.write("backend.yaml", &with("2", twice.clone()))?;
    let text = house.run("r1", 4).await?;
    let said = r#"containers[name="app"].env[name="A"] is there twice; remove one"#;
    ensure!(text.contains(said), "what to do: {text}");
    house.write("backend.yaml", &with("2", json!([{ "name": "B", "value": "c" }])))?;
    house.write("fail", "")?;
    let text = house.run("r2", 4).await?;
    ensure!(!text.contains("left:"), "nothing is left: {text}");
    let after = house.object("deployments", "web").await?.context("web")?;
    assert_eq!(after["spec"], before["spec"]);
    let owners = |object: &Value| -> Vec<(Value, Value)> {
        let all = object["metadata"]["managedFields"].as_array().into_iter().flatten();
        let lasting = all.filter(|entry| entry.get("subresource").is_none());
        lasting.map(|entry| (entry["manager"].clone(), entry["fieldsV1"].clone())).collect()
    };
    let (before, after) = (owners(&before), owners(&after));
    ensure!(!before.is_empty(), "the server tells who owns what");
    assert_eq!(after, before);
    Ok(())
}
