//! What files become.

use std::time::{Duration, Instant};

use super::{Inputs, codes, pipeline, plan, plan_with};
use crate::{
    check,
    error_code::Code,
    id::WorkflowName,
    pipeline::Pipeline,
    plan::{Action, Command, MAX_PLAN_BYTES, Plan, Probe, Target, Timeouts, Undo},
    time::Span,
};

const HEAD: &str =
    "apiVersion: lockstep.dev/v1alpha1\nkind: Pipeline\nmetadata: { name: shop }\nspec:\n";

fn good(text: &str) -> Plan {
    match plan(text) {
        Ok(planned) => planned.plan,
        Err(refused) => panic!("{}", refused.to_plain_text()),
    }
}

fn names(plan: &Plan) -> Vec<&str> {
    plan.workflows.keys().map(WorkflowName::as_str).collect()
}

#[test]
fn the_reference_story_is_accepted_without_a_word() {
    let text = include_str!("../../../testdata/good/shop.yaml");
    let planned = plan(text).unwrap();
    assert!(planned.warnings.is_empty(), "{}", planned.warnings.to_plain_text());
    let plan = planned.plan;
    assert_eq!(plan.timeouts.run, Span::minutes(30));
    assert_eq!(plan.params["version"], "v2");
    let frontend = &plan.workflows[&"frontend".parse().unwrap()];
    let named: Vec<&str> = frontend.steps.iter().map(|step| step.name.as_str()).collect();
    assert_eq!(named, ["Wait for Backend service deployment", "deploy", "verify", "FE"]);
    let back: Plan = serde_json::from_slice(&plan.to_json()).unwrap();
    assert_eq!(back, plan);
}

#[test]
fn steps_may_be_short_or_long_and_have_the_documented_defaults() {
    let plan = good(&pipeline(
        "  barriers: { BE: { allowSingle: true } }\n",
        &[(
            "a",
            "{ run: ./x.sh }, { run: { command: [./x.sh, a b], undo: y, env: { N: 1 }, retries: 2, \
             idempotent: true, onFailure: continue, timeout: 1h30m, workdir: w } }, { wait: 10s }, \
             { barrier: BE }, { verify: { http: \"http://a/b\" } }, { verify: { tcp: \"a:1\", for: 2s } }",
        )],
    ));
    let steps = &plan.workflows[&"a".parse().unwrap()].steps;
    let Action::Run(first) = &steps[0].action else { panic!() };
    assert_eq!(first.command, Command::Shell("./x.sh".to_owned()));
    assert_eq!(
        (steps[0].timeout, steps[0].retries, steps[0].tolerated),
        (Span::minutes(5), 0, false)
    );
    let Action::Run(second) = &steps[1].action else { panic!() };
    assert_eq!(second.command, Command::Exec(vec!["./x.sh".to_owned(), "a b".to_owned()]));
    assert_eq!(second.env["N"], "1");
    assert!(second.idempotent && steps[1].tolerated);
    assert_eq!((steps[1].timeout, steps[1].retries), (Span::minutes(90), 2));
    assert_eq!(steps[2].action, Action::Wait(Span::seconds(10)));
    assert_eq!(steps[2].timeout, Span::seconds(70));
    assert_eq!(steps[3].timeout, Span(0));
    let Action::Verify(verify) = &steps[4].action else { panic!() };
    assert_eq!(verify.probe, Probe::Http { url: "http://a/b".to_owned(), status: 200, body: None });
    assert_eq!((verify.hold, verify.interval), (Span(0), Span::seconds(1)));
    let named: Vec<&str> = steps.iter().map(|step| step.name.as_str()).collect();
    assert_eq!(named, ["run", "run-2", "wait", "BE", "verify", "verify-2"]);
    assert_eq!(plan.timeouts, Timeouts::default());
}

#[test]
fn a_generated_name_never_takes_one_that_the_file_gives() {
    let plan =
        good(&pipeline("", &[("a", "{ run: x }, { run: { command: y, name: run } }, { run: z }")]));
    let steps = &plan.workflows[&"a".parse().unwrap()].steps;
    let named: Vec<&str> = steps.iter().map(|step| step.name.as_str()).collect();
    assert_eq!(named, ["run-2", "run", "run-3"]);
}

