//! `when`: decided once, when the plan is made.

use super::expression;
use crate::{
    diagnostics::Findings,
    error_code::Code,
    pipeline::tree::{Form, Node, NodeKind},
};

/// Whether what bears this `when` takes part: `true`, `false` or one parameter of these values.
pub(crate) fn condition(node: &Node, findings: &mut Findings) -> Option<bool> {
    const HELP: &str = "write `true`, `false` or one `${{ params.NAME }}`";
    let scalar = match &node.kind {
        NodeKind::Scalar(scalar) => scalar,
        NodeKind::Unknown => return None,
        other => {
            findings
                .report(Code::WrongType, format!("`when` cannot be {}", other.describe()))
                .at(node.place, "no condition")
                .help(HELP);
            return None;
        }
    };
    if let Form::Replaced(written) = &scalar.form
        && !expression::is_one_param(written)
    {
        findings
            .report(Code::BadValue, format!("`when` cannot be {written:?}"))
            .at(node.place, "more than one parameter alone")
            .help(format!("{HELP}; `exclude` takes combinations out of a matrix"));
        return None;
    }
    match scalar.text.trim() {
        "true" => Some(true),
        "false" => Some(false),
        other => {
            findings
                .report(Code::BadValue, format!("`when` cannot be {other:?}"))
                .at(node.place, "neither `true` nor `false`")
                .help(HELP);
            None
        }
    }
}
