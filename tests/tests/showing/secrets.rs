//! A Secret's values are nowhere but in Secrets of the cluster and in the bundle that brings them.
//!
//! All values here begin with one text that is nowhere else. It is looked for, as it is and in
//! base64, in everything that is told or stored.

use anyhow::{Context, Result, ensure};
use async_nats::jetstream;
use base64::{Engine, prelude::BASE64_STANDARD};
use futures::TryStreamExt;
use lockstep_tests::{
    stage::{FILE, PIPELINE as NAME},
    world::{Process, SOON},
};
use serde_json::{Value, json};

use super::{Scene, lossy};

const PIPELINE: &str = r#"
apiVersion: lockstep.dev/v1alpha1
kind: Pipeline
metadata: { name: shop }
spec:
  barriers: { start: { parties: [tester], timeout: 5m }, end: { parties: [tester], timeout: 5m } }
  workflows:
    - name: backend
      target: { kubernetes: { namespace: BACKEND } }
      steps:
        - barrier: start
        - deploy: { manifests: [backend.yaml], timeout: 1m, settle: 0s, adopt: [MANAGERS] }
        - barrier: end
"#;

/// What a person has applied before.
const LIVE: &str = r#"
{ apiVersion: v1, kind: Secret, metadata: { name: app }, data: { version: BASE64 }, stringData: { token: CANARY-live, gone: CANARY-gone } }
---
{ apiVersion: v1, kind: Secret, metadata: { name: sealed }, immutable: true, stringData: { token: CANARY-sealed } }
"#;

/// What runs bring, at a version.
const BROUGHT: &str = r#"
{ apiVersion: v1, kind: Secret, metadata: { name: app }, data: { version: BASE64 }, stringData: { token: CANARY-VERSION } }
---
{ apiVersion: v1, kind: Secret, metadata: { name: new }, stringData: { token: CANARY-VERSION } }
---
{ apiVersion: v1, kind: ConfigMap, metadata: { name: public }, data: { version: "VERSION" } }
"#;

/// What the server refuses, each for a reason of its own; the last is in conflict with another
/// manager.
const REFUSED: &str = r#"
{ apiVersion: v1, kind: Secret, metadata: { name: scalar }, data: CANARY-scalar }
---
{ apiVersion: v1, kind: Secret, metadata: { name: list }, data: { key: [CANARY-list] } }
---
{ apiVersion: v1, kind: Secret, metadata: { name: map }, stringData: { key: { deep: CANARY-map } } }
---
{ apiVersion: v1, kind: Secret, metadata: { name: text }, data: { key: "CANARY is no base64" } }
---
{ apiVersion: v1, kind: Secret, metadata: { name: key }, stringData: { "no key": CANARY-key } }
---
{ apiVersion: v1, kind: Secret, metadata: { name: unknown }, data: { key: BASE64 }, dta: { key: CANARY-dta } }
---
{ apiVersion: v1, kind: Secret, metadata: { name: docker }, type: kubernetes.io/dockerconfigjson, stringData: { .dockerconfigjson: CANARY-docker } }
---
{ apiVersion: v1, kind: Secret, metadata: { name: tls }, type: kubernetes.io/tls, stringData: { tls.key: CANARY-tls } }
---
{ apiVersion: v1, kind: Secret, metadata: { name: sealed }, immutable: true, stringData: { token: CANARY-unsealed } }
---
{ apiVersion: v1, kind: Secret, metadata: { name: shared }, data: { taken: BASE64 } }
"#;

/// What is refused before a run begins.
const MISTAKEN: [&str; 4] = [
    "apiVersion: v1\nkind: Secret\nmetadata: { name: a, namespace: other }\nstringData:\n  key: CANARY\n",
    "{ apiVersion: v1, kind: Secret, metadata: { name: a, namespace: other }, stringData: { key: CANARY } }",
    "apiVersion: v1\nkind: Secret\nmetadata: { name: a }\nstringData:\n  key: CANARY-1\n  key: CANARY-2\n",
    "apiVersion: v1\nkind: Secret\nmetadata: { name: a }\nstringData:\n  key: CANARY-1\n  - CANARY-2\n",
];

/// What was told and stored, and the text that may not be in it.
struct Told {
    canary: String,
    all: Vec<(String, Vec<u8>)>,
}

impl Told {
    fn new() -> Self {
        Self { canary: format!("canary{:08x}", rand::random::<u32>()), all: Vec::new() }
    }

    fn add(&mut self, what: impl Into<String>, content: impl Into<Vec<u8>>) {
        self.all.push((what.into(), content.into()));
    }

    /// A text with values in it; what is in base64 begins in three ways.
    fn filled(&self, text: &str, version: &str) -> String {
        let encoded = BASE64_STANDARD.encode(format!("{}-{version}", self.canary));
        let text = text.replace("BASE64", &encoded).replace("VERSION", version);
        text.replace("CANARY", &self.canary)
    }

