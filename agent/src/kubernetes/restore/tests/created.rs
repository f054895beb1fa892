//! What the run created.

use serde_json::{Value, json};

use crate::kubernetes::{
    object::{MANAGER, ObjectKey, RunMark},
    restore::created::{Created, NotOurs, claims_left, undo},
};

fn key(api_version: &str, kind: &str) -> ObjectKey {
    ObjectKey {
        api_version: api_version.to_owned(),
        kind: kind.to_owned(),
        namespace: Some("shop".to_owned()),
        name: "a".to_owned(),
    }
}

fn job() -> ObjectKey {
    key("batch/v1", "Job")
}

fn run() -> RunMark {
    "r-2/backend/2".parse().unwrap()
}

fn entry(manager: &str, time: &str, fields: Value) -> Value {
    json!({"manager": manager, "operation": "Update", "apiVersion": "batch/v1", "time": time,
        "fieldsType": "FieldsV1", "fieldsV1": fields})
}

const CREATED: &str = "2026-11-28T03:00:00Z";
const LATER: &str = "2026-11-28T03:00:05Z";

fn created(others: Vec<Value>) -> Value {
    let mut ours = entry(
        MANAGER,
        LATER,
        json!({"f:metadata": {"f:annotations": {"f:lockstep.dev/run": {}}},
            "f:spec": {"f:suspend": {}, "f:template": {}}}),
    );
    ours["operation"] = "Apply".into();
    let entries: Vec<Value> = [ours].into_iter().chain(others).collect();
    json!({"apiVersion": "batch/v1", "kind": "Job", "spec": {"suspend": true},
        "metadata": {"name": "a", "uid": "u-1", "creationTimestamp": CREATED,
            "annotations": {"lockstep.dev/run": "r-2/backend/1"}, "managedFields": entries}})
}

#[test]
fn what_this_run_made_is_deleted() {
    assert_eq!(undo(&job(), Some(&created(Vec::new())), &run()), Ok(Created::Delete));
}

#[test]
fn a_copy_that_somebody_has_made_of_it_bears_our_mark_and_is_not_ours() {
    let mut copy = created(Vec::new());
    let all = json!({"f:metadata": {"f:annotations": {"f:lockstep.dev/run": {}}}, "f:spec": {}});
    copy["metadata"]["managedFields"] = json!([entry("kubectl-replace", LATER, all)]);
    let found = undo(&job(), Some(&copy), &run()).unwrap();
    assert_eq!(found, Created::NotOurs(NotOurs::NoMark));
}

#[test]
fn what_holds_volumes_or_other_objects_is_kept_on_purpose() {
    for (api_version, kind) in [
        ("apiextensions.k8s.io/v1", "CustomResourceDefinition"),
        ("v1", "Namespace"),
        ("v1", "PersistentVolume"),
        ("v1", "PersistentVolumeClaim"),
    ] {
        let found = undo(&key(api_version, kind), Some(&created(Vec::new())), &run()).unwrap();
        assert_eq!(found, Created::Kept, "{kind}");
    }
}

#[test]
fn a_set_leaves_the_claims_of_its_templates_unless_it_says_otherwise() {
    let set = key("apps/v1", "StatefulSet");
    let mut live = json!({ "spec": { "volumeClaimTemplates": [
        { "metadata": { "name": "data" } }, { "metadata": { "name": "log" } },
    ] } });
    let told = claims_left(&set, &live).unwrap();
    assert!(told.contains("shop/data-a-*, shop/log-a-*"), "{told}");
    assert_eq!(claims_left(&key("apps/v1", "Deployment"), &live), None);
    live["spec"]["persistentVolumeClaimRetentionPolicy"] = json!({ "whenDeleted": "Delete" });
    assert_eq!(claims_left(&set, &live), None);
    assert_eq!(claims_left(&set, &json!({ "spec": {} })), None);
}

#[test]
fn one_that_is_leaving_tells_what_it_waits_for() {
    let mut live = created(Vec::new());
    live["metadata"]["deletionTimestamp"] = json!(LATER);
    live["metadata"]["finalizers"] = json!(["foregroundDeletion", "shop.example/drain"]);
    let found = undo(&job(), Some(&live), &run()).unwrap();
    let finalizers = ["foregroundDeletion", "shop.example/drain"].map(str::to_owned);
    assert_eq!(found, Created::Leaving(finalizers.to_vec()));
    assert_eq!(undo(&job(), None, &run()).unwrap(), Created::Gone);
}

#[test]
fn what_does_not_bear_this_runs_mark_is_left() {
    let mut live = created(Vec::new());
    live["metadata"]["annotations"]["lockstep.dev/run"] = json!("r-1/backend/1");
    let found = undo(&job(), Some(&live), &run()).unwrap();
    assert_eq!(found, Created::NotOurs(NotOurs::NoMark));
}

#[test]
fn what_somebody_else_made_at_the_same_time_is_left() {
    let maker = entry("helm", CREATED, json!({"f:spec": {"f:suspend": {}}}));
    let found = undo(&job(), Some(&created(vec![maker])), &run()).unwrap();
    let expected = NotOurs::Shared { manager: "helm".to_owned() };
    assert_eq!(found, Created::NotOurs(expected));
}

#[test]
fn a_controller_that_came_at_once_is_no_maker() {
    let mut status = entry("kube-controller-manager", CREATED, json!({"f:status": {"f:a": {}}}));
    status["subresource"] = json!("status");
    let guard = json!({"f:metadata": {"f:finalizers": {".": {}, "v:\"x\"": {}}}});
    let others = vec![status, entry("cloud-controller", CREATED, guard)];
    let found = undo(&job(), Some(&created(others)), &run()).unwrap();
    assert_eq!(found, Created::Delete);
}
