//! A real node: that its pods are real, that they behave as a fake node's do, and that nothing is
//! left of it. Needs root.

use std::{collections::BTreeSet, path::Path, process::Command};

use anyhow::{Context, Result, ensure};
use lockstep_tests::{
    cluster::Cluster,
    world::{SOON, until},
};
use serde_json::Value;

const MANIFESTS: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: { name: web }
spec:
  replicas: 2
  selector: { matchLabels: { app: web } }
  template:
    metadata: { labels: { app: web } }
    spec:
      terminationGracePeriodSeconds: 0
      containers:
        - name: web
          image: trial/web:1-slow
          readinessProbe: { httpGet: { path: /ready, port: 8080 }, periodSeconds: 1 }
---
apiVersion: v1
kind: Service
metadata: { name: web }
spec:
  selector: { app: web }
  ports: [ { port: 80, targetPort: 8080 } ]
---
apiVersion: v1
kind: Pod
metadata: { name: missing }
spec: { containers: [ { name: main, image: trial/web:2-pullfail } ] }
---
apiVersion: v1
kind: Pod
metadata: { name: crashing }
spec: { containers: [ { name: main, image: trial/web:2-crashloop } ] }
---
apiVersion: batch/v1
kind: Job
metadata: { name: asks }
spec:
  template:
    spec:
      restartPolicy: OnFailure
      containers: [ { name: main, image: trial/web:1, args: [ get, http://web/ ] } ]
"#;

#[tokio::test]
async fn a_real_node_runs_real_pods_and_leaves_nothing() -> Result<()> {
    let before = Machine::look()?;
    let cluster =
        Cluster::with_node(&["trial/web:1", "trial/web:1-slow", "trial/web:2-crashloop"]).await?;
    let namespace = cluster.namespace("real").await?;
    let told = check_pods(&cluster, &namespace).await;
    let logs = cluster.logs();
    let folder = cluster.folder().to_owned();
    drop(cluster);
    told.context(logs)?;

    ensure!(!folder.exists(), "{} is still there", folder.display());
    let after = Machine::look()?;
    assert_eq!(after.mounts, before.mounts);
    assert_eq!(after.links, before.links);
    assert_eq!(after.firewall, before.firewall);
    assert_eq!(after.settings, before.settings);
    assert_eq!(after.folders, before.folders);
    let name = folder.file_name().and_then(|name| name.to_str()).context("it has a name")?;
    let groups = Command::new("find").args(["/sys/fs/cgroup", "-name", name]).output()?;
    assert_eq!(String::from_utf8_lossy(&groups.stdout), "");
    let programs = processes_that_name(&folder);
    ensure!(programs.is_empty(), "still running: {programs:?}");
    Ok(())
}

async fn check_pods(cluster: &Cluster, namespace: &str) -> Result<()> {
    cluster.apply(namespace, MANIFESTS).await?;
    let ready = |web: &Value| (web["status"]["readyReplicas"] == 2).then_some(());
    cluster.sees("two real pods are ready", &["deployment", "web", "-n", namespace], ready).await?;

    // From the machine, by the address of the Service.
    let service = cluster.get(&["service", "web", "-n", namespace]).await?;
    let address = service["spec"]["clusterIP"].as_str().context("it has an address")?;
    let outside = cluster.reach(format!("{address}:80").parse()?)?;
    until("the Service answers", SOON, || async {
        let answer = reqwest::get(format!("http://{outside}/")).await;
        let text = answer.map_err(|error| format!("{error:?}"))?.text().await;
        let text = text.map_err(|error| format!("{error:?}"))?;
        if text == "trial/web:1-slow\n" { Ok(()) } else { Err(text) }
    })
    .await?;

    // From a pod, by its name.
    let complete = |job: &Value| (job["status"]["succeeded"] == 1).then_some(());
    cluster.sees("a pod had its answer", &["job", "asks", "-n", namespace], complete).await?;
    let logs = cluster.kubectl(&["logs", "job/asks", "-n", namespace]).await?;
    ensure!(logs == "trial/web:1-slow\n", "{logs}");

    for (pod, reasons) in [
        ("missing", ["ErrImagePull", "ImagePullBackOff"]),
        ("crashing", ["CrashLoopBackOff", "CrashLoopBackOff"]),
    ] {
        let waits = |pod: &Value| {
            let state = &pod["status"]["containerStatuses"][0]["state"];
            let reason = state["waiting"]["reason"].as_str()?;
            reasons.contains(&reason).then_some(())
        };
        cluster.sees(reasons[0], &["pod", pod, "-n", namespace], waits).await?;
    }
    Ok(())
}

/// What a node could leave behind on its machine.
struct Machine {
    mounts: BTreeSet<String>,
    links: BTreeSet<String>,
    firewall: String,
    settings: Vec<String>,
    folders: Vec<bool>,
}

impl Machine {
    fn look() -> Result<Self> {
        let mounts = std::fs::read_to_string("/proc/self/mounts")?;
        let links = std::fs::read_dir("/sys/class/net")?.map(|entry| Ok(entry?.file_name()));
        let links: Result<BTreeSet<_>> = links.collect();
        let firewall = Command::new("iptables-save").output().context("iptables-save")?;
        // Comments tell the time, and counters count.
        let firewall = String::from_utf8_lossy(&firewall.stdout).into_owned();
        let rules = firewall.lines().filter(|line| line.starts_with('-'));
        let settings =
            ["vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "net/ipv4/ip_forward"];
        let setting = |name| Ok(std::fs::read_to_string(Path::new("/proc/sys").join(name))?);
        let settings: Result<Vec<String>> = settings.into_iter().map(setting).collect();
        let folders = ["/var/lib/kubelet", "/var/lib/cni", "/run/containerd", "/var/log/pods"];
        Ok(Self {
            mounts: mounts.lines().map(str::to_owned).collect(),
            links: links?.into_iter().map(|name| name.to_string_lossy().into_owned()).collect(),
            firewall: rules.collect::<Vec<&str>>().join("\n"),
            settings: settings?,
            folders: folders.into_iter().map(|path| Path::new(path).exists()).collect(),
        })
    }
}

/// The command lines of the processes that name the folder.
fn processes_that_name(folder: &Path) -> Vec<String> {
    let folder = folder.display().to_string();
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let lines = entries.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    let lines = lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " "));
    lines.filter(|line| line.contains(&folder)).collect()
}
