//! The traps that trials against a real server have shown, one test each.

use serde_json::{Value, json};

use crate::kubernetes::{
    adopt::{Adopt, replicas},
    restore::{Residue, Restoration, Step},
};

fn entry(manager: &str, operation: &str, fields: Value) -> Value {
    json!({"manager": manager, "operation": operation, "apiVersion": "v1",
        "fieldsType": "FieldsV1", "fieldsV1": fields})
}

fn service(version: &str, spec: Value, entries: Vec<Value>) -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "spec": spec, "metadata": {"name": "web",
        "namespace": "shop", "uid": "u-1", "resourceVersion": version, "managedFields": entries}})
}

fn ours(fields: Value) -> Vec<Value> {
    vec![entry("lockstep", "Apply", fields)]
}

/// The one step that follows from two states.
fn next(before: &Value, live: &Value) -> Step {
    Restoration::new(before, None, &Adopt::default()).next(Some(live)).unwrap()
}

fn body(step: Step) -> Value {
    let Step::Apply(body) = step else { panic!("no apply: {step:?}") };
    body
}

fn port(fields: &[&str]) -> Value {
    let fields = fields.iter().map(|name| (format!("f:{name}"), json!({})));
    let item: Value =
        fields.chain([(".".to_owned(), json!({}))]).collect::<serde_json::Map<_, _>>().into();
    json!({"f:spec": {"f:type": {}, "f:ports": {"k:{\"port\":80,\"protocol\":\"TCP\"}": item}}})
}

fn node_port_service() -> (Value, Value) {
    let before = service(
        "1",
        json!({"type": "NodePort", "clusterIP": "10.0.0.1",
            "ports": [{"port": 80, "protocol": "TCP", "nodePort": 30080}]}),
        ours(port(&["port"])),
    );
    let live = service(
        "2",
        json!({"type": "ClusterIP", "clusterIP": "10.0.0.1",
            "ports": [{"port": 80, "protocol": "TCP"}]}),
        ours(port(&["port"])),
    );
    (before, live)
}

/// Seen: a change of type frees the nodePort.
#[test]
fn a_service_asks_for_the_node_port_that_the_server_had_given_it() {
    let (before, live) = node_port_service();
    assert_eq!(
        body(next(&before, &live)),
        json!({"apiVersion": "v1", "kind": "Service",
            "metadata": {"name": "web", "namespace": "shop", "uid": "u-1", "resourceVersion": "2"},
            "spec": {"type": "NodePort",
                "ports": [{"port": 80, "protocol": "TCP", "nodePort": 30080}]}})
    );
}

#[test]
fn a_node_port_that_is_taken_by_now_is_given_up_and_told() {
    let (before, live) = node_port_service();
    let adopt = Adopt::default();
    let mut restoration = Restoration::new(&before, None, &adopt);
    body(restoration.next(Some(&live)).unwrap());
    assert!(restoration.refused());
    let milder = body(restoration.next(Some(&live)).unwrap());
    assert_eq!(milder["spec"]["ports"], json!([{"port": 80, "protocol": "TCP"}]));
    restoration.carried_out();
    let mut given = before.clone();
    given["spec"]["ports"][0]["nodePort"] = json!(31111);
    let Step::Done(residue) = restoration.next(Some(&given)).unwrap() else { panic!() };
    assert!(matches!(residue[..], [Residue::NotGivenAgain { .. }]), "{residue:?}");
    assert!(residue[0].to_string().contains(".nodePort had been chosen by the server"));
}

#[test]
fn an_apply_that_no_milder_form_helps_is_stuck() {
    let (before, live) = node_port_service();
    let adopt = Adopt::default();
    let mut restoration = Restoration::new(&before, None, &adopt);
    let milder = (0..5).take_while(|_| {
        body(restoration.next(Some(&live)).unwrap());
        restoration.refused()
    });
    assert_eq!(milder.count(), 2);
}

fn injected() -> (Value, Value) {
    let fields = json!({"f:spec": {"f:type": {}}});
    let before = service("1", json!({"type": "ClusterIP"}), ours(fields.clone()));
    let mut live = before.clone();
    live["metadata"]["resourceVersion"] = json!("2");
    live["metadata"]["annotations"] = json!({"mesh.example/injected": "yes"});
    live["metadata"]["labels"] = json!({"a": "1"});
    live["metadata"]["managedFields"].as_array_mut().unwrap().push(entry(
        "person",
        "Update",
        json!({"f:metadata": {"f:labels": {".": {}, "f:a": {}}}}),
    ));
    (before, live)
}

