//! A copy of the example, two namespaces, and the README's commands.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, Result};
use lockstep_tests::{
    cluster::{Cluster, OF_ACCOUNT},
    stage::{Objects, Played},
    world::program,
};
use serde_json::{Value, json};
use tempfile::TempDir;

/// How long one run may take on a busy machine; the longest waits a minute for a missing image.
const LIMIT: Duration = Duration::from_secs(300);

/// Has kubectl show who owns which field.
const OWNERS: &str = "--show-managed-fields";

/// The agent's account in the documentation.
const ACCOUNT: &str = "lockstep-agent";

/// What the example's README shows, in order.
pub(crate) const GOOD: usize = 0;
pub(crate) const CRASHES: usize = 1;
pub(crate) const MISSING: usize = 2;

/// A copy of the example, and two namespaces to play it in.
pub(crate) struct Stage<'a> {
    pub(crate) cluster: &'a Cluster,
    pub(crate) folder: TempDir,
    pub(crate) kubeconfig: PathBuf,
    pub(crate) backend: String,
    pub(crate) frontend: String,
}

impl<'a> Stage<'a> {
    pub(crate) async fn new(cluster: &'a Cluster) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("lockstep-example-").tempdir()?;
        copy(&example(), &folder.path().join("examples/shop-kubernetes"))?;
        let backend = cluster.namespace("backend").await?;
        let frontend = cluster.namespace("frontend").await?;
        // The agent's account lives beside the backend. What lockstep keeps for itself is in the
        // context's namespace: one for each test.
        let kubeconfig = cluster.service_account(&backend, ACCOUNT).await?;
        let mut config: Value = serde_json::from_slice(&fs::read(&kubeconfig)?)?;
        config["contexts"][0]["context"]["namespace"] = json!(backend);
        fs::write(&kubeconfig, config.to_string())?;
        let stage = Self { cluster, folder, kubeconfig, backend, frontend };
        stage.let_in(&stage.backend).await?;
        Ok(stage)
    }

    /// Gives the account of a namespace the Role that the documentation shows, in both namespaces,
    /// and nothing else.
    pub(crate) async fn let_in(&self, home: &str) -> Result<()> {
        let documented = fs::read_to_string(repository().join("docs/kubernetes.md"))?;
        let role = documented.split("```yaml\n").find(|block| block.contains("kind: RoleBinding"));
        let role = role.and_then(|block| block.split("```").next()).context("a Role is shown")?;
        for namespace in [&self.backend, &self.frontend] {
            let role = role
                .replace(
                    "name: lockstep, namespace: backend",
                    &format!("name: lockstep, namespace: {namespace}"),
                )
                .replace(
                    &format!("name: {ACCOUNT}, namespace: backend"),
                    &format!("name: {ACCOUNT}, namespace: {home}"),
                );
            self.cluster.apply(namespace, &role).await?;
            // It is no part of what is deployed.
            let label = format!("{OF_ACCOUNT}={ACCOUNT}");
            let label = ["label", "role,rolebinding", "lockstep", "-n", namespace, &label];
            self.cluster.kubectl(&[&label[..], &["--overwrite"]].concat()).await?;
        }
        Ok(())
    }

    /// A file of this stage's copy of the example.
    pub(crate) fn file(&self, path: &str) -> PathBuf {
        self.folder.path().join("examples/shop-kubernetes").join(path)
    }

    /// Runs one of the README's commands in a shell, as a reader would.
    pub(crate) async fn play(&self, command: usize, more: &str) -> Result<Played> {
        let commands = commands()?;
        let command = commands.get(command).context("the README shows three commands")?;
        let (backend, frontend) = (&self.backend, &self.frontend);
        let namespaces =
            format!("--param backend_namespace={backend} --param frontend_namespace={frontend}");
        self.shell(&format!("{command} {namespaces} {more}")).await
    }

    /// What the doctor says of a workflow: the Roles that it needs.
    pub(crate) async fn doctor(&self, workflow: &str) -> Result<Value> {
        let file = self.file("pipeline.yaml").display().to_string();
        let (backend, frontend) = (&self.backend, &self.frontend);
        let doctor = format!(
            "lockstep doctor --kube {file} --workflow {workflow} --kube-namespace {backend} -o json \
             --param backend_namespace={backend} --param frontend_namespace={frontend}"
        );
        let text = self.shell(&doctor).await?.expect(0)?;
        let looks: Value = serde_json::from_str(&text).context(text)?;
        Ok(looks[1]["roles"].clone())
    }

