//! What is refused, and what is made of what is not.

use super::{deployment, map, one, planned, said, step};
use crate::error_code::Code;
use crate::manifest::{Gathered, Problem, Rendered};

#[test]
fn objects_get_their_namespace_image_and_source() {
    let text = format!(
        "{}---\napiVersion: v1\nkind: Pod\nmetadata: {{ name: b, namespace: web }}\n\
         spec: {{ containers: [{{ image: web:v1 }}] }}\n",
        map("a")
    );
    let made = one("images: { web: 'mirror/web:v2' }", &text).unwrap();
    let objects = &made.bundles[&"web".parse().unwrap()].steps[&0];
    let sources: Vec<&str> = objects.iter().map(|object| object.source.as_str()).collect();
    assert_eq!(sources, ["k8s/web.yaml:1", "k8s/web.yaml:6"]);
    assert_eq!(objects[0].object["metadata"]["namespace"], "web");
    assert_eq!(objects[1].object["spec"]["containers"][0]["image"], "mirror/web:v2");
    assert!(made.warnings.is_empty());
}

#[test]
fn bad_texts_are_told_with_their_place_and_what_to_do() {
    for (text, code, label) in [
        ("a: [", "yaml-syntax", "line 1"),
        ("kind: A\n\tb: c\n", "tab-indentation", "line 2, column 1: a tab"),
        ("kind: A\nkind: B\n", "duplicate-key", "line 2, columns 1 to 4: again here"),
        ("- a\n", "not-an-object", "line 1"),
        ("apiVersion: v1\nkind: Pod\n", "not-an-object", "`metadata` with a `name` is missing"),
        ("apiVersion: v1\nmetadata: { name: a }\n", "not-an-object", "`kind` is missing"),
        (
            "apiVersion: v1\nkind: Pod\nmetadata:\n  name: 1\n",
            "not-an-object",
            "line 4, column 9: not a text",
        ),
        (
            "apiVersion: v1\nkind: Pod\nmetadata:\n  generateName: a-\n",
            "generated-name",
            "line 4, columns 17 to 18: every run would make another one",
        ),
        ("apiVersion: v1\nkind: Pod\nmetadata: { name: a/b }\n", "bad-name", "line 3"),
        (
            "apiVersion: v1\nkind: Pod\nmetadata:\n  name: a\n  namespace: b\n",
            "foreign-namespace",
            "line 5, column 14: another namespace",
        ),
        (
            "apiVersion: example.com/v1\nkind: X\nmetadata:\n  name: a\n  namespace: b\n",
            "foreign-namespace",
            "line 5",
        ),
        ("apiVersion: v1\nkind: Namespace\nmetadata: { name: a }\n", "cluster-scoped", "line 1"),
        ("apiVersion: v1\nkind: Pod\nmetadata: { name: a }\nx: .inf\n", "bad-value", "line 4"),
        ("apiVersion: v1\nkind: Pod\nmetadata: { name: a }\n[1]: 2\n", "bad-value", "line 4"),
        ("apiVersion: v1\nkind: Pod\nmetadata: !env A\n", "yaml-syntax", "line 3"),
    ] {
        let said = said(one("wait: false", text));
        for part in [&format!("lockstep::{code}"), label, "here/k8s/web.yaml", "diagnostic help: "]
        {
            assert!(said.contains(part), "{part:?} is missing for {text:?} in\n{said}");
        }
    }
}

#[test]
fn an_object_twice_in_a_text_is_shown_at_both_places() {
    let said = said(one("wait: false", &format!("{}---\n{}", map("a"), map("a"))));
    assert!(said.contains("ConfigMap web/a is written twice"), "{said}");
    assert!(said.contains("line 9, column 9: again here"), "{said}");
    assert!(said.contains("line 4, column 9: first here"), "{said}");
}

