//! Every object of some namespaces, and what has to be the same again after a rollback.

use std::{collections::BTreeMap, fmt::Write};

use anyhow::{Context, Result, ensure};
use lockstep_agent::kubernetes::object::{RUN_ANNOTATION, RunMark};
use serde_json::Value;

use crate::{
    cluster::{Cluster, OF_ACCOUNT},
    world::{SOON, until},
};

/// What controllers make, and what tells of the past.
const NOT_A_USERS: &[&str] = &["events", "endpoints", "leases", "pods"];

/// What every namespace has of itself.
const EVERYWHERE: &[&str] = &["ConfigMap kube-root-ca.crt", "ServiceAccount default"];

/// All that users have made in some namespaces, by `<namespace>: <kind> <name>`: whole but for what
/// changes with every write and what controllers say. What lockstep keeps for itself is not in it,
/// nor are its accounts.
#[derive(Debug, Clone)]
pub struct Objects(BTreeMap<String, Value>);

impl Objects {
    /// What there is now, of every kind that the cluster has.
    ///
    /// # Errors
    /// If it cannot be listed.
    pub async fn live(cluster: &Cluster, namespaces: &[&str]) -> Result<Self> {
        // In a cluster that others use too, a kind may go between two requests.
        until("all objects are listed", SOON, || async {
            Self::listed(cluster, namespaces).await.map_err(|error| format!("{error:#}"))
        })
        .await
    }

    async fn listed(cluster: &Cluster, namespaces: &[&str]) -> Result<Self> {
        let mut kinds = cluster.kinds().await?;
        kinds.retain(|kind| {
            let resource = kind.split('.').next().unwrap_or(kind);
            !NOT_A_USERS.contains(&resource)
        });
        let kinds = kinds.join(",");
        let mut all = BTreeMap::new();
        for namespace in namespaces {
            let list = cluster.get(&[&kinds, "-n", namespace, "--show-managed-fields"]).await?;
            for object in list["items"].as_array().context("a list")? {
                let kind = object["kind"].as_str().context("a kind")?;
                let name = object["metadata"]["name"].as_str().context("a name")?;
                let name = format!("{kind} {name}");
                let owners = object["metadata"]["ownerReferences"].as_array();
                let made = owners.is_some_and(|all| all.iter().any(|it| it["controller"] == true));
                let ours =
                    object["type"].as_str().is_some_and(|kind| kind.starts_with("lockstep.dev/"));
                let of_account = !object["metadata"]["labels"][OF_ACCOUNT].is_null();
                if !made && !ours && !of_account && !EVERYWHERE.contains(&name.as_str()) {
                    all.insert(format!("{namespace}: {name}"), comparable(object.clone())?);
                }
            }
        }
        Ok(Self(all))
    }

    /// Fails with everything that is not as it was.
    ///
    /// # Errors
    /// If an object is another, gone, or new.
    pub fn must_be(&self, before: &Self) -> Result<()> {
        self.must_be_with(before, &[])
    }

    /// The same, but for these, `<namespace>: <kind> <name>`, which have to be new.
    ///
    /// # Errors
    /// If an object is another, gone, or new, or one of these is not.
    pub fn must_be_with(&self, before: &Self, kept: &[&str]) -> Result<()> {
        let mut wrong = String::new();
        for (name, was) in &before.0 {
            match self.0.get(name) {
                Some(is) if is == was => {}
                Some(is) => differences(name, was, is, &mut wrong)?,
                None => writeln!(wrong, "{name}: is gone")?,
            }
        }
        let mut new: Vec<&str> = self.0.keys().map(String::as_str).collect();
        new.retain(|name| !before.0.contains_key(*name));
        let mut kept = kept.to_vec();
        kept.sort_unstable();
        if new != kept {
            writeln!(wrong, "new are {new:?}, which should be {kept:?}")?;
        }
        ensure!(wrong.is_empty(), "not as before:\n{wrong}");
        Ok(())
    }

