//! The example on Kubernetes, played as its README says, by the real programs on a real control
//! plane: exit codes, what the messages say, and every object of both namespaces before and after.
//!
//! The commands are the README's, word for word; only the namespaces are added, so that several tests
//! can play in one cluster.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use lockstep_tests::{
    cluster::Cluster,
    stage::{Objects, Played},
    world::{SOON, program, until},
};
use serde_json::{Value, json};
use tempfile::TempDir;

/// How long one run may take on a busy machine; the longest waits a minute for a missing image.
const LIMIT: Duration = Duration::from_secs(300);

/// How long a page may take.
const ANSWER: Duration = Duration::from_secs(3);

/// Has kubectl show who owns which field.
const OWNERS: &str = "--show-managed-fields";

/// What the example's README shows, in order.
const GOOD: usize = 0;
const CRASHES: usize = 1;
const MISSING: usize = 2;

/// A claim on storage for the backend: of the kinds that a rollback never deletes.
const CLAIM: &str = r#"
apiVersion: v1
kind: PersistentVolumeClaim
metadata: { name: orders }
spec: { accessModes: [ ReadWriteOnce ], resources: { requests: { storage: 1Gi } } }
"#;

/// A copy of the example, and two namespaces to play it in.
struct Stage<'a> {
    cluster: &'a Cluster,
    folder: TempDir,
    kubeconfig: PathBuf,
    backend: String,
    frontend: String,
}

impl<'a> Stage<'a> {
    async fn new(cluster: &'a Cluster) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("lockstep-example-").tempdir()?;
        copy(&example(), &folder.path().join("examples/shop-kubernetes"))?;
        let backend = cluster.namespace("backend").await?;
        let frontend = cluster.namespace("frontend").await?;
        // What lockstep keeps for itself is in the context's namespace: one for each test.
        let kubeconfig = folder.path().join("kubeconfig");
        let view = ["config", "view", "--raw", "--minify", "--flatten", "-o", "json"];
        let mut config: Value = serde_json::from_str(&cluster.kubectl(&view).await?)?;
        config["contexts"][0]["context"]["namespace"] = json!(backend);
        fs::write(&kubeconfig, config.to_string())?;
        Ok(Self { cluster, folder, kubeconfig, backend, frontend })
    }

    /// A file of this stage's copy of the example.
    fn file(&self, path: &str) -> PathBuf {
        self.folder.path().join("examples/shop-kubernetes").join(path)
    }

