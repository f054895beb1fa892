//! Manifests on their way from a folder into a plan, with the real kubectl and helm.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::world::{Ran, lockstep, lockstep_in};

/// The folder of a program that `scripts/tool` builds, put in front of PATH.
fn with_program(name: &str) -> String {
    let path = std::env::var("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).any(|folder| folder.join(name).is_file());
    if on_path {
        return path;
    }
    let cache = PathBuf::from(std::env::var("HOME").unwrap_or_default()).join(".cache/lockstep");
    let versions = fs::read_dir(&cache).into_iter().flatten().flatten();
    let found = versions.map(|version| version.path().join("bin")).find(|bin| {
        // A folder with another ending is still being made.
        bin.parent().is_some_and(|version| version.extension().is_none_or(|end| end != "fresh"))
            && bin.join(name).is_file()
    });
    let folder = found.unwrap_or_else(|| {
        panic!("{name} is neither in PATH nor in {}; run: scripts/tool {name}", cache.display())
    });
    format!("{}:{path}", folder.display())
}

/// A pipeline of one workflow with one `deploy` step, among these files.
fn world(deploy: &str, files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let pipeline = format!(
        "apiVersion: lockstep.dev/v1alpha1\nkind: Pipeline\nmetadata: {{ name: shop }}\nspec:\n  \
         workflows:\n    - name: web\n      target: {{ kubernetes: {{ namespace: web }} }}\n      \
         steps:\n        - deploy: {{ {deploy} }}\n"
    );
    fs::write(folder.path().join("pipeline.yaml"), pipeline).expect("written");
    for (path, text) in files {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().expect("it is in a folder")).expect("created");
        fs::write(path, text).expect("written");
    }
    folder
}

fn plan(folder: &TempDir, path: &str) -> Ran {
    lockstep_in(folder.path(), &["plan", "pipeline.yaml", "-o", "json"], &[("PATH", path)])
}

/// The objects of the one step.
fn objects(plan: &Value) -> Vec<&Value> {
    let objects = plan["objects"]["web"]["0"].as_array().expect("the step has objects");
    objects.iter().map(|manifest| &manifest["object"]).collect()
}

#[test]
fn what_is_written_of_kubectl_is_what_kubectl_says() {
    let path = with_program("kubectl");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/testdata/manifests");
    let mut count = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let file = entry.unwrap().path();
        if file.to_str().unwrap().ends_with(".kubectl.json") {
            continue;
        }
        count += 1;
        let written = fs::read_to_string(format!("{}.kubectl.json", file.display())).unwrap();
        let written: Value = serde_json::from_str(&written).unwrap();
        assert_eq!(read_by_kubectl(&file, &path), written, "{}", file.display());
    }
    assert!(count >= 3, "only {count} files");
}

