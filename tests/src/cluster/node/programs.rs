//! The command lines and configurations of what makes a node: containerd, kubelet, kube-proxy,
//! CoreDNS, the pod network.

use std::{fs, path::Path};

use anyhow::{Result, bail, ensure};
use serde_json::json;

use super::{
    images::PAUSE,
    namespaces::{NODE_ADDRESS, POD_RANGE},
};
use crate::cluster::{control_plane::ControlPlane, programs::find};

/// The names of the programs, as they are in logs.
pub(super) const CONTAINERD: &str = "containerd";
pub(super) const KUBELET: &str = "kubelet";
pub(super) const KUBE_PROXY: &str = "kube-proxy";
pub(super) const COREDNS: &str = "coredns";

/// The node's name in the cluster.
pub(super) const NODE: &str = "node";

/// Where containerd listens, in the node's own /run: the path of a socket must be short.
pub(super) const CONTAINERD_SOCKET: &str = "/run/containerd/containerd.sock";

/// A closed port of the node's loopback: an image that is missing is missed at once, and nobody is
/// asked for it.
const NO_REGISTRY: &str = "http://127.0.0.1:1";

/// Where Debian's package puts the plugins of the pod network.
const NETWORK_PLUGINS: &str = "/usr/lib/cni";

/// What comes from packages of the system, and the file that shows that it is there.
const FROM_PACKAGES: &[&str] =
    &["containerd", "ctr", "runc", "iptables", "conntrack", "ip", "unshare", "nsenter", "mount"];

/// Fails with the command to run if something of the system is missing.
pub(super) fn check_system() -> Result<()> {
    ensure!(
        rustix::process::geteuid().is_root(),
        "a real node needs root, for namespaces and mounts of its own: run this as root"
    );
    let folders = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];
    let found = |name: &str| folders.iter().any(|folder| Path::new(folder).join(name).is_file());
    let mut missing: Vec<&str> =
        FROM_PACKAGES.iter().copied().filter(|name| !found(name)).collect();
    if !Path::new(NETWORK_PLUGINS).join("ptp").is_file() {
        missing.push("the CNI plugins in /usr/lib/cni");
    }
    if !missing.is_empty() {
        bail!("a real node needs {}: run `scripts/node-packages`", missing.join(", "));
    }
    Ok(())
}

pub(super) fn containerd(folder: &Path) -> Result<Vec<String>> {
    let networks = folder.join("networks");
    fs::create_dir_all(&networks)?;
    let network = json!({
        "cniVersion": "0.4.0",
        "name": "pods",
        "plugins": [
            {
                // Every pod by a link of its own, so that all traffic passes the firewall, where
                // Services are made.
                "type": "ptp",
                "ipMasq": false,
                "ipam": {
                    "type": "host-local",
                    "ranges": [[{ "subnet": POD_RANGE }]],
                    "routes": [{ "dst": "0.0.0.0/0" }],
                    "dataDir": folder.join("addresses"),
                },
            },
            { "type": "portmap", "capabilities": { "portMappings": true } },
        ],
    });
    fs::write(networks.join("pods.conflist"), network.to_string())?;
    let config = format!(
        r#"version = 2
root = {root:?}
state = "/run/containerd"
[grpc]
  address = {CONTAINERD_SOCKET:?}
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = {PAUSE:?}
  restrict_oom_score_adj = true
  disable_apparmor = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = {NETWORK_PLUGINS:?}
    conf_dir = {networks:?}
  [plugins."io.containerd.grpc.v1.cri".registry.mirrors."*"]
    endpoint = [{NO_REGISTRY:?}]
  [plugins."io.containerd.grpc.v1.cri".registry.mirrors."docker.io"]
    endpoint = [{NO_REGISTRY:?}]
"#,
        root = folder.join("containerd"),
    );
    let path = folder.join("containerd.toml");
    fs::write(&path, config)?;
    Ok(vec![CONTAINERD.to_owned(), format!("--config={}", path.display())])
}

pub(super) fn kubelet(folder: &Path, plane: &ControlPlane, cgroup: &str) -> Result<Vec<String>> {
    let kubeconfig =
        plane.kubeconfig(KUBELET, &format!("system:node:{NODE}"), Some("system:nodes"))?;
    let config = json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": NODE_ADDRESS,
        "authentication": {
            "anonymous": { "enabled": false },
            "x509": { "clientCAFile": plane.authority.file("ca.crt") },
        },
        "clusterDNS": [NODE_ADDRESS],
        "clusterDomain": "cluster.local",
        "resolvConf": "",
        "containerRuntimeEndpoint": format!("unix://{CONTAINERD_SOCKET}"),
        "failCgroupV1": false,
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": cgroup,
        "enforceNodeAllocatable": [],
        "failSwapOn": false,
        // The machine's disk is not the node's to judge.
        "evictionHard": {
            "memory.available": "0%", "nodefs.available": "0%", "nodefs.inodesFree": "0%",
            "imagefs.available": "0%", "imagefs.inodesFree": "0%",
        },
        "imageGCHighThresholdPercent": 100,
        "podLogsDir": folder.join("pod-logs"),
        "volumePluginDir": folder.join("volume-plugins"),
        "registerNode": true,
        "nodeStatusUpdateFrequency": "5s",
        "syncFrequency": "10s",
    });
    let path = folder.join("kubelet.json");
    fs::write(&path, config.to_string())?;
    Ok(vec![
        find("kubelet", KUBELET)?.display().to_string(),
        format!("--config={}", path.display()),
        format!("--kubeconfig={}", kubeconfig.display()),
        format!("--root-dir={}", folder.join("kubelet").display()),
        format!("--cert-dir={}", folder.join("kubelet-keys").display()),
        format!("--hostname-override={NODE}"),
        format!("--node-ip={NODE_ADDRESS}"),
    ])
}

pub(super) fn kube_proxy(folder: &Path, plane: &ControlPlane) -> Result<Vec<String>> {
    let kubeconfig = plane.kubeconfig(KUBE_PROXY, "system:kube-proxy", None)?;
    let config = json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "bindAddress": NODE_ADDRESS,
        "clientConnection": { "kubeconfig": kubeconfig },
        "clusterCIDR": POD_RANGE,
        "hostnameOverride": NODE,
        "mode": "iptables",
        // These are the machine's, not the node's.
        "conntrack": { "maxPerCore": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s" },
    });
    let path = folder.join("kube-proxy.json");
    fs::write(&path, config.to_string())?;
    let program = find("kubernetes", KUBE_PROXY)?.display().to_string();
    Ok(vec![program, format!("--config={}", path.display())])
}

pub(super) fn coredns(folder: &Path, plane: &ControlPlane) -> Result<Vec<String>> {
    let kubeconfig = plane.kubeconfig(COREDNS, COREDNS, Some("system:masters"))?;
    let corefile = format!(
        "cluster.local:53 {{\n  bind {NODE_ADDRESS}\n  errors\n  kubernetes {{\n    kubeconfig {}\n  }}\n}}\n",
        kubeconfig.display()
    );
    let path = folder.join("Corefile");
    fs::write(&path, corefile)?;
    let program = find("coredns", COREDNS)?.display().to_string();
    Ok(vec![program, "-conf".to_owned(), path.display().to_string()])
}