/// Seen: what a webhook or the server added stays after an apply without it.
#[test]
fn what_nobody_owns_and_was_not_there_goes_by_a_patch_with_tests() {
    let (before, live) = injected();
    let Step::Patch(patch) = next(&before, &live) else { panic!("{:?}", next(&before, &live)) };
    assert_eq!(
        patch,
        json!([
            {"op": "test", "path": "/metadata/resourceVersion", "value": "2"},
            {"op": "test", "path": "/metadata/annotations",
                "value": {"mesh.example/injected": "yes"}},
            {"op": "remove", "path": "/metadata/annotations"},
        ])
    );
}

#[test]
fn what_comes_back_after_its_removal_is_kept_by_admission() {
    let (before, live) = injected();
    let adopt = Adopt::default();
    let mut restoration = Restoration::new(&before, None, &adopt);
    assert!(matches!(restoration.next(Some(&live)).unwrap(), Step::Patch(_)));
    restoration.carried_out();
    let Step::Done(residue) = restoration.next(Some(&live)).unwrap() else { panic!() };
    assert!(matches!(residue[..], [Residue::KeptByAdmission { .. }]), "{residue:?}");
}

#[test]
fn a_conflicting_read_asks_for_the_same_again_with_the_new_version() {
    let (before, mut live) = node_port_service();
    let adopt = Adopt::default();
    let mut restoration = Restoration::new(&before, None, &adopt);
    for version in ["2", "3", "4"] {
        live["metadata"]["resourceVersion"] = json!(version);
        let body = body(restoration.next(Some(&live)).unwrap());
        assert_eq!(body["metadata"]["resourceVersion"], version);
    }
}

#[test]
fn what_is_gone_or_another_object_is_left_alone() {
    let (before, live) = node_port_service();
    let adopt = Adopt::default();
    let done = |live: Option<&Value>| {
        let step = Restoration::new(&before, None, &adopt).next(live).unwrap();
        let Step::Done(residue) = step else { panic!("{step:?}") };
        residue
    };
    assert_eq!(done(None), [Residue::Gone]);
    let mut leaving = live.clone();
    leaving["metadata"]["deletionTimestamp"] = json!("2026-11-28T03:00:00Z");
    assert_eq!(done(Some(&leaving)), [Residue::Gone]);
    let mut other = live;
    other["metadata"]["uid"] = json!("u-2");
    assert_eq!(done(Some(&other)), [Residue::Replaced]);
}

fn scaled(replicas: i64, manager: &str) -> Value {
    let mut fields = entry(manager, "Update", json!({"f:spec": {"f:replicas": {}}}));
    fields["subresource"] = json!("scale");
    service("2", json!({"replicas": replicas}), vec![fields])
}

/// Seen: an autoscaled Deployment was reset.
#[test]
fn replicas_that_an_autoscaler_has_set_since_are_neither_touched_nor_told() {
    let before = service("1", json!({"replicas": 3}), ours(json!({"f:spec": {"f:replicas": {}}})));
    let live = scaled(5, "kube-controller-manager");
    let adopt = Adopt::default();
    let leave = || [replicas()].into_iter().collect();
    let mut left = Restoration::new(&before, None, &adopt).leaving(leave());
    assert_eq!(left.next(Some(&live)).unwrap(), Step::Done(Vec::new()));
    let mut told = Restoration::new(&before, None, &adopt);
    let Step::Done(residue) = told.next(Some(&live)).unwrap() else { panic!() };
    assert!(matches!(residue[..], [Residue::Taken { .. }]), "{residue:?}");
}

#[test]
fn replicas_that_an_autoscaler_of_this_run_has_set_go_back_with_it() {
    let before = service("1", json!({"replicas": 3}), ours(json!({"f:spec": {"f:replicas": {}}})));
    let live = scaled(5, "kube-controller-manager");
    let adopt = Adopt::default();
    let mut way = Restoration::new(&before, None, &adopt).rescaled(true);
    let Step::Patch(patch) = way.next(Some(&live)).unwrap() else { panic!() };
    assert_eq!(patch[1], json!({"op": "replace", "path": "/spec/replicas", "value": 3}));
    // By that patch the number is ours, and by the last one as it was owned before.
    let fields = entry("lockstep", "Update", json!({"f:spec": {"f:replicas": {}}}));
    let back = service("3", json!({"replicas": 3}), vec![fields]);
    way.carried_out();
    let Step::Patch(patch) = way.next(Some(&back)).unwrap() else { panic!() };
    assert_eq!(patch[1]["value"], before["metadata"]["managedFields"]);
}

#[test]
fn replicas_that_a_person_has_set_since_stay_though_the_run_had_an_autoscaler() {
    let before = service("1", json!({"replicas": 3}), ours(json!({"f:spec": {"f:replicas": {}}})));
    let live = scaled(10, "kubectl");
    let adopt = Adopt::default();
    let mut way = Restoration::new(&before, None, &adopt).rescaled(true);
    let Step::Done(residue) = way.next(Some(&live)).unwrap() else { panic!() };
    assert!(matches!(residue[..], [Residue::Taken { .. }]), "{residue:?}");
}

