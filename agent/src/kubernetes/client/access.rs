//! How an agent finds its cluster: a kubeconfig, or the service account of its own pod.

use std::{path::PathBuf, time::Duration};

use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};

use lockstep_shared::plan::KubernetesTarget;

use super::Cluster;
use crate::state::Home;

/// How long the connection itself may take; the request's own limit covers the rest.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// How an agent finds its cluster.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Access {
    /// The kubeconfig file [default: KUBECONFIG, else the pod's service account, else ~/.kube/config]
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// The context of the kubeconfig [default: the workflow's, else the current one]
    #[arg(long, env = "LOCKSTEP_KUBE_CONTEXT", value_name = "NAME")]
    pub kube_context: Option<String>,
    /// The namespace where undo records are kept [default: the pod's, else the context's]
    #[arg(long, env = "LOCKSTEP_KUBE_NAMESPACE", value_name = "NAME")]
    pub kube_namespace: Option<String>,
}

/// How long a program that gives credentials may take: some ask a service, none a person.
const CREDENTIALS_LIMIT: Duration = Duration::from_secs(30);

/// Why no cluster was found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoCluster {
    /// No configuration leads to one.
    #[error(
        "no cluster is known: {0}; name a file with --kubeconfig or KUBECONFIG, and a context with \
         --kube-context or with `context` at the workflow's target"
    )]
    Unknown(String),
    /// The program that gives the credentials took too long; asking again may help.
    #[error(
        "the cluster's credentials did not come within {} s: the program that the kubeconfig's user \
         names for them did not end; run it by hand to see why",
        CREDENTIALS_LIMIT.as_secs()
    )]
    NoCredentials,
}

impl NoCluster {
    /// The library's errors say what their sources say; some do not.
    fn because(error: &dyn std::error::Error) -> Self {
        let mut why = error.to_string();
        let mut source = error.source();
        while let Some(next) = source {
            let text = next.to_string();
            if !why.contains(&text) {
                why = format!("{why}: {text}");
            }
            source = next.source();
        }
        Self::Unknown(why)
    }
}

impl Access {
    /// Whether somebody said that there is a cluster: an agent of commands has none, and asks none.
    pub fn is_configured(&self) -> bool {
        let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        self.kubeconfig.is_some()
            || self.kube_context.is_some()
            || set("KUBECONFIG")
            || set("KUBERNETES_SERVICE_HOST")
    }

    /// The way to a target for who stands in no cluster, as `lockstep dev` does: the context that
    /// the target names, else the one that is called like its cluster.
    #[must_use]
    pub fn from_outside(&self, target: &KubernetesTarget) -> Self {
        // In a pod there are no contexts: its cluster is the one that it stands in.
        let named = target.cluster.as_ref().filter(|_| !self.is_in_pod());
        let context = target.context.as_ref().or(named);
        let kube_context = self.kube_context.as_ref().or(context).cloned();
        Self { kube_context, ..self.clone() }
    }

    /// Where records were kept, whatever the flags say now. Nothing is sent yet.
    ///
    /// # Errors
    /// [`NoCluster`] if the kubeconfig has no such context any more.
    pub async fn home(&self, home: &Home) -> Result<Cluster, NoCluster> {
        let (context, namespace) = (home.context.clone(), home.namespace.clone());
        let (kube_context, kube_namespace) = (Some(context), Some(namespace));
        Self { kube_context, kube_namespace, ..self.clone() }.cluster(None).await
    }

    /// Whether nothing but a pod's own service account leads to a cluster.
    fn is_in_pod(&self) -> bool {
        let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        self.kubeconfig.is_none() && !set("KUBECONFIG") && set("KUBERNETES_SERVICE_HOST")
    }

    /// The cluster, for a workflow that names this context. Nothing is sent yet.
    ///
    /// # Errors
    /// [`NoCluster`] if there is no configuration, or it makes no connection.
    pub async fn cluster(&self, context: Option<&str>) -> Result<Cluster, NoCluster> {
        self.connected(context, false).await
    }

    /// The same, waited for as long as only its credentials do not come: who does not know what he
    /// owes can do nothing.
    ///
    /// # Errors
    /// [`NoCluster`] if there is no configuration, or it makes no connection.
    pub async fn cluster_at_last(&self, context: Option<&str>) -> Result<Cluster, NoCluster> {
        self.connected(context, true).await
    }

    async fn connected(&self, context: Option<&str>, wait: bool) -> Result<Cluster, NoCluster> {
        let (mut config, context) = self.config(context).await?;
        config.connect_timeout = Some(CONNECT_LIMIT);
        // Whoever asks knows whether asking again is right; a write has to end in its time.
        config.default_retry = false;
        if let Some(namespace) = &self.kube_namespace {
            config.default_namespace.clone_from(namespace);
        }
        // The first connection of a process decides; all decide the same.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let namespace = config.default_namespace.clone();
        let url = config.cluster_url.to_string();
        let client = connect(config, wait).await?;
        Ok(Cluster::new(client, url, namespace, context))
    }

