//! Whole texts: what they become, and what is said of bad ones.

mod checks;
mod reading;

use super::{Deployment, Gathered, Rendered, Text, deployment};
use crate::{
    diagnostics::Diagnostics,
    pipeline::{Inputs, Pipeline, Planned},
};

/// A pipeline of workflows, each given as its name, the settings of its target, and the settings
/// of its `deploy` steps.
fn planned(workflows: &[(&str, &str, &[&str])], skipped: &[&str]) -> Planned {
    let mut text = "apiVersion: lockstep.dev/v1alpha1\nkind: Pipeline\nmetadata: { name: shop }\n\
                    spec:\n  workflows:\n"
        .to_owned();
    for (name, target, steps) in workflows {
        text.push_str(&format!(
            "    - name: {name}\n      target: {{ kubernetes: {{ {target} }} }}\n      steps:\n"
        ));
        for step in *steps {
            text.push_str(&format!("        - deploy: {{ manifests: [k8s], {step} }}\n"));
        }
    }
    let skip_checks = skipped.iter().map(|code| (*code).to_owned()).collect();
    let inputs = Inputs { skip_checks, ..Inputs::default() };
    match Pipeline::parse("pipeline.yaml", &text).and_then(|pipeline| pipeline.plan(&inputs)) {
        Ok(planned) => planned,
        Err(refused) => panic!("{}", refused.to_plain_text()),
    }
}

/// The texts of a step, by path.
fn step(workflow: &str, step: usize, texts: &[(&str, &str)]) -> Gathered {
    let texts = texts.iter().map(|(path, text)| Text {
        path: (*path).to_owned(),
        shown: format!("here/{path}"),
        text: (*text).to_owned(),
    });
    let found = Ok(Rendered { texts: texts.collect(), hooks: Vec::new() });
    Gathered { workflow: workflow.parse().unwrap(), step, found, wrong: Vec::new() }
}

/// One workflow with one step of one text.
fn one(settings: &str, text: &str) -> Result<Deployment, Vec<Diagnostics>> {
    let planned = planned(&[("web", "namespace: web", &[settings])], &[]);
    deployment(&planned, &[step("web", 0, &[("k8s/web.yaml", text)])])
}

/// What is said of everything that is wrong.
fn said(refused: Result<Deployment, Vec<Diagnostics>>) -> String {
    match refused {
        Ok(deployment) => panic!("accepted: {deployment:#?}"),
        Err(all) => all.iter().map(Diagnostics::to_plain_text).collect(),
    }
}

/// A ConfigMap of this name.
fn map(name: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\n")
}
