//! The reference story on a real control plane: a backend and a frontend, each in a namespace of its
//! own, deployed together and taken back together.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Output,
};

use anyhow::{Context, Result, ensure};
use lockstep_tests::{
    cluster::Cluster,
    world::{Process, SOON, World},
};
use serde_json::Value;

/// What both services bring, at a version; the tag's last word says what its pods do.
const MANIFESTS: &str = r#"
apiVersion: v1
kind: ConfigMap
metadata: { name: NAME }
data: { version: "TAG" }
---
apiVersion: v1
kind: Service
metadata: { name: NAME }
spec: { selector: { app: NAME }, ports: [{ port: 80 }] }
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: NAME }
spec:
  replicas: 2
  progressDeadlineSeconds: 600
  selector: { matchLabels: { app: NAME } }
  template:
    metadata: { labels: { app: NAME } }
    spec: { containers: [{ name: app, image: "shop/NAME:TAG" }] }
"#;

/// What a new version of the frontend brings besides.
const ADDED: &str = r#"
---
apiVersion: v1
kind: ConfigMap
metadata: { name: extra }
data: { a: b }
"#;

const PIPELINE: &str = r#"
apiVersion: lockstep.dev/v1alpha1
kind: Pipeline
metadata: { name: shop }
spec:
  barriers: { BE: {}, FE: {} }
  workflows:
    - name: backend
      target: { kubernetes: { namespace: BACKEND } }
      steps:
        - deploy: { manifests: [backend.yaml], timeout: 2m, settle: 1s }
        - barrier: BE
        - barrier: FE
    - name: frontend
      target: { kubernetes: { namespace: FRONTEND } }
      steps:
        - barrier: BE
        - deploy: { manifests: [frontend.yaml], timeout: 2m, settle: 1s }
        - barrier: FE
"#;

/// Fields that the server changes with every write, and that say nothing.
const SERVERS: &[&str] = &["resourceVersion", "generation", "managedFields"];

fn manifests(name: &str, tag: &str) -> String {
    MANIFESTS.replace("NAME", name).replace("TAG", tag)
}

/// Two namespaces with version 1 in each, applied as a person does it.
struct Shop {
    cluster: &'static Cluster,
    world: World,
    namespaces: [String; 2],
    folder: PathBuf,
    _coordinator: Process,
}

/// The agents of both workflows.
struct Agents {
    backend: Process,
    _frontend: Process,
}

impl Shop {
    async fn open() -> Result<(Self, Agents)> {
        let shop = Self::without_agents().await?;
        let kubeconfig = shop.cluster.kubeconfig().to_owned();
        let backend = shop.agent("backend", "backend", &kubeconfig).await?;
        let _frontend = shop.agent("frontend", "frontend", &kubeconfig).await?;
        Ok((shop, Agents { backend, _frontend }))
    }

    async fn without_agents() -> Result<Self> {
        let (cluster, world) = (Cluster::shared().await?, World::new().await?);
        let namespaces =
            [cluster.namespace("backend").await?, cluster.namespace("frontend").await?];
        for (namespace, name) in namespaces.iter().zip(["backend", "frontend"]) {
            cluster.apply(namespace, &manifests(name, "1")).await?;
        }
        for (namespace, name) in namespaces.iter().zip(["backend", "frontend"]) {
            steady(cluster, namespace, name, "1").await?;
        }
        let folder = world.folder().join("site");
        fs::create_dir_all(&folder)?;
        let pipeline =
            PIPELINE.replace("BACKEND", &namespaces[0]).replace("FRONTEND", &namespaces[1]);
        fs::write(folder.join("pipeline.yaml"), pipeline)?;
        let _coordinator = world.ready_coordinator("coordinator").await?;
        Ok(Self { cluster, world, namespaces, folder, _coordinator })
    }

    /// Starts the agent of a workflow, called `called` in logs.
    async fn agent(&self, workflow: &str, called: &str, kubeconfig: &Path) -> Result<Process> {
        let state = self.world.folder().join(format!("state-{workflow}"));
        let kubeconfig = kubeconfig.to_str().context("a path of text")?;
        let state = state.to_str().context("a path of text")?;
        let place = usize::from(workflow == "frontend");
        let mut arguments = vec!["serve", "--pipeline", "shop", "--workflow", workflow];
        arguments.extend(["--state-dir", state, "--kubeconfig", kubeconfig]);
        arguments.extend(["--kube-namespace", &self.namespaces[place]]);
        let agent = self.world.start(called, "lockstep-agent", &arguments, &self.folder)?;
        agent.prints("ready", SOON).await?;
        Ok(agent)
    }

    /// Runs the pipeline with these versions.
    async fn run(&self, backend: &str, frontend: &str) -> Result<Output> {
        self.write(backend, frontend)?;
        self.world.lockstep_in(&self.folder, &["run", "pipeline.yaml"]).await
    }