    /// Runs one of the README's commands in a shell, as a reader would.
    async fn play(&self, command: usize, more: &str) -> Result<Played> {
        let commands = commands()?;
        let command = commands.get(command).context("the README shows three commands")?;
        let (backend, frontend) = (&self.backend, &self.frontend);
        let namespaces =
            format!("--param backend_namespace={backend} --param frontend_namespace={frontend}");
        let programs = program("lockstep")?;
        let programs = programs.parent().context("a program is in a folder")?;
        let path = format!("{}:{}", programs.display(), std::env::var("PATH")?);
        let log = tempfile::NamedTempFile::new_in(self.folder.path())?;
        let running = tokio::process::Command::new("sh")
            .args(["-c", &format!("exec 2>&1; {command} {namespaces} {more}")])
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
    async fn expect(&self, code: i32, command: usize, more: &str) -> Result<String> {
        self.play(command, more).await?.expect(code)
    }

    /// Every object of both namespaces, as far as it has to be the same after a rollback.
    async fn objects(&self) -> Result<Objects> {
        Objects::live(self.cluster, &[&self.backend, &self.frontend]).await
    }

    /// What tells whether anybody has written an object of a namespace.
    async fn writes(&self, namespace: &str) -> Result<Vec<(Value, Value)>> {
        let list = self.cluster.get(&["configmaps,services,deployments", "-n", namespace]).await?;
        let items = list["items"].as_array().context("a list")?;
        let told =
            |it: &Value| (it["metadata"]["uid"].clone(), it["metadata"]["resourceVersion"].clone());
        Ok(items.iter().map(told).collect())
    }

    /// A Deployment, as it is now.
    async fn deployment(&self, name: &str) -> Result<Value> {
        let namespace = if name == "backend" { &self.backend } else { &self.frontend };
        self.cluster.get(&["deployment", name, "-n", namespace, OWNERS]).await
    }

    /// Waits until a service's pods are two ready ones of a version, and no others.
    async fn runs(&self, name: &str, version: &str) -> Result<()> {
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

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn example() -> PathBuf {
    repository().join("examples/shop-kubernetes")
}

/// The `lockstep dev` commands that the README shows.
fn commands() -> Result<Vec<String>> {
    let text = fs::read_to_string(example().join("README.md"))?;
    let lines = text.replace(" \\\n    ", " ");
    let lines = lines.lines().filter(|line| line.starts_with("lockstep dev "));
    Ok(lines.map(str::to_owned).collect())
}

fn copy(from: &Path, to: &Path) -> Result<()> {
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

/// The one line that has all of these words, in any order.
fn line_with(text: &str, words: &[&str]) -> Result<()> {
    let found = text.lines().any(|line| words.iter().all(|word| line.contains(word)));
    ensure!(found, "no line has all of {words:?}; it said\n{text}");
    Ok(())
}

/// When a condition was last told, or an owner last wrote, by the server's clock.
fn told_at(found: Option<&Value>, time: &str) -> Result<String> {
    let text = found.and_then(|found| found[time].as_str()).context("it was told")?;
    Ok(text.to_owned())
}

#[tokio::test]
async fn parity_01_parity_02_both_namespaces_get_the_new_version_and_the_frontend_second()
-> Result<()> {
    let stage = Stage::new(Cluster::shared().await?).await?;
    stage.expect(0, GOOD, "--param backend_version=v1 --param frontend_version=v1").await?;
    for name in ["backend", "frontend"] {
        stage.runs(name, "v1").await?;
    }

    stage.expect(0, GOOD, "").await?;
    for name in ["backend", "frontend"] {
        stage.runs(name, "v2").await?;
    }
    let (backend, frontend) =
        (stage.deployment("backend").await?, stage.deployment("frontend").await?);
    let conditions = backend["status"]["conditions"].as_array().context("conditions")?;
    let rolled_out = conditions.iter().find(|told| told["reason"] == "NewReplicaSetAvailable");
    let entries = frontend["metadata"]["managedFields"].as_array().context("owners")?;
    let ours = entries.iter().find(|entry| entry["manager"] == "lockstep");
    let (steady, begun) = (told_at(rolled_out, "lastUpdateTime")?, told_at(ours, "time")?);
    ensure!(begun > steady, "the frontend was written at {begun}, the backend steady at {steady}");
    Ok(())
}

#[tokio::test]
async fn parity_03_a_frontend_that_crashes_takes_both_namespaces_back_to_what_they_were()
-> Result<()> {
    let stage = Stage::new(Cluster::shared().await?).await?;
    stage.expect(0, GOOD, "").await?;
    let before = stage.objects().await?;

    let text = stage.expect(4, CRASHES, "").await?;
    line_with(&text, &["backend", "frontend", "CrashLoopBackOff"])?;
    stage.objects().await?.must_be(&before)?;
    for name in ["backend", "frontend"] {
        stage.runs(name, "v2").await?;
    }

    // A rollback that finished leaves no debt, and nothing that is in the way of the next run.
    stage.expect(0, GOOD, "--param backend_version=v3").await?;
    stage.runs("backend", "v3").await?;
    // What v3 brought and v2 does not is deleted once v2 stands again.
    stage.cluster.get(&["configmap", "search", "-n", &stage.backend]).await?;
    stage.expect(0, GOOD, "").await?;
    stage.objects().await?.as_if_written_by_the_runs_of(&before).must_be(&before)?;
    Ok(())
}

#[tokio::test]
async fn parity_03_a_frontend_whose_image_is_missing_takes_both_namespaces_back() -> Result<()> {
    let stage = Stage::new(Cluster::shared().await?).await?;
    // What a person applied is taken over, and given back as the person's.
    for (namespace, name) in [(&stage.backend, "backend"), (&stage.frontend, "frontend")] {
        let folder = stage.file(&format!("k8s/{name}")).display().to_string();
        let release = stage.file(&format!("releases/{name}/v1.yaml")).display().to_string();
        let arguments = ["apply", "-n", namespace, "-f", &folder, "-f", &release];
        stage.cluster.kubectl(&arguments).await?;
        stage.runs(name, "v1").await?;
    }
    let before = stage.objects().await?;

    let text = stage.expect(4, MISSING, "").await?;
    line_with(&text, &["backend", "frontend", "ImagePull"])?;
    stage.objects().await?.must_be(&before)?;
    for name in ["backend", "frontend"] {
        stage.runs(name, "v1").await?;
    }
    Ok(())
}

#[tokio::test]
async fn parity_04_a_backend_that_fails_before_the_barrier_leaves_the_frontend_untouched()
-> Result<()> {
    let stage = Stage::new(Cluster::shared().await?).await?;
    stage.expect(0, GOOD, "").await?;
    let release = fs::read_to_string(stage.file("releases/backend/v3.yaml"))?;
    fs::write(stage.file("releases/backend/v4-crashloop.yaml"), release)?;
    let before = stage.objects().await?;
    let frontend = stage.writes(&stage.frontend).await?;

    let text = stage.expect(4, GOOD, "--param backend_version=v4-crashloop").await?;
    line_with(&text, &["cause (", "backend failed in step", "CrashLoopBackOff"])?;
    line_with(&text, &["frontend", "wrote nothing"])?;
    stage.objects().await?.must_be(&before)?;
    // Not even given back: nobody has written there.
    assert_eq!(frontend, stage.writes(&stage.frontend).await?);
    Ok(())
}

#[tokio::test]
async fn parity_22_a_first_deployment_that_fails_leaves_nothing_but_what_holds_data() -> Result<()>
{
    let stage = Stage::new(Cluster::shared().await?).await?;
    fs::write(stage.file("k8s/backend/claim.yaml"), CLAIM)?;
    let before = stage.objects().await?;
    ensure!(before.names().next().is_none(), "{before:?} before the first deployment");

    let text = stage.expect(4, CRASHES, "").await?;
    line_with(&text, &["PersistentVolumeClaim", "orders", "kept on purpose"])?;
    let kept = format!("{}: PersistentVolumeClaim orders", stage.backend);
    stage.objects().await?.must_be_with(&before, &[&kept])?;
    for namespace in [&stage.backend, &stage.frontend] {
        let pods = stage.cluster.get(&["pods,replicasets", "-n", namespace]).await?;
        assert_eq!(pods["items"], json!([]), "in {namespace}");
        let leases = stage.cluster.get(&["leases", "-n", namespace]).await?;
        assert_eq!(leases["items"], json!([]), "the locks of {namespace} are given up");
    }

    // The claim that was kept is found again.
    stage.expect(0, GOOD, "").await?;
    Ok(())
}

#[tokio::test]
async fn deploying_to_other_namespaces_deletes_nothing_from_the_first_ones() -> Result<()> {
    let (staging, mut production) =
        (Stage::new(Cluster::shared().await?).await?, Stage::new(Cluster::shared().await?).await?);
    // One agent for both: it keeps its records in one place.
    production.kubeconfig.clone_from(&staging.kubeconfig);
    staging.expect(0, GOOD, "--param backend_version=v3").await?;
    let before = staging.objects().await?;
    production.expect(0, GOOD, "").await?;
    staging.objects().await?.must_be(&before)?;
    // What is dropped is still known where it was.
    staging.expect(0, GOOD, "").await?;
    let after = staging.objects().await?;
    ensure!(!after.names().any(|name| name.ends_with("search")), "{after:?}");
    Ok(())
}

#[tokio::test]
async fn the_documented_role_is_enough_to_deploy_and_to_go_back() -> Result<()> {
    let mut stage = Stage::new(Cluster::shared().await?).await?;
    let documented = fs::read_to_string(repository().join("docs/kubernetes.md"))?;
    let role = documented.split("```yaml\n").find(|block| block.contains("kind: RoleBinding"));
    let role = role.and_then(|block| block.split("```").next()).context("a Role is shown")?;
    // The agent's account lives beside the backend.
    stage.kubeconfig = stage.cluster.service_account(&stage.backend, "lockstep-agent").await?;
    for namespace in [&stage.backend, &stage.frontend] {
        let role = role
            .replace(
                "name: lockstep, namespace: backend",
                &format!("name: lockstep, namespace: {namespace}"),
            )
            .replace(
                "name: lockstep-agent, namespace: backend",
                &format!("name: lockstep-agent, namespace: {}", stage.backend),
            );
        stage.cluster.apply(namespace, &role).await?;
    }
    let home = format!("--kube-namespace {}", stage.backend);
    stage.expect(0, GOOD, &home).await?;
    let before = stage.objects().await?;
    stage.expect(4, CRASHES, &home).await?;
    stage.objects().await?.must_be(&before)?;
    // Nothing but objects of these kinds, in these namespaces.
    fs::write(stage.file("k8s/backend/claim.yaml"), CLAIM)?;
    let text = stage.expect(4, GOOD, &home).await?;
    line_with(&text, &["persistentvolumeclaims", "forbidden"])?;
    Ok(())
}

#[tokio::test]
async fn parity_03_on_a_real_node_the_pages_are_the_old_ones_again() -> Result<()> {
    let images =
        ["shop/backend:v2", "shop/backend:v3", "shop/frontend:v2", "shop/frontend:v3-crashloop"];
    let cluster = Cluster::with_node(&images).await?;
    let played = play_on_a_node(&cluster).await;
    played.with_context(|| cluster.logs())
}

async fn play_on_a_node(cluster: &Cluster) -> Result<()> {
    let stage = Stage::new(cluster).await?;
    stage.expect(0, GOOD, "").await?;
    let pages = Pages::of(&stage).await?;
    let good = ["<h1>backend v2</h1>\n", "<h1>frontend v2</h1>\n"].map(str::to_owned);
    pages.show(&good).await?;
    let before = stage.objects().await?;

    let mut seen = Vec::new();
    let watch = async {
        loop {
            // While pods are replaced a connection may be refused; that is not what is shown here.
            match pages.ask().await {
                Ok(now) if seen.last() != Some(&now) => seen.push(now),
                _ => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    };
    tokio::select! {
        played = stage.expect(4, CRASHES, "") => { played?; }
        () = watch => {}
    }
    let between = ["<h1>backend v3</h1>\n".to_owned(), good[1].clone()];
    ensure!(seen.contains(&between), "the new backend beside the old frontend: {seen:?}");
    ensure!(seen.iter().all(|[_, frontend]| *frontend == good[1]), "the frontend: {seen:?}");
    stage.objects().await?.must_be(&before)?;
    for name in ["backend", "frontend"] {
        stage.runs(name, "v2").await?;
    }
    pages.show(&good).await?;
    Ok(())
}

/// Where the machine reaches both Services of a real node.
struct Pages([String; 2]);

impl Pages {
    async fn of(stage: &Stage<'_>) -> Result<Self> {
        let mut urls = [String::new(), String::new()];
        let services = [("backend", &stage.backend), ("frontend", &stage.frontend)];
        for (url, (name, namespace)) in urls.iter_mut().zip(services) {
            let service = stage.cluster.get(&["service", name, "-n", namespace]).await?;
            let address = service["spec"]["clusterIP"].as_str().context("it has an address")?;
            *url = format!("http://{}/", stage.cluster.reach(format!("{address}:80").parse()?)?);
        }
        Ok(Self(urls))
    }

    /// Waits until both say this: who replaces pods tells the network a moment later.
    async fn show(&self, wanted: &[String; 2]) -> Result<()> {
        until("the pages are as wanted", SOON, || async {
            match self.ask().await {
                Ok(now) if now == *wanted => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await
    }

    /// What both say now.
    async fn ask(&self) -> Result<[String; 2]> {
        let [backend, frontend] = &self.0;
        let ask = async |url: &str| {
            let client = reqwest::Client::builder().timeout(ANSWER).build()?;
            let answer = client.get(url).send().await?.error_for_status()?;
            anyhow::Ok(answer.text().await?)
        };
        Ok([ask(backend).await?, ask(frontend).await?])
    }
}

#[test]
fn the_demo_plays_what_the_readme_shows() -> Result<()> {
    let demo = fs::read_to_string(repository().join("scripts/demo-kubernetes"))?;
    for command in commands()? {
        let parameters = command.replace("lockstep dev examples/shop-kubernetes/pipeline.yaml", "");
        ensure!(
            demo.contains(parameters.trim()),
            "scripts/demo-kubernetes does not play {command:?}"
        );
    }
    Ok(())
}