    /// The same, but marked with the runs that wrote what was there `before`.
    #[must_use]
    pub fn as_if_written_by_the_runs_of(mut self, before: &Self) -> Self {
        for (name, object) in &mut self.0 {
            let mark =
                before.0.get(name).map(|old| &old["metadata"]["annotations"][RUN_ANNOTATION]);
            if let Some(mark) = mark {
                object["metadata"]["annotations"][RUN_ANNOTATION] = mark.clone();
            }
        }
        self
    }

    /// The same, whichever run wrote what was written. A mark without a write is kept as it is.
    #[must_use]
    pub fn whoever_wrote_them(mut self) -> Self {
        for object in self.0.values_mut() {
            if RunMark::of(object).is_some_and(|mark| !mark.claimed) {
                object["metadata"]["annotations"][RUN_ANNOTATION] = "a run".into();
            }
        }
        self
    }

    /// As they would be in any namespace: without what tells this one from its twin, in which the
    /// same was done.
    ///
    /// # Errors
    /// If an object is no JSON any more without the namespace's name.
    pub fn of_a_twin(&self, namespace: &str) -> Result<Self> {
        let mut all = BTreeMap::new();
        for (name, object) in &self.0 {
            // What helm keeps for itself is compressed.
            if object["type"] != "helm.sh/release.v1" {
                let name = name.replace(namespace, "TWIN");
                let mut object: Value =
                    serde_json::from_str(&object.to_string().replace(namespace, "TWIN"))?;
                for (part, field) in [
                    ("metadata", "uid"),
                    ("metadata", "creationTimestamp"),
                    ("spec", "clusterIP"),
                    ("spec", "clusterIPs"),
                ] {
                    let part = object.get_mut(part).and_then(Value::as_object_mut);
                    part.and_then(|part| part.remove(field));
                }
                all.insert(name, object);
            }
        }
        Ok(Self(all))
    }

    /// One of them is like this, by `<namespace>: <kind> <name>`.
    pub fn put(&mut self, name: &str, object: Value) {
        self.0.insert(name.to_owned(), object);
    }

    /// Their names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// One of them, by `<namespace>: <kind> <name>`.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }
}

/// An object without what tells of writes, and without what controllers say. Who owns which field
/// stays in it, but for when, and for the status.
///
/// # Errors
/// If it is none, or its server did not tell who owns what.
pub fn comparable(mut object: Value) -> Result<Value> {
    let fields = object.as_object_mut().context("an object")?;
    fields.remove("status");
    let metadata = object["metadata"].as_object_mut().context("metadata")?;
    metadata.remove("resourceVersion");
    metadata.remove("generation");
    if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
        // How often a controller has rolled out.
        annotations.remove("deployment.kubernetes.io/revision");
        annotations.remove("deprecated.daemonset.template.generation");
    }
    let entries = metadata.get_mut("managedFields").and_then(Value::as_array_mut);
    let entries = entries.context("a server tells who owns what")?;
    entries.retain(|entry| entry["subresource"].is_null());
    for entry in entries.iter_mut() {
        entry.as_object_mut().context("an entry")?.remove("time");
    }
    entries.sort_by_key(Value::to_string);
    Ok(object)
}

/// Tells where two values differ, a line each.
fn differences(at: &str, was: &Value, is: &Value, told: &mut String) -> Result<()> {
    match (was, is) {
        (Value::Object(old), Value::Object(new)) => {
            let keys: std::collections::BTreeSet<&String> = old.keys().chain(new.keys()).collect();
            for key in keys {
                let (old, new) = (&was[key.as_str()], &is[key.as_str()]);
                if old != new {
                    differences(&format!("{at} .{key}"), old, new, told)?;
                }
            }
        }
        (Value::Array(old), Value::Array(new)) if old.len() == new.len() => {
            for (n, (old, new)) in old.iter().zip(new).enumerate() {
                if old != new {
                    differences(&format!("{at}[{n}]"), old, new, told)?;
                }
            }
        }
        _ => writeln!(told, "{at}: was {was}, is {is}")?,
    }
    Ok(())
}
