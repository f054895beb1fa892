//! Verbs that need no server.

use crate::world::{good_shop, lockstep, lockstep_fed, shop};

const CLUSTER: &str = "
apiVersion: lockstep.dev/v1alpha1
kind: Pipeline
metadata: { name: cluster }
spec:
  workflows:
    - name: web
      target: { kubernetes: { namespace: web } }
      steps:
        - deploy: { manifests: [k8s] }
";

fn fed(verb: &[&str], text: &str) -> crate::world::Ran {
    lockstep_fed(verb, text.as_bytes())
}

#[test]
fn a_valid_file_is_said_to_be_valid_in_every_shape() {
    let ran = fed(&["validate", "-"], &good_shop()).ended(0);
    assert_eq!(ran.out, "shop: valid, 2 workflows, 1 barriers\n");
    assert_eq!(ran.err, "");
    let json = fed(&["validate", "-", "-o", "json"], &good_shop()).ended(0).json();
    assert_eq!(json["valid"], true);
    assert_eq!(json["findings"].as_array().unwrap().len(), 0);
    assert_eq!(fed(&["validate", "-", "-o", "name"], &good_shop()).ended(0).out, "shop\n");
}

#[test]
fn findings_are_drawn_on_standard_error_and_given_as_data() {
    let wrong = good_shop().replace("- barrier: BE", "- barrier: BF");
    let ran = fed(&["validate", "-"], &wrong).ended(3);
    assert_eq!(ran.out, "", "data only");
    assert!(ran.err.contains("lockstep::unknown-barrier"), "{}", ran.err);
    assert!(ran.err.contains("standard input:"), "{}", ran.err);
    assert!(!ran.err.contains('\u{1b}'), "no colour in a pipe");
    let json = fed(&["validate", "-", "-o", "json"], &wrong).ended(3).json();
    let found = &json["findings"][0];
    assert_eq!(found["code"], "lockstep::unknown-barrier");
    assert!(found["line"].as_u64().is_some_and(|line| line > 5), "{found}");
    assert!(found["help"].as_str().is_some_and(|help| !help.is_empty()), "{found}");
}

#[test]
fn github_gets_annotations_with_file_and_line() {
    let wrong = good_shop().replace("timeout: 10m", "timeout: 1 minute");
    let ran = fed(&["validate", "-", "-o", "github"], &wrong).ended(3);
    let annotation = ran.out.lines().find(|line| line.starts_with("::error ")).unwrap();
    assert!(annotation.contains("file=standard input,line="), "{annotation}");
    assert!(annotation.contains("title=lockstep%3A%3Abad-duration::"), "{annotation}");
}

#[test]
fn colour_is_drawn_only_where_it_is_wanted() {
    let wrong = "kind: Pipeline\n";
    assert!(!fed(&["validate", "-"], wrong).err.contains('\u{1b}'));
    assert!(fed(&["--color", "always", "validate", "-"], wrong).err.contains('\u{1b}'));
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let ran = lockstep(&["validate", "/nowhere/pipeline.yaml"]).ended(3);
    assert!(ran.err.contains("/nowhere/pipeline.yaml"), "{}", ran.err);
    assert!(ran.err.contains("help:"), "{}", ran.err);
    let binary = lockstep_fed(&["validate", "-"], &[0xff, 0xfe, 0]).ended(3);
    assert!(binary.err.contains("not UTF-8"), "{}", binary.err);
}

#[test]
fn control_characters_of_a_file_do_not_reach_the_terminal() {
    let wrong = good_shop().replace("name: shop", "name: \"sh\u{9b}2Jop\"");
    let ran = fed(&["validate", "-"], &wrong).ended(3);
    assert!(!ran.err.contains('\u{9b}'), "{:?}", ran.err);
}

#[test]
fn parameters_and_skipped_checks_reach_the_plan() {
    let text = good_shop()
        .replace("timeout: 30m", "timeout: 30m\n  params: { version: { enum: [v1, v2] } }")
        .replace("echo one", "echo ${{ params.version }}");
    let ran = fed(&["plan", "-"], &text).ended(3);
    assert!(ran.err.contains("param-without-value"), "{}", ran.err);
    let plan = fed(&["plan", "-", "--param", "version=v2", "-o", "json"], &text).ended(0).json();
    assert_eq!(plan["plan"]["params"]["version"], "v2");
    let ran = fed(&["plan", "-", "-p", "version=v1", "-p", "version=v2"], &text).ended(2);
    assert!(ran.err.contains("given twice"), "{}", ran.err);
    let lonely =
        shop("true", "true", "").replace("        - barrier: BE\n        - run", "        - run");
    assert!(fed(&["validate", "-"], &lonely).ended(3).err.contains("single-party"));
    let skipped =
        fed(&["plan", "-", "--skip-check", "single-party", "-o", "json"], &lonely).ended(0).json();
    assert_eq!(skipped["plan"]["skippedChecks"][0], "single-party");
}

