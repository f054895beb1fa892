//! The acceptance cases that are decided before anything starts, by their numbers.

use super::{Inputs, codes, pipeline, plan, plan_with};
use crate::{
    diagnostics::Place,
    error_code::Code,
    id::{BarrierId, WorkflowName},
};

const BE_FE: &str = "  barriers: { BE: {}, FE: {} }\n";

fn crossed() -> String {
    pipeline(
        BE_FE,
        &[
            ("backend", "{ barrier: BE }, { barrier: FE }"),
            ("frontend", "{ barrier: FE }, { barrier: BE }"),
        ],
    )
}

#[test]
fn parity_05_barriers_in_crossed_order_are_refused_and_the_circle_is_printed() {
    let text = crossed();
    let refused = plan(&text).unwrap_err();
    let [finding] = refused.findings() else { panic!("{refused:?}") };
    assert_eq!(finding.code, Code::BarrierOrder);
    assert_eq!(
        finding.message,
        "circular wait: backend waits at BE for frontend, frontend waits at FE for backend"
    );
    let shown: Vec<&str> =
        finding.labels.iter().map(|label| &text[Place::range(label.place)]).collect();
    assert_eq!(shown, ["BE", "FE", "FE", "BE"], "both places in both workflows");
}

#[test]
fn parity_05_the_check_can_be_skipped_which_is_recorded_in_the_plan() {
    for code in ["barrier-order", "lockstep::barrier-order"] {
        let skip_checks = [code.to_owned()].into();
        let inputs = Inputs { skip_checks, ..Inputs::default() };
        let plan = plan_with(&crossed(), &inputs).unwrap().plan;
        assert_eq!(plan.skipped_checks, ["barrier-order".to_owned()].into());
    }
}

#[test]
fn parity_06_a_barrier_with_one_party_is_refused_and_passes_with_allow_single() {
    let steps = [("backend", "{ run: { command: x, undo: y } }, { barrier: BE }")];
    assert_eq!(codes(&pipeline("  barriers: { BE: {} }\n", &steps)), ["single-party"]);
    let allowed = plan(&pipeline("  barriers: { BE: { allowSingle: true } }\n", &steps)).unwrap();
    assert!(allowed.warnings.is_empty());
    let foreign = plan(&pipeline("  barriers: { BE: { parties: [qa] } }\n", &steps)).unwrap();
    assert_eq!(foreign.plan.barriers.len(), 1);
}

#[test]
fn parity_08_a_timeout_on_a_barrier_step_is_refused() {
    let text = pipeline(
        "  barriers: { BE: {} }\n",
        &[("backend", "{ barrier: { id: BE, timeout: 5m } }"), ("frontend", "{ barrier: BE }")],
    );
    assert_eq!(codes(&text), ["barrier-step-timeout"]);
}

#[test]
fn parity_09_the_same_barrier_twice_in_a_workflow_is_refused() {
    let text = pipeline(
        "  barriers: { BE: {} }\n",
        &[("backend", "{ barrier: BE }, { barrier: BE }"), ("frontend", "{ barrier: BE }")],
    );
    assert_eq!(codes(&text), ["repeated-barrier"]);
}

#[test]
fn parity_10_a_misspelt_barrier_is_refused_with_a_suggestion_and_nothing_else() {
    let text = pipeline(
        BE_FE,
        &[
            ("backend", "{ barrier: BEE }, { barrier: FE }"),
            ("frontend", "{ barrier: BE }, { barrier: FE }"),
        ],
    );
    let refused = plan(&text).unwrap_err();
    let [finding] = refused.findings() else { panic!("{refused:?}") };
    assert_eq!(finding.code, Code::UnknownBarrier);
    assert_eq!(finding.help, "did you mean `BE`?");
}

#[test]
fn parity_12_the_barriers_of_a_skipped_workflow_are_waived_by_rule() {
    let text = "\
apiVersion: lockstep.dev/v1alpha1
kind: Pipeline
metadata: { name: shop }
spec:
  params: { frontend: { default: 'true', enum: ['true', 'false'] } }
  barriers: { BE: {}, FE: { parties: [qa], timeout: 1h }, UI: {} }
  workflows:
    - name: backend
      target: { command: {} }
      steps: [{ run: { command: x, undo: y } }, { barrier: BE }]
    - name: frontend
      target: { command: {} }
      when: ${{ params.frontend }}
      steps: [{ barrier: BE }, { run: x }, { barrier: FE }, { barrier: UI }]
    - name: mobile
      target: { command: {} }
      when: ${{ params.frontend }}
      steps: [{ barrier: UI }]
";
    let params = [("frontend".to_owned(), "false".to_owned())].into();
    let planned = plan_with(text, &Inputs { params, ..Inputs::default() }).unwrap();
    let frontend: WorkflowName = "frontend".parse().unwrap();
    let met: BarrierId = "BE".parse().unwrap();
    let plan = planned.plan;
    assert!(plan.workflows[&frontend].waived && plan.workflow(&frontend).is_none());
    assert_eq!(plan.barriers.keys().collect::<Vec<_>>(), [&met], "FE and UI are dropped");
    let barrier = &plan.barriers[&met];
    assert_eq!(barrier.waived, [frontend.clone()].into(), "recorded as waived");
    assert_eq!(barrier.workflows.len(), 1, "one party is left, like allowSingle");
    assert!(!plan.parties(&BarrierId::prepare()).unwrap().contains(&(&frontend).into()));
    let warned: Vec<_> = planned.warnings.findings().iter().map(|found| found.code).collect();
    assert_eq!(warned, [Code::DroppedBarrier, Code::DroppedBarrier]);
    assert_eq!(super::plan(text).unwrap().plan.barriers.len(), 3, "without the waiver");
}

