//! What an agent keeps in a real cluster beyond one run: debts and how they are settled, undo
//! records, inventories, evidence; and what takes them away again.

use std::{fs, path::PathBuf, process::Output, time::Duration};

use anyhow::{Context, Result, ensure};
use lockstep_tests::{
    cluster::Cluster,
    world::{Process, SOON, World, until},
};
use serde_json::{Value, json};

/// What the one workflow brings, at a version.
const MANIFESTS: &str = r#"
apiVersion: v1
kind: ConfigMap
metadata: { name: settings }
data: { version: "TAG" }
---
apiVersion: v1
kind: ConfigMap
metadata: { name: of-TAG }
data: { a: b }
"#;

/// Deploys, and fails after that while the file `fail` is there.
const PIPELINE: &str = r#"
apiVersion: lockstep.dev/v1alpha1
kind: Pipeline
metadata: { name: house }
spec:
  workflows:
    - name: backend
      target: { kubernetes: { namespace: NAMESPACE } }
      steps:
        - deploy: { manifests: [backend.yaml], timeout: 2m, settle: 0s }
        - run: { command: "test ! -e fail", undo: none }
"#;

/// How long a cluster may take until a new policy is in force.
const IN_FORCE: Duration = Duration::from_secs(60);

/// A namespace, a folder with the pipeline, and an agent.
struct House {
    cluster: &'static Cluster,
    world: World,
    namespace: String,
    folder: PathBuf,
    _coordinator: Process,
}

impl House {
    async fn open() -> Result<Self> {
        let (cluster, world) = (Cluster::shared().await?, World::new().await?);
        let namespace = cluster.namespace("house").await?;
        let folder = world.folder().join("site");
        fs::create_dir_all(&folder)?;
        let _coordinator = world.ready_coordinator("coordinator").await?;
        let house = Self { cluster, world, namespace, folder, _coordinator };
        house.write("pipeline.yaml", &PIPELINE.replace("NAMESPACE", &house.namespace))?;
        Ok(house)
    }

    fn write(&self, name: &str, text: &str) -> Result<()> {
        Ok(fs::write(self.folder.join(name), text)?)
    }

    /// Writes the manifests of a version, and whether its run is to fail after they are deployed.
    fn bring(&self, tag: &str, fails: bool) -> Result<()> {
        self.write("backend.yaml", &MANIFESTS.replace("TAG", tag))?;
        match fails {
            true => self.write("fail", ""),
            false => Ok(fs::remove_file(self.folder.join("fail")).or_else(is_absent)?),
        }
    }

    /// Starts the workflow's agent, with further flags.
    async fn agent(&self, called: &str, flags: &[&str]) -> Result<Process> {
        let state = self.world.folder().join("state");
        let state = state.to_str().context("a path of text")?;
        let kubeconfig = self.cluster.kubeconfig().to_str().context("a path of text")?;
        let mut arguments = vec!["serve", "--pipeline", "house", "--workflow", "backend"];
        arguments.extend(["--state-dir", state, "--allow-commands", "--kubeconfig", kubeconfig]);
        arguments.extend(["--kube-namespace", &self.namespace]);
        arguments.extend(flags);
        let agent = self.world.start(called, "lockstep-agent", &arguments, &self.folder)?;
        agent.prints("ready", SOON).await?;
        Ok(agent)
    }

    /// Runs a verb of `lockstep` that has to end with this code; what it said.
    async fn lockstep(&self, arguments: &[&str], code: i32) -> Result<String> {
        let output = self.world.lockstep_in(&self.folder, arguments).await?;
        let text = said(&output);
        ensure!(output.status.code() == Some(code), "{arguments:?}: {:?}\n{text}", output.status);
        Ok(text)
    }

    /// One object of the namespace; `None` if it is not there.
    async fn object(&self, kind: &str, name: &str) -> Result<Option<Value>> {
        let all = self.cluster.get(&[kind, "-n", &self.namespace]).await?;
        let mut all = all["items"].as_array().cloned().unwrap_or_default().into_iter();
        Ok(all.find(|object| object["metadata"]["name"] == name))
    }

    /// The version that is live.
    async fn version(&self) -> Result<String> {
        let settings = self.object("configmaps", "settings").await?.context("settings")?;
        Ok(settings["data"]["version"].as_str().context("a version")?.to_owned())
    }

