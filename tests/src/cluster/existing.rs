//! A cluster that was there before: with `USE_EXISTING_CLUSTER=true`, the one of `KUBECONFIG`.
//!
//! It may have nodes and pods of its own. So the fake node refuses pods that do not ask for it, and
//! an admission policy lets every pod of the test's own namespaces ask for it. All of that is
//! deleted at the end, also if the test was killed.

use std::{
    path::{Path, PathBuf},
    sync::Mutex,
};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use super::{Cluster, LABEL, children::Children, looks::Looker, programs, start};
use crate::world::{SOON, until};

const WANTED_VARIABLE: &str = "USE_EXISTING_CLUSTER";

/// The kubeconfig of the existing cluster, if it is to be used.
pub(super) fn wanted() -> Result<Option<PathBuf>> {
    wanted_by(&|name| std::env::var(name).ok())
}

fn wanted_by(environment: &dyn Fn(&str) -> Option<String>) -> Result<Option<PathBuf>> {
    match environment(WANTED_VARIABLE).as_deref() {
        None | Some("" | "false") => return Ok(None),
        Some("true") => {}
        Some(other) => bail!("{WANTED_VARIABLE} is {other}: set it to true, or unset it"),
    }
    let kubeconfig = environment("KUBECONFIG").filter(|path| !path.is_empty());
    let Some(kubeconfig) = kubeconfig.map(PathBuf::from) else {
        bail!(
            "{WANTED_VARIABLE}=true needs KUBECONFIG: set it to the kubeconfig of a cluster for tests"
        );
    };
    if !kubeconfig.is_file() {
        bail!("KUBECONFIG is {}, which is no file: set it to one kubeconfig", kubeconfig.display());
    }
    Ok(Some(kubeconfig))
}

/// The spec of a node that only runs pods that ask for it.
pub(super) fn keep_others_away(id: &str) -> Value {
    json!({ "taints": [{ "key": LABEL, "value": id, "effect": "NoSchedule" }] })
}

impl Cluster {
    pub(super) async fn attach(kubeconfig: &Path) -> Result<Self> {
        let folder = start::new_folder()?;
        let children = Children::in_folder(&folder)?;
        let id = format!("test-{:08x}", rand::random::<u32>());
        let kwok = start::kwok(&folder, kubeconfig, None, &id)?;
        let mut cluster = Self {
            server: String::new(),
            kubeconfig: kubeconfig.to_owned(),
            kubectl: programs::find("kubernetes", "kubectl")?,
            looker: Looker::new(kubeconfig.to_owned()),
            view: OnceCell::new(),
            id,
            plane: None,
            relay: None,
            children: Mutex::new(children),
            folder,
        };
        let server = cluster.view().await?.pointer("/clusters/0/cluster/server");
        let server = server.and_then(Value::as_str).context("the kubeconfig names no server")?;
        let server = server.to_owned();
        cluster.server = server;
        std::fs::write(cluster.folder.join("farewell"), cluster.farewell())?;
        cluster.bring_pods().await?;
        let node = cluster.id.clone();
        cluster.add_fake_node(&kwok, &node).await?;
        Ok(cluster)
    }

