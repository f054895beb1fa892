//! Fields that another manager owns: a named conflict, or taken by force and given back.

use anyhow::{Result, ensure};
use lockstep_tests::cluster::Cluster;
use serde_json::Value;

use super::{SERVICE, Service, Tester, nothing};

/// How the other manager deploys.
const OTHER: &[&str] = &["apply", "--server-side", "--field-manager", "other"];

/// What the other manager says of the service, beside what a person has applied.
const THEIRS: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: { name: web, annotations: { example.com/tier: gold } }
spec: { minReadySeconds: 2 }
---
apiVersion: v1
kind: ConfigMap
metadata: { name: web }
data: { theirs: "1" }
"#;

/// What the run brings: other values of three of those fields.
fn ours() -> String {
    SERVICE
        .replace("TAG", "2")
        .replace(
            "metadata: { name: web }\nspec",
            "metadata: { name: web, annotations: { example.com/tier: tin } }\nspec",
        )
        .replace("  replicas: 2", "  replicas: 2\n  minReadySeconds: 1")
        .replace("kept: \"1\"", "kept: \"1\", theirs: \"2\"")
}

/// The fields of an object's managers, by manager.
fn managers(object: &Value) -> Vec<(&str, &Value)> {
    let entries = object["metadata"]["managedFields"].as_array();
    let own = entries.into_iter().flatten().filter(|entry| entry["subresource"].is_null());
    own.filter_map(|entry| Some((entry["manager"].as_str()?, &entry["fieldsV1"]))).collect()
}

#[tokio::test]
async fn a_field_of_another_manager_is_a_named_conflict_or_forced_and_given_back_with_its_owner()
-> Result<()> {
    let (service, _agent) =
        Service::open_in(Cluster::shared().await?, &["apply", "--server-side"]).await?;
    service.deploy_by(OTHER, THEIRS).await?;
    service.steady("1").await?;
    service.brings(&ours())?;
    let before = service.objects().await?;

    let said = service.play("refused", nothing(), nothing(), Tester::Lets).await?.expect(4)?;
    for path in [".data.theirs", ".spec.minReadySeconds", ".metadata.annotations.example.com/tier"]
    {
        let conflict = format!("{path} is \"other\"'s");
        ensure!(said.contains(&conflict), "{conflict:?} is not in {said}");
    }
    ensure!(said.contains("forceConflicts"), "what to do: {said}");
    service.objects().await?.must_be(&before)?;

    // Not all of them: the rest is still a conflict.
    service.pipeline(", forceConflicts: [data.theirs, spec.minReadySeconds]")?;
    let said = service.play("some", nothing(), nothing(), Tester::Lets).await?.expect(4)?;
    ensure!(said.contains(".metadata.annotations.example.com/tier is \"other\"'s"), "{said}");
    ensure!(!said.contains(".data.theirs is"), "{said}");
    service.objects().await?.must_be(&before)?;

    let force = ", forceConflicts: [data.theirs, spec.minReadySeconds, metadata.annotations]";
    service.pipeline(force)?;
    let as_ours = async {
        let config = service.object("configmap").await?;
        assert_eq!(config["data"]["theirs"], "2");
        let others = managers(&config).into_iter().filter(|(name, _)| *name == "other");
        assert_eq!(others.count(), 0, "what it owned is ours: {config}");
        let web = service.object("deployment").await?;
        assert_eq!(web["metadata"]["annotations"]["example.com/tier"], "tin");
        assert_eq!(web["spec"]["minReadySeconds"], 1);
        Ok(())
    };
    service.play("aborts", nothing(), as_ours, Tester::Refuses).await?.expect(4)?;
    service.objects().await?.must_be(&before)?;
    service.steady("1").await?;

    // Its own next apply finds nothing to do and no conflict, and takes back what it drops.
    service.deploy_by(OTHER, THEIRS).await?;
    service.objects().await?.must_be(&before)?;

    service.play("commits", nothing(), nothing(), Tester::Lets).await?.expect(0)?;
    service.steady("2").await?;
    let config = service.object("configmap").await?;
    assert_eq!(config["data"]["theirs"], "2");
    let conflict = service.deploy_by(OTHER, THEIRS).await;
    let told = conflict.err().map(|error| error.to_string()).unwrap_or_default();
    ensure!(told.contains("conflict with \"lockstep\""), "now it is ours: {told}");
    Ok(())
}
