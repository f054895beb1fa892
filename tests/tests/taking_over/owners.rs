//! Whoever deployed before: taken over or refused, and given back so that it notices nothing.

use anyhow::{Context, Result, ensure};
use lockstep_tests::{
    cluster::{Cluster, tool},
    stage::Objects,
};
use tokio::process::Command;

use super::{MANIFESTS, Twins};

/// What the former owner brings.
const FIRST: &str = r#"
apiVersion: v1
kind: ConfigMap
metadata: { name: NAME, labels: { tier: back }, annotations: { note: theirs } }
data: { version: "1", kept: "1", gone: "1" }
---
apiVersion: v1
kind: Service
metadata: { name: NAME }
spec: { selector: { app: NAME }, ports: [{ name: http, port: 80 }, { name: admin, port: 81 }] }
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: NAME, labels: { tier: back } }
spec:
  replicas: 1
  selector: { matchLabels: { app: NAME } }
  template:
    metadata: { labels: { app: NAME } }
    spec:
      terminationGracePeriodSeconds: 1
      containers:
        - name: app
          image: "shop/NAME:1"
          env: [{ name: A, value: "1" }, { name: B, value: "1" }]
"#;

/// What the run brings: some of the owner's fields are others, some are gone, some are new.
const OURS: &str = r#"
apiVersion: v1
kind: ConfigMap
metadata: { name: NAME, annotations: { note: ours } }
data: { version: "2", kept: "1", new: "2" }
---
apiVersion: v1
kind: Service
metadata: { name: NAME }
spec: { selector: { app: NAME }, ports: [{ name: http, port: 80 }, { name: other, port: 82 }] }
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: NAME }
spec:
  replicas: 2
  selector: { matchLabels: { app: NAME } }
  template:
    metadata: { labels: { app: NAME }, annotations: { note: ours } }
    spec:
      containers:
        - name: app
          image: "shop/NAME:2"
          env: [{ name: A, value: "2" }, { name: C, value: "2" }]
        - { name: beside, image: "shop/beside:2" }
"#;

/// What the former owner brings later: without a label, an entry, a port and a variable of its own.
const LATER: &str = r#"
apiVersion: v1
kind: ConfigMap
metadata: { name: NAME, annotations: { note: theirs } }
data: { version: "3", kept: "1" }
---
apiVersion: v1
kind: Service
metadata: { name: NAME }
spec: { selector: { app: NAME }, ports: [{ name: http, port: 80 }] }
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: NAME }
spec:
  selector: { matchLabels: { app: NAME } }
  template:
    metadata: { labels: { app: NAME } }
    spec:
      containers:
        - { name: app, image: "shop/NAME:3", env: [{ name: A, value: "3" }] }
"#;

/// What every twin is given by kubectl, in ways by name: how it is made, and how it is written later.
const KUBECTL: [(&str, &[&str], &[&str]); 3] = [
    ("by-create", &["create"], &["apply"]),
    ("by-apply", &["apply"], &["apply"]),
    ("by-server", &["apply", "--server-side"], &["apply", "--server-side"]),
];

/// Has kubectl write the objects of one way, and tells what it said.
async fn kubectl(
    cluster: &Cluster,
    way: &[&str],
    namespace: &str,
    manifests: &str,
) -> Result<String> {
    let arguments = [way, &["-n", namespace, "-f", "-"]].concat();
    cluster.kubectl_as(cluster.kubeconfig(), &arguments, manifests).await
}

fn of_all(manifests: &str) -> String {
    let named = KUBECTL.iter().map(|(name, ..)| manifests.replace("NAME", name));
    named.collect::<Vec<_>>().join("---")
}

impl Twins {
    /// Both namespaces, with what kubectl has made in each of its ways, steady.
    async fn made_by_kubectl() -> Result<Self> {
        let twins = Self::open().await?;
        for namespace in twins.both() {
            for (name, first, _) in KUBECTL {
                let manifests = FIRST.replace("NAME", name);
                kubectl(twins.stage.cluster, first, namespace, &manifests).await?;
            }
        }
        twins.are_steady(&KUBECTL.map(|(name, ..)| name), "1").await?;
        Ok(twins)
    }

    async fn are_steady(&self, names: &[&str], tag: &str) -> Result<()> {
        for namespace in self.both() {
            for name in names {
                self.stage.steady(namespace, name, &format!("shop/{name}:{tag}")).await?;
            }
        }
        Ok(())
    }

