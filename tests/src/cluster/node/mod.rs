//! A real node: kubelet, containerd, pod network, kube-proxy and CoreDNS, with the control plane, in
//! namespaces of their own ([`namespaces`]). Nothing outside of them is touched but a control
//! group, which goes with the node. Pods are real processes; their images are made here ([`images`]).
//!
//! From outside, the API server is on loopback as always, and [`Cluster::reach`] leads to pods and
//! Services ([`relay`]).

mod images;
mod namespaces;
mod programs;
mod relay;

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context, Result, ensure};
use tokio::process::Command;

use self::{
    images::{Image, PAUSE},
    namespaces::NAMESPACES,
    programs::{CONTAINERD, COREDNS, KUBE_PROXY, KUBELET, NODE},
};
pub(super) use self::{
    namespaces::{first_below, inside},
    relay::Relay,
};
use super::{
    Cluster,
    children::Children,
    control_plane::{ControlPlane, Ports, SERVICE_RANGE},
    free_port,
    start::{READY_WITHIN, is_ready, new_folder},
};
use crate::world::until;

impl Cluster {
    /// Starts a cluster with a real node and waits until pods can run. Needs root. The node has the
    /// images that the examples' manifests name, and these: `NAME` does what its name says,
    /// `NAME=PROGRAM` is another program of this build.
    ///
    /// # Errors
    /// If something is missing, with the command that installs or builds it; if a program ends or
    /// is not ready in time, with the end of its log.
    pub async fn with_node(images: &[&str]) -> Result<Self> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let started = Self::start_with_node(images).await;
        started.context("a test cluster with a real node")
    }

    async fn start_with_node(images: &[&str]) -> Result<Self> {
        programs::check_system()?;
        let folder = new_folder()?;
        let mut children = Children::in_folder(&folder)?;
        namespaces::check_folder(&folder)?;
        let first = enter_namespaces(&mut children).await?;
        let cgroup = make_cgroup(&folder)?;

        // Nobody else is in this network: only the port that is led outside must be free there.
        let ports = Ports { etcd: 2379, etcd_peers: 2380, api: free_port()?, kwok: 0 };
        let plane = ControlPlane::in_folder(&folder, ports, Some(namespaces::NODE_ADDRESS))?;
        let containerd = programs::containerd(&folder)?;
        let later = [
            (KUBELET, programs::kubelet(&folder, &plane, &cgroup)?),
            (KUBE_PROXY, programs::kube_proxy(&folder, &plane)?),
            (COREDNS, programs::coredns(&folder, &plane)?),
        ];
        let relay = Relay::into(namespaces::network_of(first)?)?;
        relay.lead(ports.api, SocketAddr::from((Ipv4Addr::LOCALHOST, ports.api)))?;
        children.start(CONTAINERD, &containerd)?;
        let cluster = Self::with_plane(folder, children, plane, Some(relay)).await?;
        cluster.bring_images(first, images).await?;
        for (name, command) in later {
            cluster.children().start(name, &command)?;
        }
        cluster.seen("the node is ready", &["node", NODE], is_ready).await?;
        let account = ["serviceaccount", "default", "-n", "default"];
        cluster.seen("the controllers work", &account, |_| true).await?;
        Ok(cluster)
    }

    /// An address of the machine's loopback that leads to an address in the node's network, such
    /// as that of a pod or a Service.
    ///
    /// # Errors
    /// If the cluster has no real node.
    pub fn reach(&self, inside: SocketAddr) -> Result<SocketAddr> {
        let relay = self.relay.as_ref().context("only a real node has a network of its own")?;
        relay.lead(0, inside)
    }

    /// Makes images and gives them to the node.
    async fn bring_images(&self, first: u32, further: &[&str]) -> Result<()> {
        let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
        let named = images::named_below(&examples)?;
        let named = named.iter().map(String::as_str).chain(further.iter().copied()).chain([PAUSE]);
        let folder = self.folder().join("images");
        std::fs::create_dir(&folder)?;
        let archive = images::archive(&folder, &named.map(Image::parse).collect())?;
        let import = ["ctr", "--address", programs::CONTAINERD_SOCKET, "--namespace", "k8s.io"];
        let archive = archive.display().to_string();
        let import = [&import[..], &["images", "import", &archive]].concat();
        let import: Vec<String> = import.into_iter().map(str::to_owned).collect();
        let import = &inside(first, &import);
        until("containerd has the images", READY_WITHIN, || async move {
            if let Err(ended) = self.children().check() {
                return Ok(Err(ended));
            }
            run(import).await.map(Ok).map_err(|error| format!("{error:#}"))
        })
        .await?
    }
}

/// Makes the namespaces; what is started from now on is started in them. Gives the number of the
/// first process inside.
async fn enter_namespaces(children: &mut Children) -> Result<u32> {
    let holder = children.start(NAMESPACES, &namespaces::holder(SERVICE_RANGE))?;
    let seen = &std::cell::RefCell::new(&mut *children);
    let up = until("the node's namespaces are there", READY_WITHIN, || async move {
        if let Err(ended) = seen.borrow_mut().check() {
            return Ok(Err(ended));
        }
        let log = seen.borrow().log(NAMESPACES);
        if log.lines().any(|line| line == "up") { Ok(Ok(())) } else { Err(log) }
    });
    up.await??;
    let first = first_below(holder)?.context("the namespaces hold a process")?;
    children.enter(first)?;
    Ok(first)
}

/// A control group for all pods of this node, in every hierarchy, that goes with the cluster.
fn make_cgroup(folder: &Path) -> Result<String> {
    let name = folder.file_name().and_then(|name| name.to_str()).context("a folder has a name")?;
    // Before there is anything to take away.
    let farewell = format!(
        "find /sys/fs/cgroup -depth -type d -path '*/{name}*' -exec rmdir {{}} + 2>/dev/null\n"
    );
    std::fs::write(folder.join("farewell"), farewell)?;
    for hierarchy in hierarchies(Path::new("/sys/fs/cgroup")).context("the control groups")? {
        let group = hierarchy.join(name);
        std::fs::create_dir(&group).with_context(|| format!("making {}", group.display()))?;
    }
    Ok(format!("/{name}"))
}

/// The root itself where there is one hierarchy (v2), else the folders in it that are one (v1);
/// those that are not, or are links to one, are left out.
fn hierarchies(root: &Path) -> Result<Vec<PathBuf>> {
    if root.join("cgroup.controllers").is_file() {
        return Ok(vec![root.to_owned()]);
    }
    let mut found = Vec::new();
    for entry in std::fs::read_dir(root)? {
        let path = entry?.path();
        if path.join("cgroup.procs").is_file() && !path.is_symlink() {
            found.push(path);
        }
    }
    ensure!(!found.is_empty(), "there are none in {}", root.display());
    Ok(found)
}

async fn run(command: &[String]) -> Result<()> {
    let (program, arguments) = command.split_first().context("a command has a name")?;
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .with_context(|| format!("starting {program}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}: {}", command.join(" "), said.trim());
    Ok(())
}
