//! What an agent keeps in a real cluster beyond one run: debts and how they are settled, undo
//! records, inventories, evidence; and what takes them away again.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use lockstep_shared::record::Record;
use lockstep_tests::{
    cluster::Cluster,
    stage::{FILE, PIPELINE, Stage},
    world::{Process, SOON, key, until},
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
---
apiVersion: v1
kind: Service
metadata: { name: backend }
spec: { selector: { app: backend }, ports: [{ port: 80 }] }
"#;

/// Deploys, and fails after that while the file `fail` is there.
const DEPLOYS: &str = r#"
apiVersion: lockstep.dev/v1alpha1
kind: Pipeline
metadata: { name: shop }
spec:
  params: { namespace: { default: NAMESPACE } }
  workflows:
    - name: backend
      target: { kubernetes: { namespace: "${{ params.namespace }}" } }
      steps:
        - deploy: { manifests: [backend.yaml], timeout: 2m, settle: 0s }
        - run: { command: "test ! -e fail", undo: none }
"#;

/// A Deployment whose pods do what the version says.
const PODS: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: { name: web }
spec:
  selector: { matchLabels: { app: web } }
  template:
    metadata: { labels: { app: web } }
    spec: { containers: [{ name: app, image: "house/web:TAG" }] }
"#;

/// What a fake container prints.
const PRINTED: &str = "this container is a fake and has written this line";

/// How long a cluster may take until a new policy is in force.
const IN_FORCE: Duration = Duration::from_secs(60);

/// A namespace, and a pipeline for it.
struct House {
    stage: Stage,
    namespace: String,
}

impl House {
    async fn open() -> Result<Self> {
        let cluster = Cluster::shared().await?;
        let stage = Stage::new(cluster).await?;
        let namespace = cluster.namespace("house").await?;
        let house = Self { stage, namespace };
        house.write(FILE, &DEPLOYS.replace("NAMESPACE", &house.namespace))?;
        house.bring("1", false)?;
        Ok(house)
    }

    fn cluster(&self) -> &'static Cluster {
        self.stage.cluster
    }

    fn write(&self, name: &str, text: &str) -> Result<()> {
        self.stage.write(name, text)
    }

    /// Writes the manifests of a version, and whether its run is to fail after they are deployed.
    fn bring(&self, tag: &str, fails: bool) -> Result<()> {
        self.write("backend.yaml", &MANIFESTS.replace("TAG", tag))?;
        match fails {
            true => self.write("fail", ""),
            false => Ok(fs::remove_file(self.stage.folder().join("fail")).or_else(is_absent)?),
        }
    }

    /// Adds to what the pipeline says of its target.
    fn target(&self, more: &str) -> Result<()> {
        let pipeline = DEPLOYS.replace("NAMESPACE", &self.namespace);
        let namespace = "namespace: \"${{ params.namespace }}\"";
        self.write(FILE, &pipeline.replace(namespace, &format!("{namespace}, {more}")))
    }

    /// The kubeconfigs of the agent and of an administrator whose context `eu` is the cluster, with
    /// undo records in a namespace of their own, and whose current context leads nowhere.
    async fn contexts(&self) -> Result<Contexts> {
        let home = self.cluster().namespace("home").await?;
        let account = self.stage.account("backend", &home).await?;
        let agent = self.leading_nowhere("agent", fs::read(account)?, &home)?;
        let view = ["config", "view", "--raw", "--flatten", "--minify", "-o", "json"];
        let admin = self.cluster().kubectl(&view).await?.into_bytes();
        let admin = self.leading_nowhere("admin", admin, &home)?;
        Ok(Contexts { agent, admin, home })
    }

    fn leading_nowhere(&self, whose: &str, config: Vec<u8>, home: &str) -> Result<PathBuf> {
        let mut config: Value = serde_json::from_slice(&config)?;
        let eu = &mut config["contexts"][0];
        eu["name"] = "eu".into();
        eu["context"]["namespace"] = home.into();
        let user = eu["context"]["user"].clone();
        let nowhere = json!({ "name": "nowhere", "cluster": { "server": "https://127.0.0.1:1" } });
        let clusters = config["clusters"].as_array_mut().context("clusters")?;
        clusters.push(nowhere);
        let context =
            json!({ "name": "nowhere", "context": { "cluster": "nowhere", "user": user } });
        config["contexts"].as_array_mut().context("contexts")?.push(context);
        config["current-context"] = "nowhere".into();
        let path = self.stage.world.folder().join(format!("{whose}.kubeconfig"));
        fs::write(&path, config.to_string())?;
        Ok(path)
    }

    /// Starts the workflow's agent, which keeps its records beside the objects.
    async fn agent(&self, flags: &[&str]) -> Result<Process> {
        let account = self.stage.account("backend", &self.namespace).await?;
        let flags = [flags, &["--kube-namespace", &self.namespace]].concat();
        self.agent_with("agent", &account, &flags).await
    }

    /// Starts the workflow's agent, which keeps its records where its context says.
    async fn agent_with(&self, called: &str, kubeconfig: &Path, flags: &[&str]) -> Result<Process> {
        let state = self.stage.world.folder().join("state");
        let state = state.to_str().context("a path of text")?;
        let kubeconfig = kubeconfig.to_str().context("a path of text")?;
        let mut arguments = vec!["serve", "--pipeline", PIPELINE, "--workflow", "backend"];
        arguments.extend(["--state-dir", state, "--allow-commands", "--kubeconfig", kubeconfig]);
        arguments.extend(flags);
        let folder = self.stage.folder();
        let agent = self.stage.world.start(called, "lockstep-agent", &arguments, folder)?;
        agent.prints("ready", SOON).await?;
        Ok(agent)
    }

    /// Has the pipeline run as a run of this id, which has to end with this code; what it said.
    async fn run(&self, run: &str, code: i32) -> Result<String> {
        self.stage.run_as(run).await?.expect(code)
    }

    /// Runs a verb of `lockstep` that has to end with this code; what it said.
    async fn lockstep(&self, arguments: &[&str], code: i32) -> Result<String> {
        let played = self.stage.lockstep(arguments).await?;
        played.expect(code).with_context(|| format!("{arguments:?}"))
    }

    /// Runs the pipeline as `lockstep dev` does, with a kubeconfig, once that may.
    async fn dev(&self, kubeconfig: &Path, more: &[&str], code: i32) -> Result<String> {
        self.stage.grant(more).await?;
        self.with(kubeconfig, &[&["dev", FILE], more].concat(), code).await
    }

    /// Runs a verb with a kubeconfig.
    async fn with(&self, kubeconfig: &Path, arguments: &[&str], code: i32) -> Result<String> {
        let kubeconfig = kubeconfig.to_str().context("a path of text")?;
        self.lockstep(&[arguments, &["--kubeconfig", kubeconfig]].concat(), code).await
    }

    /// One object of the namespace; `None` if it is not there.
    async fn object(&self, kind: &str, name: &str) -> Result<Option<Value>> {
        let all = self.list(kind, &self.namespace).await?;
        Ok(all.into_iter().find(|object| object["metadata"]["name"] == name))
    }

    async fn list(&self, kind: &str, namespace: &str) -> Result<Vec<Value>> {
        let all = self.cluster().get(&[kind, "-n", namespace]).await?;
        Ok(all["items"].as_array().cloned().unwrap_or_default())
    }

    /// The names of the Secrets in which agents keep house.
    async fn kept(&self, namespace: &str) -> Result<Vec<String>> {
        let secrets = self.list("secrets", namespace).await?;
        let is_kept = |secret: &&Value| {
            secret["type"].as_str().is_some_and(|kind| kind.starts_with("lockstep.dev/"))
        };
        let name = |secret: &Value| secret["metadata"]["name"].as_str().unwrap_or("").to_owned();
        Ok(secrets.iter().filter(is_kept).map(name).collect())
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
        self.cluster().apply(&self.namespace, &probe("2")).await?;
        let made = Policy { cluster: self.cluster(), name };
        for object in [policy, binding] {
            self.cluster().apply(&self.namespace, &object.to_string()).await?;
        }
        let (probe, namespace) = (&probe("1"), &self.namespace);
        until("the policy is in force", IN_FORCE, || async move {
            let arguments = ["apply", "-n", namespace, "--dry-run=server", "-f", "-"];
            let admin = self.cluster().kubeconfig();
            match self.cluster().kubectl_as(admin, &arguments, probe).await {
                Err(error) if error.to_string().contains("nobody goes back") => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await?;
        Ok(made)
    }
}

/// Kubeconfigs with contexts, and the namespace of the context `eu`.
struct Contexts {
    agent: PathBuf,
    admin: PathBuf,
    home: String,
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

/// A house whose last run, `r2`, brought version 2 and cannot be taken back to version 1 while the
/// policy is there; the next run is refused and says what to do.
async fn stuck() -> Result<(House, Process, Policy)> {
    let house = House::open().await?;
    let agent = house.agent(&[]).await?;
    let policy = house.get_stuck().await?;
    Ok((house, agent, policy))
}

impl House {
    /// Resumes the rollback of `r2` once the policy is withdrawn.
    async fn resume(&self) -> Result<()> {
        let resume = ["rollback", "resume", "r2", "--reason", "the policy is gone", "--wait"];
        // A policy is in force for a moment longer than it is there.
        until("the rollback is resumed", IN_FORCE, || async {
            self.lockstep(&resume, 0).await.map_err(|error| format!("{error:#}"))
        })
        .await
        .map(drop)
    }

    async fn get_stuck(&self) -> Result<Policy> {
        let house = self;
        house.bring("1", false)?;
        house.run("r1", 0).await?;
        let policy = house.refuse_the_way_back().await?;
        house.bring("2", true)?;
        let text = house.run("r2", 5).await?;
        ensure!(text.contains("nobody goes back to version 1 here"), "the server's words: {text}");
        ensure!(text.contains("lockstep rollback resume shop/r2"), "what to do: {text}");
        assert_eq!(house.version().await?, "2");
        house.bring("3", false)?;
        let text = house.run("r3", 4).await?;
        ensure!(text.contains("lockstep rollback resume r2"), "the next run is refused: {text}");
        assert_eq!(house.version().await?, "2", "the refused run has written nothing");
        Ok(policy)
    }
}

#[tokio::test]
async fn parity_21_a_stuck_rollback_is_resumed_once_the_server_lets_it_through() -> Result<()> {
    let (house, _agent, policy) = stuck().await?;
    let again = ["rollback", "resume", "r2", "--reason", "too early", "--wait"];
    let text = house.lockstep(&again, 5).await?;
    ensure!(text.contains("could not be undone again"), "{text}");
    policy.withdraw().await?;
    house.resume().await?;
    assert_eq!(house.version().await?, "1");
    assert_eq!(house.object("configmaps", "of-2").await?, None, "what r2 created is gone");
    assert!(house.object("configmaps", "of-1").await?.is_some(), "and nothing else");
    let status = house.lockstep(&["status", "r2", "-o", "json"], 0).await?;
    let status: Value = serde_json::from_str(&status)?;
    let backend = &status["workflows"][0];
    assert_eq!(backend["settled"]["how"], "rolled-back", "{backend}");
    assert_eq!(backend["left"], Value::Null, "verified: {backend}");
    house.run("r4", 0).await?;
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
    house.run("r4", 0).await?;
    assert_eq!(house.version().await?, "3");
    policy.withdraw().await
}

#[tokio::test]
async fn what_is_owed_in_another_context_is_found_by_the_next_agent() -> Result<()> {
    let house = House::open().await?;
    let Contexts { agent: kubeconfig, home, .. } = house.contexts().await?;
    house.target("context: eu")?;
    let mut agent = house.agent_with("agent", &kubeconfig, &[]).await?;
    let policy = house.get_stuck().await?;
    assert!(house.kept(&home).await?.contains(&"lockstep.shop.backend.r2".to_owned()));
    agent.kill()?;
    let _again = house.agent_with("again", &kubeconfig, &[]).await?;
    policy.withdraw().await?;
    house.resume().await?;
    assert_eq!(house.version().await?, "1");
    Ok(())
}

#[tokio::test]
async fn dev_takes_a_clusters_name_for_a_context_and_finds_there_what_it_left() -> Result<()> {
    let house = House::open().await?;
    let Contexts { agent: kubeconfig, admin, home } = house.contexts().await?;
    house.target("cluster: eu")?;
    house.bring("1", false)?;
    house.dev(&kubeconfig, &[], 0).await?;
    let policy = house.refuse_the_way_back().await?;
    house.bring("2", true)?;
    house.dev(&kubeconfig, &["--run-id", "r2"], 5).await?;
    house.bring("3", false)?;
    let text = house.dev(&kubeconfig, &[], 5).await?;
    ensure!(text.contains("backend (run r2)") && text.contains("--settle resume"), "{text}");
    let text = house.with(&admin, &["destroy", FILE, "--yes"], 8).await?;
    ensure!(text.contains("run r2 of backend is not settled") && text.contains(&home), "{text}");
    assert_eq!(house.version().await?, "2", "nothing was destroyed");
    policy.withdraw().await?;
    until("what is left is settled", IN_FORCE, || async {
        let settle = ["--settle", "resume"];
        house.dev(&kubeconfig, &settle, 0).await.map_err(|error| format!("{error:#}"))
    })
    .await?;
    assert_eq!(house.version().await?, "3");
    let text = house.with(&admin, &["destroy", FILE, "--yes"], 0).await?;
    ensure!(text.contains("deleted Service") && !text.contains("Endpoint"), "{text}");
    assert_eq!(house.object("configmaps", "settings").await?, None);
    assert_eq!(house.kept(&home).await?, Vec::<String>::new(), "nothing is kept");
    Ok(())
}

#[tokio::test]
async fn what_is_destroyed_in_one_namespace_is_still_known_in_another() -> Result<()> {
    let house = House::open().await?;
    let Contexts { agent: kubeconfig, admin, home } = house.contexts().await?;
    house.target("context: eu")?;
    let other = house.cluster().namespace("other").await?;
    let there = format!("namespace={other}");
    house.bring("1", false)?;
    house.dev(&kubeconfig, &["--run-id", "here"], 0).await?;
    house.dev(&kubeconfig, &["--param", &there, "--run-id", "there"], 0).await?;
    house.with(&admin, &["destroy", FILE, "--yes"], 0).await?;
    assert_eq!(house.object("configmaps", "of-1").await?, None);
    let kept = house.kept(&home).await?;
    ensure!(kept.iter().all(|name| !name.contains("here") || name.contains("there")), "{kept:?}");
    ensure!(kept.contains(&"lockstep.shop.backend".to_owned()), "the other's inventory: {kept:?}");
    ensure!(kept.contains(&"lockstep.shop.backend.there".to_owned()), "its record: {kept:?}");
    house.bring("2", false)?;
    house.dev(&kubeconfig, &["--param", &there], 0).await?;
    let left = house.list("configmaps", &other).await?;
    let names: Vec<&str> = left.iter().filter_map(|it| it["metadata"]["name"].as_str()).collect();
    ensure!(names.contains(&"of-2") && !names.contains(&"of-1"), "it is pruned there: {names:?}");
    Ok(())
}

#[tokio::test]
async fn what_is_in_no_namespace_is_destroyed_with_the_only_one_that_the_workflow_has() -> Result<()>
{
    let house = House::open().await?;
    let Contexts { admin, .. } = house.contexts().await?;
    house.target("context: eu, allowClusterScoped: true")?;
    let (name, other) = (house.namespace.clone(), house.cluster().namespace("other").await?);
    let class = format!(
        "apiVersion: scheduling.k8s.io/v1\nkind: PriorityClass\nmetadata: {{ name: {name} }}\n\
         value: 7\n"
    );
    house.write("backend.yaml", &class)?;
    // Nobody else in this cluster runs a pipeline of this name for other namespaces.
    let pipeline = fs::read_to_string(house.stage.folder().join(FILE))?;
    house.write(FILE, &pipeline.replace("name: shop", &format!("name: {name}")))?;
    let there = format!("namespace={other}");
    house.dev(&admin, &[], 0).await?;
    house.dev(&admin, &["--param", &there], 0).await?;
    let is_there = async || {
        let classes = house.cluster().get(&["priorityclasses"]).await?;
        let mut names = classes["items"].as_array().into_iter().flatten();
        anyhow::Ok(names.any(|class| class["metadata"]["name"] == name.as_str()))
    };
    let told = house.with(&admin, &["destroy", FILE, "--yes"], 0).await?;
    ensure!(is_there().await?, "the other namespace's run has brought it too: {told}");
    ensure!(told.contains("run for other namespaces too"), "and that is told: {told}");
    house.with(&admin, &["destroy", FILE, "--yes", "--param", &there], 0).await?;
    // The server takes a moment for what it deletes in the foreground.
    until("it is gone with the last namespace", SOON, async || match is_there().await {
        Ok(false) => Ok(()),
        Ok(true) => Err("it is left".to_owned()),
        Err(error) => Err(format!("{error:#}")),
    })
    .await
}

#[tokio::test]
async fn as_many_undo_records_of_settled_runs_are_kept_as_was_said() -> Result<()> {
    let house = House::open().await?;
    let _agent = house.agent(&["--undo-history", "2"]).await?;
    for (run, tag) in [("r1", "1"), ("r2", "2"), ("r3", "3"), ("r4", "4")] {
        house.bring(tag, false)?;
        house.run(run, 0).await?;
    }
    // An agent settles its record after it has read that the run is closed.
    until("only the latest are kept", SOON, || async {
        let kept = house.kept(&house.namespace).await.map_err(|error| error.to_string())?;
        let of = |run: &str| {
            kept.iter().any(|name| name.starts_with(&format!("lockstep.shop.backend.{run}")))
        };
        let found = ["r1", "r2", "r3", "r4"].map(of);
        if found == [false, false, true, true] { Ok(()) } else { Err(format!("{kept:?}")) }
    })
    .await
}

/// What is in the log of a run that brought pods which crash, for an agent with these flags.
async fn evidence(house: &House, flags: &[&str]) -> Result<String> {
    let _agent = house.agent(flags).await?;
    house.run("r1", 0).await?;
    let records =
        house.stage.world.records(&house.stage.world.bus().await?, &key(PIPELINE, "r1")?).await?;
    let ran = records.iter().find_map(|record| match record {
        Record::StepFinished { images, .. } => images.get("house/web:1"),
        _ => None,
    });
    let digests = ran.context("the image that runs is in the log")?;
    ensure!(digests.iter().all(|digest| digest.starts_with("sha256:")), "{digests:?}");
    house.write("backend.yaml", &PODS.replace("TAG", "2-crashloop"))?;
    house.run("r2", 4).await?;
    let web = house.object("deployments", "web").await?.context("web")?;
    assert_eq!(web["spec"]["template"]["spec"]["containers"][0]["image"], "house/web:1");
    let text = house.lockstep(&["logs", "r2"], 0).await?;
    ensure!(text.contains("container app ended with 1"), "how it ended: {text}");
    Ok(text)
}

#[tokio::test]
async fn the_logs_of_pods_that_failed_are_told_only_if_that_was_said() -> Result<()> {
    let house = House::open().await?;
    house.write("backend.yaml", &PODS.replace("TAG", "1"))?;
    let text = evidence(&house, &[]).await?;
    ensure!(!text.contains(PRINTED), "a log has left the cluster unasked: {text}");
    let house = House::open().await?;
    let flags = ["--evidence", "logs"];
    house.write("backend.yaml", &PODS.replace("TAG", "1"))?;
    let text = evidence(&house, &flags).await?;
    ensure!(text.contains("container app, before it ended:"), "whose log: {text}");
    ensure!(text.contains(PRINTED), "and what it says: {text}");
    Ok(())
}

#[tokio::test]
async fn logs_that_may_not_be_read_hinder_no_rollback() -> Result<()> {
    let house = House::open().await?;
    house.write("backend.yaml", &PODS.replace("TAG", "1"))?;
    house.stage.account("backend", &house.namespace).await?;
    // All that the agent needs, but for the logs of pods.
    let name = ["role", "lockstep.shop.backend", "-n", &house.namespace];
    let mut role = house.cluster().get(&name).await?;
    let rules = role["rules"].as_array_mut().context("rules")?;
    let count = rules.len();
    rules.retain(|rule| rule["resources"] != json!(["pods/log"]));
    ensure!(rules.len() + 1 == count, "one rule is about logs: {role}");
    house.cluster().apply(&house.namespace, &role.to_string()).await?;
    let text = evidence(&house, &["--evidence", "logs"]).await?;
    ensure!(text.contains("no log of pod web-") && !text.contains(PRINTED), "{text}");
    Ok(())
}

#[tokio::test]
async fn a_variable_that_is_there_twice_is_given_back_twice_and_refused_in_a_manifest() -> Result<()>
{
    let house = House::open().await?;
    let _agent = house.agent(&[]).await?;
    let with = |image: &str, env: Value| {
        let pods = PODS.replace("TAG", image);
        pods.replace("name: app,", &format!("name: app, env: {env},"))
    };
    let twice = json!([
        { "name": "A", "value": "1" }, { "name": "B", "value": "b" }, { "name": "A", "value": "2" },
    ]);
    let cluster = house.cluster();
    cluster.apply(&house.namespace, &with("1", twice.clone())).await?;
    let before = house.object("deployments", "web").await?.context("web")?;
    house.write("backend.yaml", &with("2", twice.clone()))?;
    let text = house.run("r1", 4).await?;
    let said = r#"containers[name="app"].env[name="A"] is there twice; remove one"#;
    ensure!(text.contains(said), "what to do: {text}");
    house.write("backend.yaml", &with("2", json!([{ "name": "B", "value": "c" }])))?;
    house.write("fail", "")?;
    let text = house.run("r2", 4).await?;
    ensure!(!text.contains("left:"), "nothing is left: {text}");
    let after = house.object("deployments", "web").await?.context("web")?;
    assert_eq!(after["spec"], before["spec"]);
    let owners = |object: &Value| -> Vec<(Value, Value)> {
        let all = object["metadata"]["managedFields"].as_array().into_iter().flatten();
        let lasting = all.filter(|entry| entry.get("subresource").is_none());
        lasting.map(|entry| (entry["manager"].clone(), entry["fieldsV1"].clone())).collect()
    };
    assert_eq!(owners(&after), owners(&before));
    Ok(())
}
