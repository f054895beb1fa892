//! One workflow in a namespace of its own, at version 1, with a proxy before its API server.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use base64::{Engine, prelude::BASE64_STANDARD};
use lockstep_agent::kubernetes::{inventory::Inventory, object::OWNER_LABEL};
use lockstep_tests::{
    cluster::Cluster,
    proxy::{Proxy, Write},
    stage::{FILE, Objects, Seat, Stage},
    world::Process,
};
use serde_json::Value;

/// What is live, and what is deployed at another version; the tag's last word says what pods do.
const MANIFESTS: &str = r#"
apiVersion: v1
kind: ConfigMap
metadata: { name: web }
data: { version: "TAG" }
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: web }
spec:
  replicas: 1
  progressDeadlineSeconds: DEADLINE
  selector: { matchLabels: { app: web } }
  template:
    metadata: { labels: { app: web } }
    spec: { terminationGracePeriodSeconds: 0, containers: [{ name: app, image: "shop/web:TAG" }] }
"#;

/// What a new version brings besides.
const ADDED: &str = r#"
---
apiVersion: v1
kind: ConfigMap
metadata: { name: extra }
data: { a: b }
"#;

/// A version that becomes ready, and one that never does.
pub(crate) const GOOD: &str = "2";
pub(crate) const BAD: &str = "2-unready";

/// The run that is told of by its name.
pub(crate) const RUN: &str = "r1";

/// The step that deploys a version.
pub(crate) const DEPLOY: &str = "deploy: { manifests: [web.yaml], timeout: 2m, settle: 1s }";

/// The same for [`BAD`]: it fails once everything is written, when the Deployment's controller gives
/// up. A successor does not wait for that a second time.
pub(crate) const FAIL: &str = "deploy: { manifests: [web.yaml], timeout: 30s, settle: 1s }";

/// Whether a write gives the Deployment the image of this version.
pub(crate) fn brings(write: &Write, tag: &str) -> bool {
    let image = write.body.pointer("/spec/template/spec/containers/0/image");
    image.and_then(Value::as_str) == Some(&format!("shop/web:{tag}"))
}

fn manifests(tag: &str) -> String {
    let deadline = if tag == BAD { "1" } else { "600" };
    MANIFESTS.replace("TAG", tag).replace("DEADLINE", deadline)
}

/// One pipeline of one workflow, with version 1 live as a person has applied it.
pub(crate) struct Site {
    pub(crate) stage: Stage,
    pub(crate) namespace: String,
    pub(crate) proxy: Proxy,
}

impl Site {
    /// The version to deploy, and the workflow's steps.
    pub(crate) async fn open(tag: &str, steps: &[&str]) -> Result<Self> {
        Self::with(tag, steps, ("", "")).await
    }

    /// The same, with barriers and further workflows.
    pub(crate) async fn with(
        tag: &str,
        steps: &[&str],
        (barriers, others): (&str, &str),
    ) -> Result<Self> {
        let site = Self::empty().await?;
        site.brings(tag).await?;
        site.pipeline(steps, (barriers, others))?;
        Ok(site)
    }

    /// Version 1 as a person has applied it, and another version in the file that is deployed.
    pub(crate) async fn brings(&self, tag: &str) -> Result<()> {
        self.stage.cluster.apply(&self.namespace, &manifests("1")).await?;
        self.stage.write("web.yaml", &(manifests(tag) + ADDED))?;
        self.steady("1").await
    }

    /// A namespace without anything.
    pub(crate) async fn empty() -> Result<Self> {
        let cluster = Cluster::shared().await?;
        let stage = Stage::new(cluster).await?;
        let namespace = cluster.namespace("web").await?;
        Ok(Self { stage, namespace, proxy: Proxy::before(cluster).await? })
    }

    /// Writes the pipeline: the workflow's steps, barriers and further workflows.
    pub(crate) fn pipeline(&self, steps: &[&str], (barriers, others): (&str, &str)) -> Result<()> {
        let namespace = &self.namespace;
        let steps: String = steps.iter().map(|step| format!("        - {step}\n")).collect();
        let pipeline = format!(
            "apiVersion: lockstep.dev/v1alpha1\nkind: Pipeline\nmetadata: {{ name: shop }}\nspec:\n\
             {barriers}  workflows:\n    - name: web\n      target: {{ kubernetes: {{ namespace: {namespace} }} }}\n      \
             steps:\n{steps}{others}"
        );
        self.stage.write(FILE, &pipeline)
    }

    /// Starts the workflow's agent behind the proxy, where the last one kept its state.
    pub(crate) async fn agent(&self) -> Result<Process> {
        self.agent_called("web", &self.proxy).await
    }

    /// Starts an agent behind a proxy; another name is another machine.
    pub(crate) async fn agent_called(&self, called: &str, proxy: &Proxy) -> Result<Process> {
        let account = self.stage.account("web", &self.namespace).await?;
        let kubeconfig = &proxy.kubeconfig(&account)?;
        let seat =
            Seat { workflow: "web", namespace: &self.namespace, kubeconfig, called, more: &[] };
        self.stage.seat(&seat).await
    }

