//! What a workflow's last committed run brought to a namespace: what the next run drops there is
//! pruned against it (rule 31).
//!
//! A pipeline may be run for one namespace today and for another tomorrow (`staging`, `prod`): each
//! has an inventory of its own, or deploying to one would prune the other.

use base64::{Engine, prelude::BASE64_STANDARD};
use lockstep_shared::id::{PipelineName, RunId, WorkflowName};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    client::{Cluster, Delete, Pass, Place, Reason, Refusal, Resource},
    object::{ObjectKey, resource_version},
    undo::UndoError,
    writer::{Unwritten, Writer},
};

/// The format that this build writes.
const FORMAT: u32 = 1;

/// How often an inventory that somebody else changed meanwhile is written again.
const TRIES: usize = 5;

/// The objects of a workflow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Inventory {
    format: u32,
    /// The run that brought them.
    pub run: RunId,
    /// Each object.
    pub objects: Vec<Item>,
}

/// One object of a workflow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Item {
    /// Which.
    pub key: ObjectKey,
    /// The object that has this name now.
    pub uid: String,
    /// The SHA-256 of what was applied, in hex.
    pub digest: String,
}

impl Inventory {
    /// The inventory of a run.
    pub fn new(run: RunId, objects: Vec<Item>) -> Self {
        Self { format: FORMAT, run, objects }
    }

    /// What is in here and not among `keys`: what a run that deploys those drops.
    pub fn dropped<'a>(
        &'a self,
        keys: impl IntoIterator<Item = &'a ObjectKey> + Clone,
    ) -> Vec<&'a Item> {
        let is_dropped =
            |item: &&Item| !keys.clone().into_iter().any(|key| key.names_same(&item.key));
        self.objects.iter().filter(is_dropped).collect()
    }
}

/// Whose inventory, of which namespace.
#[derive(Debug, Clone, Copy)]
pub struct Owner<'a> {
    /// The pipeline.
    pub pipeline: &'a PipelineName,
    /// Its workflow.
    pub workflow: &'a WorkflowName,
    /// The namespace that it deploys to.
    pub namespace: &'a str,
}

impl Owner<'_> {
    /// The Secret with all of the workflow's inventories, each under its namespace's name.
    fn place(&self, cluster: &Cluster) -> Place {
        let name = format!("lockstep.{}.{}", self.pipeline, self.workflow);
        Place::new(Resource::secret(), Some(cluster.namespace()), &name)
    }
}

/// The inventory of a workflow in a namespace, if a run of it was ever committed there.
///
/// # Errors
/// [`UndoError`] if it cannot be read.
pub async fn read(cluster: &Cluster, owner: Owner<'_>) -> Result<Option<Inventory>, UndoError> {
    let place = owner.place(cluster);
    let Some(secret) = cluster.get(&place).await? else { return Ok(None) };
    let found = parse(&secret, owner.namespace);
    found.map_err(|why| UndoError::Damaged { secret: place.name, why })
}

fn parse(secret: &Value, namespace: &str) -> Result<Option<Inventory>, String> {
    let Some(data) = secret.get("data").and_then(|data| data.get(namespace)) else {
        return Ok(None);
    };
    let data = data.as_str().ok_or("it holds no inventory")?;
    let data = BASE64_STANDARD.decode(data).map_err(|error| error.to_string())?;
    let found: Inventory = serde_json::from_slice(&data).map_err(|error| error.to_string())?;
    if found.format > FORMAT {
        return Err(format!("it is of format {}, and this build knows {FORMAT}", found.format));
    }
    Ok(Some(found))
}

