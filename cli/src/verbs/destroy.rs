//! `destroy`: takes away what a pipeline's workflows deployed to their clusters.

use lockstep_agent::kubernetes::{
    client::Access,
    destroy::{Destroyed, destroy},
};
use lockstep_shared::{
    id::WorkflowName,
    plan::{KubernetesTarget, Plan, Target},
};
use serde::Serialize;

use crate::{
    context::Context,
    exit::Exit,
    failure::{Failure, OrExit, Outcome},
    output::{Format, Show, print, render_all},
    pipeline_file::{self, FileArgs},
    terminal::{Paint, Style, line},
};

/// Delete everything that a pipeline's workflows ever deployed to Kubernetes: what bears their owner
/// labels in their namespaces, last installed first.
///
/// Persistent volume claims are kept. A workflow with a run that may have to be undone is refused;
/// what its agents kept is looked for in every namespace, unless --kube-namespace says where it is.
/// Agents that run should be stopped before. Exits with 8 if something could not be deleted.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    file: FileArgs,
    /// Only this workflow; may be given more than once
    #[arg(long, short, value_name = "NAME")]
    workflow: Vec<WorkflowName>,
    /// Do it: without this, nothing is deleted
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    kubernetes: Access,
    /// The shape of the answer
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    output: Format,
}

/// What became of one workflow's objects.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Gone {
    workflow: WorkflowName,
    namespace: String,
    deleted: Vec<String>,
    kept: Vec<String>,
    left: Vec<String>,
}

impl Show for Gone {
    fn text(&self, paint: Paint) -> String {
        let heading = format!("{} in {}", self.workflow, line(&self.namespace));
        let mut text = format!("{}\n", paint.paint(Style::Bold, heading));
        let lists = [("deleted", &self.deleted), ("kept", &self.kept), ("left", &self.left)];
        for (what, list) in lists {
            list.iter().for_each(|each| text.push_str(&format!("  {what} {}\n", line(each))));
        }
        if lists.iter().all(|(_, list)| list.is_empty()) {
            text.push_str("  nothing is there\n");
        }
        text
    }

    fn name(&self) -> String {
        self.deleted.join("\n")
    }
}

pub(crate) async fn run(args: Args, context: Context) -> Outcome {
    let ready =
        pipeline_file::ready(&args.file.file, &args.file.inputs, false, context.err).await?;
    let wanted = wanted(&ready.plan, &args.workflow)?;
    if !args.yes {
        let named: Vec<String> = wanted
            .iter()
            .map(|(name, target)| format!("{name} in namespace {}", target.namespace))
            .collect();
        return Err(Failure::usage(format!(
            "this would delete everything that was deployed by {}",
            lockstep_shared::fold::listed(named)
        ))
        .help("stop the agents, then give --yes"));
    }
    let mut all = Vec::new();
    for (name, target) in wanted {
        let found = take_away(&args.kubernetes, &ready.plan, name, target).await?;
        let (workflow, namespace) = (name.clone(), target.namespace.clone());
        let Destroyed { deleted, kept, left } = found;
        all.push(Gone { workflow, namespace, deleted, kept, left });
    }
    print(&render_all(&all, args.output, context.out)?)?;
    let whole = all.iter().all(|gone| gone.left.is_empty());
    Ok(if whole { Exit::Done } else { Exit::Unavailable })
}

/// The workflows with a Kubernetes target, or those of them that are named.
fn wanted<'a>(
    plan: &'a Plan,
    named: &[WorkflowName],
) -> Result<Vec<(&'a WorkflowName, &'a KubernetesTarget)>, Failure> {
    let clusters = plan.workflows.iter().filter_map(|(name, workflow)| match &workflow.target {
        Target::Kubernetes(target) => Some((name, target)),
        _ => None,
    });
    let found: Vec<_> =
        clusters.filter(|(name, _)| named.is_empty() || named.contains(name)).collect();
    let unknown = named.iter().find(|name| !found.iter().any(|(known, _)| known == name));
    match unknown {
        Some(name) => Err(Failure::usage(format!(
            "the pipeline has no workflow {name} with a Kubernetes target"
        ))),
        None if found.is_empty() => {
            Err(Failure::invalid("no workflow of this pipeline has a Kubernetes target"))
        }
        None => Ok(found),
    }
}

async fn take_away(
    access: &Access,
    plan: &Plan,
    name: &WorkflowName,
    target: &KubernetesTarget,
) -> Result<Destroyed, Failure> {
    let cluster = access.from_outside(target).cluster(None).await;
    let cluster = cluster.or_exit(Exit::Invalid, format!("cannot reach the cluster of {name}"))?;
    let records = access.kube_namespace.as_deref();
    destroy(&cluster, target, &plan.pipeline, name, records)
        .await
        .or_exit(Exit::Unavailable, format!("nothing of {name} was deleted"))
}
