//! The test clusters themselves: that they are what the tests of the Kubernetes target rely on.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use lockstep_tests::{
    cluster::{API_SERVER, BEHAVE, Cluster},
    world::{SOON, program, until},
};
use serde_json::{Value, json};

/// How long a cluster may take until it is there, on a busy machine.
const START: Duration = Duration::from_secs(240);

/// A Deployment of one pod with this image.
fn deployment(name: &str, image: &str) -> String {
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": { "name": name },
        "spec": {
            "selector": { "matchLabels": { "app": name } },
            "template": {
                "metadata": { "labels": { "app": name } },
                "spec": { "containers": [{ "name": "main", "image": image }] },
            },
        },
    })
    .to_string()
}

/// A Job that is not tried again.
fn job(name: &str, image: &str) -> String {
    json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": { "name": name },
        "spec": {
            "backoffLimit": 0,
            "template": { "spec": {
                "restartPolicy": "Never",
                "containers": [{ "name": "main", "image": image }],
            } },
        },
    })
    .to_string()
}

fn condition(object: &Value, kind: &str) -> Option<bool> {
    let conditions = object.pointer("/status/conditions")?.as_array()?;
    let found = conditions.iter().find(|condition| condition["type"] == kind)?;
    Some(found["status"] == "True")
}

/// The first pod of a Deployment, as the cluster tells it now.
async fn pod(cluster: &Cluster, namespace: &str, app: &str) -> Result<Value> {
    let selector = format!("app={app}");
    let pods = cluster.get(&["pods", "-n", namespace, "-l", &selector]).await?;
    Ok(pods["items"][0].clone())
}

/// Waits until the first container of a Deployment's pod waits for this reason.
async fn waits(cluster: &Cluster, namespace: &str, app: &str, reason: &str) -> Result<Value> {
    until(&format!("{app} waits: {reason}"), SOON, || async {
        let pod = pod(cluster, namespace, app).await.map_err(|error| error.to_string())?;
        let state = &pod["status"]["containerStatuses"][0]["state"];
        let found = state["waiting"]["reason"] == reason;
        if found { Ok(pod) } else { Err(pod["status"].to_string()) }
    })
    .await
}

#[tokio::test]
async fn two_clusters_at_once_know_nothing_of_each_other_and_leave_nothing() -> Result<()> {
    let (one, two) = tokio::try_join!(Cluster::private(), Cluster::private())?;
    let namespace = one.namespace("shop").await?;
    one.apply(&namespace, &deployment("web", "shop/web:1")).await?;
    let object = ["deployment", "web", "-n", &namespace];
    one.sees("is available", &object, |web| condition(web, "Available")?.then_some(())).await?;
    let error = two.get(&["namespace", &namespace]).await.unwrap_err();
    ensure!(format!("{error:#}").contains("NotFound"), "{error:#}");
    let logs = one.kubectl(&["logs", "-n", &namespace, "-l", "app=web"]).await?;
    ensure!(logs.contains("this container is a fake"), "{logs}");
    for cluster in [one, two] {
        let folder = cluster.folder().to_owned();
        ensure!(!programs_in(&folder).is_empty());
        drop(cluster);
        ensure!(!folder.exists() && programs_in(&folder).is_empty());
    }
    Ok(())
}

#[tokio::test]
async fn a_cluster_goes_with_who_started_it_even_if_that_is_killed() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let output = folder.path().join("output");
    let mut starter = Command::new(program("cluster")?)
        // One of its own, whatever this test was told to use.
        .env_remove("USE_EXISTING_CLUSTER")
        .stdout(File::create(&output)?)
        .spawn()?;
    let kubeconfig = until("the cluster is there", START, || async {
        let text = std::fs::read_to_string(&output).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("export KUBECONFIG="));
        line.map(PathBuf::from).ok_or(text.clone())
    })
    .await;
    starter.kill()?;
    starter.wait()?;
    let kubeconfig = kubeconfig?;
    let cluster = kubeconfig.ancestors().nth(2).context("it is in the cluster's folder")?;
    until("nothing is left", SOON, || async {
        let programs = programs_in(cluster);
        let gone = !cluster.exists() && programs.is_empty();
        if gone { Ok(()) } else { Err(format!("{} and {programs:?}", cluster.display())) }
    })
    .await
}

/// The processes whose command line names the folder.
fn programs_in(folder: &Path) -> Vec<u32> {
    let folder = folder.display().to_string();
    let pids = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let names = |pid: &u32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(&folder)
    };
    pids.filter(names).collect()
}