    /// Has somebody arrive at a barrier of the open run, once there is one.
    pub(crate) async fn arrive(&self, barrier: &str, party: &str) -> Result<()> {
        let arrive = ["barrier", "arrive", barrier, "--pipeline", "shop", "--party", party];
        self.stage.lockstep(&[&arrive[..], &["--wait-for-run"]].concat()).await?.expect(0).map(drop)
    }

    pub(crate) async fn objects(&self) -> Result<Objects> {
        Objects::live(self.stage.cluster, &[&self.namespace]).await
    }

    /// Waits until the Deployment runs a version, and nothing else.
    pub(crate) async fn steady(&self, tag: &str) -> Result<()> {
        self.stage.steady(&self.namespace, "web", &format!("shop/web:{tag}")).await
    }

    /// Waits until a version is there in whole.
    pub(crate) async fn is_new(&self, tag: &str) -> Result<()> {
        self.steady(tag).await?;
        let objects = self.objects().await?;
        let data = |name: &str| {
            let object = objects.get(&format!("{}: ConfigMap {name}", self.namespace));
            object.map(|object| object["data"].clone())
        };
        let wanted = [serde_json::json!({ "version": tag }), serde_json::json!({ "a": "b" })];
        let found = [data("web"), data("extra")];
        ensure!(found == wanted.map(Some), "the new version is not there: {found:?}");
        Ok(())
    }

    /// Sees that everything is new, or, where that could not be, as it was before; and that
    /// nothing is owed.
    pub(crate) async fn ended_well(&self, tag: &str, before: &Objects) -> Result<()> {
        if tag == GOOD {
            self.is_new(tag).await?;
        } else {
            self.is_as(before).await?;
        }
        self.settled().await
    }

    /// Waits until version 1 is back, and sees that everything is as it was.
    pub(crate) async fn is_as(&self, before: &Objects) -> Result<()> {
        self.steady("1").await?;
        self.objects().await?.must_be(before)
    }

    /// Waits until nothing is owed, and the lock is given up.
    pub(crate) async fn settled(&self) -> Result<()> {
        self.owes_nothing(|object| object["kind"] == "Lease").await
    }

    /// Waits until nothing is owed: every undo record is settled. Whoever was killed when nothing
    /// else was left to be done leaves the lock to run out.
    pub(crate) async fn settled_but_for_the_lock(&self) -> Result<()> {
        self.owes_nothing(|_| false).await
    }

    async fn owes_nothing(&self, or: fn(&Value) -> bool) -> Result<()> {
        let kept = ["secrets,leases", "-n", &self.namespace];
        let state =
            |secret: &Value| secret["metadata"]["labels"].get("lockstep.dev/state").cloned();
        let owes =
            |object: &Value| or(object) || state(object).is_some_and(|state| state != "settled");
        let nothing = |seen: &Value| (!seen["items"].as_array()?.iter().any(owes)).then_some(());
        self.stage.cluster.sees("nothing is owed", &kept, nothing).await
    }

    /// Sees that the inventory is that of the run, and names what is there and nothing else.
    pub(crate) async fn is_in_the_inventory(&self, objects: &Objects) -> Result<()> {
        let secret = ["secret", "lockstep.shop.web", "-n", &self.namespace];
        let secret = self.stage.cluster.get(&secret).await?;
        let data = secret["data"][&self.namespace].as_str().context("an inventory")?;
        let inventory: Inventory = serde_json::from_slice(&BASE64_STANDARD.decode(data)?)?;
        ensure!(inventory.run.as_str() == RUN, "it is the inventory of {}", inventory.run);
        let known = inventory.objects.iter();
        let known = known.map(|item| {
            let name = format!("{}: {} {}", self.namespace, item.key.kind, item.key.name);
            (name, item.uid.clone())
        });
        let is_ours = |object: &Value| object["metadata"]["labels"][OWNER_LABEL] == "shop.web";
        let there = objects.names().filter_map(|name| Some((name, objects.get(name)?)));
        let there = there.filter(|(_, object)| is_ours(object)).map(|(name, object)| {
            let uid = object["metadata"]["uid"].as_str().unwrap_or_default();
            (name.to_owned(), uid.to_owned())
        });
        let (known, there) = (known.collect::<BTreeSet<_>>(), there.collect::<BTreeSet<_>>());
        ensure!(known == there, "the inventory knows {known:?}, and there are {there:?}");
        Ok(())
    }

    /// What there is to see of this when it goes wrong.
    pub(crate) fn told(&self, agents: &[&Process]) -> String {
        let agents: String = agents.iter().map(|agent| agent.tail()).collect();
        let writes = self.proxy.writes();
        let writes: String = writes.iter().map(|write| format!("{write}\n")).collect();
        format!("{agents}--- writes\n{writes}")
    }

    /// The result, with what there is to see if it went wrong.
    pub(crate) fn explained<T>(&self, result: Result<T>, agents: &[&Process]) -> Result<T> {
        result.with_context(|| self.told(agents))
    }
}
