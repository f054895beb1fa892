//! A Kubernetes cluster for a test: etcd, the API server with RBAC, all default controllers and
//! the scheduler of the newest release, on loopback, with a fake node whose pods do what their
//! image's name says (`stages.rs`). Several at once are several clusters.
//!
//! With `USE_EXISTING_CLUSTER=true` it is the cluster of `KUBECONFIG` instead, in namespaces of the
//! test's own; the programs then missing are kwok and kubectl only. A program that is missing fails
//! the test with the command that builds it.
//!
//! Everything is gone when the cluster is dropped, and also when this process is killed.

pub(crate) mod authority;
mod children;
mod control_plane;
mod existing;
mod kubectl;
mod looks;
mod managers;
mod node;
mod programs;
mod stages;
mod start;
mod users;

use std::{
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard},
};

use anyhow::{Context, Result};
use serde_json::Value;
use tokio::sync::OnceCell;

pub use self::{
    authority::CONTEXT,
    control_plane::{API_SERVER, CONTROLLERS, ETCD, SCHEDULER},
    programs::find as tool,
    stages::{AFTER, BEHAVE},
    users::OF_ACCOUNT,
};
use self::{children::Children, control_plane::ControlPlane, looks::Looker};

/// The label, and the taint, of what belongs to one test's cluster.
const LABEL: &str = "test.lockstep.dev/cluster";

/// A running cluster, or the one that was there before.
pub struct Cluster {
    folder: PathBuf,
    server: String,
    kubeconfig: PathBuf,
    kubectl: PathBuf,
    looker: Looker,
    view: OnceCell<Value>,
    /// What tells the test's own objects from those of others.
    id: String,
    /// None, if the cluster was there before.
    plane: Option<ControlPlane>,
    /// Into the network of a real node.
    relay: Option<node::Relay>,
    children: Mutex<Children>,
}

static SHARED: OnceCell<Cluster> = OnceCell::const_new();
static LOCAL: OnceCell<Cluster> = OnceCell::const_new();

impl Cluster {
    /// The cluster that all tests of this process share, each in namespaces of its own; started
    /// for the first, gone with the process.
    ///
    /// # Errors
    /// If it cannot be started.
    pub async fn shared() -> Result<&'static Self> {
        SHARED.get_or_try_init(Self::start).await
    }

    /// The same for tests whose API server has to reach this machine: the shared one, unless that
    /// was there before.
    ///
    /// # Errors
    /// If it cannot be started.
    pub async fn local() -> Result<&'static Self> {
        match existing::wanted()? {
            Some(_) => LOCAL.get_or_try_init(Self::private).await,
            None => Self::shared().await,
        }
    }

    /// The address of its API server.
    pub fn server(&self) -> &str {
        &self.server
    }

    /// A kubeconfig that may do everything.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// A folder that goes with the cluster.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Kills one of its programs, such as [`API_SERVER`].
    ///
    /// # Errors
    /// If it does not run.
    pub fn kill(&self, program: &str) -> Result<()> {
        self.children().kill(program)
    }

    /// The end of every program's log, for a failure's message.
    pub fn logs(&self) -> String {
        let children = self.children();
        let names: Vec<&str> = children.names().collect();
        let logs = names.iter().map(|name| format!("--- {name}\n{}\n", children.log(name)));
        logs.collect()
    }

    fn children(&self) -> MutexGuard<'_, Children> {
        // A test that panicked while it held this has told why.
        self.children.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// A port that nobody listens on, below those that the system hands out for outgoing connections:
/// until it is listened on, nothing takes it by chance.
pub(crate) fn free_port() -> Result<u16> {
    let free = |port: &u16| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok();
    (0..1000)
        .map(|_| rand::random_range(20_000..32_000_u16))
        .find(free)
        .context("no free port between 20000 and 32000 on loopback")
}