#[test]
fn steps_that_when_takes_out_leave_their_names_and_no_gap() {
    let plan = good(&pipeline(
        "  params: { migrate: { default: false } }\n",
        &[(
            "a",
            "{ run: { command: x, name: Migrate, when: \"${{ params.migrate }}\" } }, { run: y }",
        )],
    ));
    let workflow = &plan.workflows[&"a".parse().unwrap()];
    assert_eq!(workflow.waived_steps, ["Migrate"]);
    assert_eq!(workflow.steps.len(), 1);
    assert_eq!(workflow.steps[0].name, "run");
}

#[test]
fn values_keep_their_spelling_and_are_never_read_as_yaml() {
    let text = pipeline(
        "  params: { version: { default: 1.10 }, count: { default: 3 }, country: { default: no } }\n",
        &[(
            "a",
            "{ run: { command: \"deploy ${{ params.version }} ${{ params.country }}\", retries: \"${{ params.count }}\" } }",
        )],
    );
    let plan = good(&text);
    let step = &plan.workflows[&"a".parse().unwrap()].steps[0];
    let Action::Run(run) = &step.action else { panic!() };
    assert_eq!(run.command, Command::Shell("deploy 1.10 no".to_owned()));
    assert_eq!(step.retries, 3);
    let params =
        [("version".to_owned(), "\"}]\n- evil: true ${{ params.count }}".to_owned())].into();
    let inputs = Inputs { params, ..Inputs::default() };
    let plan = plan_with(&text, &inputs).unwrap().plan;
    let Action::Run(run) = &plan.workflows[&"a".parse().unwrap()].steps[0].action else { panic!() };
    let expected = "deploy \"}]\n- evil: true ${{ params.count }} no";
    assert_eq!(run.command, Command::Shell(expected.to_owned()));
}

#[test]
fn anchors_and_merge_keys_may_be_used() {
    let plan = good(&format!(
        "{HEAD}  workflows:\n    - name: a\n      target: {{ command: {{}} }}\n      steps:\n        \
         - run: &x {{ command: x, timeout: 1m }}\n        - run: {{ <<: *x, command: y }}\n        - run: *x\n"
    ));
    let steps = &plan.workflows[&"a".parse().unwrap()].steps;
    assert!(steps.iter().all(|step| step.timeout == Span::minutes(1)));
    let Action::Run(second) = &steps[1].action else { panic!() };
    assert_eq!(second.command, Command::Shell("y".to_owned()));
}

#[test]
fn every_key_of_the_kubernetes_target_is_read() {
    let plan = good(&format!(
        "{HEAD}  workflows:\n    - name: a\n      target: {{ kubernetes: {{ namespace: n, cluster: c, context: x, \
         allowClusterScoped: true, allowManagedBy: argocd }} }}\n      steps:\n        \
         - deploy:\n            manifests: k8s/backend\n            images: {{ web: \"r/web:${{{{ params.v }}}}\" }}\n            \
         settle: 30s\n            wait: false\n            healthy: {{ Certificate: {{ current: a, failed: b }} }}\n            \
         adopt: [kubectl]\n            forceConflicts: [spec.replicas]\n            irreversible: accept\n        \
         - deploy: {{ helm: {{ chart: k8s/backend, release: web, values: k8s/frontend.yaml, set: {{ image.tag: 1.10 }} }} }}\n  \
         params: {{ v: {{ default: v2 }} }}\n"
    ));
    let workflow = &plan.workflows[&"a".parse().unwrap()];
    let Target::Kubernetes(target) = &workflow.target else { panic!() };
    assert!(target.allow_cluster_scoped && target.allow_managed_by.contains("argocd"));
    let Action::Deploy(deploy) = &workflow.steps[0].action else { panic!() };
    assert_eq!(deploy.images["web"], "r/web:v2");
    assert!(!deploy.wait && deploy.accept_irreversible);
    assert_eq!(deploy.settle, Span::seconds(30));
    let Action::Deploy(helm) = &workflow.steps[1].action else { panic!() };
    let crate::plan::DeploySource::Helm { set, .. } = &helm.source else { panic!() };
    assert_eq!(set["image.tag"], "1.10");
}