    /// Runs a command in a shell.
    async fn shell(&self, command: &str) -> Result<Played> {
        let programs = program("lockstep")?;
        let programs = programs.parent().context("a program is in a folder")?;
        let path = format!("{}:{}", programs.display(), std::env::var("PATH")?);
        let log = tempfile::NamedTempFile::new_in(self.folder.path())?;
        let running = tokio::process::Command::new("sh")
            .args(["-c", &format!("exec 2>&1; {command}")])
            .current_dir(self.folder.path())
            .env("PATH", path)
            .env("XDG_CONFIG_HOME", self.folder.path())
            .env("KUBECONFIG", &self.kubeconfig)
            .stdin(Stdio::null())
            .stdout(log.reopen()?)
            .kill_on_drop(true)
            .status();
        let ended = tokio::time::timeout(LIMIT, running).await;
        let text = fs::read_to_string(log.path())?;
        let ended = ended.with_context(|| format!("{command} did not end; it said\n{text}"))??;
        Ok(Played { code: ended.code(), text })
    }

    /// Plays a command that has to end with this code; what it said.
    pub(crate) async fn expect(&self, code: i32, command: usize, more: &str) -> Result<String> {
        self.play(command, more).await?.expect(code)
    }

    /// Every object of both namespaces, as far as it has to be the same after a rollback.
    pub(crate) async fn objects(&self) -> Result<Objects> {
        Objects::live(self.cluster, &[&self.backend, &self.frontend]).await
    }

    /// What tells whether anybody has written an object of a namespace.
    pub(crate) async fn writes(&self, namespace: &str) -> Result<Vec<(Value, Value)>> {
        let list = self.cluster.get(&["configmaps,services,deployments", "-n", namespace]).await?;
        let items = list["items"].as_array().context("a list")?;
        let told =
            |it: &Value| (it["metadata"]["uid"].clone(), it["metadata"]["resourceVersion"].clone());
        Ok(items.iter().map(told).collect())
    }

    /// A Deployment, as it is now.
    pub(crate) async fn deployment(&self, name: &str) -> Result<Value> {
        let namespace = if name == "backend" { &self.backend } else { &self.frontend };
        self.cluster.get(&["deployment", name, "-n", namespace, OWNERS]).await
    }

    /// Waits until a service's pods are two ready ones of a version, and no others.
    pub(crate) async fn runs(&self, name: &str, version: &str) -> Result<()> {
        let namespace = if name == "backend" { &self.backend } else { &self.frontend };
        let image = format!("shop/{name}:{version}");
        let is_so = |pods: &Value| {
            let pods = pods["items"].as_array()?;
            let is_good = |pod: &Value| {
                pod["spec"]["containers"][0]["image"] == image.as_str()
                    && pod["status"]["containerStatuses"][0]["ready"] == true
            };
            (pods.len() == 2 && pods.iter().all(is_good)).then_some(())
        };
        let what = format!("two pods of {image}, and no others");
        self.cluster
            .sees(&what, &["pods", "-n", namespace, "-l", &format!("app={name}")], is_so)
            .await
    }
}

pub(crate) fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

pub(crate) fn example() -> PathBuf {
    repository().join("examples/shop-kubernetes")
}

/// The `lockstep dev` commands that the README shows.
pub(crate) fn commands() -> Result<Vec<String>> {
    let text = fs::read_to_string(example().join("README.md"))?;
    let lines = text.replace(" \\\n    ", " ");
    let lines = lines.lines().filter(|line| line.starts_with("lockstep dev "));
    Ok(lines.map(str::to_owned).collect())
}

pub(crate) fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let (entry, to) = (entry?.path(), to);
        let to = to.join(entry.file_name().context("an entry has a name")?);
        if entry.is_dir() {
            copy(&entry, &to)?;
        } else {
            fs::copy(&entry, to)?;
        }
    }
    Ok(())
}
