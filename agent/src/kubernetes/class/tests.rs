//! Judgements, on what a real server answered.

use serde_json::{Value, json};

use super::*;

fn key(api_version: &str, kind: &str, name: &str) -> ObjectKey {
    ObjectKey {
        api_version: api_version.to_owned(),
        kind: kind.to_owned(),
        namespace: Some("shop".to_owned()),
        name: name.to_owned(),
    }
}

fn web() -> ObjectKey {
    key("apps/v1", "Deployment", "web")
}

fn deployment(image: &str, ours: Value) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "web", "uid": "u-1", "resourceVersion": "7", "managedFields": [
            {"manager": "lockstep", "operation": "Apply", "apiVersion": "apps/v1",
             "time": "2026-11-28T03:00:00Z", "fieldsType": "FieldsV1", "fieldsV1": ours}]},
        "spec": {"image": image}})
}

fn image() -> Value {
    json!({"f:spec": {"f:image": {}}})
}

fn judged(before: Option<&Value>, answer: Answer<'_>) -> Outcome {
    judged_on(before, answer, &[], &[])
}

fn judged_on(
    before: Option<&Value>,
    answer: Answer<'_>,
    force: &[String],
    missing: &[ObjectKey],
) -> Outcome {
    let adopt = Adopt::default();
    let terms = Terms { owner: "shop.backend", adopt: &adopt, force, missing };
    judge(&web(), before, answer, &terms).unwrap()
}

fn refusal(code: u64, message: &str) -> Value {
    json!({"kind": "Status", "status": "Failure", "code": code, "message": message})
}

fn conflict(message: &str, field: &str) -> Value {
    let cause = json!({"reason": "FieldManagerConflict", "message": message, "field": field});
    json!({"kind": "Status", "code": 409, "reason": "Conflict",
        "message": format!("Apply failed with 1 conflict: {message}: {field}"),
        "details": {"causes": [cause]}})
}

#[test]
fn an_object_is_made_changed_or_left() {
    let (one, two) = (deployment("web:1", image()), deployment("web:2", image()));
    assert_eq!(judged(None, Answer::Object(&one)), Outcome::Create);
    assert_eq!(judged(Some(&one), Answer::Object(&one)), Outcome::Unchanged);
    let Outcome::Update(paths) = judged(Some(&one), Answer::Object(&two)) else { panic!() };
    assert_eq!(paths, [Path::of_fields(&["spec", "image"])].into_iter().collect());
}

#[test]
fn times_and_our_own_annotation_are_no_change() {
    let before = deployment("web:1", image());
    let mut fields = image();
    fields["f:metadata"] = json!({"f:annotations": {"f:lockstep.dev/run": {}}});
    let mut after = deployment("web:1", fields);
    after["metadata"]["annotations"] = json!({"lockstep.dev/run": "r-2/backend/1"});
    after["metadata"]["managedFields"][0]["time"] = json!("2026-11-28T04:00:00Z");
    after["metadata"]["resourceVersion"] = json!("8");
    assert_eq!(judged(Some(&before), Answer::Object(&after)), Outcome::Unchanged);
}

#[test]
fn another_ownership_alone_is_a_change() {
    let before = deployment("web:1", json!({"f:spec": {"f:image": {}, "f:replicas": {}}}));
    let after = deployment("web:1", image());
    let outcome = judged(Some(&before), Answer::Object(&after));
    assert_eq!(outcome, Outcome::Update(FieldSet::new()));
}

/// Seen: with one manager name, two intents on one object delete each other's fields.
#[test]
fn what_another_workflow_owns_is_refused() {
    let mut before = deployment("web:1", image());
    before["metadata"]["labels"] = json!({"lockstep.dev/owner": "shop.frontend"});
    let outcome = judged(Some(&before), Answer::Object(&before));
    let expected = Impossible::OwnedBy("shop.frontend".to_owned());
    assert_eq!(outcome, Outcome::Impossible(expected));
}