    /// The configuration, and the context that it is of; a pod's own has none.
    async fn config(&self, context: Option<&str>) -> Result<(Config, Option<String>), NoCluster> {
        let no = |error: &dyn std::error::Error| NoCluster::because(error);
        let context = self.kube_context.as_deref().or(context).map(str::to_owned);
        let file = match &self.kubeconfig {
            Some(path) => Some(Kubeconfig::read_from(path).map_err(|error| no(&error))?),
            None => Kubeconfig::from_env().map_err(|error| no(&error))?,
        };
        // A context names what only a kubeconfig has.
        if file.is_none() && context.is_none() && self.is_in_pod() {
            return Ok((Config::incluster().map_err(|error| no(&error))?, None));
        }
        let file = match file {
            Some(file) => file,
            None => Kubeconfig::read().map_err(|error| no(&error))?,
        };
        let context = context.or_else(|| file.current_context.clone());
        let options = KubeConfigOptions { context: context.clone(), ..Default::default() };
        let config = Config::from_custom_kubeconfig(file, &options).await;
        Ok((config.map_err(|error| no(&error))?, context))
    }
}

/// The connection. A kubeconfig may name a program that gives the credentials, and the library
/// waits for it: on a thread of its own, since it may never end.
async fn connect(config: Config, wait: bool) -> Result<Client, NoCluster> {
    let (sender, mut made) = tokio::sync::oneshot::channel();
    let runtime = tokio::runtime::Handle::current();
    std::thread::spawn(move || {
        let _entered = runtime.enter();
        // Who gave up waiting needs no answer.
        let _ = sender.send(Client::try_from(config));
    });
    loop {
        match tokio::time::timeout(CREDENTIALS_LIMIT, &mut made).await {
            Ok(Ok(made)) => return made.map_err(|error| NoCluster::because(&error)),
            Ok(Err(_)) => {
                return Err(NoCluster::Unknown("the connection could not be made".to_owned()));
            }
            Err(_) if wait => tracing::error!("holding: {}", NoCluster::NoCredentials),
            Err(_) => return Err(NoCluster::NoCredentials),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"
apiVersion: v1
kind: Config
current-context: here
contexts:
  - { name: here, context: { cluster: c, user: u, namespace: shop } }
  - { name: there, context: { cluster: d, user: u } }
clusters:
  - { name: c, cluster: { server: "https://127.0.0.1:1" } }
  - { name: d, cluster: { server: "https://127.0.0.1:2" } }
users:
  - { name: u, user: { token: t } }
"#;

    fn access() -> (tempfile::TempDir, Access) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config");
        std::fs::write(&path, FILE).unwrap();
        (folder, Access { kubeconfig: Some(path), ..Access::default() })
    }

    #[tokio::test]
    async fn the_workflows_context_counts_unless_the_agent_was_given_one() {
        let (_folder, mut access) = access();
        let here = access.cluster(None).await.unwrap();
        assert_eq!((here.url(), here.namespace()), ("https://127.0.0.1:1/", "shop"));
        let there = access.cluster(Some("there")).await.unwrap();
        assert_eq!((there.url(), there.namespace()), ("https://127.0.0.1:2/", "default"));
        access.kube_context = Some("here".to_owned());
        assert_eq!(access.cluster(Some("there")).await.unwrap().url(), "https://127.0.0.1:1/");
    }

    #[tokio::test]
    async fn a_context_that_is_not_there_is_named() {
        let (_folder, access) = access();
        let error = access.cluster(Some("nowhere")).await.map(|_| ()).unwrap_err();
        assert!(error.to_string().contains("nowhere"), "{error}");
    }

    #[tokio::test]
    async fn from_outside_a_cluster_is_the_context_of_its_name_unless_the_target_says_another() {
        let (_folder, mut access) = access();
        let target = |cluster: Option<&str>, context: Option<&str>| KubernetesTarget {
            namespace: "shop".to_owned(),
            cluster: cluster.map(str::to_owned),
            context: context.map(str::to_owned),
            allow_cluster_scoped: false,
            allow_managed_by: Default::default(),
        };
        let of = |access: &Access, target| access.from_outside(&target).kube_context;
        assert_eq!(of(&access, target(None, None)), None);
        assert_eq!(of(&access, target(Some("eu"), None)).as_deref(), Some("eu"));
        assert_eq!(of(&access, target(Some("eu"), Some("there"))).as_deref(), Some("there"));
        access.kube_context = Some("here".to_owned());
        assert_eq!(of(&access, target(Some("eu"), Some("there"))).as_deref(), Some("here"));
    }

    #[tokio::test]
    async fn a_home_is_found_again_whatever_is_current_by_then() {
        let (_folder, mut access) = access();
        let home = access.cluster(Some("there")).await.unwrap().home().unwrap();
        assert_eq!(home, Home { context: "there".to_owned(), namespace: "default".to_owned() });
        assert_eq!(access.cluster(None).await.unwrap().home().unwrap().context, "here");
        access.kube_context = Some("here".to_owned());
        access.kube_namespace = Some("elsewhere".to_owned());
        let found = access.home(&home).await.unwrap();
        assert_eq!((found.url(), found.namespace()), ("https://127.0.0.1:2/", "default"));
    }
}