#[test]
fn an_object_twice_in_a_workflow_is_shown_at_both_places() {
    let planned = planned(&[("web", "namespace: web", &["wait: false", "name: again"])], &[]);
    let texts = [
        step("web", 0, &[("k8s/a.yaml", &map("a"))]),
        step("web", 1, &[("k8s/b.yaml", &format!("# here\n{}", map("a")))]),
    ];
    let said = said(deployment(&planned, &texts));
    assert!(said.contains("lockstep::repeated-object"), "{said}");
    assert!(
        said.contains("deploys twice: ConfigMap web/a (k8s/a.yaml:1 and k8s/b.yaml:2)"),
        "{said}"
    );
    assert!(said.contains("label at line 9") && said.contains("label at line 10"), "{said}");
}

#[test]
fn parity_24_an_object_of_two_workflows_is_refused_with_both_places() {
    let workflows: [(&str, &str, &[&str]); 2] = [
        ("backend", "namespace: shop", &["wait: false"]),
        ("frontend", "namespace: shop", &["wait: false"]),
    ];
    let both = format!("{}---\n{}", map("a"), map("c"));
    let texts = [
        step("backend", 0, &[("k8s/backend.yaml", &both)]),
        step("frontend", 0, &[("k8s/frontend.yaml", &format!("{}---\n{}", map("b"), map("a")))]),
    ];
    let said = said(deployment(&planned(&workflows, &[]), &texts));
    for part in [
        "workflows `backend` and `frontend` both deploy ConfigMap shop/a (k8s/backend.yaml:1 and \
         k8s/frontend.yaml:6)",
        "lockstep::shared-object",
        "deployed by `backend` here",
        "deployed by `frontend` here",
        "pipeline.yaml",
    ] {
        assert!(said.contains(part), "{part:?} is missing in\n{said}");
    }
    assert!(deployment(&planned(&workflows, &["shared-object"]), &texts).is_ok());
}

#[test]
fn the_same_names_in_other_namespaces_clusters_or_groups_are_other_objects() {
    let text = map("a");
    for (first, second) in [
        ("namespace: shop", "namespace: store"),
        ("namespace: shop, cluster: eu", "namespace: shop, cluster: us"),
        ("namespace: shop, context: eu", "namespace: shop, context: us"),
    ] {
        let planned =
            planned(&[("a", first, &["wait: false"]), ("b", second, &["wait: false"])], &[]);
        let texts = [step("a", 0, &[("a.yaml", &text)]), step("b", 0, &[("b.yaml", &text)])];
        assert!(deployment(&planned, &texts).is_ok(), "{first} and {second}");
    }
    let other = "apiVersion: example.com/v1\nkind: ConfigMap\nmetadata: { name: a }\n";
    assert!(one("wait: false", &format!("{text}---\n{other}")).is_ok());
}

#[test]
fn jobs_whose_names_are_made_are_never_the_same() {
    let job = "apiVersion: batch/v1\nkind: Job\nmetadata: { generateName: migrate- }\n";
    assert!(one("wait: false", &format!("{job}---\n{job}")).is_ok());
}

#[test]
fn cluster_scoped_objects_are_for_targets_that_allow_them() {
    let text = "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\n\
                metadata: { name: a, namespace: left-over }\n";
    let allowing = "namespace: web, allowClusterScoped: true";
    let planned = planned(&[("web", allowing, &["wait: false"])], &[]);
    let made = deployment(&planned, &[step("web", 0, &[("a.yaml", text)])]).unwrap();
    let object = &made.bundles[&"web".parse().unwrap()].steps[&0][0].object;
    assert!(object["metadata"].get("namespace").is_none(), "{object}");
}

#[test]
fn an_image_that_no_container_has_is_refused_with_the_one_that_was_meant() {
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: { name: a }\n\
               spec: { containers: [{ image: 'r.example.com/web:v1' }] }\n";
    let images = "images: { r.example.com/wbe: 'r.example.com/web:v2' }";
    let refused = said(one(images, pod));
    assert!(refused.contains("lockstep::unused-image"), "{refused}");
    assert!(refused.contains("did you mean `r.example.com/web`?"), "{refused}");
    let planned = planned(&[("web", "namespace: web", &[images])], &["unused-image"]);
    assert!(deployment(&planned, &[step("web", 0, &[("a.yaml", pod)])]).is_ok());
}