#[test]
fn a_conflict_with_kubectl_alone_is_to_be_adopted() {
    let status = conflict(
        r#"conflict with "kubectl-client-side-apply" using apps/v1 at 2026-11-28T03:00:00Z"#,
        r#".spec.template.spec.containers[name="web"].image"#,
    );
    let outcome = judged(Some(&deployment("web:1", image())), Answer::Refusal(&status));
    let Outcome::Adopt(conflicts) = outcome else { panic!("{outcome:?}") };
    assert_eq!(conflicts[0].manager, "kubectl-client-side-apply");
}

/// Seen: `rollingUpdate: null` is refused as long as kubectl's entry keeps what it removes.
#[test]
fn what_is_invalid_with_what_kubectl_still_owns_is_unplanned() {
    let status = refusal(422, "spec.strategy.rollingUpdate: Forbidden: may not be specified");
    let before = deployment("web:1", image());
    let outcome = judged(Some(&before), Answer::ForcedRefusal(&status));
    assert!(matches!(outcome, Outcome::Unplanned(_)), "{outcome:?}");
}

#[test]
fn a_conflict_with_anybody_else_names_who_where_and_what_to_do() {
    let status = conflict(r#"conflict with "helm""#, ".spec.replicas");
    let outcome = judged(None, Answer::Refusal(&status));
    let Outcome::Impossible(why) = outcome else { panic!("{outcome:?}") };
    let text = why.to_string();
    assert!(
        text.starts_with(r#".spec.replicas is "helm"'s; name the manager in `adopt`"#),
        "{text}"
    );
}

#[test]
fn what_was_written_through_a_subresource_is_never_adopted() {
    let words = r#"conflict with "kubectl" with subresource "scale" using apps/v1"#;
    let status = conflict(words, ".spec.replicas");
    let outcome = judged(None, Answer::Refusal(&status));
    let Outcome::Impossible(Impossible::Conflicts(conflicts)) = outcome else { panic!() };
    assert_eq!(conflicts[0].subresource.as_deref(), Some("scale"));
}

#[test]
fn a_forced_path_covers_what_lies_inside_and_nothing_beside() {
    let judged_at = |field: &str| {
        let force = [r#"spec.containers[name="web"]"#.to_owned(), ".spec.rep".to_owned()];
        judged_on(None, Answer::Refusal(&conflict(r#"conflict with "helm""#, field)), &force, &[])
    };
    assert!(matches!(judged_at(r#".spec.containers[name="web"].image"#), Outcome::Adopt(_)));
    assert!(matches!(judged_at(".spec.replicas"), Outcome::Impossible(_)));
}

#[test]
fn a_manager_with_quotes_in_its_name_is_read() {
    let status = conflict(r#"conflict with "a \"b\"" using v1"#, ".data.k");
    assert_eq!(conflicts(&status)[0].manager, r#"a "b""#);
}

#[test]
fn what_may_not_change_is_told_apart_from_what_is_wrong() {
    let words =
        r#"Deployment.apps "web" is invalid: spec.selector: Invalid value: {}: field is immutable"#;
    let (before, status) = (deployment("web:1", image()), refusal(422, words));
    let immutable = judged(Some(&before), Answer::Refusal(&status));
    assert!(matches!(immutable, Outcome::Impossible(Impossible::Immutable(_))), "{immutable:?}");
    let status = refusal(422, r#"Deployment.apps "web" is invalid: spec.template: Required value"#);
    let invalid = judged(Some(&before), Answer::Refusal(&status));
    assert!(matches!(invalid, Outcome::Impossible(Impossible::Invalid(_))), "{invalid:?}");
}

/// Seen: a Job's whole template, and a claim's on many lines.
#[test]
fn very_long_words_are_told_by_their_beginning_and_their_end() {
    let words =
        format!("Job \"a\" is invalid: spec.template: {}\n: field is immutable", "x\n".repeat(999));
    let (before, status) = (deployment("web:1", image()), refusal(422, &words));
    let judged = judged(Some(&before), Answer::Refusal(&status));
    let Outcome::Impossible(Impossible::Immutable(told)) = judged else { panic!("{judged:?}") };
    assert!(told.starts_with("Job \"a\" is invalid: spec.template: x"), "{told}");
    assert!(told.ends_with("field is immutable") && told.len() < 400, "{told}");
}

/// Seen: a RoleBinding's Role and a Pod's ServiceAccount are looked up in a dry run too.
#[test]
fn what_needs_an_object_of_the_same_set_is_unplanned() {
    let missing = [
        key("v1", "ServiceAccount", "runner"),
        key("rbac.authorization.k8s.io/v1", "Role", "reader"),
    ];
    for status in [
        refusal(
            403,
            r#"pods "job" is forbidden: error looking up service account shop/runner: serviceaccount "runner" not found"#,
        ),
        refusal(404, r#"roles.rbac.authorization.k8s.io "reader" not found"#),
    ] {
        let outcome = judged_on(None, Answer::Refusal(&status), &[], &missing);
        assert!(matches!(outcome, Outcome::Unplanned(_)), "{outcome:?}");
        let outcome = judged_on(None, Answer::Refusal(&status), &[], &[]);
        assert!(matches!(outcome, Outcome::Impossible(_)), "{outcome:?}");
    }
}

#[test]
fn a_webhook_without_dry_runs_makes_an_object_unplanned() {
    let status = refusal(400, r#"admission webhook "a.b.c" does not support dry run"#);
    let outcome = judged(None, Answer::Refusal(&status));
    assert!(matches!(outcome, Outcome::Unplanned(_)), "{outcome:?}");
}

/// Seen: a webhook that gives no code is answered for with 400, a policy with 422.
#[test]
fn what_a_webhook_or_a_policy_denies_is_refused_whichever_code_it_has() {
    for (code, words) in [
        (400, r#"admission webhook "a.b.c" denied the request: not signed"#),
        (403, r#"admission webhook "a.b.c" denied the request: not signed"#),
        (422, "ValidatingAdmissionPolicy 'p' with binding 'b' denied request: it is immutable"),
    ] {
        let (before, status) = (deployment("web:1", image()), refusal(code, words));
        let refused = Outcome::Impossible(Impossible::Refused(words.to_owned()));
        assert_eq!(judged(Some(&before), Answer::Refusal(&status)), refused);
        assert_eq!(judged(Some(&before), Answer::ForcedRefusal(&status)), refused);
    }
}

#[test]
fn a_missing_namespace_is_named_with_the_command_that_makes_it() {
    let mut status = refusal(404, r#"namespaces "shop" not found"#);
    status["details"] = json!({"kind": "namespaces", "name": "shop"});
    let outcome = judged(None, Answer::Refusal(&status));
    let Outcome::Impossible(why) = outcome else { panic!("{outcome:?}") };
    assert!(why.to_string().contains("kubectl create namespace shop"), "{why}");
}

#[test]
fn other_refusals_keep_the_servers_words() {
    let words = r#"pods "web" is forbidden: exceeded quota: small"#;
    let outcome = judged(None, Answer::Refusal(&refusal(403, words)));
    assert_eq!(outcome, Outcome::Impossible(Impossible::Refused(words.to_owned())));
}

fn service(fields: Value, node_port: Option<u16>) -> Value {
    let mut spec = fields;
    spec["ports"] = json!([{"port": 80, "protocol": "TCP"}]);
    if let Some(port) = node_port {
        spec["ports"][0]["nodePort"] = json!(port);
    }
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": spec})
}

/// Seen: a change of type frees the nodePort or the clusterIP.
#[test]
fn a_service_that_gives_up_what_the_server_chose_is_costly() {
    let class_of =
        |before: &Value, after: &Value| class(&key("v1", "Service", "web"), Some(before), after);
    let inside = service(json!({"type": "ClusterIP", "clusterIP": "10.0.0.1"}), None);
    let node = service(json!({"type": "NodePort", "clusterIP": "10.0.0.1"}), Some(30080));
    let outside = service(json!({"type": "ExternalName"}), None);
    assert_eq!(class_of(&inside, &node), Class::Exact);
    let Class::Costly(paths) = class_of(&node, &inside) else { panic!() };
    assert_eq!(paths[0].to_string(), r#".spec.ports[port=80,protocol="TCP"].nodePort"#);
    let Class::Costly(paths) = class_of(&inside, &outside) else { panic!() };
    assert_eq!(paths[0].to_string(), ".spec.clusterIP");
    let balanced = service(json!({"type": "LoadBalancer", "clusterIP": "10.0.0.1"}), None);
    assert!(matches!(class_of(&balanced, &inside), Class::Costly(_)));
}

/// Seen: what kubectl had applied and the manifest leaves out is still in the answer of a dry run.
#[test]
fn a_type_that_goes_with_its_former_owner_is_costly_too() {
    let node = service(json!({"type": "NodePort", "clusterIP": "10.0.0.1"}), Some(30080));
    let class_of = |dropped: &Path| {
        let becomes = becomes(&node, &[dropped.clone()].into_iter().collect());
        class(&key("v1", "Service", "web"), Some(&node), &becomes)
    };
    let node_port = r#".spec.ports[port=80,protocol="TCP"].nodePort"#;
    let port = Path::of_fields(&["spec", "type"]);
    let Class::Costly(paths) = class_of(&port) else { panic!() };
    assert_eq!(paths[0].to_string(), node_port);
    assert_eq!(class_of(&Path::of_fields(&["spec", "externalName"])), Class::Exact);
}

#[test]
fn what_a_rollback_cannot_take_back_is_one_way() {
    let claim = |size: &str| json!({"spec": {"resources": {"requests": {"storage": size}}}});
    let of = |key: &ObjectKey, before: Option<&Value>, after: &Value| {
        class(key, before, after).to_string()
    };
    let pvc = key("v1", "PersistentVolumeClaim", "data");
    assert_eq!(of(&pvc, None, &claim("1Gi")), "kept");
    assert_eq!(of(&pvc, Some(&claim("1Gi")), &claim("1Gi")), "exact");
    assert_eq!(of(&pvc, Some(&claim("1Gi")), &claim("2Gi")), "one-way");
    let job = key("batch/v1", "Job", "migrate");
    let suspended = json!({"spec": {"suspend": true}});
    assert_eq!(of(&job, None, &json!({})), "one-way");
    assert_eq!(of(&job, Some(&json!({})), &json!({})), "exact");
    assert_eq!(of(&job, Some(&suspended), &json!({})), "one-way");
    let definition = key("apiextensions.k8s.io/v1", "CustomResourceDefinition", "tills.shop");
    assert_eq!(of(&definition, Some(&json!({})), &json!({})), "one-way");
    assert_eq!(of(&web(), None, &json!({})), "by delete");
}

/// Seen: the server calls it an internal error, and would say so for ever.
#[test]
fn a_manifest_with_two_items_of_one_name_says_which_is_to_go() {
    let status = json!({"code": 500, "status": "Failure", "message":
        "failed to create typed patch object (shop/web; apps/v1, Kind=Deployment): \
         .spec.template.spec.containers[name=\"app\"].env: duplicate entries for key \
         [name=\"FOO\"]"});
    let Outcome::Impossible(why) = judged(None, Answer::Refusal(&status)) else { panic!() };
    assert_eq!(
        why.to_string(),
        r#".spec.template.spec.containers[name="app"].env[name="FOO"] is there twice; remove one"#
    );
    let status = json!({"code": 500, "message":
        "failed to create typed patch object (shop/web; v1, Kind=Service): .spec.type: \
         expected string, got &value.valueUnstructured{Value:true}"});
    let outcome = judged(None, Answer::Refusal(&status));
    assert!(matches!(outcome, Outcome::Impossible(Impossible::Invalid(_))), "{outcome:?}");
}