/// Stores a workflow's inventory over the one that was `known` when the writer began, and over no
/// other: a run that was superseded meanwhile has nothing more to say.
///
/// # Errors
/// [`Unwritten`] if it cannot be stored.
pub(crate) async fn write(
    writer: &Writer,
    owner: Owner<'_>,
    known: Option<&Inventory>,
    inventory: &Inventory,
) -> Result<(), Unwritten> {
    let cluster = &writer.cluster;
    let place = owner.place(cluster);
    let refused = |why: String| Refusal::other("store the inventory", why);
    let text = serde_json::to_vec(inventory).expect("an inventory has only string keys");
    let data = json!({ owner.namespace: BASE64_STANDARD.encode(text) });
    let mut body = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "lockstep.dev/inventory",
        "metadata": {
            "name": place.name,
            "namespace": place.namespace,
            "labels": {
                "lockstep.dev/pipeline": owner.pipeline, "lockstep.dev/workflow": owner.workflow,
            },
        },
        "data": data,
    });
    // Inventories of other namespaces may be written beside it.
    for _ in 0..TRIES {
        let found = writer.ask(|| cluster.get(&place)).await?;
        let now = found.as_ref().map(|found| parse(found, owner.namespace)).transpose();
        let now = now.map_err(refused)?.flatten();
        if now.as_ref() == Some(inventory) {
            return Ok(());
        }
        if now.as_ref() != known {
            return Err(refused("another run has stored one meanwhile".to_owned()).into());
        }
        let written = match &found {
            None => writer.write(|pass| cluster.create(pass, &place, &body)).await,
            Some(found) => {
                body["metadata"]["resourceVersion"] = resource_version(found).into();
                writer.write(|pass| cluster.merge(pass, &place, &body)).await
            }
        };
        match written {
            Ok(_) => return Ok(()),
            Err(Unwritten::Stale) => {}
            Err(Unwritten::Refused(refusal)) if refusal.reason == Reason::Exists => {}
            Err(error) => return Err(error),
        }
    }
    Err(Unwritten::Stale)
}

/// Whether the workflow was run for other namespaces as well.
///
/// # Errors
/// [`Refusal`] if that cannot be seen.
pub async fn has_others(cluster: &Cluster, owner: Owner<'_>) -> Result<bool, Refusal> {
    let found = cluster.get(&owner.place(cluster)).await?;
    Ok(found.is_some_and(|secret| others(&secret, owner)))
}

fn others(secret: &Value, owner: Owner<'_>) -> bool {
    let data = secret.get("data").and_then(Value::as_object);
    data.into_iter().flatten().any(|(namespace, _)| namespace != owner.namespace)
}

/// Removes what is known of one namespace; whether others are left.
///
/// # Errors
/// [`UndoError`] if it cannot be removed.
pub async fn forget(cluster: &Cluster, owner: Owner<'_>) -> Result<bool, UndoError> {
    let place = owner.place(cluster);
    let mut refused = None;
    for _ in 0..TRIES {
        let Some(secret) = cluster.get(&place).await? else { return Ok(false) };
        let others = others(&secret, owner);
        let version = resource_version(&secret).map(str::to_owned);
        let forgotten = if others {
            let patch = json!({
                "metadata": { "resourceVersion": version }, "data": { owner.namespace: null },
            });
            cluster.merge(Pass::bookkeeping(), &place, &patch).await.map(drop)
        } else {
            let how = Delete { resource_version: version, ..Delete::default() };
            cluster.delete(Pass::bookkeeping(), &place, how).await.map(drop)
        };
        match forgotten {
            Ok(()) => return Ok(others),
            Err(refusal) if refusal.reason == Reason::Stale => refused = Some(refusal),
            Err(refusal) => return Err(refusal.into()),
        }
    }
    refused.map_or(Ok(true), |refusal| Err(refusal.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(api_version: &str, name: &str) -> ObjectKey {
        ObjectKey {
            api_version: api_version.to_owned(),
            kind: "HorizontalPodAutoscaler".to_owned(),
            namespace: Some("shop".to_owned()),
            name: name.to_owned(),
        }
    }

    fn inventory() -> Inventory {
        let item = |name: &str| Item {
            key: key("autoscaling/v1", name),
            uid: format!("uid-{name}"),
            digest: "ab".to_owned(),
        };
        Inventory::new("r1".parse().unwrap(), vec![item("a"), item("b")])
    }

    #[test]
    fn what_a_new_run_does_not_bring_is_dropped_whatever_version_it_was_written_in() {
        let inventory = inventory();
        let keys = [key("autoscaling/v2", "a")];
        let dropped = inventory.dropped(&keys);
        assert_eq!(dropped.len(), 1);
        assert_eq!(dropped[0].key.name, "b");
    }

    #[test]
    fn an_inventory_is_read_back_and_a_newer_format_is_refused() {
        let secret = |inventory: &Value| {
            let data = BASE64_STANDARD.encode(inventory.to_string());
            json!({ "data": { "shop": data } })
        };
        let mut text = serde_json::to_value(inventory()).unwrap();
        assert_eq!(parse(&secret(&text), "shop"), Ok(Some(inventory())));
        assert_eq!(parse(&secret(&text), "staging"), Ok(None), "of another namespace");
        text["format"] = 9.into();
        assert!(parse(&secret(&text), "shop").unwrap_err().contains("format 9"));
    }
}