    /// Has the API server refuse whatever would bring version 2 back to version 1.
    async fn refuse_the_way_back(&self) -> Result<Policy> {
        let name = format!("no-way-back-{}", self.namespace);
        let policy = json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
            "metadata": { "name": name },
            "spec": {
                "failurePolicy": "Fail",
                "matchConstraints": { "resourceRules": [{
                    "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"],
                    "operations": ["UPDATE"],
                }] },
                "validations": [{
                    "expression": "!(oldObject.data.version == '2' && object.data.version == '1')",
                    "message": "nobody goes back to version 1 here",
                }],
            },
        });
        let binding = json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingAdmissionPolicyBinding",
            "metadata": { "name": name },
            "spec": {
                "policyName": name, "validationActions": ["Deny"],
                "matchResources": { "namespaceSelector": { "matchLabels": {
                    "kubernetes.io/metadata.name": self.namespace,
                } } },
            },
        });
        let probe = |version: &str| {
            json!({
                "apiVersion": "v1", "kind": "ConfigMap",
                "metadata": { "name": "probe" }, "data": { "version": version },
            })
            .to_string()
        };
        self.cluster.apply(&self.namespace, &probe("2")).await?;
        let made = Policy { cluster: self.cluster, name };
        for object in [policy, binding] {
            self.cluster.apply(&self.namespace, &object.to_string()).await?;
        }
        let (probe, namespace) = (&probe("1"), &self.namespace);
        until("the policy is in force", IN_FORCE, || async move {
            let arguments = ["apply", "-n", namespace, "--dry-run=server", "-f", "-"];
            let admin = self.cluster.kubeconfig();
            match self.cluster.kubectl_as(admin, &arguments, probe).await {
                Err(error) if error.to_string().contains("nobody goes back") => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await?;
        Ok(made)
    }
}

/// A policy of the whole cluster, which has to be taken away.
struct Policy {
    cluster: &'static Cluster,
    name: String,
}

impl Policy {
    async fn withdraw(self) -> Result<()> {
        let kind = "validatingadmissionpolicybindings,validatingadmissionpolicies";
        self.cluster.kubectl(&["delete", kind, &self.name]).await.map(drop)
    }
}

fn is_absent(error: std::io::Error) -> std::io::Result<()> {
    if error.kind() == std::io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stderr.clone(), output.stdout.clone()].concat()).into_owned()
}

/// A house whose last run, `r2`, brought version 2 and cannot be taken back to version 1 while the
/// policy is there; the next run is refused and says what to do.
async fn stuck() -> Result<(House, Process, Policy)> {
    let house = House::open().await?;
    let agent = house.agent("agent", &[]).await?;
    house.bring("1", false)?;
    house.lockstep(&["run", "pipeline.yaml", "--run-id", "r1"], 0).await?;
    let policy = house.refuse_the_way_back().await?;
    house.bring("2", true)?;
    let text = house.lockstep(&["run", "pipeline.yaml", "--run-id", "r2"], 5).await?;
    ensure!(text.contains("nobody goes back to version 1 here"), "the server's words: {text}");
    ensure!(text.contains("lockstep rollback resume house/r2"), "what to do: {text}");
    assert_eq!(house.version().await?, "2");
    house.bring("3", false)?;
    let text = house.lockstep(&["run", "pipeline.yaml", "--run-id", "r3"], 4).await?;
    ensure!(text.contains("lockstep rollback resume r2"), "the next run is refused: {text}");
    assert_eq!(house.version().await?, "2", "the refused run has written nothing");
    Ok((house, agent, policy))
}

#[tokio::test]
async fn parity_21_a_stuck_rollback_is_resumed_once_the_server_lets_it_through() -> Result<()> {
    let (house, _agent, policy) = stuck().await?;
    let again = ["rollback", "resume", "r2", "--reason", "too early", "--wait"];
    let text = house.lockstep(&again, 5).await?;
    ensure!(text.contains("could not be undone again"), "{text}");
    policy.withdraw().await?;
    let resume = ["rollback", "resume", "r2", "--reason", "the policy is gone", "--wait"];
    // A policy is in force for a moment longer than it is there.
    until("the rollback is resumed", IN_FORCE, || async {
        house.lockstep(&resume, 0).await.map_err(|error| format!("{error:#}"))
    })
    .await?;
    assert_eq!(house.version().await?, "1");
    assert_eq!(house.object("configmaps", "of-2").await?, None, "what r2 created is gone");
    assert!(house.object("configmaps", "of-1").await?.is_some(), "and nothing else");
    let status = house.lockstep(&["status", "r2", "-o", "json"], 0).await?;
    let status: Value = serde_json::from_str(&status)?;
    let backend = &status["workflows"][0];
    assert_eq!(backend["settled"]["how"], "rolled-back", "{backend}");
    assert_eq!(backend["left"], Value::Null, "verified: {backend}");
    house.lockstep(&["run", "pipeline.yaml", "--run-id", "r4"], 0).await?;
    assert_eq!(house.version().await?, "3");
    Ok(())
}

#[tokio::test]
async fn parity_21_what_a_stuck_rollback_left_in_a_cluster_can_be_kept() -> Result<()> {
    let (house, _agent, policy) = stuck().await?;
    let accept = ["rollback", "accept", "r2", "--reason", "version 2 is as good", "--wait"];
    house.lockstep(&accept, 0).await?;
    assert_eq!(house.version().await?, "2", "it was to be kept");
    assert!(house.object("configmaps", "of-2").await?.is_some(), "all of it");
    house.lockstep(&["run", "pipeline.yaml", "--run-id", "r4"], 0).await?;
    assert_eq!(house.version().await?, "3");
    policy.withdraw().await
}