    /// Writes the manifests of these versions.
    fn write(&self, backend: &str, frontend: &str) -> Result<()> {
        fs::write(self.folder.join("backend.yaml"), manifests("backend", backend))?;
        let frontend = manifests("frontend", frontend) + ADDED;
        Ok(fs::write(self.folder.join("frontend.yaml"), frontend)?)
    }

    /// Runs a verb with the pipeline file and a kubeconfig.
    async fn verb(&self, arguments: &[&str], kubeconfig: &Path) -> Result<Output> {
        let kubeconfig = kubeconfig.to_str().context("a path of text")?;
        let all = [arguments, &["--kubeconfig", kubeconfig]].concat();
        self.world.lockstep_in(&self.folder, &all).await
    }

    /// Everything of both namespaces that a user made, without what changes by itself.
    async fn objects(&self) -> Result<BTreeMap<String, Value>> {
        let mut all = BTreeMap::new();
        for namespace in &self.namespaces {
            let kinds = "configmaps,services,deployments,secrets";
            let list = self.cluster.get(&[kinds, "-n", namespace]).await?;
            for mut object in list["items"].as_array().cloned().unwrap_or_default() {
                let name = format!("{} {namespace}/{}", object["kind"], object["metadata"]["name"]);
                // What the agents keep for themselves is bookkeeping.
                if object["type"].as_str().is_some_and(|kind| kind.starts_with("lockstep.dev/")) {
                    continue;
                }
                let fields = object.as_object_mut().context("an object")?;
                fields.remove("status");
                let metadata = object["metadata"].as_object_mut().context("an object")?;
                SERVERS.iter().for_each(|name| drop(metadata.remove(*name)));
                if let Some(annotations) = metadata.get_mut("annotations")
                    && let Some(annotations) = annotations.as_object_mut()
                {
                    // Counts rollouts, of which there were two.
                    annotations.remove("deployment.kubernetes.io/revision");
                }
                all.insert(name, object);
            }
        }
        Ok(all)
    }
}

impl Shop {
    /// Whether everything is what it was.
    async fn is_as(&self, before: &BTreeMap<String, Value>) -> Result<()> {
        let after = self.objects().await?;
        for (name, object) in before {
            assert_eq!(after.get(name), Some(object), "{name}");
        }
        assert_eq!(after.len(), before.len(), "what the run created is gone: {:?}", after.keys());
        Ok(())
    }

    /// Waits until a version is applied to the backend, healthy or not.
    async fn applied(&self, tag: &str) -> Result<()> {
        let image = format!("shop/backend:{tag}");
        let object = ["deployment", "backend", "-n", &self.namespaces[0]];
        let at = "/spec/template/spec/containers/0/image";
        let is_so = |seen: &Value| (seen.pointer(at)? == image.as_str()).then_some(());
        self.cluster.sees("is applied", &object, is_so).await
    }
}

/// Waits until a Deployment runs a version, and nothing but that.
async fn steady(cluster: &Cluster, namespace: &str, name: &str, tag: &str) -> Result<()> {
    let image = format!("shop/{name}:{tag}");
    let is_so = |seen: &Value| {
        let status = &seen["status"];
        let whole = ["replicas", "updatedReplicas", "availableReplicas"];
        let steady = seen["spec"]["template"]["spec"]["containers"][0]["image"] == image.as_str()
            && status["observedGeneration"] == seen["metadata"]["generation"]
            && whole.iter().all(|count| status[count] == 2);
        steady.then_some(())
    };
    cluster.sees("is steady", &["deployment", name, "-n", namespace], is_so).await
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stderr.clone(), output.stdout.clone()].concat()).into_owned()
}

#[tokio::test]
async fn parity_01_both_arrive_and_both_namespaces_run_the_new_version() -> Result<()> {
    let (shop, _agents) = Shop::open().await?;
    let output = shop.run("2", "2").await?;
    let text = said(&output);
    ensure!(output.status.code() == Some(0), "{:?}; it said\n{text}", output.status);
    let [backend, frontend] = &shop.namespaces;
    steady(shop.cluster, backend, "backend", "2").await?;
    steady(shop.cluster, frontend, "frontend", "2").await?;
    let leases = shop.cluster.get(&["leases", "-n", backend]).await?;
    assert_eq!(leases["items"].as_array().map(Vec::len), Some(0), "the lock is given up");
    Ok(())
}

#[tokio::test]
async fn parity_03_a_failed_frontend_takes_both_back_to_what_they_were() -> Result<()> {
    let (shop, _agents) = Shop::open().await?;
    let before = shop.objects().await?;
    let output = shop.run("2", "2-crashloop").await?;
    let text = said(&output);
    ensure!(output.status.code() == Some(4), "{:?}; it said\n{text}", output.status);
    ensure!(text.contains("frontend") && text.contains("CrashLoopBackOff"), "{text}");
    let [backend, frontend] = &shop.namespaces;
    steady(shop.cluster, backend, "backend", "1").await?;
    steady(shop.cluster, frontend, "frontend", "1").await?;
    shop.is_as(&before).await?;
    // As before, the person's next apply changes nothing and conflicts with nobody.
    shop.cluster.apply(backend, &manifests("backend", "1")).await?;
    Ok(())
}