#[test]
fn a_matrix_multiplies_excludes_and_includes() {
    let matrix = |matrix: &str, name: &str| {
        good(&format!(
            "{HEAD}  workflows:\n    - name: {name}\n      target: {{ command: {{}} }}\n      matrix: {matrix}\n      \
             steps: [{{ run: x }}]\n"
        ))
    };
    let plan = matrix(
        "{ os: [linux, mac], v: [\"1.2\", 2], exclude: [{ os: mac, v: 2 }], include: [{ os: linux, note: n }, { os: bsd, v: 3 }] }",
        "t",
    );
    assert_eq!(names(&plan), ["t-bsd-3", "t-linux-1-2", "t-linux-2", "t-mac-1-2"]);
    let plan = matrix("{ region: [eu, us] }", "\"${{ matrix.region }}-shop\"");
    assert_eq!(names(&plan), ["eu-shop", "us-shop"], "a name that uses the matrix is left alone");
    let plan = matrix("{ include: [{ a: x }, { a: y, b: z }] }", "t");
    assert_eq!(names(&plan), ["t-x", "t-y-z"]);
}

#[test]
fn a_parameter_is_checked_against_its_declaration() {
    let text =
        pipeline("  params: { size: { enum: [s, m], required: true } }\n", &[("a", "{ run: x }")]);
    let given = |pairs: &[(&str, &str)]| {
        let params =
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let inputs = Inputs { params, ..Inputs::default() };
        plan_with(&text, &inputs).map(|planned| planned.plan.params["size"].clone()).map_err(
            |refused| refused.findings().iter().map(|found| found.code).collect::<Vec<_>>(),
        )
    };
    assert_eq!(given(&[("size", "m")]), Ok("m".to_owned()));
    assert_eq!(given(&[("size", "xl")]), Err(vec![Code::BadParam]));
    assert_eq!(given(&[]), Err(vec![Code::ParamWithoutValue]));
    assert_eq!(given(&[("size", "m"), ("sise", "m")]), Err(vec![Code::UnknownParam]));
}

#[test]
fn only_checks_that_can_be_skipped_are_skipped() {
    let text = pipeline("", &[("a", "{ run: x }")]);
    let skip = |code: &str| {
        let inputs = Inputs { skip_checks: [code.to_owned()].into(), ..Inputs::default() };
        plan_with(&text, &inputs)
            .map(|planned| planned.plan.skipped_checks.len())
            .map_err(|refused| refused.findings()[0].help.clone())
    };
    assert_eq!(skip("single-party"), Ok(1));
    assert!(skip("bad-name").is_err());
    assert_eq!(skip("barier-order"), Err("did you mean `barrier-order`?".to_owned()));
}

#[test]
fn everything_that_is_wrong_is_told_at_once() {
    let text = format!("{HEAD}  timeout: soon\n  barriers: {{ BE: {{ titel: x }} }}\n  workflows:\n    \
         - name: A\n      target: {{ command: {{}} }}\n      steps: [{{ barrier: EB }}, {{ wait: 1 }}, {{ run: \"${{{{ params.x }}}}\" }}]\n")
        .replace("name: shop", "name: Shop");
    let found = codes(&text);
    for code in ["bad-name", "bad-duration", "unknown-key", "unknown-expression"] {
        assert!(found.contains(&code), "{code} is missing in {found:?}");
    }
}

#[test]
fn a_barrier_order_is_refused_exactly_where_a_circle_is() {
    let three = "  barriers: { A: {}, B: {}, C: {} }\n";
    let circle = [
        ("one", "{ barrier: A }, { barrier: B }"),
        ("two", "{ barrier: B }, { barrier: C }"),
        ("three", "{ barrier: C }, { barrier: A }"),
    ];
    assert_eq!(codes(&pipeline(three, &circle)), ["barrier-order"]);
    let chain = [circle[0], circle[1], ("three", "{ barrier: A }, { barrier: C }")];
    assert!(plan(&pipeline(three, &chain)).is_ok());
}

