//! Whether these credentials may do in a cluster what a pipeline's agents have to (`--kube`).

use std::{collections::BTreeSet, path::PathBuf};

use lockstep_agent::kubernetes::{
    client::{Access, Cluster},
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
        let at_target = rights::at_target(&deployed);
        let missing = rights::missing(&cluster, &target.namespace, &at_target).await;
        let mut missing = missing.or_exit(Exit::Unavailable, &cannot)?;
        let at_home = rights::missing(&cluster, cluster.namespace(), &rights::at_home()).await;
        missing = rights::together(missing, at_home.or_exit(Exit::Unavailable, &cannot)?);
        let all = rights::together(at_target, rights::at_home());
        let role = rights::role(&format!("lockstep-{name}"), &target.namespace, &all);
        let role = serde_saphyr::to_string(&role)
            .or_exit(Exit::Internal, "cannot write a Role as YAML")?;
        let namespace = &target.namespace;
        if missing.is_empty() {
            let found = format!("{name} may do everything that it needs in {namespace}:\n{role}");
            return Ok(Look::ok("kubernetes", found));
        }
        let found = format!(
            "{name} may not {} in {namespace}; it needs this Role:\n{role}",
            lockstep_shared::fold::listed(told(&missing))
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

/// The kinds that a bundle brings, as rights name them.
async fn deployed(
    cluster: &Cluster,
    bundle: Option<&Bundle>,
) -> Result<BTreeSet<Subject>, lockstep_agent::kubernetes::client::Refusal> {
    let mut subjects = BTreeSet::new();
    for manifest in bundle.into_iter().flat_map(|bundle| bundle.steps.values().flatten()) {
        let text = |name: &str| manifest.object.get(name).and_then(Value::as_str);
        let (version, kind) = (text("apiVersion").unwrap_or(""), text("kind").unwrap_or(""));
        let group = version.split_once('/').map_or("", |(group, _)| group).to_owned();
        let resource = cluster.resource(version, kind).await?;
        // A kind that is not served yet is usually called so.
        let resource = resource.map_or_else(|| kind.to_lowercase() + "s", |found| found.plural);
        subjects.insert(Subject { group, resource });
    }
    Ok(subjects)
}
