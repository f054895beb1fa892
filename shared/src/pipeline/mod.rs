//! The pipeline file: read with places kept, checked, and made into a plan.
//!
//! Knows nothing of the file system: whether the files that steps name exist is asked through
//! [`Files`], which the command line answers for the pipeline file's folder. What manifests hold
//! is looked at by [`manifest`](crate::manifest).

pub(crate) mod draft;
pub mod duration;
mod fields;
pub(crate) mod keys;
mod read;
pub(crate) mod reader;
pub(crate) mod suggest;
pub(crate) mod tree;
pub(crate) mod yaml;

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

pub(crate) use draft::{Draft, WorkflowDraft};
use read::Head;
use tree::Node;

use crate::{
    check,
    diagnostics::{Diagnostics, Findings, Place},
    error_code::Code,
    id::{PipelineName, StepIndex, WorkflowName},
    plan::{MAX_PLAN_BYTES, Plan},
    resolve::{self, Scope},
};

/// A pipeline file that could be read as YAML.
#[derive(Debug, Clone)]
pub struct Pipeline {
    source_name: String,
    text: String,
    root: Node,
    head: Head,
    /// What reading the head found; told together with everything else.
    findings: Findings,
}

/// What a run brings to a pipeline.
#[derive(Debug, Clone, Default)]
pub struct Inputs<'a> {
    /// Values of parameters, by name.
    pub params: BTreeMap<String, String>,
    /// Codes of the checks to turn off, with or without `lockstep::`.
    pub skip_checks: BTreeSet<String>,
    /// Whether the run is to end at the release of `_prepare` without writing anything.
    pub plan_only: bool,
    /// Where files are looked for; without it, missing files are not checked.
    pub files: Option<&'a dyn Files>,
}

impl Inputs<'_> {
    /// The checks that are turned off, in the order of their table.
    pub(crate) fn skipped(&self) -> impl Iterator<Item = Code> {
        let named: BTreeSet<Code> =
            self.skip_checks.iter().filter_map(|text| text.parse().ok()).collect();
        named.into_iter().filter(|code| code.is_skippable())
    }
}

/// The files beside a pipeline file. Asked only with paths that the file names.
pub trait Files: fmt::Debug {
    /// How many regular files a path names, seen from the pipeline file's folder: a file is one,
    /// a folder counts what is in it at any depth, a path with `*`, `?` or `[` what it matches.
    /// Counting may stop at one.
    fn count(&self, path: &str) -> usize;
}

/// A parameter that a pipeline declares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Param {
    /// Its name.
    pub name: String,
    /// Its value if the run is given none.
    pub default: Option<String>,
    /// The only values it may have; empty means any.
    pub allowed: Vec<String>,
}

/// A plan, and what its checks warn of.
#[derive(Debug, Clone)]
pub struct Planned {
    /// The plan.
    pub plan: Plan,
    /// Warnings and advice; no errors.
    pub warnings: Diagnostics,
    /// Where the file writes each step that takes part.
    places: BTreeMap<(WorkflowName, StepIndex), Place>,
}

impl Planned {
    /// Where the file writes a step.
    pub(crate) fn place_of(&self, workflow: &WorkflowName, step: StepIndex) -> Place {
        self.places.get(&(workflow.clone(), step)).copied().unwrap_or_default()
    }
}

impl Pipeline {
    /// Reads the text of a pipeline file; `source_name` is what messages call it.
    ///
    /// # Errors
    ///
    /// If the text is not a YAML document at all. Everything else that is wrong with it is told
    /// at once by [`Pipeline::plan`].
    pub fn parse(source_name: &str, text: &str) -> Result<Self, Diagnostics> {
        // A byte order mark is no part of the document.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut findings = Findings::default();
        let Some(root) = yaml::read(text, &mut findings) else {
            return Err(Diagnostics::new(source_name, text, findings));
        };
        let head = read::head(&root, &mut findings);
        let (source_name, text) = (source_name.to_owned(), text.to_owned());
        Ok(Self { source_name, text, root, head, findings })
    }

    /// The pipeline's name, if it has a valid one.
    pub fn name(&self) -> Option<&PipelineName> {
        self.head.name.as_ref()
    }

    /// The parameters that it declares, in the order of their names.
    pub fn params(&self) -> Vec<Param> {
        let declared = self.head.params.declared.iter();
        declared
            .map(|(name, param)| Param {
                name: name.clone(),
                default: param.default.as_ref().map(|default| default.value.clone()),
                allowed: param.allowed.clone(),
            })
            .collect()
    }

    /// Resolves and checks the pipeline for one run.
    ///
    /// # Errors
    ///
    /// If there is no such plan: everything that is wrong with the file or the inputs, at once.
    pub fn plan(&self, inputs: &Inputs<'_>) -> Result<Planned, Diagnostics> {
        let mut findings = self.findings.clone();
        check::skips(inputs, &mut findings);
        let values = self.head.params.values(&inputs.params, &mut findings);
        let scope = Scope::new(&self.text, &values);
        let draft = read::document(&self.root, &self.head, &scope, &mut findings);
        check::draft(&draft, inputs.files, &mut findings);
        let skipped: BTreeSet<Code> = inputs.skipped().collect();
        findings.retain(|finding| !skipped.contains(&finding.code));
        if findings.has_errors() {
            return Err(self.diagnostics(findings));
        }
        let places = draft.places();
        if !skipped.contains(&Code::NoUndo) {
            check::undos(&draft, &mut findings);
        }
        let Some(plan) = resolve::plan(draft, values, inputs) else {
            // Whatever keeps a draft from being whole is reported where it is read.
            findings.report(Code::BadValue, "the file could not be read whole");
            return Err(self.diagnostics(findings));
        };
        if let Err(finding) = check::size(&plan, MAX_PLAN_BYTES) {
            findings.add(finding);
            return Err(self.diagnostics(findings));
        }
        Ok(Planned { plan, warnings: self.diagnostics(findings), places })
    }

    fn diagnostics(&self, findings: Findings) -> Diagnostics {
        Diagnostics::new(&self.source_name, &self.text, findings)
    }
}