    /// Writes the same in both, and fails if kubectl says anything else there.
    async fn kubectl_in_both(&self, manifests: &str) -> Result<String> {
        let mut all = String::new();
        for (name, _, later) in KUBECTL {
            let manifests = manifests.replace("NAME", name);
            let ours = kubectl(self.stage.cluster, later, &self.ours, &manifests).await?;
            let other = kubectl(self.stage.cluster, later, &self.other, &manifests).await?;
            assert_eq!(ours, other, "{name}: what kubectl says in ours, and in its twin");
            all.push_str(&ours);
        }
        Ok(all)
    }
}

#[tokio::test]
async fn what_kubectl_made_is_taken_over_and_given_back_and_its_next_apply_is_as_ever() -> Result<()>
{
    let twins = Twins::made_by_kubectl().await?;
    twins.pipeline("", "")?;
    twins.stage.write(MANIFESTS, &of_all(OURS))?;
    let _agent = twins.stage.agent("backend", &twins.ours).await?;
    let before = twins.objects().await?;
    twins.deploy_and_go_back("r1").await?;
    twins.objects().await?.must_be(&before)?;
    twins.are_alike().await?;

    let said = twins.kubectl_in_both(FIRST).await?;
    let unchanged = "deployment.apps/by-apply unchanged";
    ensure!(said.contains(unchanged), "the same apply finds nothing to do: {said}");
    twins.are_alike().await?;
    twins.kubectl_in_both(LATER).await?;
    let config = twins.stage.cluster.get(&["configmap", "by-apply", "-n", &twins.ours]).await?;
    assert_eq!(config["data"].get("gone"), None, "what kubectl applies no more goes");
    twins.are_steady(&KUBECTL.map(|(name, ..)| name), "3").await?;
    twins.are_alike().await
}

#[tokio::test]
async fn what_kubectl_applied_is_ours_once_a_run_is_committed() -> Result<()> {
    let twins = Twins::made_by_kubectl().await?;
    twins.pipeline("", "")?;
    twins.stage.write(MANIFESTS, &of_all(OURS))?;
    let _agent = twins.stage.agent("backend", &twins.ours).await?;
    let open = twins.stage.open("r1", "end");
    let (played, ()) = tokio::try_join!(twins.stage.run_as("r1"), async {
        twins.stage.stands("r1", "backend", "end").await?;
        open.await
    })?;
    played.expect(0)?;
    let objects = twins.objects().await?;
    for (name, ..) in KUBECTL {
        let found = |kind: &str| objects.get(&format!("{}: {kind} {name}", twins.ours));
        let config = found("ConfigMap").context("it is there")?;
        let data = serde_json::json!({ "version": "2", "kept": "1", "new": "2" });
        assert_eq!(config["data"], data, "what kubectl had applied and we do not is gone");
        for kind in ["ConfigMap", "Service", "Deployment"] {
            let object = found(kind).context("it is there")?;
            let entries = object["metadata"]["managedFields"].as_array().context("owners")?;
            let managers: Vec<_> = entries.iter().map(|entry| &entry["manager"]).collect();
            assert_eq!(managers, ["lockstep"], "the owners of {kind} {name}");
        }
    }
    Ok(())
}

/// A chart of the same objects.
struct Chart<'a> {
    twins: &'a Twins,
}

impl Chart<'_> {
    /// Installs or upgrades the release in one namespace.
    async fn helm(&self, verb: &str, namespace: &str, manifests: &str) -> Result<()> {
        let folder = self.twins.stage.folder().join("chart");
        std::fs::create_dir_all(folder.join("templates"))?;
        let chart = "apiVersion: v2\nname: by-helm\nversion: 0.0.1\n";
        std::fs::write(folder.join("Chart.yaml"), chart)?;
        let manifests = manifests.replace("NAME", "by-helm");
        std::fs::write(folder.join("templates/all.yaml"), manifests)?;
        let output = Command::new(tool("helm", "helm")?)
            .args([verb, "by-helm", ".", "--namespace", namespace, "--kubeconfig"])
            .arg(self.twins.stage.cluster.kubeconfig())
            .env("HOME", self.twins.stage.world.folder())
            .current_dir(folder)
            .kill_on_drop(true)
            .output();
        let output = tokio::time::timeout(lockstep_tests::world::SOON, output).await??;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "helm {verb} in {namespace}: {said}");
        Ok(())
    }

    async fn helm_in_both(&self, verb: &str, manifests: &str) -> Result<()> {
        for namespace in self.twins.both() {
            self.helm(verb, namespace, manifests).await?;
        }
        Ok(())
    }
}