#[test]
fn a_barriers_timeout_is_held_against_what_the_steps_before_it_may_take() {
    let late = |timeout: &str| {
        let settings = format!("  barriers: {{ BE: {{}}, FE: {{ timeout: {timeout} }} }}\n");
        let workflows = [
            ("backend", "{ run: { command: x, undo: z } }, { barrier: BE }, { barrier: FE }"),
            (
                "frontend",
                "{ barrier: BE }, { run: { command: y, undo: z, timeout: 2m, retries: 1 } }, { wait: 1m }, { barrier: FE }",
            ),
        ];
        let planned = plan(&pipeline(&settings, &workflows)).unwrap();
        planned.warnings.findings().iter().map(|found| found.message.clone()).collect::<Vec<_>>()
    };
    assert_eq!(late("5m"), Vec::<String>::new(), "counted from the barrier that both just left");
    assert_eq!(
        late("4m"),
        ["the barrier `FE` waits for 4m, but `frontend` may arrive up to 5m after `backend`"]
    );
}

#[test]
fn a_run_that_outlives_its_log_is_refused() {
    let timeouts = Timeouts { run: Span::minutes(60 * 24), ..Timeouts::default() };
    assert!(check::retention(&timeouts, Span::minutes(60 * 24 * 30)).is_ok());
    let refused = check::retention(&timeouts, Span::minutes(60 * 24 * 3)).unwrap_err();
    assert_eq!(refused.code, Code::RunTooLong);
    assert!(refused.message.contains("24h15m") && refused.message.contains("72h"), "{refused}");
}

/// Two seconds is what users are promised; unoptimized code on a busy machine is given more.
fn limit() -> Duration {
    Duration::from_secs(if cfg!(debug_assertions) { 15 } else { 2 })
}

#[test]
fn a_barrier_without_a_timeout_fits_into_a_short_run() {
    let steps = "{ run: { command: x, timeout: 1m } }, { barrier: BE }";
    let both = [("a", steps), ("b", steps)];
    let plan = good(&pipeline("  timeout: 4m\n  barriers: { BE: {} }\n", &both));
    assert_eq!(plan.barriers[&"BE".parse().unwrap()].timeout, Span::minutes(4));
    let plan = good(&pipeline("  barriers: { BE: {} }\n", &both));
    assert_eq!(plan.barriers[&"BE".parse().unwrap()].timeout, Span::minutes(10));
}

fn many_steps(count: usize, step: &str) -> String {
    let steps = vec![step; count].join("\n");
    format!(
        "{HEAD}  workflows:\n    - name: a\n      target: {{ command: {{}} }}\n      steps:\n{steps}\n"
    )
}

#[test]
fn ten_thousand_steps_become_a_plan_or_are_refused_with_size_and_limit_within_two_seconds() {
    let begun = Instant::now();
    let small = good(&many_steps(10_000, "        - wait: 1s"));
    assert!(small.to_json().len() <= MAX_PLAN_BYTES);
    let small_took = begun.elapsed();
    let begun = Instant::now();
    let long = many_steps(
        10_000,
        "        - run: { command: ./deploy.sh --all, undo: ./undo.sh, timeout: 1m }",
    );
    let refused = plan(&long).unwrap_err();
    let took = begun.elapsed();
    let [finding] = refused.findings() else { panic!("{refused:?}") };
    assert_eq!(finding.code, Code::PlanTooLarge);
    assert!(finding.message.contains("10000 steps"), "{finding}");
    assert!(finding.message.contains(&MAX_PLAN_BYTES.to_string()), "{finding}");
    println!("10,000 steps: accepted in {small_took:?}, refused in {took:?}");
    assert!(small_took.max(took) < limit(), "{small_took:?}, {took:?}");
}

#[test]
fn thousands_of_barriers_are_ordered_in_a_moment() {
    let count = 2_000;
    let declared: String = (0..count).map(|n| format!("    B{n}: {{}}\n")).collect();
    let forward: Vec<String> = (0..count).map(|n| format!("{{ barrier: B{n} }}")).collect();
    let mut back = forward.clone();
    back.reverse();
    let settings = format!("  barriers:\n{declared}");
    let begun = Instant::now();
    let (one, two) = (forward.join(", "), back.join(", "));
    assert!(plan(&pipeline(&settings, &[("a", &one), ("b", &one)])).is_ok());
    assert_eq!(codes(&pipeline(&settings, &[("a", &one), ("b", &two)])), ["barrier-order"]);
    assert!(begun.elapsed() < limit(), "{:?}", begun.elapsed());
}

