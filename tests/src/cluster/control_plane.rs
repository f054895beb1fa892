//! The command lines of etcd, the API server, the controllers and the scheduler.
//!
//! As a distribution would start them, but for: no fsync, no leader election between one, and
//! clients that are not throttled, so that a test waits for nothing but its own subject.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::{authority::Authority, programs::find};

/// Where the services of a cluster have their addresses; the API server gets the first.
pub(super) const SERVICE_RANGE: &str = "10.96.0.0/16";
const API_SERVICE: &str = "10.96.0.1";

/// etcd, by the name of its program and log.
pub const ETCD: &str = "etcd";
/// The API server, by the name of its program and log.
pub const API_SERVER: &str = "kube-apiserver";
/// The controllers, by the name of their program and log.
pub const CONTROLLERS: &str = "kube-controller-manager";
/// The scheduler, by the name of its program and log.
pub const SCHEDULER: &str = "kube-scheduler";

/// The ports of one cluster, all on loopback.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ports {
    pub(super) etcd: u16,
    pub(super) etcd_peers: u16,
    pub(super) api: u16,
    pub(super) kwok: u16,
}

/// One control plane: where its files are, where it listens.
pub(super) struct ControlPlane {
    folder: PathBuf,
    ports: Ports,
    /// Where pods reach the API server; none, if there are no real pods.
    pod_side: Option<String>,
    pub(super) authority: Authority,
    pub(super) admin: PathBuf,
}

impl ControlPlane {
    /// Its certificates and kubeconfigs, in `folder`.
    pub(super) fn in_folder(folder: &Path, ports: Ports, pod_side: Option<&str>) -> Result<Self> {
        let authority = Authority::in_folder(&folder.join("keys"))?;
        let mut names = vec![
            "localhost",
            "127.0.0.1",
            API_SERVICE,
            "kubernetes",
            "kubernetes.default",
            "kubernetes.default.svc",
            "kubernetes.default.svc.cluster.local",
        ];
        names.extend(pod_side);
        authority.server("apiserver", &names)?;
        // What it shows to kubelets, and what kwok shows to it.
        authority.client("apiserver-to-kubelet", "apiserver-to-kubelet", Some("system:masters"))?;
        authority.server("kwok-serving", &["localhost", "127.0.0.1"])?;
        let server = format!("https://127.0.0.1:{}", ports.api);
        let admin = authority.kubeconfig("admin", &server, "admin", Some("system:masters"))?;
        for program in [CONTROLLERS, SCHEDULER] {
            authority.kubeconfig(program, &server, &format!("system:{program}"), None)?;
        }
        let (folder, pod_side) = (folder.to_owned(), pod_side.map(str::to_owned));
        Ok(Self { folder, ports, pod_side, authority, admin })
    }

    /// The address of the API server.
    pub(super) fn server(&self) -> String {
        format!("https://127.0.0.1:{}", self.ports.api)
    }

    /// A kubeconfig for one more program.
    pub(super) fn kubeconfig(
        &self,
        file: &str,
        user: &str,
        group: Option<&str>,
    ) -> Result<PathBuf> {
        self.authority.kubeconfig(file, &self.server(), user, group)
    }

    pub(super) fn etcd(&self) -> Result<Vec<String>> {
        let clients = format!("http://127.0.0.1:{}", self.ports.etcd);
        let peers = format!("http://127.0.0.1:{}", self.ports.etcd_peers);
        Ok(vec![
            find("etcd", ETCD)?.display().to_string(),
            format!("--data-dir={}", self.folder.join("etcd").display()),
            format!("--listen-client-urls={clients}"),
            format!("--advertise-client-urls={clients}"),
            format!("--listen-peer-urls={peers}"),
            format!("--initial-advertise-peer-urls={peers}"),
            format!("--initial-cluster=default={peers}"),
            "--unsafe-no-fsync".to_owned(),
            "--log-level=warn".to_owned(),
        ])
    }

    pub(super) fn api_server(&self) -> Result<Vec<String>> {
        let mut line = vec![
            find("kubernetes", API_SERVER)?.display().to_string(),
            format!("--etcd-servers=http://127.0.0.1:{}", self.ports.etcd),
            format!("--secure-port={}", self.ports.api),
            self.key_file("--cert-dir", ""),
            self.key_file("--tls-cert-file", "apiserver.crt"),
            self.key_file("--tls-private-key-file", "apiserver.key"),
            self.key_file("--client-ca-file", "ca.crt"),
            self.key_file("--kubelet-client-certificate", "apiserver-to-kubelet.crt"),
            self.key_file("--kubelet-client-key", "apiserver-to-kubelet.key"),
            "--kubelet-preferred-address-types=InternalIP".to_owned(),
            "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
            self.key_file("--service-account-key-file", "accounts.pub"),
            self.key_file("--service-account-signing-key-file", "accounts.key"),
            format!("--service-cluster-ip-range={SERVICE_RANGE}"),
            "--authorization-mode=Node,RBAC".to_owned(),
            "--allow-privileged=true".to_owned(),
        ];
        match &self.pod_side {
            // Pods come by the network of their node, and find the API server as a Service.
            Some(address) => line.push(format!("--advertise-address={address}")),
            None => line.extend([
                "--bind-address=127.0.0.1".to_owned(),
                "--advertise-address=127.0.0.1".to_owned(),
                // It refuses to tell pods of a loopback address; there are none to tell.
                "--endpoint-reconciler-type=none".to_owned(),
            ]),
        }
        Ok(line)
    }

    pub(super) fn controllers(&self) -> Result<Vec<String>> {
        let mut line = self.client_of_api(CONTROLLERS)?;
        line.extend([
            "--use-service-account-credentials".to_owned(),
            self.key_file("--service-account-private-key-file", "accounts.key"),
            self.key_file("--root-ca-file", "ca.crt"),
            self.key_file("--cluster-signing-cert-file", "ca.crt"),
            self.key_file("--cluster-signing-key-file", "ca.key"),
            // A busy machine is no dead node.
            "--node-monitor-grace-period=5m".to_owned(),
        ]);
        Ok(line)
    }

    pub(super) fn scheduler(&self) -> Result<Vec<String>> {
        self.client_of_api(SCHEDULER)
    }

    fn client_of_api(&self, program: &str) -> Result<Vec<String>> {
        Ok(vec![
            find("kubernetes", program)?.display().to_string(),
            self.key_file("--kubeconfig", &format!("{program}.kubeconfig")),
            "--leader-elect=false".to_owned(),
            "--secure-port=0".to_owned(),
            "--kube-api-qps=500".to_owned(),
            "--kube-api-burst=1000".to_owned(),
        ])
    }

    fn key_file(&self, flag: &str, name: &str) -> String {
        format!("{flag}={}", self.authority.file(name).display())
    }
}