#[tokio::test]
async fn parity_15_an_agent_killed_in_the_middle_of_a_deployment_goes_on_with_it() -> Result<()> {
    let (shop, mut agents) = Shop::open().await?;
    let kill = async {
        shop.applied("2-slow").await?;
        agents.backend.kill()?;
        shop.agent("backend", "backend-again", shop.cluster.kubeconfig()).await
    };
    let (output, again) = tokio::join!(shop.run("2-slow", "2"), kill);
    let (output, again) = (output?, again?);
    let text = said(&output);
    let tail = again.tail();
    ensure!(output.status.code() == Some(0), "{:?}; it said\n{text}\n{tail}", output.status);
    steady(shop.cluster, &shop.namespaces[0], "backend", "2-slow").await
}

#[tokio::test]
async fn parity_15_an_agent_that_was_killed_while_it_waited_gives_back_what_was_live() -> Result<()>
{
    let (shop, mut agents) = Shop::open().await?;
    let before = shop.objects().await?;
    let kill = async {
        steady(shop.cluster, &shop.namespaces[0], "backend", "2").await?;
        agents.backend.prints("passed barrier BE", SOON).await?;
        agents.backend.kill()?;
        shop.agent("backend", "backend-again", shop.cluster.kubeconfig()).await
    };
    let (output, again) = tokio::join!(shop.run("2", "2-crashloop"), kill);
    let (output, again) = (output?, again?);
    let text = said(&output);
    let tail = again.tail();
    ensure!(output.status.code() == Some(4), "{:?}; it said\n{text}\n{tail}", output.status);
    shop.is_as(&before).await
}

#[tokio::test]
async fn dev_deploys_with_nothing_else_running_and_destroy_takes_it_away() -> Result<()> {
    let shop = Shop::without_agents().await?;
    let admin = shop.cluster.kubeconfig();
    shop.write("2", "2")?;
    let output = shop.verb(&["dev", "pipeline.yaml"], admin).await?;
    ensure!(output.status.code() == Some(0), "dev said\n{}", said(&output));
    let [backend, frontend] = &shop.namespaces;
    steady(shop.cluster, frontend, "frontend", "2").await?;
    let refused = shop.verb(&["destroy", "pipeline.yaml"], admin).await?;
    assert_eq!(refused.status.code(), Some(2), "{}", said(&refused));
    let output = shop.verb(&["destroy", "pipeline.yaml", "--yes"], admin).await?;
    ensure!(output.status.code() == Some(0), "destroy said\n{}", said(&output));
    for namespace in [backend, frontend] {
        let object = ["deployments", "-n", namespace];
        let none = |seen: &Value| seen["items"].as_array()?.is_empty().then_some(());
        shop.cluster.sees("nothing is left", &object, none).await?;
    }
    Ok(())
}

#[tokio::test]
async fn agents_need_no_more_than_the_role_that_the_doctor_shows() -> Result<()> {
    let shop = Shop::without_agents().await?;
    shop.write("2", "2")?;
    let mut running = Vec::new();
    for (namespace, name) in shop.namespaces.iter().zip(["backend", "frontend"]) {
        let account = shop.cluster.service_account(namespace, "lockstep").await?;
        let doctor = ["doctor", "--kube", "pipeline.yaml", "-o", "json"];
        let output = shop.verb(&doctor, &account).await?;
        assert_eq!(output.status.code(), Some(8), "{}", said(&output));
        let looks: Value = serde_json::from_slice(&output.stdout)?;
        let found =
            looks.as_array().context("a list")?.iter().filter_map(|it| it["found"].as_str());
        let told = found.into_iter().find(|found| found.starts_with(&format!("{name} may not")));
        let told = told.with_context(|| format!("nothing of {name} in {looks}"))?;
        let (_, role) = told.split_once("needs this Role:\n").context("a Role")?;
        shop.cluster.apply(namespace, role).await?;
        let binding = format!(
            "apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {{ name: l }}\n\
             roleRef: {{ apiGroup: rbac.authorization.k8s.io, kind: Role, name: lockstep-{name} }}\n\
             subjects: [{{ kind: ServiceAccount, name: lockstep, namespace: {namespace} }}]\n"
        );
        shop.cluster.apply(namespace, &binding).await?;
        running.push(shop.agent(name, name, &account).await?);
    }
    let output = shop.run("2", "2").await?;
    let logs: String = running.iter().map(Process::tail).collect();
    ensure!(output.status.code() == Some(0), "{}\n{logs}", said(&output));
    Ok(())
}
