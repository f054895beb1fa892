//! From the texts that were gathered for a plan's `deploy` steps to one bundle per workflow.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    bundle::{Bundle, MAX_BUNDLE_BYTES, Manifest},
    duplicates::{self, Placed},
    identity::Identity,
    images, mask, object,
};
use crate::{
    diagnostics::{Diagnostics, Findings, Place},
    error_code::Code,
    fold::listed,
    id::{StepIndex, WorkflowName},
    pipeline::{Planned, suggest},
    plan::{Action, Deploy, KubernetesTarget, Target},
};

/// A text of manifests: a file, or what a program rendered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    /// What bundles and messages call it: its path from the pipeline file.
    pub path: String,
    /// What is drawn with findings: its path from where the user stands.
    pub shown: String,
    /// The text.
    pub text: String,
}

impl Text {
    /// The text without a byte order mark, which is no part of the first document.
    pub(super) fn content(&self) -> &str {
        self.text.strip_prefix('\u{feff}').unwrap_or(&self.text)
    }
}

/// What a `deploy` step's source holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rendered {
    /// The texts, in order.
    pub texts: Vec<Text>,
    /// Hooks of a chart, which nobody runs.
    pub hooks: Vec<String>,
}

/// What is wrong with a `deploy` step that is known to who gathered it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The check's code.
    pub code: Code,
    /// What failed and why.
    pub message: String,
    /// What to do next, if the code's own remedy is not it.
    pub help: Option<String>,
}

/// One `deploy` step with what was found for it.
#[derive(Debug, Clone)]
pub struct Gathered {
    /// Its workflow.
    pub workflow: WorkflowName,
    /// Its index in the plan.
    pub step: StepIndex,
    /// What its source holds, or why that cannot be told.
    pub found: Result<Rendered, Problem>,
    /// What else is wrong with it: what it says in the words of another language.
    pub wrong: Vec<Problem>,
}

/// What a plan's workflows are given to deploy.
#[derive(Debug, Clone)]
pub struct Deployment {
    /// A bundle for each workflow with a `deploy` step.
    pub bundles: BTreeMap<WorkflowName, Bundle>,
    /// What to think of; no errors.
    pub warnings: Diagnostics,
}

/// Reads and checks everything that was gathered for a plan.
///
/// # Errors
///
/// If something refuses the run: the findings, those in the pipeline file first and then those in
/// each text.
pub fn deployment(
    planned: &Planned,
    gathered: &[Gathered],
) -> Result<Deployment, Vec<Diagnostics>> {
    let mut reading = Reading::new(planned);
    for step in gathered {
        reading.step(step);
    }
    reading.finish()
}

/// What is known while the steps are read one by one.
struct Reading<'a> {
    planned: &'a Planned,
    /// What is wrong in the pipeline file.
    findings: Findings,
    /// What is wrong in each text. A file that several steps name is told of once.
    texts: BTreeMap<(&'a str, &'a str), Findings>,
    objects: Vec<Placed<'a>>,
}

impl<'a> Reading<'a> {
    fn new(planned: &'a Planned) -> Self {
        Self { planned, findings: Findings::default(), texts: BTreeMap::new(), objects: Vec::new() }
    }

    fn problem(&mut self, problem: &Problem, place: Place, what: &str) {
        let finding = self.findings.report(problem.code, &problem.message);
        finding.at(place, what);
        if let Some(help) = &problem.help {
            finding.help(help);
        }
    }

    fn step(&mut self, gathered: &'a Gathered) {
        let workflow = self.planned.plan.workflow(&gathered.workflow);
        let step = workflow.and_then(|workflow| workflow.steps.get(gathered.step));
        let (Some(workflow), Some(step)) = (workflow, step) else { return };
        let (Target::Kubernetes(target), Action::Deploy(deploy)) = (&workflow.target, &step.action)
        else {
            return;
        };
        let place = self.planned.place_of(&gathered.workflow, gathered.step);
        for problem in &gathered.wrong {
            self.problem(problem, place, "this step");
        }
        let rendered = match &gathered.found {
            Ok(rendered) => rendered,
            Err(problem) => return self.problem(problem, place, "this step's manifests"),
        };
        let whole = self.objects(gathered, rendered, target, deploy);
        let named = format!("step `{}` of workflow `{}`", step.name, gathered.workflow);
        if whole {
            self.nothing(gathered, &named);
            self.unused_images(gathered, deploy, &named);
            self.unused_rules(gathered, deploy, &named);
        }
        if !rendered.hooks.is_empty() {
            self.findings
                .report(
                    Code::HooksLeftOut,
                    format!("{named} does not run the chart's hooks: {}", listed(&rendered.hooks)),
                )
                .at(place, "only rendered");
        }
    }

    /// Reads the objects of a step; whether all of them could be.
    fn objects(
        &mut self,
        gathered: &'a Gathered,
        rendered: &'a Rendered,
        target: &'a KubernetesTarget,
        deploy: &Deploy,
    ) -> bool {
        let mut whole = true;
        for text in &rendered.texts {
            let content = text.content();
            let findings = self.texts.entry((&text.shown, content)).or_default();
            let mut own = Findings::default();
            let lines = Lines::of(content);
            for mut written in object::objects(content, &mut own) {
                whole &= object::settle(&mut written, target, &mut own);
                let mut used = BTreeSet::new();
                images::replace(&mut written.object, &deploy.images, &mut used);
                self.objects.push(Placed {
                    workflow: &gathered.workflow,
                    step: gathered.step,
                    text,
                    target,
                    identity: Identity::of(&written.object),
                    source: format!("{}:{}", text.path, lines.number(written.start.start)),
                    name: written.name,
                    object: written.object,
                    used,
                });
            }
            whole &= !own.has_errors();
            findings.extend(own);
        }
        whole
    }