#[test]
fn parity_25_a_matrix_makes_all_its_combinations_and_a_limit_is_refused_with_the_reason() {
    let matrix = |matrix: &str| {
        format!(
            "apiVersion: lockstep.dev/v1alpha1\nkind: Pipeline\nmetadata: {{ name: shop }}\nspec:\n  \
             barriers: {{ BE: {{}} }}\n  workflows:\n    - name: deploy\n      target: {{ command: {{}} }}\n      \
             matrix: {matrix}\n      steps: [{{ run: \"x ${{{{ matrix.region }}}}\" }}, {{ barrier: BE }}]\n"
        )
    };
    let plan = plan(&matrix("{ region: [eu, us] }")).unwrap().plan;
    let names: Vec<&str> = plan.workflows.keys().map(WorkflowName::as_str).collect();
    assert_eq!(names, ["deploy-eu", "deploy-us"]);
    let refused = super::plan(&matrix("{ region: [eu, us], maxParallel: 1 }")).unwrap_err();
    let [finding] = refused.findings() else { panic!("{refused:?}") };
    assert_eq!(finding.code, Code::MaxParallel);
    assert!(finding.message.contains("could never fill"), "{}", finding.message);
}

#[test]
fn parity_26_the_deadline_of_an_approval_is_told_in_advance() {
    let steps = [("backend", "{ run: { command: x, undo: y } }, { barrier: GO }")];
    let usual = plan(&pipeline("  barriers: { GO: { parties: [qa] } }\n", &steps)).unwrap();
    let [warning] = usual.warnings.findings() else { panic!("{:?}", usual.warnings) };
    assert_eq!((warning.code, warning.severity), (Code::ApprovalTime, miette::Severity::Warning));
    assert!(warning.message.contains("`qa` until 10m after"), "{}", warning.message);
    let settings = "  barriers: { GO: { parties: [qa], timeout: 45m } }\n";
    let chosen = plan(&pipeline(settings, &steps)).unwrap();
    let found = chosen.warnings.findings();
    assert!(found.is_empty(), "a timeout that was chosen: {found:?}");
    let each = "  onFailure: each-own\n  barriers: { GO: { parties: [qa] } }\n";
    let each = plan(&pipeline(each, &steps)).unwrap();
    let [warning] = each.warnings.findings() else { panic!("{:?}", each.warnings) };
    assert!(warning.message.ends_with("the workflows that meet there roll back"), "{warning:?}");
}

#[test]
fn parity_27_the_order_of_workflows_and_barriers_in_the_file_changes_nothing() {
    let backend = ("backend", "{ run: x }, { barrier: BE }, { barrier: FE }");
    let frontend = (
        "frontend",
        "{ barrier: BE }, { run: { command: y, env: { A: b, C: d } } }, { barrier: FE }",
    );
    let tests = ("tests", "{ barrier: FE }, { run: z }");
    let first = plan(&pipeline(BE_FE, &[backend, frontend, tests])).unwrap().plan;
    for order in
        [[tests, frontend, backend], [frontend, backend, tests], [backend, tests, frontend]]
    {
        let turned = "  barriers: { FE: {}, BE: {} }\n";
        let other = plan(&pipeline(turned, &order)).unwrap().plan;
        assert_eq!(other.digest(), first.digest());
    }
    let (one, two) = (crossed(), {
        let lines = crossed();
        let (head, workflows) = lines.split_at(lines.find("    - {").unwrap());
        let mut turned: Vec<&str> = workflows.lines().collect();
        turned.reverse();
        format!("{head}{}\n", turned.join("\n"))
    });
    let message = |text: &str| plan(text).unwrap_err().findings()[0].message.clone();
    assert_eq!(message(&one), message(&two), "what is refused is refused with the same words");
}