/// What kubectl makes of a file without asking a server: it has a mark added, and prints.
fn read_by_kubectl(file: &Path, path: &str) -> Value {
    const MARK: &str = "lockstep.dev/read";
    let output = Command::new("kubectl")
        .args(["annotate", "--local", "-o", "json", "-f"])
        .arg(file)
        .arg(format!("{MARK}=yes"))
        .env("PATH", path)
        .env("KUBECONFIG", "/nonexistent")
        .output()
        .expect("kubectl runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let objects = serde_json::Deserializer::from_slice(&output.stdout).into_iter::<Value>();
    let unmarked = objects.map(|object| {
        let mut object = object.expect("kubectl prints JSON");
        let metadata = object["metadata"].as_object_mut().expect("a map");
        let annotations = metadata["annotations"].as_object_mut().expect("a map");
        annotations.remove(MARK).expect("the mark is there");
        if annotations.is_empty() {
            metadata.remove("annotations");
        }
        object
    });
    unmarked.collect()
}

#[test]
fn a_plan_lists_what_each_step_deploys_and_no_secret_values() {
    let folder = world(
        "manifests: k8s",
        &[
            ("k8s/a.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: a }\n"),
            (
                "k8s/b.yaml",
                "# a secret\napiVersion: v1\nkind: Secret\nmetadata: { name: b }\nstringData: { password: deep }\n",
            ),
            ("k8s/deeper/c.yaml", "not: read"),
        ],
    );
    let text = lockstep_in(folder.path(), &["plan", "pipeline.yaml"], &[]).ended(0);
    assert!(text.out.contains("ConfigMap web/a  k8s/a.yaml:1"), "{}", text.out);
    assert!(text.out.contains("Secret web/b  k8s/b.yaml:2"), "{}", text.out);
    let ran = lockstep_in(folder.path(), &["plan", "pipeline.yaml", "-o", "json"], &[]).ended(0);
    assert!(!ran.out.contains("deep"), "{}", ran.out);
    let plan = ran.json();
    assert_eq!(objects(&plan)[1]["stringData"], json!({ "password": "(hidden)" }));
    let digest = plan["plan"]["workflows"]["web"]["bundle"].as_str().unwrap();
    assert_eq!(digest.len(), "yyyymm-".len() + 64);
    // From where it is called changes nothing.
    let file = folder.path().join("pipeline.yaml");
    let elsewhere = lockstep(&["plan", file.to_str().unwrap(), "-o", "json"]).ended(0).json();
    assert_eq!(elsewhere["digest"], plan["digest"]);
}

#[test]
fn findings_in_manifests_are_drawn_and_given_as_data() {
    let folder = world(
        "manifests: [k8s/a.yaml, k8s/b.yaml]",
        &[
            ("k8s/a.yaml", "apiVersion: v1\nkind: Pod\nmetadata:\n  name: a\n  namespace: b\n"),
            ("k8s/b.yaml", "apiVersion: v1\nkind: Pod\n"),
        ],
    );
    let validate = |args: &[&str]| {
        lockstep_in(folder.path(), &[&["validate", "pipeline.yaml"], args].concat(), &[])
    };
    let drawn = validate(&[]).ended(3);
    for part in ["k8s/a.yaml:5:14", "foreign-namespace", "k8s/b.yaml:1:1", "not-an-object"] {
        assert!(drawn.err.contains(part), "{part} is missing in\n{}", drawn.err);
    }
    let json = validate(&["-o", "json"]).ended(3).json();
    assert_eq!(json["summary"], "k8s/a.yaml: 1 error; k8s/b.yaml: 1 error");
    assert_eq!(json["findings"][0]["file"], "k8s/a.yaml");
    assert_eq!(json["findings"][0]["line"], 5);
    let github = validate(&["-o", "github"]).ended(3);
    assert!(github.out.contains("::error file=k8s/a.yaml,line=5,col=14"), "{}", github.out);
}

#[test]
fn a_health_rule_that_is_no_expression_is_found_before_anything_runs() {
    let deploy =
        "manifests: [k8s/a.yaml], healthy: { Certificate: { current: \"status.ready ==\" } }";
    let pod = "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: a }\n";
    let folder = world(deploy, &[("k8s/a.yaml", pod)]);
    let drawn = lockstep_in(folder.path(), &["validate", "pipeline.yaml"], &[]).ended(3);
    let said = ["lockstep::bad-health-rule", "`healthy.Certificate.current`", "`status.ready ==`"];
    for part in said {
        assert!(drawn.err.contains(part), "{part} is missing in\n{}", drawn.err);
    }
    let json = lockstep_in(folder.path(), &["validate", "pipeline.yaml", "-o", "json"], &[]);
    assert_eq!(json.ended(3).json()["findings"][0]["line"], 9, "the step");
}

#[test]
fn what_is_not_installed_is_said_with_what_to_install() {
    for (deploy, program) in
        [("kustomize: k8s", "kubectl"), ("helm: { chart: k8s, release: web }", "helm")]
    {
        let folder = world(deploy, &[("k8s/kustomization.yaml", "")]);
        let ran = plan(&folder, "/nonexistent").ended(3);
        assert!(ran.err.contains("render-failed"), "{}", ran.err);
        assert!(ran.err.contains(&format!("install {program}")), "{}", ran.err);
    }
}

#[test]
fn a_kustomize_folder_is_rendered_by_kubectl() {
    let folder = world(
        "kustomize: k8s, images: { web: 'web:v2' }",
        &[
            ("k8s/kustomization.yaml", "namePrefix: eu-\nresources: [pod.yaml]\n"),
            (
                "k8s/pod.yaml",
                "apiVersion: v1\nkind: Pod\nmetadata: { name: web }\nspec: { containers: [{ name: web, image: 'web:v1' }] }\n",
            ),
        ],
    );
    let path = with_program("kubectl");
    let made = plan(&folder, &path).ended(0).json();
    assert_eq!(objects(&made)[0]["metadata"], json!({ "name": "eu-web", "namespace": "web" }));
    assert_eq!(objects(&made)[0]["spec"]["containers"][0]["image"], "web:v2");
    fs::write(folder.path().join("k8s/kustomization.yaml"), "resources: [none.yaml]\n").unwrap();
    let ran = plan(&folder, &path).ended(3);
    assert!(ran.err.contains("none.yaml"), "kubectl's own words: {}", ran.err);
}

#[test]
fn a_chart_is_rendered_by_helm_and_its_hooks_are_named() {
    let folder = world(
        "helm: { chart: charts/web, release: shop, values: values.yaml, set: { image.tag: v2 } }",
        &[
            ("values.yaml", "replicas: 3\n"),
            ("charts/web/Chart.yaml", "apiVersion: v2\nname: web\nversion: 1.0.0\n"),
            ("charts/web/values.yaml", "replicas: 1\nimage: { tag: v1 }\n"),
            (
                "charts/web/templates/map.yaml",
                "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {{ .Release.Name }}\n  namespace: {{ .Release.Namespace }}\ndata:\n  replicas: {{ .Values.replicas | quote }}\n  tag: {{ .Values.image.tag }}\n",
            ),
            (
                "charts/web/templates/hook.yaml",
                "apiVersion: batch/v1\nkind: Job\nmetadata:\n  name: migrate\n  annotations: { helm.sh/hook: pre-upgrade }\n",
            ),
            (
                "charts/web/templates/tests/test.yaml",
                "apiVersion: v1\nkind: Pod\nmetadata:\n  name: check\n  annotations: { helm.sh/hook: test }\n",
            ),
        ],
    );
    let path = with_program("helm");
    let ran = plan(&folder, &path).ended(0);
    let made = ran.json();
    assert_eq!(objects(&made).len(), 1, "{}", ran.out);
    assert_eq!(objects(&made)[0]["metadata"], json!({ "name": "shop", "namespace": "web" }));
    assert_eq!(objects(&made)[0]["data"], json!({ "replicas": "3", "tag": "v2" }));
    for part in ["hooks-left-out", "Job migrate (pre-upgrade)", "Pod check (test)"] {
        assert!(ran.err.contains(part), "{part} is missing in\n{}", ran.err);
    }
}

#[test]
fn parity_24_an_object_of_two_workflows_is_refused_with_both_places() {
    let folder = world(
        "manifests: k8s/a.yaml",
        &[
            ("k8s/a.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: a }\n"),
            ("k8s/b.yaml", "# the same\napiVersion: v1\nkind: ConfigMap\nmetadata: { name: a }\n"),
        ],
    );
    let file = folder.path().join("pipeline.yaml");
    let mut text = fs::read_to_string(&file).unwrap();
    text.push_str(
        "    - name: admin\n      target: { kubernetes: { namespace: web } }\n      steps:\n        - deploy: { manifests: k8s/b.yaml }\n",
    );
    fs::write(&file, text).unwrap();
    for verb in ["validate", "plan", "run", "dev"] {
        let ran = lockstep_in(folder.path(), &[verb, "pipeline.yaml"], &[]).ended(3);
        for part in
            ["shared-object", "k8s/a.yaml:1", "k8s/b.yaml:2", "pipeline.yaml:9:", "by `web`"]
        {
            assert!(ran.err.contains(part), "{verb}: {part} is missing in\n{}", ran.err);
        }
    }
}
