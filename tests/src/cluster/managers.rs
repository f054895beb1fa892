//! Other managers of fields, who write by server-side apply.
//!
//! `kubectl apply --server-side` is none of them: it also takes over what `kubectl apply` had written.

use anyhow::{Context, Result};
use kube::{
    Api, Client, Config,
    api::{DynamicObject, Patch, PatchParams},
    config::{KubeConfigOptions, Kubeconfig},
    core::GroupVersionKind,
    discovery::pinned_kind,
};
use serde_json::Value;

use super::Cluster;

impl Cluster {
    /// Applies objects of a namespace as a manager, without force.
    ///
    /// # Errors
    /// If one is refused.
    pub async fn apply_as(&self, manager: &str, namespace: &str, objects: &[Value]) -> Result<()> {
        // Whichever was first in this process stays.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let kubeconfig = Kubeconfig::read_from(self.kubeconfig())?;
        let options = KubeConfigOptions::default();
        let config = Config::from_custom_kubeconfig(kubeconfig, &options).await?;
        let client = Client::try_from(config)?;
        for object in objects {
            let text = |pointer| object.pointer(pointer).and_then(Value::as_str);
            let version = text("/apiVersion").context("an apiVersion")?;
            let (group, version) = version.split_once('/').unwrap_or(("", version));
            let kind = GroupVersionKind::gvk(group, version, text("/kind").context("a kind")?);
            let name = text("/metadata/name").context("a name")?;
            let (resource, _) = pinned_kind(&client, &kind).await?;
            let api = Api::<DynamicObject>::namespaced_with(client.clone(), namespace, &resource);
            let applied =
                api.patch(name, &PatchParams::apply(manager), &Patch::Apply(object)).await;
            applied.with_context(|| format!("{manager} applies {} {name}", kind.kind))?;
        }
        Ok(())
    }
}
