//! Whether these credentials may do in a cluster what a pipeline's agents have to (`--kube`).

use std::{collections::BTreeSet, path::PathBuf};

use lockstep_agent::kubernetes::{
    client::{Access, Cluster, Refusal},
    object::ObjectKey,
    order::defines,
    rights::{self, Rights, Subject},
};
use lockstep_shared::{
    id::WorkflowName,
    manifest::Bundle,
    plan::{KubernetesTarget, Target},
};
use serde_json::Value;

use super::Look;
use crate::{
    exit::Exit,
    failure::{Failure, OrExit},
    pipeline_file::{self, InputArgs},
    terminal::Paint,
};

/// Which pipeline's rights are looked at.
#[derive(Debug, clap::Args)]
pub(super) struct Kube {
    /// Look instead whether these credentials may do what the agents of this pipeline file have to
    /// in their clusters, and show the Role that each needs
    #[arg(long = "kube", value_name = "FILE")]
    file: Option<PathBuf>,
    #[command(flatten)]
    access: Access,
}

impl Kube {
    pub(super) fn is_wanted(&self) -> bool {
        self.file.is_some()
    }

    pub(super) async fn look(&self, looks: &mut Vec<Look>, paint: Paint) -> Result<Exit, Failure> {
        let Some(file) = &self.file else { return Ok(Exit::Done) };
        let ready = pipeline_file::ready(file, &InputArgs::default(), false, paint).await?;
        let mut exit = Exit::Done;
        for (name, workflow) in ready.plan.active() {
            let Target::Kubernetes(target) = &workflow.target else { continue };
            let look = match self.workflow(name, target, ready.bundles.get(name)).await {
                Ok(look) => look,
                Err(failure) => Look::of("kubernetes", &failure),
            };
            if look.state == super::State::Fail {
                exit = Exit::Unavailable;
            }
            looks.push(look);
        }
        if looks.len() == 1 {
            return Err(Failure::invalid("no workflow of this pipeline has a Kubernetes target"));
        }
        Ok(exit)
    }

    async fn workflow(
        &self,
        name: &WorkflowName,
        target: &KubernetesTarget,
        bundle: Option<&Bundle>,
    ) -> Result<Look, Failure> {
        let cannot = format!("cannot look at the cluster of {name}");
        let mut access = self.access.from_outside(target);
        access.kube_namespace.get_or_insert_with(|| target.namespace.clone());
        let cluster = access.cluster(None).await;
        let cluster = cluster.or_exit(Exit::Invalid, &cannot)?;
        let deployed = deployed(&cluster, bundle).await.or_exit(Exit::Unavailable, &cannot)?;
        let at_target = rights::at_target(&deployed.namespaced);
        let cluster_wide = rights::cluster_wide(&deployed.cluster_wide);
        let missing = rights::missing(&cluster, &target.namespace, &at_target).await;
        let mut missing = missing.or_exit(Exit::Unavailable, &cannot)?;
        let at_home = rights::missing(&cluster, cluster.namespace(), &rights::at_home()).await;
        missing = rights::together(missing, at_home.or_exit(Exit::Unavailable, &cannot)?);
        let on_cluster = rights::missing(&cluster, "", &cluster_wide).await;
        missing = rights::together(missing, on_cluster.or_exit(Exit::Unavailable, &cannot)?);
        let all = rights::together(at_target, rights::at_home());
        let namespace = &target.namespace;
        let granted = rights::beyond(&granted(bundle), &all);
        let not_held = rights::missing_of(&cluster, namespace, &granted).await;
        let not_held = not_held.or_exit(Exit::Unavailable, &cannot)?;
        let called = format!("lockstep-{name}");
        let mut role = yaml(&rights::role(&called, namespace, &all, &granted))?;
        if !cluster_wide.is_empty() {
            let name = format!("lockstep-{namespace}-{name}");
            role = format!("{role}---\n{}", yaml(&rights::cluster_role(&name, &cluster_wide))?);
        }
        let lacking = [told(&missing), not_held].concat();
        if lacking.is_empty() {
            let found = format!("{name} may do everything that it needs in {namespace}:\n{role}");
            return Ok(Look::ok("kubernetes", found));
        }
        let found = format!(
            "{name} may not {} in {namespace}; it needs this Role:\n{role}",
            lockstep_shared::fold::listed(lacking)
        );
        Ok(Look::fail("kubernetes", found, "apply the Role and bind it to the agent's account"))
    }
}

/// Each right that is missing: `patch deployments.apps`.
fn told(missing: &Rights) -> Vec<String> {
    let each = |(subject, verbs): (&Subject, &BTreeSet<&str>)| {
        let group = if subject.group.is_empty() { "" } else { "." };
        let verbs: Vec<&str> = verbs.iter().copied().collect();
        format!("{} {}{group}{}", verbs.join(", "), subject.resource, subject.group)
    };
    missing.iter().map(each).collect()
}

/// What the Roles among the manifests grant.
fn granted(bundle: Option<&Bundle>) -> Vec<Value> {
    let manifests = bundle.into_iter().flat_map(|bundle| bundle.steps.values().flatten());
    let is_role = |object: &&Value| {
        let version = object["apiVersion"].as_str().unwrap_or_default();
        version.starts_with("rbac.authorization.k8s.io/") && object["kind"] == "Role"
    };
    let roles = manifests.map(|manifest| &manifest.object).filter(is_role);
    roles.filter_map(|role| role["rules"].as_array()).flatten().cloned().collect()
}

fn yaml(role: &Value) -> Result<String, Failure> {
    let text = serde_saphyr::to_string(role);
    let text = text.or_exit(Exit::Internal, "cannot write a Role as YAML")?;
    Ok(format!("{}\n", text.trim_end()))
}

/// The kinds that a bundle brings, as rights name them.
#[derive(Debug, Default)]
struct Deployed {
    namespaced: BTreeSet<Subject>,
    cluster_wide: BTreeSet<Subject>,
}

async fn deployed(cluster: &Cluster, bundle: Option<&Bundle>) -> Result<Deployed, Refusal> {
    let mut deployed = Deployed::default();
    let manifests = || bundle.into_iter().flat_map(|bundle| bundle.steps.values().flatten());
    for manifest in manifests() {
        let text = |name: &str| manifest.object.get(name).and_then(Value::as_str);
        let (version, kind) = (text("apiVersion").unwrap_or(""), text("kind").unwrap_or(""));
        let group = version.split_once('/').map_or("", |(group, _)| group).to_owned();
        let (resource, namespaced) = match cluster.resource(version, kind).await? {
            Some(served) => (served.plural, served.namespaced),
            None => {
                let definition = ObjectKey::of(&manifest.object).ok().and_then(|key| {
                    manifests().find(|other| defines(&other.object, &key)).map(|it| &it.object)
                });
                will_be_served(definition, kind)
            }
        };
        let subject = Subject { group, resource };
        match namespaced {
            true => deployed.namespaced.insert(subject),
            false => deployed.cluster_wide.insert(subject),
        };
    }
    Ok(deployed)
}

/// What a kind that is not served yet is called, and whether its objects are in namespaces: its
/// definition says it, and without one it is guessed.
fn will_be_served(definition: Option<&Value>, kind: &str) -> (String, bool) {
    let text = |pointer: &str| definition?.pointer(pointer)?.as_str();
    let plural = text("/spec/names/plural").map(str::to_owned);
    let is_clusters = text("/spec/scope") == Some("Cluster");
    (plural.unwrap_or_else(|| kind.to_lowercase() + "s"), !is_clusters)
}