    /// Lets every pod of the test's namespaces ask for the test's node.
    async fn bring_pods(&self) -> Result<()> {
        let id = &self.id;
        let labels = json!({ LABEL: id });
        let policy = json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "MutatingAdmissionPolicy",
            "metadata": { "name": id, "labels": labels },
            "spec": {
                "reinvocationPolicy": "Never",
                "failurePolicy": "Fail",
                "matchConstraints": { "resourceRules": [{
                    "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"],
                    "operations": ["CREATE"],
                }] },
                "mutations": [
                    { "patchType": "JSONPatch", "jsonPatch": { "expression": select(id) } },
                    { "patchType": "JSONPatch", "jsonPatch": { "expression": tolerate(id) } },
                ],
            },
        });
        let binding = json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "MutatingAdmissionPolicyBinding",
            "metadata": { "name": id, "labels": labels },
            "spec": {
                "policyName": id,
                "matchResources": { "namespaceSelector": { "matchLabels": labels } },
            },
        });
        for object in [policy, binding] {
            let arguments = ["create", "-f", "-"];
            let made = self.kubectl_as(&self.kubeconfig, &arguments, &object.to_string()).await;
            made.context(
                "an existing cluster needs MutatingAdmissionPolicy v1 (Kubernetes 1.36 or newer) \
                 and an administrator; unset USE_EXISTING_CLUSTER to have one started",
            )?;
        }
        self.brings_pods().await
    }

    /// Waits until the policy is in force.
    async fn brings_pods(&self) -> Result<()> {
        let namespace = self.namespace("lockstep-policy").await?;
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "trial" },
            "spec": { "containers": [{ "name": "main", "image": "trial" }] },
        });
        let (pod, namespace) = (&pod.to_string(), &namespace);
        until("pods are brought to the fake node", SOON, || async move {
            let arguments =
                ["create", "-n", namespace, "--dry-run=server", "-o", "json", "-f", "-"];
            let made = self.kubectl_as(&self.kubeconfig, &arguments, pod).await;
            let made = made.map_err(|error| format!("{error:#}"))?;
            let made: Value = serde_json::from_str(&made).map_err(|error| error.to_string())?;
            let brought = made["spec"]["nodeSelector"][LABEL] == self.id.as_str();
            if brought { Ok(()) } else { Err(made["spec"].to_string()) }
        })
        .await
    }

    /// The script that takes everything away again.
    fn farewell(&self) -> String {
        let kinds = "namespaces,nodes,mutatingadmissionpolicies,mutatingadmissionpolicybindings";
        format!(
            "'{}' --kubeconfig '{}' delete {kinds} --selector '{LABEL}={}' --wait=false \
             --ignore-not-found\n",
            self.kubectl.display(),
            self.kubeconfig.display(),
            self.id
        )
    }
}

/// In CEL: the pod asks for the node, besides what it asks for itself.
fn select(id: &str) -> String {
    let key = LABEL.replace('/', "~1");
    format!(
        "has(object.spec.nodeSelector) \
         ? [JSONPatch{{ op: 'add', path: '/spec/nodeSelector/{key}', value: '{id}' }}] \
         : [JSONPatch{{ op: 'add', path: '/spec/nodeSelector', value: {{'{LABEL}': '{id}'}} }}]"
    )
}

/// In CEL: the pod tolerates what keeps others away from the node.
fn tolerate(id: &str) -> String {
    let one =
        format!("Object.spec.tolerations{{ key: '{LABEL}', operator: 'Equal', value: '{id}' }}");
    format!(
        "has(object.spec.tolerations) \
         ? [JSONPatch{{ op: 'add', path: '/spec/tolerations/-', value: {one} }}] \
         : [JSONPatch{{ op: 'add', path: '/spec/tolerations', value: [{one}] }}]"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_existing_cluster_is_used_only_if_both_variables_say_so() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().display().to_string();
        let with = |existing: &str, kubeconfig: &str| {
            let (existing, kubeconfig) = (existing.to_owned(), kubeconfig.to_owned());
            wanted_by(&move |name| {
                let value = if name == WANTED_VARIABLE { &existing } else { &kubeconfig };
                Some(value.clone())
            })
        };
        assert_eq!(with("true", &path).unwrap().as_deref(), Some(file.path()));
        assert_eq!(with("", &path).unwrap(), None);
        assert!(with("true", "").unwrap_err().to_string().contains("needs KUBECONFIG"));
        assert!(with("true", "/nowhere").unwrap_err().to_string().contains("is no file"));
        assert!(with("yes", &path).unwrap_err().to_string().contains("set it to true"));
    }
}
