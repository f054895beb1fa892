//! What `deploy` steps bring: found in the user's folder and rendered by the user's programs.
//!
//! Decides which texts a step consists of. What they hold is read and checked by
//! `lockstep_shared::manifest`, the same way for every source. A step's `healthy` is tried here too,
//! by the agent's own reader, since no other crate knows that language.

mod files;
mod folder;
mod program;
mod render;

use lockstep_agent::kubernetes::health::Rules;
use lockstep_shared::{
    error_code::Code,
    manifest::{Gathered, Problem, Rendered},
    plan::{Action, Deploy, DeploySource, KubernetesTarget, Plan, Target},
};

pub(crate) use folder::Folder;

/// Finds the manifests of every `deploy` step of a plan.
pub(crate) async fn gather(plan: &Plan, folder: &Folder) -> Vec<Gathered> {
    let mut gathered = Vec::new();
    for (name, workflow) in plan.active() {
        let Target::Kubernetes(target) = &workflow.target else { continue };
        for (step, of_step) in workflow.steps.iter().enumerate() {
            let Action::Deploy(deploy) = &of_step.action else { continue };
            let found = find(&deploy.source, target, folder).await;
            let wrong = rules(deploy).into_iter().collect();
            gathered.push(Gathered { workflow: name.clone(), step, found, wrong });
        }
    }
    gathered
}

/// What is wrong with a step's `healthy`, read as its agent will read it.
fn rules(deploy: &Deploy) -> Option<Problem> {
    let error = Rules::compile(&deploy.healthy).err()?;
    Some(problem(Code::BadHealthRule, error.to_string()))
}

async fn find(
    source: &DeploySource,
    target: &KubernetesTarget,
    folder: &Folder,
) -> Result<Rendered, Problem> {
    match source {
        DeploySource::Manifests(paths) => {
            Ok(Rendered { texts: files::read(paths, folder)?, hooks: Vec::new() })
        }
        DeploySource::Kustomize(path) => render::kustomize(path, folder).await,
        DeploySource::Helm { chart, release, values, set } => {
            let chart = render::Chart { chart, release, values, set };
            chart.render(&target.namespace, folder).await
        }
    }
}

/// A problem whose code says what to do next.
fn problem(code: Code, message: String) -> Problem {
    Problem { code, message, help: None }
}
