//! How a cluster comes up: the control plane, then what works with it, then the fake node.

use std::{
    path::{Path, PathBuf},
    sync::Mutex,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use tokio::sync::OnceCell;

use super::{
    Cluster, LABEL,
    children::Children,
    control_plane::{API_SERVER, CONTROLLERS, ControlPlane, ETCD, Ports, SCHEDULER},
    existing, free_port,
    looks::Looker,
    node::Relay,
    programs, stages,
};
use crate::world::until;

/// How long a program may take until it serves, on a busy machine.
pub(super) const READY_WITHIN: Duration = Duration::from_secs(120);

/// How often other ports are tried when somebody else took one.
const TRIES: usize = 3;

/// The name of kwok, as it is in logs.
pub(super) const KWOK: &str = "kwok";

/// The id of a cluster that is all the test's own.
const OWN: &str = "own";

/// What a fake node is known by; the value is the cluster's id.
const NODE_ANNOTATION: &str = "kwok.x-k8s.io/node";

/// What every container of a fake node has written, as a container runtime keeps it.
const LOGS: &str =
    "2026-01-01T00:00:00.000000000Z stdout F this container is a fake and has written this line\n";

impl Cluster {
    /// Starts one, or attaches to the existing one, and waits until pods can run.
    ///
    /// # Errors
    /// If a program is missing, with the command that builds it; if one ends or is not ready in
    /// time, with the end of its log.
    pub async fn start() -> Result<Self> {
        match existing::wanted()? {
            Some(kubeconfig) => Self::attach(&kubeconfig).await.context("the existing cluster"),
            None => Self::private().await,
        }
    }

    /// Starts one, for a test that kills its programs or needs several, whatever there is already.
    ///
    /// # Errors
    /// As [`Cluster::start`].
    pub async fn private() -> Result<Self> {
        // The first of a process decides; all decide the same.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut tries = 1;
        loop {
            match Self::start_own().await {
                Err(error) if tries < TRIES && format!("{error:#}").contains("in use") => {
                    tries += 1
                }
                other => return other.context("a test cluster"),
            }
        }
    }

    async fn start_own() -> Result<Self> {
        let folder = new_folder()?;
        let children = Children::in_folder(&folder)?;
        let ports = Ports {
            etcd: free_port()?,
            etcd_peers: free_port()?,
            api: free_port()?,
            kwok: free_port()?,
        };
        let plane = ControlPlane::in_folder(&folder, ports, None)?;
        // Before anything starts: what is missing is told at once.
        let kwok = kwok(&folder, &plane.admin, Some((ports.kwok, &plane)), OWN)?;
        let cluster = Self::with_plane(folder, children, plane, None).await?;
        cluster.add_fake_node(&kwok, "fake").await?;
        let account = ["serviceaccount", "default", "-n", "default"];
        cluster.seen("the controllers work", &account, |_| true).await?;
        Ok(cluster)
    }

    /// Starts a control plane; there are no nodes yet.
    pub(super) async fn with_plane(
        folder: PathBuf,
        mut children: Children,
        plane: ControlPlane,
        relay: Option<Relay>,
    ) -> Result<Self> {
        let kubectl = programs::find("kubernetes", "kubectl")?;
        let later = [(CONTROLLERS, plane.controllers()?), (SCHEDULER, plane.scheduler()?)];
        children.start(ETCD, &plane.etcd()?)?;
        children.start(API_SERVER, &plane.api_server()?)?;
        let cluster = Self {
            server: plane.server(),
            kubeconfig: plane.admin.clone(),
            kubectl,
            looker: Looker::new(plane.admin.clone()),
            view: OnceCell::new(),
            id: OWN.to_owned(),
            plane: Some(plane),
            relay,
            children: Mutex::new(children),
            folder,
        };
        cluster.serves().await?;
        for (name, command) in later {
            cluster.children().start(name, &command)?;
        }
        Ok(cluster)
    }

    /// Starts a program again that was killed, on the port that it had.
    ///
    /// # Errors
    /// If it is not one of the control plane, or is not ready in time.
    pub async fn restart(&self, program: &str) -> Result<()> {
        let plane = self.plane.as_ref().context("an existing cluster is not restarted")?;
        let command = match program {
            ETCD => plane.etcd()?,
            API_SERVER => plane.api_server()?,
            CONTROLLERS => plane.controllers()?,
            SCHEDULER => plane.scheduler()?,
            other => anyhow::bail!("{other} is not a program of the control plane"),
        };
        self.children().start(program, &command)?;
        self.serves().await
    }

    /// Waits until the API server says that it is ready.
    pub(super) async fn serves(&self) -> Result<()> {
        let authority = std::fs::read(self.folder.join("keys/ca.crt"))?;
        let client = reqwest::Client::builder()
            .tls_certs_only([reqwest::Certificate::from_pem(&authority)?])
            .timeout(Duration::from_secs(5))
            .build()?;
        let url = format!("{}/readyz", self.server);
        let (client, url) = (&client, &url);
        until("the API server is ready", READY_WITHIN, || async move {
            if let Err(ended) = self.children().check() {
                return Ok(Err(ended));
            }
            match client.get(url).send().await {
                Ok(answer) if answer.status().is_success() => Ok(Ok(())),
                Ok(answer) => Err(answer.text().await.unwrap_or_default()),
                Err(error) => Err(format!("{error:?}")),
            }
        })
        .await?
    }

    /// Waits for an object, but not for one that a program that ended would have to make.
    pub(super) async fn seen(
        &self,
        what: &str,
        object: &[&str],
        probe: impl Fn(&serde_json::Value) -> bool,
    ) -> Result<()> {
        let probe = &probe;
        until(what, READY_WITHIN, || async move {
            if let Err(ended) = self.children().check() {
                return Ok(Err(ended));
            }
            let seen = self.get(object).await.map_err(|error| format!("{error:#}"))?;
            if probe(&seen) { Ok(Ok(())) } else { Err(seen["status"].to_string()) }
        })
        .await?
    }

    /// Starts kwok and gives it its first node.
    pub(super) async fn add_fake_node(&self, kwok: &[String], name: &str) -> Result<()> {
        self.children().start(KWOK, kwok)?;
        self.add_node(name).await
    }

    /// Makes one more fake node, and waits until it is ready: for tests that drain one.
    ///
    /// # Errors
    /// If it cannot be made, or the cluster has a real node.
    pub async fn add_node(&self, name: &str) -> Result<()> {
        ensure!(self.relay.is_none(), "a cluster has a real node or fake ones");
        let mut node = serde_json::json!({
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {
                "name": name,
                "annotations": { NODE_ANNOTATION: self.id },
                "labels": { LABEL: self.id, "kubernetes.io/hostname": name, "kubernetes.io/os": "linux" },
            },
        });
        if self.plane.is_none() {
            node["spec"] = existing::keep_others_away(&self.id);
        }
        let arguments = ["create", "-f", "-"];
        self.kubectl_as(&self.kubeconfig, &arguments, &node.to_string()).await?;
        self.seen("the fake node is ready", &["node", name], is_ready).await
    }
}

/// Whether a node says so.
pub(super) fn is_ready(node: &serde_json::Value) -> bool {
    let conditions = node.pointer("/status/conditions").and_then(|all| all.as_array());
    let ready = |one: &serde_json::Value| one["type"] == "Ready" && one["status"] == "True";
    conditions.is_some_and(|all| all.iter().any(ready))
}

/// A folder for a cluster; its warden removes it.
pub(super) fn new_folder() -> Result<PathBuf> {
    let folder = tempfile::Builder::new().prefix("lockstep-cluster-").tempdir();
    Ok(folder.context("making a cluster's folder")?.keep())
}

/// The command line of kwok, for the nodes with this id; with a port, where the API server finds
/// the logs of fake containers.
pub(super) fn kwok(
    folder: &Path,
    kubeconfig: &Path,
    serving: Option<(u16, &ControlPlane)>,
    id: &str,
) -> Result<Vec<String>> {
    let logs = folder.join("container.log");
    std::fs::write(&logs, LOGS)?;
    let config = folder.join("kwok.yaml");
    std::fs::write(&config, stages::stages(&logs))?;
    let mut line = vec![
        programs::find("kwok", KWOK)?.display().to_string(),
        format!("--kubeconfig={}", kubeconfig.display()),
        format!("--config={}", config.display()),
        "--manage-all-nodes=false".to_owned(),
        format!("--manage-nodes-with-annotation-selector={NODE_ANNOTATION}={id}"),
        "--node-lease-duration-seconds=40".to_owned(),
        "--node-ip=127.0.0.1".to_owned(),
        "--cidr=10.244.0.0/16".to_owned(),
    ];
    if let Some((port, plane)) = serving {
        line.extend([
            format!("--node-port={port}"),
            format!("--server-address=127.0.0.1:{port}"),
            format!("--tls-cert-file={}", plane.authority.file("kwok-serving.crt").display()),
            format!(
                "--tls-private-key-file={}",
                plane.authority.file("kwok-serving.key").display()
            ),
        ]);
    }
    Ok(line)
}