fn container(name: &str, image: &str) -> Value {
    json!({"name": name, "image": image})
}

fn containers(version: &str, list: Value, entries: Vec<Value>) -> Value {
    service(version, json!({"containers": list}), entries)
}

fn item_fields(items: &[(&str, &[&str])]) -> Value {
    let item = |(name, fields): &(&str, &[&str])| {
        let fields = fields.iter().map(|field| match *field {
            "." => (".".to_owned(), json!({})),
            field => (format!("f:{field}"), json!({})),
        });
        let fields: Value = fields.collect::<serde_json::Map<_, _>>().into();
        (format!("k:{{\"name\":\"{name}\"}}"), fields)
    };
    let items: Value = items.iter().map(item).collect::<serde_json::Map<_, _>>().into();
    json!({"f:spec": {"f:containers": items}})
}

const WHOLE: &[&str] = &[".", "name", "image"];

/// The server removes a list item with all that is inside, whoever owns it.
#[test]
fn an_added_item_in_which_another_manager_owns_something_stays_whole() {
    let before =
        containers("1", json!([container("web", "web:1")]), ours(item_fields(&[("web", WHOLE)])));
    let live = containers(
        "2",
        json!([container("web", "web:2"), {"name": "log", "image": "log:1", "limit": 5}]),
        vec![
            entry("lockstep", "Apply", item_fields(&[("web", WHOLE), ("log", WHOLE)])),
            entry("person", "Update", item_fields(&[("log", &["limit"])])),
        ],
    );
    let adopt = Adopt::default();
    let mut restoration = Restoration::new(&before, None, &adopt);
    let body = body(restoration.next(Some(&live)).unwrap());
    assert_eq!(
        body["spec"]["containers"],
        json!([container("web", "web:1"), container("log", "log:1")])
    );
    restoration.carried_out();
    let mut after = live.clone();
    after["spec"]["containers"][0] = container("web", "web:1");
    assert!(matches!(restoration.next(Some(&after)).unwrap(), Step::Patch(_)), "gives back");
    restoration.carried_out();
    after["metadata"]["managedFields"] = json!([
        entry("lockstep", "Apply", item_fields(&[("web", WHOLE)])),
        entry("person", "Update", item_fields(&[("log", &["limit"])])),
    ]);
    let Step::Done(residue) = restoration.next(Some(&after)).unwrap() else { panic!() };
    let [Residue::Held { path, manager }] = &residue[..] else { panic!("{residue:?}") };
    assert_eq!(
        (path.to_string().as_str(), manager.as_str()),
        (r#".spec.containers[name="log"]"#, "person")
    );
}

#[test]
fn a_removed_item_comes_back_with_what_others_had_inside() {
    let two = json!([container("web", "web:1"), {"name": "log", "image": "log:1", "limit": 5}]);
    let person = || entry("person", "Update", item_fields(&[("log", &["limit"])]));
    let fields = item_fields(&[("web", WHOLE), ("log", WHOLE)]);
    let before = containers("1", two.clone(), vec![entry("lockstep", "Apply", fields), person()]);
    let live =
        containers("2", json!([container("web", "web:1")]), ours(item_fields(&[("web", WHOLE)])));
    assert_eq!(body(next(&before, &live))["spec"]["containers"], two);
}

#[test]
fn an_item_that_another_manager_made_anew_is_not_mixed_with_the_former_one() {
    let before =
        containers("1", json!([container("log", "log:1")]), ours(item_fields(&[("log", WHOLE)])));
    let live = containers(
        "2",
        json!([{"name": "log", "command": "x"}]),
        vec![entry("person", "Update", item_fields(&[("log", &[".", "name", "command"])]))],
    );
    let Step::Done(residue) = next(&before, &live) else { panic!("{:?}", next(&before, &live)) };
    let [Residue::Taken { path, .. }] = &residue[..] else { panic!("{residue:?}") };
    assert_eq!(path.to_string(), r#".spec.containers[name="log"]"#);
}

#[test]
fn lists_get_their_former_order_back() {
    let (a, b, c) = (container("a", "1"), container("b", "1"), container("c", "1"));
    let all = item_fields(&[("a", WHOLE), ("b", WHOLE)]);
    let before = containers("1", json!([a, b]), ours(all.clone()));
    let person = entry("person", "Update", item_fields(&[("c", WHOLE)]));
    let live = containers("2", json!([b, c, a]), vec![entry("lockstep", "Apply", all), person]);
    let Step::Patch(patch) = next(&before, &live) else { panic!("{:?}", next(&before, &live)) };
    assert_eq!(patch[1], json!({"op": "replace", "path": "/spec/containers", "value": [a, c, b]}));
}

#[test]
fn every_residue_says_where_why_and_what_to_do() {
    let path = crate::kubernetes::adopt::replicas();
    let manager = "person".to_owned();
    for residue in [
        Residue::Gone,
        Residue::Replaced,
        Residue::Removed { path: path.clone() },
        Residue::Taken { path: path.clone(), manager: manager.clone() },
        Residue::Held { path: path.clone(), manager },
        Residue::KeptByAdmission { path: path.clone() },
        Residue::NotGivenAgain { path },
    ] {
        assert!(residue.to_string().contains("; "), "{residue}");
    }
}

fn with_env(version: &str, env: Value, entries: Vec<Value>) -> Value {
    service(version, json!({"app": {"env": env}, "image": "1"}), entries)
}

/// Seen: a server owns the two as one item, takes them from an update, and refuses them in an apply.
#[test]
fn a_list_with_one_name_twice_comes_back_by_a_patch_as_it_was() {
    let item = |names: &[&str]| -> Value {
        let of = |name: &&str| (format!("k:{{\"name\":\"{name}\"}}"), json!({}));
        let items: serde_json::Map<_, _> = names.iter().map(of).collect();
        json!({"f:spec": {"f:app": {"f:env": items}}})
    };
    let twice = json!([{"name": "A", "value": "1"}, {"name": "B"}, {"name": "A", "value": "2"}]);
    let theirs = vec![entry("kubectl-client-side-apply", "Update", item(&["A", "B"]))];
    let before = with_env("1", twice.clone(), theirs);
    let live = with_env("2", json!([{"name": "C"}]), ours(item(&["C"])));
    let adopt = Adopt::default();
    let mut restoration = Restoration::new(&before, None, &adopt);
    let Step::Patch(patch) = restoration.next(Some(&live)).unwrap() else { panic!() };
    assert_eq!(
        patch,
        json!([
            {"op": "test", "path": "/metadata/resourceVersion", "value": "2"},
            {"op": "add", "path": "/spec/app/env", "value": twice},
        ])
    );
    restoration.carried_out();
    let mine = vec![entry("lockstep", "Update", item(&["A", "B"]))];
    let patched = with_env("3", twice, mine);
    let Step::Patch(patch) = restoration.next(Some(&patched)).unwrap() else { panic!() };
    let back = &patch[1]["value"];
    assert_eq!(back[0]["manager"], "kubectl-client-side-apply", "its owner is given back: {back}");
    restoration.carried_out();
    let mut whole = patched;
    whole["metadata"]["managedFields"] = back.clone();
    assert_eq!(restoration.next(Some(&whole)).unwrap(), Step::Done(Vec::new()), "verified");
}

#[test]
fn a_list_with_one_name_twice_is_left_to_who_has_taken_it_since() {
    let fields = json!({"f:spec": {"f:app": {"f:env": {"k:{\"name\":\"A\"}": {}}}}});
    let twice = json!([{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]);
    let before = with_env("1", twice, ours(fields.clone()));
    let person = vec![entry("person", "Update", fields)];
    let live = with_env("3", json!([{"name": "A", "value": "3"}]), person);
    let step = next(&before, &live);
    let Step::Done(residue) = step else { panic!("{step:?}") };
    assert!(matches!(residue[..], [Residue::Taken { .. }]), "{residue:?}");
}

#[test]
fn a_label_that_somebody_has_removed_and_we_had_left_as_it_was_stays_away() {
    let fields = json!({"f:metadata": {"f:labels": {"f:team": {}}}, "f:spec": {"f:type": {}}});
    let mut before = service("1", json!({"type": "ClusterIP"}), ours(fields.clone()));
    before["metadata"]["labels"] = json!({"team": "a"});
    let mut planned = before.clone();
    planned["spec"]["type"] = json!("NodePort");
    let mut live = planned.clone();
    live["metadata"]["labels"] = json!({});
    live["metadata"]["managedFields"] = json!(ours(json!({"f:spec": {"f:type": {}}})));
    let adopt = Adopt::default();
    let next =
        |live: &Value| Restoration::new(&before, Some(&planned), &adopt).next(Some(live)).unwrap();
    let body = body(next(&live));
    assert_eq!(body["spec"]["type"], "ClusterIP");
    assert_eq!(body["metadata"].get("labels"), None, "{body}");
    live["spec"]["type"] = json!("ClusterIP");
    let Step::Done(residue) = next(&live) else { panic!("{:?}", next(&live)) };
    assert!(matches!(residue[..], [Residue::Removed { .. }]), "{residue:?}");
}
