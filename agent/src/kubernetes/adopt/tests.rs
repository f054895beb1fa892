//! Taking over and giving back, on objects as a real server showed them.

use serde_json::{Value, json};

use super::*;

const VERSION: &str = "41";

fn entry(manager: &str, operation: &str, fields: Value) -> Value {
    json!({"manager": manager, "operation": operation, "apiVersion": "apps/v1",
        "time": "2026-11-28T03:00:00Z", "fieldsType": "FieldsV1", "fieldsV1": fields})
}

fn deployment(replicas: i64, entries: Vec<Value>) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"replicas": replicas},
        "metadata": {"name": "web", "namespace": "shop", "resourceVersion": VERSION,
            "labels": {"app": "web"}, "managedFields": entries}})
}

fn spec_and_label() -> Value {
    json!({"f:spec": {"f:replicas": {}}, "f:metadata": {"f:labels": {".": {}, "f:app": {}}}})
}

/// The entries that a patch would leave, by manager and operation.
fn after(patch: Option<Value>) -> Vec<(String, FieldSet)> {
    let patch = patch.expect("a patch");
    assert_eq!(
        patch[0],
        json!({"op": "test", "path": "/metadata/resourceVersion", "value": VERSION})
    );
    assert_eq!(patch[1]["path"], "/metadata/managedFields");
    let object = json!({"apiVersion": "apps/v1", "metadata": {"managedFields": patch[1]["value"]}});
    let entries = entries(&object).unwrap();
    let name = |entry: &Entry| format!("{} {}", entry.manager, entry.operation.as_str());
    entries.iter().map(|entry| (name(entry), entry.fields.clone())).collect()
}

fn given_back(
    before: &Value,
    live: &Value,
    we_took: impl Fn(&Path) -> bool,
) -> Result<Option<Value>, FieldsError> {
    put_back(before, live, &Adopt::default(), we_took, &FieldSet::new())
}

fn set(value: Value) -> FieldSet {
    FieldSet::from_v1(&value).unwrap()
}

/// Seen: without it, every object that kubectl applied conflicts.
#[test]
fn what_kubectl_applied_is_folded_into_our_entry_before_the_first_write() {
    let status = json!({"f:status": {"f:replicas": {}}});
    let mut controller = entry("kubectl", "Update", status.clone());
    controller["subresource"] = json!("status");
    let live = deployment(
        3,
        vec![
            entry("kubectl-client-side-apply", "Update", spec_and_label()),
            entry("helm", "Update", json!({"f:spec": {"f:paused": {}}})),
            controller,
        ],
    );
    let patch = before_apply(&live, &Adopt::default(), &FieldSet::new()).unwrap();
    assert_eq!(
        after(patch),
        [
            ("lockstep Apply".to_owned(), set(spec_and_label())),
            ("helm Update".to_owned(), set(json!({"f:spec": {"f:paused": {}}}))),
            ("kubectl Update".to_owned(), set(status)),
        ]
    );
}

/// Seen: 3 replicas became 1.
#[test]
fn an_autoscaled_field_leaves_our_entry_before_it_leaves_our_intent() {
    let live = deployment(3, vec![entry("lockstep", "Apply", spec_and_label())]);
    let leave: FieldSet = [replicas()].into_iter().collect();
    let patch = before_apply(&live, &Adopt::default(), &leave).unwrap();
    let labels = json!({"f:metadata": {"f:labels": {".": {}, "f:app": {}}}});
    assert_eq!(after(patch), [("lockstep Apply".to_owned(), set(labels))]);
}

#[test]
fn an_object_that_is_ours_alone_needs_no_patch() {
    let live = deployment(3, vec![entry("lockstep", "Apply", spec_and_label())]);
    assert_eq!(before_apply(&live, &Adopt::default(), &FieldSet::new()), Ok(None));
    let bare = deployment(3, Vec::new());
    assert_eq!(before_apply(&bare, &Adopt::default(), &FieldSet::new()), Ok(None));
}

#[test]
fn what_we_wrote_by_a_patch_is_folded_into_what_we_applied() {
    let mark = json!({"f:metadata": {"f:annotations": {"f:lockstep.dev/run": {}}}});
    let live = deployment(
        3,
        vec![
            entry("lockstep", "Apply", spec_and_label()),
            entry("lockstep", "Update", mark.clone()),
        ],
    );
    let patch = before_apply(&live, &Adopt::default(), &FieldSet::new()).unwrap();
    let all = set(spec_and_label()).union(&set(mark));
    assert_eq!(after(patch), [("lockstep Apply".to_owned(), all)]);
}