    fn of_step(&self, gathered: &Gathered) -> impl Iterator<Item = &Placed<'a>> {
        let (workflow, step) = (gathered.workflow.clone(), gathered.step);
        self.objects.iter().filter(move |at| *at.workflow == workflow && at.step == step)
    }

    fn nothing(&mut self, gathered: &Gathered, named: &str) {
        if self.of_step(gathered).next().is_none() {
            let place = self.planned.place_of(&gathered.workflow, gathered.step);
            self.findings
                .report(Code::NoObjects, format!("{named} has nothing to deploy"))
                .at(place, "no manifest in what it names");
        }
    }

    fn unused_images(&mut self, gathered: &Gathered, deploy: &Deploy, named: &str) {
        let used: BTreeSet<&String> = self.of_step(gathered).flat_map(|at| &at.used).collect();
        let unused = deploy.images.keys().filter(|name| !used.contains(name));
        let unused: Vec<&str> = unused.map(String::as_str).collect();
        let Some(first) = unused.first() else { return };
        let mut there = BTreeSet::new();
        self.of_step(gathered).for_each(|at| images::names(&at.object, &mut there));
        let help = match suggest::nearest(first, there.iter().map(String::as_str)) {
            Some(near) => format!("did you mean `{near}`?"),
            None if there.is_empty() => "no container of this step has an image".to_owned(),
            None => format!("its containers have: {}", listed(&there)),
        };
        let place = self.planned.place_of(&gathered.workflow, gathered.step);
        self.findings
            .report(
                Code::UnusedImage,
                format!("no container of {named} has the image {}", listed(&unused)),
            )
            .at(place, "`images` of this step")
            .help(help);
    }

    fn unused_rules(&mut self, gathered: &Gathered, deploy: &Deploy, named: &str) {
        let kind = |at: &Placed<'_>| (at.identity.kind.clone(), at.identity.group.clone());
        let there: BTreeSet<(String, String)> = self.of_step(gathered).map(kind).collect();
        let is_used = |rule: &str| {
            there.iter().any(|(kind, group)| rule == kind || rule == format!("{kind}.{group}"))
        };
        let unused: Vec<&String> = deploy.healthy.keys().filter(|rule| !is_used(rule)).collect();
        let Some(first) = unused.first() else { return };
        let kinds: BTreeSet<&str> = there.iter().map(|(kind, _)| kind.as_str()).collect();
        let meant = first.split('.').next().unwrap_or(first);
        let help = match suggest::nearest(meant, kinds.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("its objects are of the kinds: {}", listed(&kinds)),
        };
        let place = self.planned.place_of(&gathered.workflow, gathered.step);
        self.findings
            .report(
                Code::UnusedHealthRule,
                format!("no object of {named} is of the kind {}", listed(&unused)),
            )
            .at(place, "`healthy` of this step")
            .help(help);
    }

    fn finish(mut self) -> Result<Deployment, Vec<Diagnostics>> {
        duplicates::check(self.planned, &self.objects, &mut self.findings, &mut self.texts);
        let mut steps: BTreeMap<&WorkflowName, BTreeMap<StepIndex, Vec<Manifest>>> =
            BTreeMap::new();
        for at in self.objects {
            let of_step = steps.entry(at.workflow).or_default().entry(at.step).or_default();
            of_step.push(Manifest { source: at.source, object: at.object });
        }
        let mut bundles = BTreeMap::new();
        for (workflow, steps) in steps {
            let first = steps.keys().next().copied().unwrap_or_default();
            let bundle = Bundle::new(steps);
            let bytes = bundle.to_json().len();
            if bytes > MAX_BUNDLE_BYTES {
                self.findings
                    .report(
                        Code::BundleTooLarge,
                        format!(
                            "the objects of workflow `{workflow}` have {bytes} bytes as JSON; the \
                             limit is {MAX_BUNDLE_BYTES}"
                        ),
                    )
                    .at(self.planned.place_of(workflow, first), "too much to travel");
            }
            bundles.insert(workflow.clone(), bundle);
        }
        let skipped = &self.planned.plan.skipped_checks;
        self.findings.retain(|finding| !skipped.contains(finding.code.as_str()));
        let refused = self.findings.has_errors() || self.texts.values().any(Findings::has_errors);
        let pipeline = self.planned.warnings.with(self.findings);
        if !refused {
            return Ok(Deployment { bundles, warnings: pipeline });
        }
        let texts = self.texts.into_iter().filter(|(_, findings)| !findings.is_empty());
        let drawn = |((name, text), findings): ((&str, &str), Findings)| {
            Diagnostics::new(name, &mask::drawn(text), findings)
        };
        Err(std::iter::once(pipeline)
            .filter(|all| !all.is_empty())
            .chain(texts.map(drawn))
            .collect())
    }
}

/// Where the lines of a text begin.
struct Lines(Vec<usize>);

impl Lines {
    fn of(text: &str) -> Self {
        Self(text.match_indices('\n').map(|(at, _)| at).collect())
    }

    /// The number of the line of an offset, counted from 1.
    fn number(&self, offset: usize) -> usize {
        self.0.partition_point(|newline| *newline < offset) + 1
    }
}