#[test]
fn a_plan_is_told_step_by_step() {
    let ran = fed(&["plan", "-"], &good_shop()).ended(0);
    for wanted in ["run \"deploy\"", "can be undone", "barrier BE", "Backend is there", "digest"] {
        assert!(ran.out.contains(wanted), "{wanted} is missing in\n{}", ran.out);
    }
}

#[test]
fn a_plan_shows_what_is_run_and_asked() {
    let steps = "
        - verify: { http: { url: 'http://127.0.0.1:1/healthz', status: 200 }, for: 10s }
        - barrier: BE";
    let text = good_shop().replacen("\n        - barrier: BE", steps, 1);
    let ran = fed(&["plan", "-"], &text).ended(0);
    for wanted in [
        "$ echo one > backend.txt",
        "undo $ rm -f backend.txt",
        "GET http://127.0.0.1:1/healthz answers 200",
        "must hold for 10s",
    ] {
        assert!(ran.out.contains(wanted), "{wanted} is missing in\n{}", ran.out);
    }
}

#[test]
fn a_graph_is_a_flowchart() {
    let ran = fed(&["graph", "-"], &good_shop()).ended(0);
    assert!(ran.out.starts_with("flowchart"), "{}", ran.out);
    let json = fed(&["graph", "-", "-o", "json"], &good_shop()).ended(0).json();
    assert_eq!(json["pipeline"], "shop");
}

#[test]
fn what_is_deployed_to_a_cluster_is_checked_without_one() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("k8s")).unwrap();
    let service = "apiVersion: v1\nkind: Service\nmetadata: { name: web }\n";
    std::fs::write(folder.path().join("k8s/web.yaml"), service).unwrap();
    let file = folder.path().join("pipeline.yaml");
    std::fs::write(&file, CLUSTER).unwrap();
    let file = file.to_str().unwrap();
    for verb in ["validate", "plan", "graph"] {
        lockstep(&[verb, file]).ended(0);
    }
    std::fs::remove_dir_all(folder.path().join("k8s")).unwrap();
    assert!(lockstep(&["validate", file]).ended(3).err.contains("missing-file"));
}

#[test]
fn external_targets_are_refused_with_what_to_do_instead() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pipeline.yaml");
    let text = "apiVersion: lockstep.dev/v1alpha1
kind: Pipeline
metadata: { name: shop }
spec:
  barriers: { BE: {} }
  workflows:
    - { name: a, target: { external: {} }, steps: [{ barrier: BE }] }
    - { name: b, target: { command: {} }, steps: [{ barrier: BE }] }
";
    std::fs::write(&file, text).unwrap();
    let file = file.to_str().unwrap();
    lockstep(&["validate", file]).ended(0);
    let ran = lockstep(&["run", file]).ended(3);
    assert!(ran.err.contains("no agents for external targets, which a has"), "{}", ran.err);
    assert!(ran.err.contains("foreign party"), "{}", ran.err);
}

#[test]
fn the_schema_version_and_completions_are_data() {
    let schema = lockstep(&["schema", "pipeline"]).ended(0).json();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    let version = lockstep(&["version", "-o", "json"]).ended(0).json();
    assert_eq!(version["protocol"], 1);
    for shell in ["bash", "zsh", "fish"] {
        let script = lockstep(&["completion", shell]).ended(0).out;
        assert!(script.contains("lockstep"), "{shell}");
    }
}

#[test]
fn wrong_usage_ends_with_2() {
    for args in [
        &["nonsense"][..],
        &["run"],
        &["validate", "-", "-o", "xml"],
        &["barrier", "arrive", "BE", "--run", "r1"],
        &["barrier", "arrive", "B E", "--run", "r1", "--party", "qa"],
        &["abort", "r1"],
        &["rollback", "accept", "r1"],
        &["run", "-", "--param", "novalue"],
        &["run", "-", "--timeout", "soon"],
        &["run", "x.yaml", "--from-run", "r1"],
        &["run", "-", "--run-id", "Not_A_Label"],
        &["status", "--watch", "-o", "json"],
        &["barrier", "fail", "BE", "--run", "r1", "--party", "qa"],
    ] {
        let ran = lockstep(args).ended(2);
        assert!(!ran.err.is_empty() && ran.out.is_empty(), "{args:?}: {ran:?}");
    }
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let script = format!(
        "{} completion bash | head -c 1 >/dev/null; echo ${{PIPESTATUS[0]}}",
        env!("CARGO_BIN_EXE_lockstep")
    );
    let output = std::process::Command::new("bash").args(["-c", &script]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "0");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[test]
fn ten_thousand_steps_are_answered_within_two_seconds() {
    let mut text = good_shop();
    for step in 0..10_000 {
        text.push_str(&format!("        - run: {{ name: s{step}, command: 'true' }}\n"));
    }
    let begin = std::time::Instant::now();
    let ran = fed(&["validate", "-"], &text);
    assert!(begin.elapsed() < std::time::Duration::from_secs(2), "{:?}", begin.elapsed());
    if ran.code != 0 {
        assert_eq!(ran.code, 3, "{}", ran.err);
        assert!(ran.err.contains("bytes") && ran.err.contains("limit"), "{}", ran.err);
    }
}