#[test]
fn only_the_named_managers_are_adopted() {
    let live = deployment(3, vec![entry("helm", "Update", spec_and_label())]);
    assert_eq!(before_apply(&live, &Adopt::default(), &FieldSet::new()), Ok(None));
    let adopt: Adopt = ["helm"].into_iter().collect();
    assert!(before_apply(&live, &adopt, &FieldSet::new()).unwrap().is_some());
}

/// Seen: works, and the former owner's next apply is as before.
#[test]
fn a_rollback_ends_with_the_former_owners_entries() {
    let before = deployment(
        3,
        vec![
            entry("kubectl-client-side-apply", "Update", spec_and_label()),
            entry("kube-controller-manager", "Update", json!({"f:status": {"f:a": {}}})),
        ],
    );
    let now = json!({"f:status": {"f:a": {}, "f:b": {}}});
    let live = deployment(
        3,
        vec![
            entry("lockstep", "Apply", spec_and_label()),
            entry("kube-controller-manager", "Update", now.clone()),
        ],
    );
    let patch = given_back(&before, &live, |_| false).unwrap();
    assert_eq!(
        after(patch),
        [
            ("kube-controller-manager Update".to_owned(), set(now)),
            ("kubectl-client-side-apply Update".to_owned(), set(spec_and_label())),
        ]
    );
}

#[test]
fn what_was_changed_after_the_fold_is_a_pre_image_with_its_former_owners() {
    let theirs = entry("kubectl-client-side-apply", "Update", spec_and_label());
    let before = deployment(3, vec![theirs.clone()]);
    let note = entry("person", "Update", json!({"f:metadata": {"f:annotations": {"f:a": {}}}}));
    let mut folded = deployment(3, vec![entry("lockstep", "Apply", spec_and_label()), note]);
    folded["metadata"]["annotations"] = json!({"a": "b"});
    let managers = |object: &Value| -> Vec<String> {
        entries(object).unwrap().into_iter().map(|entry| entry.manager).collect()
    };
    let adopt = Adopt::default();
    let pre_image = unfolded(&before, folded.clone(), &adopt).unwrap();
    assert_eq!(managers(&pre_image), ["person", "kubectl-client-side-apply"]);
    assert_eq!(pre_image["metadata"]["annotations"], json!({"a": "b"}));
    // Where nothing was folded, the owners are whoever they are now.
    let mut changed = before.clone();
    changed["metadata"]["annotations"] = json!({"a": "b"});
    assert_eq!(unfolded(&before, changed.clone(), &adopt), Ok(changed));
    assert_eq!(unfolded(&folded, folded.clone(), &adopt), Ok(folded));
}

#[test]
fn giving_back_twice_is_giving_back_once() {
    let before = deployment(3, vec![entry("kubectl", "Update", spec_and_label())]);
    let mut live = before.clone();
    live["metadata"]["managedFields"][0]["time"] = json!("2026-11-28T04:00:00Z");
    assert_eq!(given_back(&before, &live, |_| false), Ok(None));
}

#[test]
fn a_former_owner_gets_nothing_that_somebody_else_has_changed_since() {
    let before = deployment(3, vec![entry("kubectl", "Update", spec_and_label())]);
    let replicas = json!({"f:spec": {"f:replicas": {}}});
    let live = deployment(
        5,
        vec![
            entry("lockstep", "Apply", json!({"f:metadata": {"f:labels": {"f:app": {}}}})),
            entry("person", "Update", replicas.clone()),
        ],
    );
    let patch = given_back(&before, &live, |_| false).unwrap();
    let label = json!({"f:metadata": {"f:labels": {".": {}, "f:app": {}}}});
    assert_eq!(
        after(patch),
        [("person Update".to_owned(), set(replicas)), ("kubectl Update".to_owned(), set(label)),]
    );
}

#[test]
fn what_a_forced_write_took_is_given_back_to_whom_it_was_taken_from() {
    let replicas = json!({"f:spec": {"f:replicas": {}}});
    let before = deployment(3, vec![entry("person", "Update", replicas.clone())]);
    let live = deployment(3, vec![entry("lockstep", "Apply", replicas.clone())]);
    let patch = given_back(&before, &live, |_| true).unwrap();
    assert_eq!(after(patch), [("person Update".to_owned(), set(replicas))]);
}

#[test]
fn what_others_gave_up_of_themselves_is_not_given_back_to_them() {
    let replicas = json!({"f:spec": {"f:replicas": {}}});
    let before = deployment(
        3,
        vec![
            entry("lockstep", "Apply", replicas.clone()),
            entry("person", "Apply", replicas.clone()),
        ],
    );
    let live = deployment(3, vec![entry("lockstep", "Apply", replicas.clone())]);
    assert_eq!(given_back(&before, &live, |_| false), Ok(None));
}