    /// The canary in every form that it can have as a part of something.
    fn forms(&self) -> Vec<String> {
        let encoded = (0..3).filter_map(|start| {
            let rest = self.canary.get(start..)?;
            Some(BASE64_STANDARD.encode(rest.get(..rest.len() / 3 * 3)?))
        });
        std::iter::once(self.canary.clone()).chain(encoded).collect()
    }

    fn has(&self, content: &[u8]) -> bool {
        let text = lossy(content);
        self.forms().iter().any(|form| text.contains(form))
    }

    /// Fails with everything in which it is.
    fn has_kept_it(&self) -> Result<()> {
        let wrong = self.all.iter().filter(|(_, content)| self.has(content));
        let lines = |content: &[u8]| {
            let text = lossy(content);
            let lines = text.lines().filter(|line| self.has(line.as_bytes()));
            lines.take(3).map(str::to_owned).collect::<Vec<_>>().join("\n")
        };
        let wrong: Vec<String> =
            wrong.map(|(what, content)| format!("--- {what}\n{}", lines(content))).collect();
        ensure!(wrong.is_empty(), "{} is in\n{}", self.canary, wrong.join("\n"));
        Ok(())
    }

    /// Runs a verb and keeps what it says.
    async fn verb(&mut self, scene: &Scene, arguments: &[&str], code: i32) -> Result<String> {
        let text = scene.stage.lockstep(arguments).await?.expect(code)?;
        self.add(format!("lockstep {}", arguments.join(" ")), text.clone());
        Ok(text)
    }

    /// Plans what is written, in every way; the live plan has to end so.
    async fn plans(&mut self, scene: &Scene, live: i32) -> Result<()> {
        for output in ["text", "json", "yaml"] {
            self.verb(scene, &["plan", FILE, "-o", output], 0).await?;
        }
        for output in ["text", "json"] {
            self.verb(scene, &["plan", FILE, "--live", "-o", output], live).await?;
        }
        Ok(())
    }

    /// Everything that is told of a run after it.
    async fn run_is_told(&mut self, scene: &Scene, run: &str) -> Result<()> {
        for output in ["text", "json"] {
            self.verb(scene, &["status", run, "-o", output], 0).await?;
            self.verb(scene, &["events", run, "-o", output], 0).await?;
            self.verb(scene, &["logs", run, "-o", output], 0).await?;
        }
        Ok(())
    }

    /// Every message of every stream, but for the bundles that plans name.
    async fn streams(&mut self, scene: &Scene) -> Result<()> {
        let nats = async_nats::connect(scene.stage.world.nats.url()).await?;
        let context = jetstream::new(nats);
        let names: Vec<String> = context.stream_names().try_collect().await?;
        let mut messages = Vec::new();
        for name in &names {
            let mut stream = context.get_stream(name).await?;
            let state = stream.info().await?.state.clone();
            ensure!(state.deleted_count.unwrap_or_default() == 0, "{name} has lost messages");
            for sequence in state.first_sequence..=state.last_sequence {
                let message = stream.get_raw_message(sequence).await?;
                messages.push((message.subject.to_string(), message.payload.to_vec()));
            }
        }
        let plans = messages.iter().filter(|(subject, _)| subject.ends_with(".plan"));
        let bundles: Vec<String> = plans
            .filter_map(|(_, plan)| {
                let plan = lossy(plan);
                let (_, rest) = plan.split_once("\"bundle\":\"")?;
                Some(rest.split_once('"')?.0.to_owned())
            })
            .collect();
        ensure!(!bundles.is_empty(), "no plan names a bundle in {names:?}");
        let is_bundle =
            |subject: &str| bundles.iter().any(|bundle| subject.contains(bundle.as_str()));
        let (bundles, others): (Vec<_>, Vec<_>) =
            messages.into_iter().partition(|(subject, _)| is_bundle(subject));
        ensure!(bundles.iter().any(|(_, content)| self.has(content)), "it is looked for rightly");
        let are_views = others.iter().any(|(subject, _)| subject.contains(".bundle."));
        ensure!(are_views, "what agents would do is looked at too: {names:?}");
        self.all.extend(others);
        Ok(())
    }

    /// Every object of the cluster's namespaces that is no Secret.
    async fn objects(&mut self, scene: &Scene) -> Result<()> {
        for namespace in [&scene.backend, &scene.frontend] {
            let objects = scene.all_but(namespace, &["secrets"]).await?;
            self.add(format!("objects of {namespace}"), Value::from(objects).to_string());
        }
        Ok(())
    }
}

impl Scene {
    /// An agent that tells everything it does.
    async fn talkative(&self) -> Result<Process> {
        let world = &self.stage.world;
        let state = world.folder().join("state").display().to_string();
        let kubeconfig = self.stage.account("backend", &self.backend).await?.display().to_string();
        let arguments = ["serve", "--pipeline", NAME, "--workflow", "backend"];
        let places = ["--state-dir", &state, "--kubeconfig", &kubeconfig];
        let arguments = [&arguments[..], &places, &["--kube-namespace", &self.backend]].concat();
        let environment = [("LOCKSTEP_LOG", "trace")];
        let folder = self.stage.folder();
        let agent = world.start_as("agent", "lockstep-agent", &arguments, folder, &environment)?;
        agent.prints("ready", SOON).await?;
        Ok(agent)
    }

