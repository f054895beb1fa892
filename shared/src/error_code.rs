//! Every code that a check of the pipeline file or its manifests can report, with what it means and what to do.
//!
//! One table: messages, `--skip-check`, the plan's `skippedChecks` and
//! docs/reference/error-codes.md all come from it. A code is shown as `lockstep::barrier-order`;
//! `--skip-check` takes it with or without the prefix and the plan records the part behind it.

use std::{fmt, fmt::Write as _, str::FromStr};

/// What every code is shown with, so that it can be told from other tools' codes.
const PREFIX: &str = "lockstep::";

/// What may be done about a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Nothing can run until it is mended.
    Structural,
    /// Refuses the run unless it is turned off with `--skip-check`.
    Skippable,
    /// Only warns; `--skip-check` silences it.
    Warning,
}

macro_rules! codes {
    ($($variant:ident $code:literal $kind:ident $title:literal, $why:literal, $mend:literal;)+) => {
        /// The code of one check.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code {
            $(#[doc = $title] $variant,)+
        }

        impl Code {
            /// Every code, in the order of the reference.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The code without its prefix, as a plan records it.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $code,)+ }
            }

            /// What may be done about it.
            pub fn kind(self) -> Kind {
                match self { $(Self::$variant => Kind::$kind,)+ }
            }

            /// What is wrong, in a few words.
            pub fn title(self) -> &'static str {
                match self { $(Self::$variant => $title,)+ }
            }

            /// Why it matters.
            pub fn explanation(self) -> &'static str {
                match self { $(Self::$variant => $why,)+ }
            }

            /// What to do next.
            pub fn remedy(self) -> &'static str {
                match self { $(Self::$variant => $mend,)+ }
            }
        }
    };
}

