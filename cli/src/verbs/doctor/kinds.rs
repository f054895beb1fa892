//! Which kinds of objects a workflow brings, and which it has brought.

use std::collections::BTreeSet;

use lockstep_agent::kubernetes::{
    client::{Cluster, Refusal},
    inventory::{self, Owner},
    object::ObjectKey,
    order::defines,
    rights::Brought,
};
use lockstep_shared::manifest::Bundle;
use serde_json::Value;

use super::kube::Whose;

/// Kinds with and without namespaces.
#[derive(Debug, Default)]
pub(super) struct Sorted {
    pub(super) namespaced: BTreeSet<Brought>,
    pub(super) cluster_wide: BTreeSet<Brought>,
}

/// The kinds of one workflow.
#[derive(Debug, Default)]
pub(super) struct Kinds {
    /// Those that its manifests bring.
    pub(super) brought: Sorted,
    /// Those that only an earlier run has brought: the next one prunes them.
    pub(super) dropped: Sorted,
    /// Why it is not known what earlier runs have brought.
    pub(super) unknown: Option<String>,
}

impl Kinds {
    pub(super) async fn find(cluster: &Cluster, whose: Whose<'_>) -> Result<Self, Refusal> {
        let brought = brought(cluster, whose.bundle).await?;
        let (pipeline, workflow) = (&whose.plan.pipeline, whose.name);
        let owner = Owner { pipeline, workflow, namespace: &whose.target.namespace };
        let (mut dropped, mut unknown) = (Sorted::default(), None);
        match inventory::read(cluster, owner).await {
            Ok(found) => {
                for item in found.iter().flat_map(|inventory| &inventory.objects) {
                    let ObjectKey { api_version, kind, .. } = &item.key;
                    // What is not served any more is not there either.
                    if let Some(served) = cluster.resource(api_version, kind).await? {
                        dropped.add(api_version, kind, served.plural, served.namespaced);
                    }
                }
            }
            Err(error) => unknown = Some(format!("{:#}", anyhow::Error::from(error))),
        }
        dropped.namespaced.retain(|kind| !brought.has(kind));
        dropped.cluster_wide.retain(|kind| !brought.has(kind));
        Ok(Self { brought, dropped, unknown })
    }
}

impl Sorted {
    fn add(&mut self, api_version: &str, kind: &str, resource: String, namespaced: bool) {
        let brought =
            Brought { api_version: api_version.to_owned(), kind: kind.to_owned(), resource };
        match namespaced {
            true => self.namespaced.insert(brought),
            false => self.cluster_wide.insert(brought),
        };
    }

    /// Whether it has a kind, in whichever version.
    fn has(&self, kind: &Brought) -> bool {
        let mut all = self.namespaced.iter().chain(&self.cluster_wide);
        all.any(|known| known.subject() == kind.subject())
    }
}

async fn brought(cluster: &Cluster, bundle: Option<&Bundle>) -> Result<Sorted, Refusal> {
    let mut brought = Sorted::default();
    let manifests = || bundle.into_iter().flat_map(|bundle| bundle.steps.values().flatten());
    for manifest in manifests() {
        let text = |name: &str| manifest.object.get(name).and_then(Value::as_str);
        let (version, kind) = (text("apiVersion").unwrap_or(""), text("kind").unwrap_or(""));
        let (resource, namespaced) = match cluster.resource(version, kind).await? {
            Some(served) => (served.plural, served.namespaced),
            None => {
                let definition = ObjectKey::of(&manifest.object).ok().and_then(|key| {
                    manifests().find(|other| defines(&other.object, &key)).map(|it| &it.object)
                });
                will_be_served(definition, kind)
            }
        };
        brought.add(version, kind, resource, namespaced);
    }
    Ok(brought)
}

/// What a kind that is not served yet is called, and whether its objects are in namespaces: its
/// definition says it, and without one it is guessed.
fn will_be_served(definition: Option<&Value>, kind: &str) -> (String, bool) {
    let text = |pointer: &str| definition?.pointer(pointer)?.as_str();
    let plural = text("/spec/names/plural").map(str::to_owned);
    let is_clusters = text("/spec/scope") == Some("Cluster");
    (plural.unwrap_or_else(|| kind.to_lowercase() + "s"), !is_clusters)
}