#[test]
fn matrices_that_multiply_beyond_any_plan_are_refused_at_once() {
    let axis = (0..40).map(|n| n.to_string()).collect::<Vec<_>>().join(", ");
    let axes: String = ('a'..='j').map(|axis_name| format!("{axis_name}: [{axis}], ")).collect();
    let text = format!(
        "{HEAD}  workflows:\n    - name: t\n      target: {{ command: {{}} }}\n      matrix: {{ {axes} }}\n      steps: [{{ run: x }}]\n"
    );
    assert_eq!(codes(&text), ["matrix-too-large"]);
    let steps = vec!["{ run: x }"; 5_000].join(", ");
    let numbers = (0..1_000).map(|n| n.to_string()).collect::<Vec<_>>().join(", ");
    let text = format!(
        "{HEAD}  workflows:\n    - name: t\n      target: {{ command: {{}} }}\n      matrix: {{ n: [{numbers}] }}\n      steps: [{steps}]\n"
    );
    let begun = Instant::now();
    assert_eq!(codes(&text), ["matrix-too-large"]);
    assert!(begun.elapsed() < limit(), "{:?}", begun.elapsed());
}

#[test]
fn a_command_without_undo_is_warned_of_once_unless_nothing_is_to_be_given_back() {
    let of = |steps: &str| plan(&pipeline("", &[("a", steps)])).unwrap();
    let undo = |planned: &super::Planned| match &planned.plan.workflows[&"a".parse().unwrap()].steps
        [0]
    .action
    {
        Action::Run(command) => command.undo.clone(),
        other => panic!("{other:?}"),
    };
    let unsaid = of("{ run: x }");
    let warned: Vec<Code> = unsaid.warnings.findings().iter().map(|f| f.code).collect();
    assert_eq!((undo(&unsaid), warned), (None, vec![Code::NoUndo]));
    let nothing = of("{ run: { command: x, undo: none } }");
    assert!(nothing.warnings.is_empty(), "{}", nothing.warnings.to_plain_text());
    assert_eq!(undo(&nothing), Some(Undo::Nothing));
    let back: Plan = serde_json::from_slice(&nothing.plan.to_json()).unwrap();
    assert_eq!(back, nothing.plan);
    let program = of("{ run: { command: x, undo: [none] } }");
    let list = Command::Exec(vec!["none".to_owned()]);
    assert_eq!(undo(&program), Some(Undo::Command(list)));
    let matrix = format!(
        "{HEAD}  workflows:\n    - {{ name: t, target: {{ command: {{}} }}, matrix: {{ n: [1, 2] }}, steps: [{{ run: x }}] }}\n"
    );
    let planned = plan(&matrix).unwrap();
    let [warning] = planned.warnings.findings() else { panic!("{:?}", planned.warnings) };
    assert_eq!(warning.message, "a command has no `undo`", "one place, however many workflows");
    let silenced = Inputs { skip_checks: ["no-undo".to_owned()].into(), ..Inputs::default() };
    assert!(plan_with(&matrix, &silenced).unwrap().warnings.is_empty());
}

#[test]
fn a_pipeline_tells_its_name_and_parameters_before_it_is_planned() {
    let text = pipeline("  params: { version: { default: v2 } }\n", &[("a", "{ run: x }")]);
    let pipeline = Pipeline::parse("p.yaml", &text).unwrap();
    assert_eq!(pipeline.name().unwrap().as_str(), "shop");
    assert_eq!(pipeline.params()[0].default.as_deref(), Some("v2"));
}

#[test]
fn every_example_is_accepted_without_an_error() {
    let examples = std::path::PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let mut seen = 0;
    for folder in std::fs::read_dir(&examples).unwrap() {
        let file = folder.unwrap().path().join("pipeline.yaml");
        let Ok(text) = std::fs::read_to_string(&file) else { continue };
        match Pipeline::parse("pipeline.yaml", &text).and_then(|read| read.plan(&Inputs::default()))
        {
            Ok(planned) => println!("{}: {}", file.display(), planned.warnings.to_plain_text()),
            Err(refused) => panic!("{}: {}", file.display(), refused.to_plain_text()),
        }
        seen += 1;
    }
    assert!(seen >= 4, "only {seen} examples");
}
