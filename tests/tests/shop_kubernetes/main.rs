//! The example on Kubernetes, played as its README says, by the real programs on a real control
//! plane: exit codes, what the messages say, and every object of both namespaces before and after.
//!
//! The commands are the README's, word for word; only the namespaces are added, so that several tests
//! can play in one cluster.

mod node;
mod stage;

use std::{collections::BTreeSet, fs};

use anyhow::{Context, Result, ensure};
use lockstep_tests::cluster::Cluster;
use serde_json::{Value, json};

use self::stage::{CRASHES, GOOD, MISSING, Stage, commands, repository};

/// A claim on storage for the backend: of the kinds that a rollback never deletes.
const CLAIM: &str = r#"
apiVersion: v1
kind: PersistentVolumeClaim
metadata: { name: orders }
spec: { accessModes: [ ReadWriteOnce ], resources: { requests: { storage: 1Gi } } }
"#;

/// What the agent needs for that.
const CLAIMANT: &str = r#"
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: { name: claims, labels: { test.lockstep.dev/account: lockstep-agent } }
rules:
  - apiGroups: [ "" ]
    resources: [ persistentvolumeclaims ]
    verbs: [ get, list, create, patch ]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: { name: claims, labels: { test.lockstep.dev/account: lockstep-agent } }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: Role, name: claims }
subjects: [ { kind: ServiceAccount, name: lockstep-agent, namespace: HOME } ]
"#;

/// The one line that has all of these words, in any order.
fn line_with(text: &str, words: &[&str]) -> Result<()> {
    let found = text.lines().any(|line| words.iter().all(|word| line.contains(word)));
    ensure!(found, "no line has all of {words:?}; it said\n{text}");
    Ok(())
}

/// When a condition was last told, or an owner last wrote, by the server's clock.
fn told_at(found: Option<&Value>, time: &str) -> Result<String> {
    let text = found.and_then(|found| found[time].as_str()).context("it was told")?;
    Ok(text.to_owned())
}

#[tokio::test]
async fn parity_01_parity_02_both_namespaces_get_the_new_version_and_the_frontend_second()
-> Result<()> {
    let stage = Stage::new(Cluster::shared().await?).await?;
    stage.expect(0, GOOD, "--param backend_version=v1 --param frontend_version=v1").await?;
    for name in ["backend", "frontend"] {
        stage.runs(name, "v1").await?;
    }

    stage.expect(0, GOOD, "").await?;
    for name in ["backend", "frontend"] {
        stage.runs(name, "v2").await?;
    }
    let (backend, frontend) =
        (stage.deployment("backend").await?, stage.deployment("frontend").await?);
    let conditions = backend["status"]["conditions"].as_array().context("conditions")?;
    let rolled_out = conditions.iter().find(|told| told["reason"] == "NewReplicaSetAvailable");
    let entries = frontend["metadata"]["managedFields"].as_array().context("owners")?;
    let ours = entries.iter().find(|entry| entry["manager"] == "lockstep");
    let (steady, begun) = (told_at(rolled_out, "lastUpdateTime")?, told_at(ours, "time")?);
    ensure!(begun > steady, "the frontend was written at {begun}, the backend steady at {steady}");
    Ok(())
}

#[tokio::test]
async fn parity_03_a_frontend_that_crashes_takes_both_namespaces_back_to_what_they_were()
-> Result<()> {
    let stage = Stage::new(Cluster::shared().await?).await?;
    stage.expect(0, GOOD, "").await?;
    let before = stage.objects().await?;

    let text = stage.expect(4, CRASHES, "").await?;
    line_with(&text, &["backend", "frontend", "CrashLoopBackOff"])?;
    stage.objects().await?.must_be(&before)?;
    for name in ["backend", "frontend"] {
        stage.runs(name, "v2").await?;
    }

    // A rollback that finished leaves no debt, and nothing that is in the way of the next run.
    stage.expect(0, GOOD, "--param backend_version=v3").await?;
    stage.runs("backend", "v3").await?;
    // What v3 brought and v2 does not is deleted once v2 stands again.
    stage.cluster.get(&["configmap", "search", "-n", &stage.backend]).await?;
    stage.expect(0, GOOD, "").await?;
    stage.objects().await?.as_if_written_by_the_runs_of(&before).must_be(&before)?;
    Ok(())
}

#[tokio::test]
async fn parity_03_a_frontend_whose_image_is_missing_takes_both_namespaces_back() -> Result<()> {
    let stage = Stage::new(Cluster::shared().await?).await?;
    // What a person applied is taken over, and given back as the person's.
    for (namespace, name) in [(&stage.backend, "backend"), (&stage.frontend, "frontend")] {
        let folder = stage.file(&format!("k8s/{name}")).display().to_string();
        let release = stage.file(&format!("releases/{name}/v1.yaml")).display().to_string();
        let arguments = ["apply", "-n", namespace, "-f", &folder, "-f", &release];
        stage.cluster.kubectl(&arguments).await?;
        stage.runs(name, "v1").await?;
    }
    let before = stage.objects().await?;

    let text = stage.expect(4, MISSING, "").await?;
    line_with(&text, &["backend", "frontend", "ImagePull"])?;
    stage.objects().await?.must_be(&before)?;
    for name in ["backend", "frontend"] {
        stage.runs(name, "v1").await?;
    }
    Ok(())
}

