//! Tests in a cluster that was there before, as whoever has one runs them: they leave nothing.

use std::{collections::BTreeSet, process::Stdio, time::Duration};

use anyhow::{Result, ensure};
use lockstep_tests::{
    cluster::Cluster,
    world::{SOON, until},
};

/// Two tests of this program that make objects of the whole cluster, besides namespaces and pods.
const TESTS: [&str; 2] = [
    "pruned::what_is_dropped_is_deleted_unless_it_is_kept_or_another_or_held_by_the_server",
    "rules::a_custom_resource_is_healthy_when_its_rule_says_so_and_fails_when_it_says_so",
];

/// How long these may take on a busy machine.
const LIMIT: Duration = Duration::from_secs(240);

/// All objects of no namespace, but for what controllers report.
async fn cluster_wide(cluster: &Cluster) -> Result<BTreeSet<String>> {
    let kinds = ["api-resources", "--namespaced=false", "--verbs=list", "-o", "name"];
    let kinds = cluster.kubectl(&[&kinds[..], &["--cached=false"]].concat()).await?;
    let kinds = kinds.lines().collect::<Vec<_>>().join(",");
    let all = cluster.kubectl(&["get", &kinds, "-o", "name"]).await?;
    Ok(all.lines().map(str::to_owned).collect())
}

#[tokio::test]
async fn tests_in_a_cluster_that_was_there_before_leave_nothing_behind() -> Result<()> {
    let cluster = Cluster::private().await?;
    let theirs = cluster.namespace("theirs").await?;
    let before = cluster_wide(&cluster).await?;
    ensure!(before.contains(&format!("namespace/{theirs}")), "{before:?}");

    let mut tests = tokio::process::Command::new(std::env::current_exe()?);
    tests
        .arg("--exact")
        .args(TESTS)
        .env("USE_EXISTING_CLUSTER", "true")
        .env("KUBECONFIG", cluster.kubeconfig())
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let played = tokio::time::timeout(LIMIT, tests.output()).await??;
    let said = [played.stdout, played.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    ensure!(played.status.success() && said.contains("2 passed"), "{said}");

    // What is left of a test is deleted by whoever outlives it.
    until("nothing of theirs is left", SOON, || async {
        let after = cluster_wide(&cluster).await.map_err(|error| format!("{error:#}"))?;
        let new: Vec<&String> = after.difference(&before).collect();
        let gone: Vec<&String> = before.difference(&after).collect();
        if new.is_empty() && gone.is_empty() {
            return Ok(());
        }
        Err(format!("new: {new:?}; gone: {gone:?}"))
    })
    .await
}