codes! {
    EmptyFile "empty-file" Structural "the file is empty",
        "A pipeline file holds one YAML document with `apiVersion`, `kind`, `metadata` and `spec`; this one holds none.",
        "Start from an example, or from the file in the guide.";
    FileTooLarge "file-too-large" Structural "the file is too large",
        "A pipeline that needs so much text cannot become a plan that fits into one record of the log.",
        "Move scripts into files of their own and call them from the steps.";
    YamlSyntax "yaml-syntax" Structural "the file is not YAML",
        "The text cannot be read as YAML, so nothing behind the marked place was looked at.",
        "Mend the marked place; quote texts that begin with a special character or contain `: `.";
    TabIndentation "tab-indentation" Structural "a tab where YAML wants spaces",
        "YAML forbids tabs in indentation, because their width is a matter of taste.",
        "Replace the tab by spaces.";
    DuplicateKey "duplicate-key" Structural "a key is written twice",
        "Of two values for one key one would be lost in silence.",
        "Remove one of the two, or rename it.";
    SeveralDocuments "several-documents" Structural "more than one YAML document",
        "A pipeline file holds exactly one document.",
        "Remove the `---` or split the file.";
    TooComplex "too-complex" Structural "aliases or nesting expand beyond any use",
        "Aliases that multiply each other can make a small file enormous.",
        "Write the repeated parts out, or use a matrix.";
    NotAPipeline "not-a-pipeline" Structural "not a pipeline of a version that is known",
        "`apiVersion` and `kind` say how to read the rest; other values belong to other tools or other versions.",
        "Write `apiVersion: lockstep.dev/v1alpha1` and `kind: Pipeline`.";
    UnknownKey "unknown-key" Structural "an unknown key",
        "A key that nobody reads is a misspelt one or in the wrong place; ignoring it would drop what it was meant to say.",
        "Use one of the keys that the message lists, at the place where it belongs.";
    MissingKey "missing-key" Structural "a required key is missing",
        "Without it the file does not say what to do.",
        "Add the key.";
    WrongType "wrong-type" Structural "a value of the wrong type",
        "A list, a map and a plain value are not interchangeable.",
        "Write the value in the form that the message names.";
    BadValue "bad-value" Structural "a value that is not possible here",
        "Only certain values have a meaning at this place.",
        "Use one of the values that the message names.";
    BadDuration "bad-duration" Structural "not a duration",
        "Durations are whole numbers with units, largest first, each unit once: `1h30m`, `10s`, `250ms`.",
        "Add the unit; there are `h`, `m`, `s` and `ms`.";
    BadName "bad-name" Structural "not a valid name",
        "Names become parts of subjects and of Kubernetes objects, which allow only certain characters.",
        "Follow the rule in the message.";
    ReservedName "reserved-name" Structural "a name that begins with `_`",
        "Names beginning with `_` belong to the built-in barriers `_prepare` and `_commit`.",
        "Choose another name.";
    UnknownExpression "unknown-expression" Structural "an unknown expression",
        "Only `${{ params.NAME }}` and, inside a workflow with a matrix, `${{ matrix.AXIS }}` are replaced; there are no functions and no secrets.",
        "Declare what is used, or pass it to the command by its environment.";
    ParamWithoutValue "param-without-value" Structural "a parameter without value",
        "The parameter has no default and the run was not given one.",
        "Pass `--param NAME=VALUE`, or give it a `default`.";
    UnknownParam "unknown-param" Structural "a parameter that is not declared",
        "The run was given a value for a parameter that the file does not declare.",
        "Check its spelling, or declare it in `spec.params`.";
    BadParam "bad-param" Structural "a value that the parameter does not allow",
        "The parameter has an `enum`, and the value is not in it.",
        "Pass one of the allowed values.";
    BadMatrix "bad-matrix" Structural "a matrix that makes no sense",
        "A matrix needs at least one axis or `include`, and what it excludes or includes has to fit the axes.",
        "Follow the message.";
    MatrixTooLarge "matrix-too-large" Structural "too many workflows",
        "Every combination of a matrix is a workflow with an agent of its own, and all of them run at once.",
        "Use fewer axes or values, or split the pipeline.";
    MaxParallel "max-parallel" Structural "a limit on parallel combinations",
        "All combinations of a matrix run at once. With a limit, some would wait for others to end while those wait for them at a barrier, which could never fill.",
        "Remove it; limit what a step itself does instead.";
    NoWorkflows "no-workflows" Structural "a pipeline without workflows",
        "There is nothing to run.",
        "Add a workflow to `spec.workflows`.";
    DuplicateWorkflow "duplicate-workflow" Structural "two workflows of one name",
        "Names tell agents and subjects apart; a matrix may make a name that another workflow has.",
        "Rename one of them.";
    NoSteps "no-steps" Structural "a workflow without steps",
        "It would join, hold everybody up, and do nothing.",
        "Add a step, or take the workflow out with `when: false`.";
    AllWaived "all-waived" Structural "every workflow is waived",
        "`when` took all workflows out, so the run would do nothing and yet end well.",
        "Change the parameters that `when` asks for.";
    StepKind "step-kind" Structural "a step that is not exactly one thing",
        "A step is a map with a single key, its kind; order within a map means nothing, so two kinds in one step have no order.",
        "Make each kind a step of its own, and put `name`, `timeout` and the like inside it.";
    StepTarget "step-target" Structural "a step that its target cannot do",
        "`deploy` needs a Kubernetes target, and the steps of an external workflow are barriers only.",
        "Change the workflow's target, or move the step into another workflow.";
    DuplicateStepName "duplicate-step-name" Structural "two steps of one name",
        "Messages and records name a step by its name.",
        "Rename one of them.";
    NeverFinishes "never-finishes" Structural "a step that cannot finish in time",
        "The step needs longer than its own timeout allows.",
        "Raise the timeout, or shorten what the step waits for.";
    BarrierStepTimeout "barrier-step-timeout" Structural "a timeout on a barrier step",
        "The timeout belongs to the barrier's declaration: one clock for all of its parties. With a clock for each step two parties could disagree on whether the barrier was missed.",
        "Move it to `spec.barriers`.";
    UnknownBarrier "unknown-barrier" Structural "a barrier that is not declared",
        "A misspelt barrier would be another one, at which nobody else ever arrives.",
        "Correct the spelling, or declare it in `spec.barriers`.";
    RepeatedBarrier "repeated-barrier" Structural "one barrier twice in a workflow",
        "A barrier is met once; the second arrival would find it already released.",
        "Declare a second barrier.";
    PartyCollision "party-collision" Structural "a foreign party named like a workflow",
        "Workflows and foreign parties share one name space; a workflow is a party of every barrier that its steps name.",
        "Remove it from `parties`, or rename the foreign party.";
    UnusedBarrier "unused-barrier" Skippable "a barrier that no workflow names",
        "A barrier needs at least one workflow; one that is declared and never met is a misspelt one or left over.",
        "Name it in a workflow's steps, or remove it.";
    SingleParty "single-party" Skippable "a barrier with one party",
        "Who waits for nobody is released at once, so the barrier coordinates nothing.",
        "Name it in a second workflow, declare a foreign party, or say `allowSingle: true`.";
    BarrierOrder "barrier-order" Skippable "workflows wait for each other in a circle",
        "Each of them stands at a barrier that another one reaches only after a later one, so the run would be stuck for ever.",
        "Meet at the barriers in the same order in all workflows.";
    BarrierTimeout "barrier-timeout" Skippable "a barrier's timeout longer than the run's",
        "The run's own deadline would always come first, so the barrier's never counts.",
        "Shorten the barrier's timeout or raise `spec.timeout`.";
    MissingFile "missing-file" Structural "a file that is not there",
        "The step names a file, folder or glob that matches nothing, seen from the pipeline file's folder.",
        "Correct the path; it is relative to the pipeline file.";
    UnreadableManifest "unreadable-manifest" Structural "a manifest that cannot be read",
        "Manifests are UTF-8 texts that this program may read, and all of a workflow's together are bounded.",
        "Follow the message.";
    RenderFailed "render-failed" Structural "a program that renders manifests failed",
        "`kustomize` folders are rendered by `kubectl kustomize` and `helm` charts by `helm template`, here, where `lockstep` runs.",
        "Install the program, or mend what it complains about; the message has its words.";
    BadHealthRule "bad-health-rule" Structural "a `healthy` rule that is no expression",
        "`healthy` says in CEL when an object of a kind is healthy; what cannot be read would be noticed by the agent only, once the run has begun.",
        "Correct the expression; its variables are the object's top-level fields, such as `status`.";
    NotAnObject "not-an-object" Structural "not a Kubernetes object",
        "Every object says its `apiVersion`, its `kind` and its `metadata.name`, all of them texts.",
        "Add what is missing, or keep files that are no manifests out of what the step names.";
    GeneratedName "generated-name" Structural "`generateName` on something else than a Job",
        "Every run would make another object, and no later run would know that the earlier one is meant to go. Jobs are made anew in every run; their names end in eight digits of the run.",
        "Write a `name`.";
    NoObjects "no-objects" Structural "a `deploy` step without objects",
        "What the step names holds no manifest, so it would deploy nothing and yet end well. Folders are read like `kubectl apply -f` does: files ending in .yaml, .yml or .json, and no folders in them.",
        "Correct the path; `folder/**/*.yaml` reads folders in folders too.";
    ForeignNamespace "foreign-namespace" Structural "an object for another namespace",
        "A workflow has one target, and its agent has rights in that namespace only.",
        "Remove `namespace` from the manifest, or deploy it by a workflow of its own.";
    ClusterScoped "cluster-scoped" Structural "a cluster-scoped object",
        "It belongs to no namespace: other pipelines may use it, and an agent usually has no right to it.",
        "Apply it separately, or say `allowClusterScoped: true` at the workflow's target.";
    RepeatedObject "repeated-object" Structural "one object twice in a workflow",
        "What the first manifest says would be taken back by the second.",
        "Remove one of the two.";
    SharedObject "shared-object" Skippable "one object in two workflows",
        "Two workflows would write one object (same cluster, namespace, kind and name) and each would undo the other's part.",
        "Deploy it by one of them, before a barrier that the other waits at; or name the `cluster` of each target if they are different ones.";
    UnusedImage "unused-image" Skippable "an image that no container has",
        "`images` replaces by the name of an image without tag and digest. One that is found nowhere is a misspelt one, and the version that it carries would be deployed nowhere.",
        "Correct the name, or remove it.";
    UnusedHealthRule "unused-health-rule" Skippable "a `healthy` rule for a kind that no object has",
        "`healthy` has a rule for each kind, written `Kind` or `Kind.group`. One that is found nowhere is a misspelt one, and the objects that it is meant for would be judged as if there were none.",
        "Correct the kind, or remove the rule.";
    BundleTooLarge "bundle-too-large" Structural "too many manifests",
        "All objects of a workflow travel in one bundle.",
        "Split the workflow, or leave large objects out.";
    ShortBarrierTimeout "short-barrier-timeout" Warning "a barrier's timeout may be too short",
        "By the timeouts of the steps before it, the last party may arrive later after the first one than the barrier allows.",
        "Raise the barrier's timeout, or shorten the steps' timeouts.";
    ApprovalTime "approval-time" Warning "an approval has a deadline",
        "A foreign party has to arrive before the barrier's timeout, which starts at the first workflow's arrival and does not stop for an approval. An early approval starts no clock. Nobody wrote a timeout for this one.",
        "Write a `timeout` at the barrier, long enough for whoever approves; any that is written settles this. The run's own (`spec.timeout`, 1h by default) may not be shorter.";
    HooksLeftOut "hooks-left-out" Warning "a chart's hooks are not run",
        "Hooks and tests of a chart are run by Helm's own install and upgrade; here the chart is only rendered.",
        "Do what the hook does by a step of its own, such as a Job with `generateName` in manifests.";
    NoUndo "no-undo" Warning "a command without `undo`",
        "In a rollback, what the command did would stay. The run still ends as rolled back, but lists the step as residue.",
        "Write what gives it back as `undo`, or `undo: none` if there is nothing to give back (a test, a message).";
    DroppedBarrier "dropped-barrier" Warning "a barrier is dropped",
        "All workflows that name it are waived, so nobody could meet there.",
        "Nothing, if the workflows were meant to be left out.";
    PlanTooLarge "plan-too-large" Structural "the plan is too large",
        "A plan travels as one record of the log, and all agents read it.",
        "Move scripts into files, use fewer steps, or split the pipeline.";
    RunTooLong "run-too-long" Structural "a run that outlives its log",
        "Records are kept for a limited time; a run may take at most a third of it, rollback included.",
        "Shorten `spec.timeout`, or have the operator raise the stream's `max_age`.";
    UnknownCheck "unknown-check" Structural "not a check that can be skipped",
        "`--skip-check` was given a code that does not exist or that guards against something that cannot run at all.",
        "Use a code that is marked as skippable in the table of error codes.";
}