#[test]
fn an_object_that_nobody_owned_is_nobodys_again() {
    let before = deployment(3, Vec::new());
    let live = deployment(3, vec![entry("lockstep", "Apply", spec_and_label())]);
    let patch = given_back(&before, &live, |_| false).unwrap().unwrap();
    assert_eq!(patch[1]["value"], json!([{}]));
}

#[test]
fn an_autoscaler_is_known_by_its_target_and_by_its_traces() {
    let web = deployment(3, Vec::new());
    let autoscaler = |version: &str, namespace: &str| {
        json!({"kind": "HorizontalPodAutoscaler", "metadata": {"namespace": namespace},
            "spec": {"scaleTargetRef":
                {"apiVersion": version, "kind": "Deployment", "name": "web"}}})
    };
    assert!(is_scaled(&web, &[&autoscaler("apps/v1", "shop")]).unwrap());
    assert!(!is_scaled(&web, &[&autoscaler("apps/v1", "other")]).unwrap());
    assert!(!is_scaled(&web, &[&autoscaler("apps.example/v1", "shop")]).unwrap());
    let mut scaled = entry("kubectl", "Update", json!({"f:spec": {"f:replicas": {}}}));
    scaled["subresource"] = json!("scale");
    assert!(is_scaled(&deployment(3, vec![scaled]), &[]).unwrap());
}

#[test]
fn another_keeper_is_known_by_what_only_it_writes() {
    let plain = deployment(1, Vec::new());
    assert_eq!(keeper(&plain), Ok(None));
    let by_manager = |name: &str| deployment(1, vec![entry(name, "Apply", spec_and_label())]);
    assert_eq!(keeper(&by_manager("argocd-controller")), Ok(Some(Keeper::ArgoCd)));
    assert_eq!(keeper(&by_manager("kustomize-controller")), Ok(Some(Keeper::Flux)));
    assert_eq!(keeper(&by_manager("helm")), Ok(Some(Keeper::Helm)));
    let mut rendered = plain.clone();
    rendered["metadata"]["labels"]["app.kubernetes.io/managed-by"] = json!("Helm");
    assert_eq!(keeper(&rendered), Ok(None), "what helm template rendered is ours");
    rendered["metadata"]["annotations"] = json!({"meta.helm.sh/release-name": "web"});
    assert_eq!(keeper(&rendered), Ok(Some(Keeper::Helm)));
}

/// Seen: a forced dry run shows as kept what the apply drops once the entries are folded.
#[test]
fn what_adopted_managers_own_and_the_manifest_leaves_out_is_dropped() {
    let before = deployment(3, vec![entry("kubectl", "Update", spec_and_label())]);
    let label = json!({"f:metadata": {"f:labels": {"f:app": {}}}});
    let planned = deployment(
        3,
        vec![entry("kubectl", "Update", spec_and_label()), entry("lockstep", "Apply", label)],
    );
    let dropped = dropped(&before, &planned, &Adopt::default()).unwrap();
    assert_eq!(dropped, [replicas()].into_iter().collect());
}

/// Seen: kubectl owns the protocol that the server had filled in, and a manifest says none.
#[test]
fn what_names_an_item_that_stays_is_not_dropped() {
    let port = |fields: &[&str]| {
        let fields: serde_json::Map<_, _> =
            fields.iter().map(|name| ((*name).to_owned(), json!({}))).collect();
        json!({"f:spec": {"f:ports": {r#"k:{"port":80,"protocol":"TCP"}"#: fields}}})
    };
    let theirs = entry("kubectl", "Update", port(&[".", "f:port", "f:protocol", "f:name"]));
    let before = deployment(3, vec![theirs.clone()]);
    let planned = deployment(3, vec![theirs, entry("lockstep", "Apply", port(&[".", "f:port"]))]);
    let dropped = dropped(&before, &planned, &Adopt::default()).unwrap();
    let dropped: Vec<String> = dropped.paths().iter().map(Path::to_string).collect();
    assert_eq!(dropped, [r#".spec.ports[port=80,protocol="TCP"].name"#]);
}

/// Seen: the keys of a Secret's `stringData`, and autoscaling/v1 paths of a v2 object.
#[test]
fn paths_that_name_nothing_to_be_seen_are_given_back_as_well() {
    let fields = json!({"f:stringData": {"f:a": {}}});
    let before = deployment(3, vec![entry("lockstep", "Apply", fields.clone())]);
    let live = deployment(3, vec![entry("lockstep", "Apply", json!({"f:data": {"f:a": {}}}))]);
    let patch = given_back(&before, &live, |_| false).unwrap();
    assert_eq!(after(patch), [("lockstep Apply".to_owned(), set(fields))]);
}