#[tokio::test]
async fn what_helm_keeps_is_refused_unless_allowed_and_its_next_upgrade_is_as_ever() -> Result<()> {
    let twins = Twins::open().await?;
    let chart = Chart { twins: &twins };
    chart.helm_in_both("install", FIRST).await?;
    twins.are_steady(&["by-helm"], "1").await?;
    twins.stage.write(MANIFESTS, &OURS.replace("NAME", "by-helm"))?;
    let before = twins.objects().await?;

    twins.pipeline("", "")?;
    let _agent = twins.stage.agent("backend", &twins.ours).await?;
    let said = twins.stage.run_as("refused").await?.expect(4)?;
    for kind in ["ConfigMap", "Service", "Deployment"] {
        let told = format!("{kind} {}/by-helm: it is deployed by helm", twins.ours);
        ensure!(said.contains(&told), "{told:?} is not in {said}");
    }
    ensure!(said.contains("allowManagedBy: helm"), "what to do: {said}");
    twins.objects().await?.must_be(&before)?;

    // Allowed beside it: what both set is a conflict, and told as one.
    twins.pipeline(", allowManagedBy: helm", "")?;
    let said = twins.stage.run_as("beside").await?.expect(4)?;
    ensure!(said.contains(r#".data.version is "helm"'s"#), "{said}");
    twins.objects().await?.must_be(&before)?;

    twins.pipeline(", allowManagedBy: helm", ", adopt: [helm]")?;
    twins.deploy_and_go_back("r1").await?;
    twins.objects().await?.must_be(&before)?;
    twins.are_alike().await?;
    chart.helm_in_both("upgrade", FIRST).await?;
    twins.are_alike().await?;
    chart.helm_in_both("upgrade", LATER).await?;
    twins.are_steady(&["by-helm"], "3").await?;
    twins.are_alike().await
}

#[tokio::test]
async fn what_argo_and_flux_keep_is_refused_all_of_it_at_once() -> Result<()> {
    let twins = Twins::open().await?;
    let keepers = [("argocd", "argocd-controller"), ("flux", "kustomize-controller")];
    let config = "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: NAME }\ndata: { a: VALUE }\n";
    let mut ours = String::new();
    for (name, manager) in keepers {
        let way = ["apply", "--server-side", "--field-manager", manager];
        let theirs = config.replace("NAME", name).replace("VALUE", "theirs");
        kubectl(twins.stage.cluster, &way, &twins.ours, &theirs).await?;
        ours.push_str(&config.replace("NAME", name).replace("VALUE", "ours"));
        ours.push_str("---\n");
    }
    twins.stage.write(MANIFESTS, &ours)?;
    let before = twins.objects().await?;
    twins.pipeline("", "")?;
    let _agent = twins.stage.agent("backend", &twins.ours).await?;
    let said = twins.stage.run_as("refused").await?.expect(4)?;
    for (name, _) in keepers {
        let told = format!("ConfigMap {}/{name}: it is deployed by {name}", twins.ours);
        ensure!(said.contains(&told), "{told:?} is not in {said}");
    }
    twins.objects().await?.must_be(&before)?;
    let adopt = ", adopt: [argocd-controller, kustomize-controller]";
    twins.pipeline(", allowManagedBy: [argocd, flux]", adopt)?;
    twins.deploy_and_go_back("r1").await?;
    twins.objects().await?.must_be(&before)?;
    Ok(())
}

#[tokio::test]
async fn objects_without_an_owner_that_is_ours_to_take_are_a_named_conflict() -> Result<()> {
    let twins = Twins::open().await?;
    let way = ["apply", "--server-side", "--field-manager", "terraform"];
    let config =
        "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: shared }\ndata: { a: VALUE }\n";
    kubectl(twins.stage.cluster, &way, &twins.ours, &config.replace("VALUE", "theirs")).await?;
    twins.stage.write(MANIFESTS, &config.replace("VALUE", "ours"))?;
    twins.pipeline("", "")?;
    let _agent = twins.stage.agent("backend", &twins.ours).await?;
    let before: Objects = twins.objects().await?;
    let said = twins.stage.run_as("refused").await?.expect(4)?;
    ensure!(said.contains(r#".data.a is "terraform"'s"#), "{said}");
    twins.objects().await?.must_be(&before)?;
    twins.pipeline("", ", adopt: [terraform]")?;
    twins.deploy_and_go_back("r1").await?;
    twins.objects().await?.must_be(&before)
}
