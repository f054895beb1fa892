//! Whole files: what good ones become, and what is said of bad ones.

mod bad_files;
mod parity;
mod plans;
mod random;

use std::path::PathBuf;

use super::{Files, Inputs, Pipeline, Planned};
use crate::diagnostics::Diagnostics;

fn folder(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata").join(name)
}

/// Only `k8s/backend` and `k8s/frontend.yaml` exist.
#[derive(Debug)]
struct FewFiles;

impl Files for FewFiles {
    fn count(&self, path: &str) -> usize {
        usize::from(["k8s/backend", "k8s/frontend.yaml"].contains(&path))
    }
}

fn plan_with(text: &str, inputs: &Inputs<'_>) -> Result<Planned, Diagnostics> {
    Pipeline::parse("pipeline.yaml", text)?.plan(inputs)
}

fn plan(text: &str) -> Result<Planned, Diagnostics> {
    plan_with(text, &Inputs { files: Some(&FewFiles), ..Inputs::default() })
}

/// The codes of everything that is wrong with a text.
fn codes(text: &str) -> Vec<&'static str> {
    match plan(text) {
        Ok(planned) => panic!("accepted: {planned:#?}"),
        Err(found) => found.findings().iter().map(|finding| finding.code.as_str()).collect(),
    }
}

/// A command workflow with these steps, as one line of YAML.
fn workflow(name: &str, steps: &str) -> String {
    format!("    - {{ name: {name}, target: {{ command: {{}} }}, steps: [{steps}] }}\n")
}

/// A pipeline of command workflows.
fn pipeline(settings: &str, workflows: &[(&str, &str)]) -> String {
    let listed: String = workflows.iter().map(|(name, steps)| workflow(name, steps)).collect();
    format!(
        "apiVersion: lockstep.dev/v1alpha1\nkind: Pipeline\nmetadata: {{ name: shop }}\n\
         spec:\n{settings}  workflows:\n{listed}"
    )
}
