//! Whether these credentials may do in a cluster what a pipeline's agents have to (`--kube`).

use std::path::PathBuf;

use lockstep_agent::kubernetes::client::{Access, Cluster};
use lockstep_shared::{
    id::WorkflowName,
    manifest::Bundle,
    plan::{KubernetesTarget, Plan, Target},
};

use super::{Look, State, kinds::Kinds, needs::Needs};
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
    /// in their clusters, and show the Roles that each needs
    #[arg(long = "kube", value_name = "FILE", group = "claimed")]
    file: Option<PathBuf>,
    #[command(flatten)]
    inputs: InputArgs,
    #[command(flatten)]
    access: Access,
}

/// Whose rights, and where.
#[derive(Debug, Clone, Copy)]
pub(super) struct Whose<'a> {
    pub(super) plan: &'a Plan,
    pub(super) name: &'a WorkflowName,
    pub(super) target: &'a KubernetesTarget,
    pub(super) bundle: Option<&'a Bundle>,
}

impl Kube {
    pub(super) fn is_wanted(&self) -> bool {
        self.file.is_some()
    }

    /// Looks at one workflow, or at all.
    pub(super) async fn look(
        &self,
        only: Option<&WorkflowName>,
        looks: &mut Vec<Look>,
        paint: Paint,
    ) -> Result<Exit, Failure> {
        let Some(file) = &self.file else { return Ok(Exit::Done) };
        let ready = pipeline_file::ready(file, &self.inputs, false, paint).await?;
        let mut exit = Exit::Done;
        let is_meant = |name: &WorkflowName| only.is_none_or(|only| only == name);
        for (name, workflow) in ready.plan.active().filter(|(name, _)| is_meant(name)) {
            let Target::Kubernetes(target) = &workflow.target else { continue };
            let bundle = ready.bundles.get(name);
            let look = self.workflow(Whose { plan: &ready.plan, name, target, bundle }).await;
            let look = look.unwrap_or_else(|failure| Look::of("kubernetes", &failure));
            if look.state == State::Fail {
                exit = Exit::Unavailable;
            }
            looks.push(look);
        }
        if looks.len() == 1 {
            let whose = only.map_or("no workflow of this pipeline".to_owned(), |only| {
                format!("this pipeline has no workflow {only} that")
            });
            return Err(Failure::invalid(format!("{whose} has a Kubernetes target")));
        }
        Ok(exit)
    }

    async fn workflow(&self, whose: Whose<'_>) -> Result<Look, Failure> {
        let Whose { name, target, .. } = whose;
        let cannot = format!("cannot look at the cluster of {name}");
        let mut access = self.access.from_outside(target);
        access.kube_namespace.get_or_insert_with(|| target.namespace.clone());
        let cluster = access.cluster(None).await;
        let cluster = cluster.or_exit(Exit::Invalid, &cannot)?;
        look_at(&cluster, whose).await.or_exit(Exit::Unavailable, &cannot)
    }
}

async fn look_at(cluster: &Cluster, whose: Whose<'_>) -> anyhow::Result<Look> {
    let kinds = Kinds::find(cluster, whose).await?;
    let needs = Needs::of(cluster, whose, &kinds).await?;
    let lacks = needs.lacks(cluster).await?;
    Ok(needs.told(lacks))
}