impl Code {
    /// Whether `--skip-check` may turn it off.
    pub fn is_skippable(self) -> bool {
        self.kind() != Kind::Structural
    }
}

impl fmt::Display for Code {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{PREFIX}{}", self.as_str())
    }
}

/// The text is no code of this table.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an error code of the pipeline file")]
pub struct UnknownCode(pub String);

impl FromStr for Code {
    type Err = UnknownCode;

    fn from_str(text: &str) -> Result<Self, UnknownCode> {
        let bare = text.strip_prefix(PREFIX).unwrap_or(text);
        let known = Self::ALL.iter().copied().find(|code| code.as_str() == bare);
        known.ok_or_else(|| UnknownCode(text.to_owned()))
    }
}

/// The reference of all codes as Markdown: docs/reference/error-codes.md.
pub fn reference() -> String {
    let mut text = String::from(
        "# Error codes of the pipeline file and its manifests\n\n\
         Generated from the table in `shared/src/error_code.rs`.\n\n\
         `--skip-check CODE` turns a *skippable* check off for one run, which is recorded in the \
         plan, and silences a *warning*. A *structural* error cannot be skipped.\n\n\
         | code | | what is wrong |\n|---|---|---|\n",
    );
    for code in Code::ALL {
        let kind = describe(code.kind());
        writeln!(text, "| [`{code}`](#{}) | {kind} | {} |", anchor(*code), code.title())
            .expect("a String takes every write");
    }
    for code in Code::ALL {
        write!(
            text,
            "\n## `{code}`\n\n{} ({}). {}\n\n**What to do:** {}\n",
            capitalized(code.title()),
            describe(code.kind()),
            code.explanation(),
            code.remedy()
        )
        .expect("a String takes every write");
    }
    text
}

fn describe(kind: Kind) -> &'static str {
    match kind {
        Kind::Structural => "structural",
        Kind::Skippable => "skippable",
        Kind::Warning => "warning",
    }
}

fn anchor(code: Code) -> String {
    code.to_string().replace("::", "")
}

fn capitalized(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_code_is_read_back_with_and_without_its_prefix() {
        for code in Code::ALL {
            assert_eq!(code.to_string().parse(), Ok(*code));
            assert_eq!(code.as_str().parse(), Ok(*code));
        }
        assert!("lockstep::nothing".parse::<Code>().is_err());
    }

    #[test]
    fn no_code_is_used_twice_and_each_is_explained() {
        let distinct: BTreeSet<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(distinct.len(), Code::ALL.len());
        for code in Code::ALL {
            assert!(code.explanation().ends_with('.') && code.remedy().ends_with('.'), "{code}");
        }
    }
}
