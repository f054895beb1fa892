//! Which resource a kind is, and whether it has namespaces.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::Instant;

use super::{Cluster, Reason, Refusal};

/// How soon a version is asked for again whose list had not what was looked for: its CRD may be
/// new.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// A kind as the server serves it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Resource {
    /// Its version: `v1`, `apps/v1`.
    pub api_version: String,
    /// The kind: `Deployment`.
    pub kind: String,
    /// The name in addresses: `deployments`.
    pub plural: String,
    /// Whether its objects stand in namespaces.
    pub namespaced: bool,
    /// Whether its objects can be listed and deleted.
    pub listable: bool,
}

/// What a version serves, when it was asked.
#[derive(Debug)]
pub(super) struct Served {
    asked: Instant,
    resources: BTreeMap<String, Resource>,
}

impl Resource {
    /// A kind that every cluster serves in namespaces.
    pub fn built_in(api_version: &str, kind: &str, plural: &str) -> Self {
        Self {
            api_version: api_version.to_owned(),
            kind: kind.to_owned(),
            plural: plural.to_owned(),
            namespaced: true,
            listable: true,
        }
    }

    /// Secrets.
    pub fn secret() -> Self {
        Self::built_in("v1", "Secret", "secrets")
    }

    /// Leases.
    pub fn lease() -> Self {
        Self::built_in("coordination.k8s.io/v1", "Lease", "leases")
    }

    /// Pods.
    pub fn pod() -> Self {
        Self::built_in("v1", "Pod", "pods")
    }

    /// The path of its collection.
    pub(super) fn path(&self, namespace: Option<&str>) -> String {
        let root = if self.api_version.contains('/') { "apis" } else { "api" };
        let (version, plural) = (&self.api_version, &self.plural);
        match namespace.filter(|_| self.namespaced) {
            Some(namespace) => format!("/{root}/{version}/namespaces/{namespace}/{plural}"),
            None => format!("/{root}/{version}/{plural}"),
        }
    }
}

impl Cluster {
    /// The resource of a kind; `None` if the cluster does not serve it (yet).
    ///
    /// # Errors
    /// [`Refusal`] if the server does not say.
    pub async fn resource(
        &self,
        api_version: &str,
        kind: &str,
    ) -> Result<Option<Resource>, Refusal> {
        let mut served = self.served.lock().await;
        if let Some(known) = served.get(api_version) {
            let found = known.resources.get(kind).cloned();
            if found.is_some() || known.asked.elapsed() < ASK_AGAIN {
                return Ok(found);
            }
        }
        let resources = self.ask_served(api_version).await?;
        let found = resources.get(kind).cloned();
        served.insert(api_version.to_owned(), Served { asked: Instant::now(), resources });
        Ok(found)
    }

    /// Every kind whose objects can be listed and deleted, in the version that the server prefers.
    ///
    /// # Errors
    /// [`Refusal`] if the server does not say.
    pub async fn listable(&self) -> Result<Vec<Resource>, Refusal> {
        let groups = self.client.list_api_groups();
        let groups = self.limited("ask for all API groups", super::READ_LIMIT, groups).await?;
        let preferred = groups.groups.into_iter().filter_map(|group| group.preferred_version);
        let versions = preferred.map(|version| version.group_version);
        let mut found = Vec::new();
        for version in std::iter::once("v1".to_owned()).chain(versions) {
            let served = self.ask_served(&version).await?;
            found.extend(served.into_values().filter(|kind| kind.listable));
        }
        Ok(found)
    }

    async fn ask_served(&self, api_version: &str) -> Result<BTreeMap<String, Resource>, Refusal> {
        let what = format!("ask what {api_version} serves");
        let asked = async {
            if api_version.contains('/') {
                self.client.list_api_group_resources(api_version).await
            } else {
                self.client.list_core_api_resources(api_version).await
            }
        };
        let list = match self.limited(&what, super::READ_LIMIT, asked).await {
            Ok(list) => list,
            Err(refusal) if matches!(refusal.reason, Reason::NoKind | Reason::NotFound) => {
                return Ok(BTreeMap::new());
            }
            Err(refusal) => return Err(refusal),
        };
        // What has a slash is a part of another resource.
        let whole = list.resources.into_iter().filter(|resource| !resource.name.contains('/'));
        let resources = whole.map(|resource| Resource {
            api_version: api_version.to_owned(),
            kind: resource.kind,
            plural: resource.name,
            namespaced: resource.namespaced,
            listable: ["list", "delete"]
                .iter()
                .all(|verb| resource.verbs.iter().any(|v| v == verb)),
        });
        Ok(resources.map(|resource| (resource.kind.clone(), resource)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_says_group_version_and_namespace() {
        let pods = Resource::pod();
        assert_eq!(pods.path(Some("shop")), "/api/v1/namespaces/shop/pods");
        assert_eq!(pods.path(None), "/api/v1/pods");
        let leases = Resource::lease();
        assert_eq!(leases.path(Some("a")), "/apis/coordination.k8s.io/v1/namespaces/a/leases");
        let roles = Resource {
            api_version: "rbac.authorization.k8s.io/v1".to_owned(),
            kind: "ClusterRole".to_owned(),
            plural: "clusterroles".to_owned(),
            namespaced: false,
            listable: true,
        };
        assert_eq!(roles.path(Some("a")), "/apis/rbac.authorization.k8s.io/v1/clusterroles");
    }
}
