//! After the commit: what the run dropped is deleted, and what it brought is written down (rule 31).

use std::time::Duration;

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{
    client::{Cluster, Refusal},
    inventory::Item,
    object::{OWNER_LABEL, PRUNE_ANNOTATION, PRUNE_KEEP, annotation, is_being_deleted, label, uid},
    order::sort_for_delete,
    preview::DroppedPreview,
    restore::created::is_kept,
    wanted::{Wanted, place},
    writer::{Unwritten, Writer},
};

/// The pause before an object is looked at again that was changed meanwhile.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// Why a dropped object is not deleted, if so.
fn spared(item: &Item, live: &Value, owner: &str) -> Option<&'static str> {
    if is_kept(&item.key) {
        return Some("objects of this kind are kept on purpose");
    }
    if uid(live) != Some(&item.uid) {
        return Some("it is another object than the one that was deployed");
    }
    if label(live, OWNER_LABEL) != Some(owner) {
        return Some("it is not labelled as this workflow's any more");
    }
    let keeps = annotation(live, PRUNE_ANNOTATION) == Some(PRUNE_KEEP);
    keeps.then_some("its annotation says so")
}

/// What a commit would delete of what is dropped, and what it would leave: with why, or why that
/// cannot be seen.
pub(crate) async fn preview(
    cluster: &Cluster,
    owner: &str,
    dropped: &[Item],
) -> Vec<DroppedPreview> {
    let mut shown = Vec::new();
    for item in dropped {
        let kept = match live(cluster, item).await {
            Ok(None) => continue,
            Ok(Some(live)) => spared(item, &live, owner).map(str::to_owned),
            Err(refusal) => Some(refusal.to_string()),
        };
        shown.push(DroppedPreview { object: item.key.to_string(), kept });
    }
    shown
}

async fn live(cluster: &Cluster, item: &Item) -> Result<Option<Value>, Refusal> {
    match place(cluster, &item.key).await? {
        Some(place) => cluster.get(&place).await,
        None => Ok(None),
    }
}

/// Deletes what an earlier run brought and this one dropped. What could not be deleted, with why:
/// it stays in the inventory.
pub(crate) async fn prune(writer: &Writer, dropped: Vec<Item>) -> Vec<(Item, String)> {
    let mut dropped = dropped;
    sort_for_delete(&mut dropped, |item| &item.key);
    let mut left = Vec::new();
    for item in dropped {
        if let Err(error) = prune_one(writer, &item).await {
            left.push((item, error.to_string()));
        }
    }
    left
}

async fn prune_one(writer: &Writer, item: &Item) -> Result<(), Unwritten> {
    loop {
        let Some((place, Some(live))) = writer.look(&item.key).await? else { return Ok(()) };
        if let Some(why) = spared(item, &live, &writer.owner) {
            tracing::info!(object = %item.key, why, "not pruned");
            return Ok(());
        }
        if is_being_deleted(&live) {
            return Ok(());
        }
        match writer.delete(&place, &live).await {
            Err(Unwritten::Stale) => writer.pace.pause(LOOK_AGAIN).await?,
            Err(error) => return Err(error),
            Ok(_) => {
                tracing::info!(object = %item.key, "pruned");
                return Ok(());
            }
        }
    }
}

/// What a run brought, as its objects are now; without those that are not there any more.
///
/// # Errors
/// [`Unwritten`] if one of them cannot be read.
pub(crate) async fn brought<'a>(
    writer: &Writer,
    wanted: impl Iterator<Item = &'a Wanted>,
) -> Result<Vec<Item>, Unwritten> {
    let mut items = Vec::new();
    for wanted in wanted {
        let Some((_, live)) = writer.look(&wanted.key).await? else { continue };
        if let Some(id) = live.as_ref().and_then(uid) {
            let digest = Sha256::digest(wanted.body.to_string());
            let digest = digest.iter().map(|byte| format!("{byte:02x}")).collect();
            items.push(Item { key: wanted.key.clone(), uid: id.to_owned(), digest });
        }
    }
    Ok(items)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubernetes::object::ObjectKey;
    use serde_json::json;

    fn item(api_version: &str, kind: &str) -> Item {
        let key = ObjectKey {
            api_version: api_version.to_owned(),
            kind: kind.to_owned(),
            namespace: Some("shop".to_owned()),
            name: "x".to_owned(),
        };
        Item { key, uid: "u".to_owned(), digest: String::new() }
    }

    fn live(owner: &str, annotations: Value) -> Value {
        json!({ "metadata": {
            "uid": "u", "labels": { OWNER_LABEL: owner }, "annotations": annotations,
        } })
    }

    #[test]
    fn only_what_is_still_this_workflows_is_pruned() {
        let config = item("v1", "ConfigMap");
        let spared = |live: &Value| spared(&config, live, "shop.backend");
        assert_eq!(spared(&live("shop.backend", json!({}))), None);
        assert!(spared(&live("shop.frontend", json!({}))).is_some());
        assert!(spared(&live("shop.backend", json!({ PRUNE_ANNOTATION: PRUNE_KEEP }))).is_some());
        let mut other = live("shop.backend", json!({}));
        other["metadata"]["uid"] = "v".into();
        assert!(spared(&other).is_some());
    }

    #[test]
    fn what_holds_data_is_never_pruned() {
        let claim = item("v1", "PersistentVolumeClaim");
        assert!(spared(&claim, &live("shop.backend", json!({})), "shop.backend").is_some());
    }
}