    /// Lets a run pass a gate once it stands there.
    async fn passes(&self, run: &str, gate: &str) -> Result<()> {
        self.stage.stands(run, "backend", gate).await?;
        self.stage.open(run, gate).await
    }

    /// Somebody writes another value into a Secret.
    async fn meddles(&self, told: &Told, what: &str) -> Result<()> {
        let patch = json!({ "stringData": { "token": format!("{}-{what}", told.canary) } });
        let patch = ["patch", "secret", "app", "-n", &self.backend, "-p", &patch.to_string()];
        self.stage.cluster.kubectl(&patch).await.map(drop)
    }

    fn brings(&self, told: &Told, text: &str, version: &str) -> Result<()> {
        self.stage.write("backend.yaml", &told.filled(text, version))
    }
}

#[tokio::test]
async fn the_value_of_a_secret_is_nowhere_but_in_secrets_and_in_its_bundle() -> Result<()> {
    let scene = Scene::open(&PIPELINE.replace("MANAGERS", "kubectl-client-side-apply")).await?;
    let cluster = scene.stage.cluster;
    let mut told = Told::new();
    cluster.apply(&scene.backend, &told.filled(LIVE, "live")).await?;
    let shared: Value = serde_json::from_str(&told.filled(
        r#"{ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "shared" }, "data": { "taken": "BASE64" } }"#,
        "theirs",
    ))?;
    cluster.apply_as("somebody", &scene.backend, &[shared]).await?;

    // It succeeds.
    scene.brings(&told, BROUGHT, "1")?;
    let agent = scene.talkative().await?;
    told.plans(&scene, 0).await?;
    told.verb(&scene, &["validate", FILE], 0).await?;
    let passes = async {
        scene.passes("r1", "start").await?;
        scene.passes("r1", "end").await
    };
    let text = scene.run_while("r1", passes).await?.expect(0)?;
    told.add("r1", text);

    // It is rolled back.
    scene.brings(&told, BROUGHT, "2")?;
    let refuses = async {
        scene.passes("r2", "start").await?;
        scene.stage.stands("r2", "backend", "end").await?;
        scene.stage.refuse("r2", "end").await
    };
    let text = scene.run_while("r2", refuses).await?.expect(4)?;
    ensure!(!text.contains("left:"), "{text}");
    told.add("r2", text);

    // Somebody else writes the same after it: that is left.
    let meddles = async {
        scene.passes("r3", "start").await?;
        scene.stage.stands("r3", "backend", "end").await?;
        scene.meddles(&told, "after").await
    };
    let text = scene.run_while("r3", meddles).await?.expect(4)?;
    ensure!(text.contains("left:") && text.contains("token"), "{text}");
    told.add("r3", text);

    // Or before it.
    scene.pipeline(&PIPELINE.replace("MANAGERS", "kubectl-patch"))?;
    scene.brings(&told, BROUGHT, "3")?;
    let meddles = async {
        scene.stage.stands("r4", "backend", "start").await?;
        scene.meddles(&told, "before").await?;
        scene.stage.open("r4", "start").await
    };
    let text = scene.run_while("r4", meddles).await?.expect(4)?;
    ensure!(text.contains("changed since the plan"), "{text}");
    told.add("r4", text);

    // What the server will not have.
    scene.brings(&told, REFUSED, "5")?;
    told.plans(&scene, 4).await?;
    let text = scene.stage.run_as("r5").await?.expect(4)?;
    for name in
        ["scalar", "list", "map", "text", "key", "unknown", "docker", "tls", "sealed", "shared"]
    {
        let name = format!("Secret {}/{name}: ", scene.backend);
        ensure!(text.contains(&name), "{name} is not told of: {text}");
    }
    ensure!(text.contains("somebody") && text.contains(".data.taken"), "whose: {text}");
    told.add("r5", text);
    for run in ["r1", "r2", "r3", "r4", "r5"] {
        told.run_is_told(&scene, run).await?;
    }

    // What is not even sent.
    for mistaken in MISTAKEN {
        scene.brings(&told, mistaken, "6")?;
        for verb in ["validate", "plan", "run"] {
            told.verb(&scene, &[verb, FILE], 3).await?;
        }
        told.verb(&scene, &["validate", FILE, "-o", "json"], 3).await?;
        told.verb(&scene, &["validate", FILE, "-o", "github"], 3).await?;
    }

    ensure!(agent.output().contains("TRACE"), "it tells everything");
    told.add("the agent's log", agent.output());
    told.add("the coordinator's log", scene.stage.coordinator.output());
    told.streams(&scene).await?;
    told.objects(&scene).await?;
    let secret = scene.object(&scene.backend, "secrets", "app").await?.context("app")?;
    ensure!(told.has(secret.to_string().as_bytes()), "it is in the Secret: {secret}");
    told.has_kept_it()
}
