//! What a later run drops: deleted, but for what is to be kept, and what the server does not let go.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use base64::{Engine, prelude::BASE64_STANDARD};
use lockstep_agent::kubernetes::object::OWNER_LABEL;
use lockstep_tests::world::until;
use serde_json::{Value, json};

use super::Scene;

const PIPELINE: &str = r#"
apiVersion: lockstep.dev/v1alpha1
kind: Pipeline
metadata: { name: shop }
spec:
  workflows:
    - name: backend
      target: { kubernetes: { namespace: BACKEND } }
      steps:
        - deploy: { manifests: [backend.yaml], timeout: 1m, settle: 0s }
"#;

/// What stays in the manifests.
const STAYS: &str = r#"
{ apiVersion: v1, kind: ConfigMap, metadata: { name: stays }, data: { a: b } }
"#;

/// What is dropped from them.
const DROPPED: &str = r#"
---
{ apiVersion: v1, kind: ConfigMap, metadata: { name: plain }, data: { a: b } }
---
{ apiVersion: v1, kind: ConfigMap, metadata: { name: another }, data: { a: b } }
---
{ apiVersion: v1, kind: ConfigMap, metadata: { name: guarded }, data: { a: b } }
---
apiVersion: v1
kind: ConfigMap
metadata: { name: kept, annotations: { lockstep.dev/prune: keep } }
data: { a: b }
"#;

/// How long a cluster may take until a policy is in force, or is not any more.
const IN_FORCE: Duration = Duration::from_secs(60);

impl Scene {
    /// Has the API server refuse to delete the ConfigMap `guarded`; the policy's name.
    async fn guard(&self) -> Result<String> {
        let name = format!("guard-{}", self.backend);
        let policy = json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
            "metadata": { "name": name },
            "spec": {
                "failurePolicy": "Fail",
                "matchConstraints": { "resourceRules": [{
                    "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"],
                    "operations": ["DELETE"], "resourceNames": ["guarded"],
                }] },
                "validations": [{ "expression": "false", "message": "nobody deletes this" }],
            },
        });
        let binding = json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingAdmissionPolicyBinding",
            "metadata": { "name": name },
            "spec": {
                "policyName": name, "validationActions": ["Deny"],
                "matchResources": { "namespaceSelector": { "matchLabels": {
                    "kubernetes.io/metadata.name": self.backend,
                } } },
            },
        });
        for object in [policy, binding] {
            self.stage.cluster.apply(&self.backend, &object.to_string()).await?;
        }
        self.deletes("guarded", false).await?;
        Ok(name)
    }

    /// Waits until the server would delete a ConfigMap, or would not.
    async fn deletes(&self, name: &str, wanted: bool) -> Result<()> {
        let delete = ["delete", "configmap", name, "-n", &self.backend, "--dry-run=server"];
        until("the policy is as it was made", IN_FORCE, || async {
            let deleted = self.stage.cluster.kubectl(&delete).await;
            if deleted.is_ok() == wanted { Ok(()) } else { Err(format!("{deleted:?}")) }
        })
        .await
    }

    /// The names of the objects that a next run may prune.
    async fn inventory(&self) -> Result<Vec<String>> {
        let secret = self.object(&self.backend, "secrets", "lockstep.shop.backend").await?;
        let secret = secret.context("an inventory")?;
        let text = secret["data"][&self.backend].as_str().context("of this namespace")?;
        let inventory: Value = serde_json::from_slice(&BASE64_STANDARD.decode(text)?)?;
        let objects = inventory["objects"].as_array().context("objects")?;
        let names = objects.iter().filter_map(|item| item["key"]["name"].as_str());
        let mut names: Vec<String> = names.map(str::to_owned).collect();
        names.sort_unstable();
        Ok(names)
    }

    /// The names of the ConfigMaps that there are, but for what every namespace has.
    async fn config_maps(&self) -> Result<Vec<String>> {
        let all = self.stage.cluster.get(&["configmaps", "-n", &self.backend]).await?;
        let all = all["items"].as_array().context("a list")?;
        let names = all.iter().filter_map(|object| object["metadata"]["name"].as_str());
        let names = names.filter(|name| *name != "kube-root-ca.crt");
        Ok(names.map(str::to_owned).collect())
    }
}

#[tokio::test]
async fn what_is_dropped_is_deleted_unless_it_is_kept_or_another_or_held_by_the_server()
-> Result<()> {
    let scene = Scene::open(PIPELINE).await?;
    let cluster = scene.stage.cluster;
    scene.stage.write("backend.yaml", &format!("{STAYS}{DROPPED}"))?;
    let _agent = scene.agent().await?;
    scene.stage.run_as("r1").await?.expect(0)?;
    let all = ["another", "guarded", "kept", "plain", "stays"];
    assert_eq!(scene.inventory().await?, all);
    // The same name and label, but nothing that a run of ours has made.
    cluster.kubectl(&["delete", "configmap", "another", "-n", &scene.backend]).await?;
    let another = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": { "name": "another", "labels": { OWNER_LABEL: "shop.backend" } },
    });
    cluster.apply(&scene.backend, &another.to_string()).await?;
    let policy = scene.guard().await?;

    scene.stage.write("backend.yaml", STAYS)?;
    let text = scene.stage.run_as("r2").await?.expect(0)?;
    let warned = "guarded was dropped and could not be deleted: ";
    let line = text.lines().find(|line| line.contains(warned));
    let line = line.with_context(|| text.clone())?;
    ensure!(line.contains("warning") && line.contains("nobody deletes this"), "{text}");
    let mut warnings = text.lines().filter(|line| line.contains("was dropped"));
    ensure!(warnings.all(|line| line.contains(warned)), "nothing else is warned of: {text}");
    assert_eq!(scene.config_maps().await?, ["another", "guarded", "kept", "stays"]);
    assert_eq!(scene.inventory().await?, ["guarded", "stays"], "what a next run may prune");

    let kinds = "validatingadmissionpolicybindings,validatingadmissionpolicies";
    cluster.kubectl(&["delete", kinds, &policy]).await?;
    scene.deletes("guarded", true).await?;
    let text = scene.stage.run_as("r3").await?.expect(0)?;
    ensure!(!text.contains("was dropped"), "{text}");
    assert_eq!(scene.config_maps().await?, ["another", "kept", "stays"]);
    assert_eq!(scene.inventory().await?, ["stays"]);
    Ok(())
}
