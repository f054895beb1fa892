//! How an agent finds its cluster: a kubeconfig, or the service account of its own pod.

use std::{path::PathBuf, time::Duration};

use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};

use super::Cluster;

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

/// Why no cluster was found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "no cluster is known: {why}; name a file with --kubeconfig or KUBECONFIG, and a context with \
     --kube-context"
)]
pub struct NoCluster {
    why: String,
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
        Self { why }
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

    /// The cluster, for a workflow that names this context. Nothing is sent yet.
    ///
    /// # Errors
    /// [`NoCluster`] if there is no configuration, or it makes no connection.
    pub async fn cluster(&self, context: Option<&str>) -> Result<Cluster, NoCluster> {
        let mut config = self.config(context).await?;
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
        let client = Client::try_from(config).map_err(|error| NoCluster::because(&error))?;
        Ok(Cluster::new(client, url, namespace))
    }

    async fn config(&self, context: Option<&str>) -> Result<Config, NoCluster> {
        let no = |error: &dyn std::error::Error| NoCluster::because(error);
        let context = self.kube_context.as_deref().or(context).map(str::to_owned);
        let file = match &self.kubeconfig {
            Some(path) => Some(Kubeconfig::read_from(path).map_err(|error| no(&error))?),
            None => Kubeconfig::from_env().map_err(|error| no(&error))?,
        };
        let options = KubeConfigOptions { context: context.clone(), ..Default::default() };
        match file {
            Some(file) => {
                Config::from_custom_kubeconfig(file, &options).await.map_err(|error| no(&error))
            }
            // A context names what only a kubeconfig has.
            None if context.is_none() && std::env::var_os("KUBERNETES_SERVICE_HOST").is_some() => {
                Config::incluster().map_err(|error| no(&error))
            }
            None => Config::from_kubeconfig(&options).await.map_err(|error| no(&error)),
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
}
