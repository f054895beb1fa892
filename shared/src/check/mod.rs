//! Whether a pipeline makes sense as a whole, before anything starts.
//!
//! Each check looks at the draft and reports what it finds; none of them needs the others. What
//! needs manifests or a cluster is checked elsewhere.

mod barriers;
mod clocks;
mod order;
mod steps;

use crate::{
    diagnostics::{Finding, Findings},
    error_code::Code,
    pipeline::{Draft, Files, Inputs, suggest},
    plan::{Plan, Timeouts},
    time::Span,
};

/// Checks a draft; `files` says which files exist.
pub(crate) fn draft(draft: &Draft, files: Option<&dyn Files>, findings: &mut Findings) {
    steps::check(draft, findings);
    if let Some(files) = files {
        steps::files(draft, files, findings);
    }
    barriers::check(draft, findings);
    // What could not be read might meet at these barriers, or in another order.
    if draft.whole {
        order::check(draft, findings);
        clocks::check(draft, findings);
    }
}

/// Warns of what a rollback would leave; for a draft without errors, which come first.
pub(crate) fn undos(draft: &Draft, findings: &mut Findings) {
    steps::undos(draft, findings);
}

/// Checks that only what can be skipped is.
pub(crate) fn skips(inputs: &Inputs<'_>, findings: &mut Findings) {
    for text in &inputs.skip_checks {
        match text.parse::<Code>() {
            Ok(code) if code.is_skippable() => {}
            Ok(code) => {
                findings
                    .report(Code::UnknownCheck, format!("the check `{code}` cannot be skipped"))
                    .help(code.remedy());
            }
            Err(_) => {
                let known = || {
                    Code::ALL.iter().filter(|code| code.is_skippable()).map(|code| code.as_str())
                };
                let help = suggest::nearest(text, known()).map_or_else(
                    || format!("checks that can be skipped: {}", suggest::listed(known())),
                    |near| format!("did you mean `{near}`?"),
                );
                findings
                    .report(Code::UnknownCheck, format!("there is no check {text:?}"))
                    .help(help);
            }
        }
    }
}

/// Checks that a plan fits into one record; the limit is [`crate::plan::MAX_PLAN_BYTES`], or less
/// where the server takes less.
///
/// # Errors
///
/// If it does not: the finding names its size and the limit.
pub fn size(plan: &Plan, limit: usize) -> Result<(), Finding> {
    let size = plan.to_json().len();
    if size <= limit {
        return Ok(());
    }
    let steps: usize = plan.workflows.values().map(|workflow| workflow.steps.len()).sum();
    let workflows = plan.workflows.len();
    Err(Finding::new(
        Code::PlanTooLarge,
        format!(
            "the plan has {size} bytes as JSON ({workflows} workflows, {steps} steps); the limit \
             is {limit} bytes"
        ),
    ))
}

/// Checks that a run ends well before its records expire (PROTOCOL section 2, sizes): its time-out
/// plus rollback has to be under a third of the stream's `max_age`.
///
/// # Errors
///
/// If it would not: the finding names both.
pub fn retention(timeouts: &Timeouts, max_age: Span) -> Result<(), Finding> {
    let longest = Span(timeouts.run.0.saturating_add(timeouts.ending.0));
    if longest.0 < max_age.0 / 3 {
        return Ok(());
    }
    Err(Finding::new(
        Code::RunTooLong,
        format!(
            "a run may take {longest}, rollback included; the log keeps records for {max_age}, \
             and a third of that is the limit"
        ),
    ))
}