#[tokio::test]
async fn parity_04_a_backend_that_fails_before_the_barrier_leaves_the_frontend_untouched()
-> Result<()> {
    let stage = Stage::new(Cluster::shared().await?).await?;
    stage.expect(0, GOOD, "").await?;
    let release = fs::read_to_string(stage.file("releases/backend/v3.yaml"))?;
    fs::write(stage.file("releases/backend/v4-crashloop.yaml"), release)?;
    let before = stage.objects().await?;
    let frontend = stage.writes(&stage.frontend).await?;

    let text = stage.expect(4, GOOD, "--param backend_version=v4-crashloop").await?;
    line_with(&text, &["cause (", "backend failed in step", "CrashLoopBackOff"])?;
    line_with(&text, &["frontend", "wrote nothing"])?;
    stage.objects().await?.must_be(&before)?;
    // Not even given back: nobody has written there.
    assert_eq!(frontend, stage.writes(&stage.frontend).await?);
    Ok(())
}

#[tokio::test]
async fn parity_22_a_first_deployment_that_fails_leaves_nothing_but_what_holds_data() -> Result<()>
{
    let stage = Stage::new(Cluster::shared().await?).await?;
    fs::write(stage.file("k8s/backend/claim.yaml"), CLAIM)?;
    stage.cluster.apply(&stage.backend, &CLAIMANT.replace("HOME", &stage.backend)).await?;
    let before = stage.objects().await?;
    ensure!(before.names().next().is_none(), "{before:?} before the first deployment");

    let text = stage.expect(4, CRASHES, "").await?;
    line_with(&text, &["PersistentVolumeClaim", "orders", "kept on purpose"])?;
    let kept = format!("{}: PersistentVolumeClaim orders", stage.backend);
    stage.objects().await?.must_be_with(&before, &[&kept])?;
    for namespace in [&stage.backend, &stage.frontend] {
        let pods = stage.cluster.get(&["pods,replicasets", "-n", namespace]).await?;
        assert_eq!(pods["items"], json!([]), "in {namespace}");
        let none = |seen: &Value| (seen["items"] == json!([])).then_some(());
        stage.cluster.sees("its lock is given up", &["leases", "-n", namespace], none).await?;
    }

    // The claim that was kept is found again.
    stage.expect(0, GOOD, "").await?;
    Ok(())
}

#[tokio::test]
async fn deploying_to_other_namespaces_deletes_nothing_from_the_first_ones() -> Result<()> {
    let (staging, mut production) =
        (Stage::new(Cluster::shared().await?).await?, Stage::new(Cluster::shared().await?).await?);
    // One agent for both: it keeps its records in one place.
    production.kubeconfig.clone_from(&staging.kubeconfig);
    production.let_in(&staging.backend).await?;
    staging.expect(0, GOOD, "--param backend_version=v3").await?;
    let before = staging.objects().await?;
    production.expect(0, GOOD, "").await?;
    staging.objects().await?.must_be(&before)?;
    // What is dropped is still known where it was.
    staging.expect(0, GOOD, "").await?;
    let after = staging.objects().await?;
    ensure!(!after.names().any(|name| name.ends_with("search")), "{after:?}");
    Ok(())
}

#[tokio::test]
async fn the_documented_role_is_what_the_doctor_shows_and_all_that_there_is() -> Result<()> {
    // All other tests here have nothing but that Role.
    let stage = Stage::new(Cluster::shared().await?).await?;
    let role = stage.cluster.get(&["role", "lockstep", "-n", &stage.backend]).await?;
    assert_eq!(rights(&role), rights(&stage.doctor("backend").await?[0]));
    // Nothing but objects of these kinds, in these namespaces.
    fs::write(stage.file("k8s/backend/claim.yaml"), CLAIM)?;
    let text = stage.expect(4, GOOD, "").await?;
    line_with(&text, &["persistentvolumeclaims", "forbidden"])?;
    Ok(())
}

/// Each group, resource and verb of a Role.
fn rights(role: &Value) -> BTreeSet<String> {
    let texts = |rule: &Value, member: &str| -> Vec<String> {
        let found = rule[member].as_array().into_iter().flatten();
        found.filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let mut rights = BTreeSet::new();
    for rule in role["rules"].as_array().into_iter().flatten() {
        for group in texts(rule, "apiGroups") {
            for resource in texts(rule, "resources") {
                let verbs = texts(rule, "verbs").into_iter();
                rights.extend(verbs.map(|verb| format!("{verb} {resource} of {group:?}")));
            }
        }
    }
    rights
}

#[test]
fn the_demo_plays_what_the_readme_shows() -> Result<()> {
    let demo = fs::read_to_string(repository().join("scripts/demo-kubernetes"))?;
    for command in commands()? {
        let parameters = command.replace("lockstep dev examples/shop-kubernetes/pipeline.yaml", "");
        ensure!(
            demo.contains(parameters.trim()),
            "scripts/demo-kubernetes does not play {command:?}"
        );
    }
    Ok(())
}