#[test]
fn a_health_rule_for_a_kind_that_no_object_has_is_refused_with_the_one_that_was_meant() {
    let till = "apiVersion: example.com/v1\nkind: Till\nmetadata: { name: a }\n";
    let of = |kind: &str| format!("healthy: {{ {kind}: {{ current: status.open }} }}");
    for right in ["Till", "Till.example.com"] {
        assert!(one(&of(right), till).is_ok(), "{right}");
    }
    let refused = said(one(&of("Til"), till));
    assert!(refused.contains("lockstep::unused-health-rule"), "{refused}");
    assert!(refused.contains("did you mean `Till`?"), "{refused}");
    let refused = said(one(&of("Till.example.org"), till));
    assert!(refused.contains("is of the kind Till.example.org"), "{refused}");
    let planned = planned(&[("web", "namespace: web", &[&of("Til")])], &["unused-health-rule"]);
    assert!(deployment(&planned, &[step("web", 0, &[("a.yaml", till)])]).is_ok());
}

#[test]
fn a_step_without_objects_is_refused() {
    let said = said(one("wait: false", "# nothing\n---\n"));
    assert!(said.contains("step `deploy` of workflow `web` has nothing to deploy"), "{said}");
}

#[test]
fn hooks_that_nobody_runs_are_warned_of() {
    let planned = planned(&[("web", "namespace: web", &["wait: false"])], &[]);
    let mut gathered = step("web", 0, &[("a.yaml", &map("a"))]);
    if let Ok(rendered) = &mut gathered.found {
        rendered.hooks = vec!["Job migrate (pre-upgrade)".to_owned()];
    }
    let made = deployment(&planned, &[gathered]).unwrap();
    let said = made.warnings.to_plain_text();
    assert!(said.contains("Job migrate (pre-upgrade)"), "{said}");
    assert!(said.contains("lockstep::hooks-left-out"), "{said}");
}

#[test]
fn what_could_not_be_gathered_is_told_at_the_step() {
    let planned = planned(&[("web", "namespace: web", &["wait: false"])], &[]);
    let problem = Problem {
        code: Code::RenderFailed,
        message: "cannot run helm".to_owned(),
        help: Some("install it".to_owned()),
    };
    let wrong = vec![Problem {
        code: Code::BadHealthRule,
        message: "`current` is no expression".to_owned(),
        help: None,
    }];
    let workflow = "web".parse().unwrap();
    let gathered = Gathered { workflow, step: 0, found: Err(problem), wrong };
    let said = said(deployment(&planned, &[gathered]));
    let rule = ["`current` is no expression", "lockstep::bad-health-rule"];
    let program = ["cannot run helm", "install it", "lockstep::render-failed", "label at line 9"];
    for part in rule.into_iter().chain(program) {
        assert!(said.contains(part), "{part:?} is missing in\n{said}");
    }
}

#[test]
fn a_file_that_two_workflows_name_is_told_of_once() {
    let workflows: [(&str, &str, &[&str]); 2] =
        [("a", "namespace: a", &["wait: false"]), ("b", "namespace: b", &["wait: false"])];
    let texts = [step("a", 0, &[("x.yaml", "a: [")]), step("b", 0, &[("x.yaml", "a: [")])];
    let said = said(deployment(&planned(&workflows, &[]), &texts));
    assert_eq!(said.matches("lockstep::yaml-syntax").count(), 1, "{said}");
}

#[test]
fn nothing_gathered_is_nothing_deployed() {
    let planned = planned(&[("web", "namespace: web", &["wait: false"])], &[]);
    assert!(deployment(&planned, &[]).unwrap().bundles.is_empty());
    let none = Gathered { found: Ok(Rendered::default()), ..step("web", 0, &[]) };
    assert!(said(deployment(&planned, &[none])).contains("lockstep::no-objects"));
}