#[tokio::test]
async fn a_pod_does_what_its_images_name_says() -> Result<()> {
    let cluster = Cluster::shared().await?;
    let namespace = cluster.namespace("words").await?;
    let words = ["ready", "slow", "unready", "crashloop", "pullfail"];
    for word in words {
        cluster.apply(&namespace, &deployment(word, &format!("shop/web:2-{word}"))).await?;
    }
    for word in ["complete", "fail", "plain"] {
        cluster.apply(&namespace, &job(word, &format!("shop/migrate:{word}"))).await?;
    }

    for word in ["ready", "slow"] {
        let object = ["deployment", word, "-n", &namespace];
        let available = |web: &Value| condition(web, "Available")?.then_some(());
        cluster.sees("is available", &object, available).await?;
    }
    let crashed = waits(cluster, &namespace, "crashloop", "CrashLoopBackOff").await?;
    let status = &crashed["status"]["containerStatuses"][0];
    assert_eq!(status["lastState"]["terminated"]["exitCode"], 1, "{status}");
    waits(cluster, &namespace, "pullfail", "ErrImagePull").await?;
    waits(cluster, &namespace, "pullfail", "ImagePullBackOff").await?;
    let unready = pod(cluster, &namespace, "unready").await?;
    assert_eq!(unready["status"]["phase"], "Running", "{unready}");
    assert_eq!(condition(&unready, "Ready"), Some(false), "{unready}");

    for (name, outcome) in [("complete", "Complete"), ("plain", "Complete"), ("fail", "Failed")] {
        let object = ["job", name, "-n", &namespace];
        let ended = |job: &Value| condition(job, outcome)?.then_some(());
        cluster.sees(outcome, &object, ended).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_ready_pod_can_be_told_to_break_and_to_recover() -> Result<()> {
    let cluster = Cluster::shared().await?;
    let namespace = cluster.namespace("breaks").await?;
    cluster.apply(&namespace, &deployment("web", "shop/web:1")).await?;
    let object = ["deployment", "web", "-n", &namespace];
    let available = |web: &Value| condition(web, "Available");
    cluster.sees("is available", &object, |web| available(web)?.then_some(())).await?;

    let tell = async |word: &str| {
        let word = format!("{BEHAVE}={word}");
        let arguments =
            ["annotate", "--overwrite", "pods", "-n", &namespace, "-l", "app=web", &word];
        cluster.kubectl(&arguments).await
    };
    tell("unready").await?;
    cluster.sees("is not available", &object, |web| (!available(web)?).then_some(())).await?;
    tell("crashloop").await?;
    waits(cluster, &namespace, "web", "CrashLoopBackOff").await?;
    tell("ready").await?;
    cluster.sees("is available again", &object, |web| available(web)?.then_some(())).await?;
    Ok(())
}

#[tokio::test]
async fn a_service_account_may_do_what_its_role_says_and_nothing_else() -> Result<()> {
    let cluster = Cluster::shared().await?;
    let namespace = cluster.namespace("rights").await?;
    let reader = cluster.service_account(&namespace, "reader").await?;
    let read = ["get", "configmaps", "-n", &namespace];
    let refused = cluster.kubectl_as(&reader, &read, "").await.unwrap_err().to_string();
    assert!(refused.contains("forbidden") && refused.contains("reader"), "{refused}");

    let role = json!({ "apiVersion": "v1", "kind": "List", "items": [
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "Role",
            "metadata": { "name": "reader" },
            "rules": [{ "apiGroups": [""], "resources": ["configmaps"], "verbs": ["list"] }],
        },
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": { "name": "reader" },
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reader",
            },
            "subjects": [{ "kind": "ServiceAccount", "name": "reader" }],
        },
    ] });
    cluster.apply(&namespace, &role.to_string()).await?;
    until("the role is in force", SOON, || async {
        let read = cluster.kubectl_as(&reader, &read, "").await;
        read.map_err(|error| error.to_string())
    })
    .await?;
    let write = ["create", "configmap", "a", "-n", &namespace];
    let refused = cluster.kubectl_as(&reader, &write, "").await.unwrap_err().to_string();
    assert!(refused.contains("forbidden"), "{refused}");
    Ok(())
}

#[tokio::test]
async fn a_drained_nodes_pods_come_back_on_another() -> Result<()> {
    let cluster = Cluster::private().await?;
    let namespace = cluster.namespace("drain").await?;
    cluster.apply(&namespace, &deployment("web", "shop/web:1")).await?;
    let object = ["deployment", "web", "-n", &namespace];
    let available = |web: &Value| condition(web, "Available")?.then_some(());
    cluster.sees("is available", &object, available).await?;
    let first = pod(&cluster, &namespace, "web").await?;
    cluster.add_node("another").await?;
    let node = first["spec"]["nodeName"].as_str().context("it runs somewhere")?;
    cluster.kubectl(&["drain", node, "--ignore-daemonsets", "--timeout=60s"]).await?;
    until("a pod runs on the other node", SOON, || async {
        let pod = pod(&cluster, &namespace, "web").await.map_err(|error| error.to_string())?;
        let moved = pod["spec"]["nodeName"] == "another" && condition(&pod, "Ready") == Some(true);
        if moved { Ok(()) } else { Err(pod["status"].to_string()) }
    })
    .await
}

#[tokio::test]
async fn an_api_server_that_was_killed_comes_back_with_all_it_knew() -> Result<()> {
    let cluster = Cluster::private().await?;
    let namespace = cluster.namespace("outage").await?;
    cluster.kill(API_SERVER)?;
    ensure!(cluster.get(&["namespace", &namespace]).await.is_err());
    cluster.restart(API_SERVER).await?;
    cluster.get(&["namespace", &namespace]).await?;
    Ok(())
}
