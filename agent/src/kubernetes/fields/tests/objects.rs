//! Objects seen through sets: values, projections, comparisons.

use serde_json::{Value, json};

use crate::kubernetes::fields::{
    Entry, FieldSet, Operation, Path, compare, entries, exists, get, leaves, pointer, project, put,
    remove, shape,
};

fn set(value: Value) -> FieldSet {
    FieldSet::from_v1(&value).unwrap()
}

/// A Deployment with two containers, and a set that owns the image and one variable of the second.
fn deployment() -> (Value, FieldSet) {
    let object = json!({"spec": {"replicas": 2, "template": {"spec": {"containers": [
        {"name": "log", "image": "log:1"},
        {"name": "web", "image": "web:1", "args": ["-v"],
         "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]},
    ]}}}});
    let fields = set(json!({"f:spec": {"f:template": {"f:spec": {"f:containers": {
        "k:{\"name\":\"web\"}": {".": {}, "f:name": {}, "f:image": {}, "f:args": {},
            "f:env": {"k:{\"name\":\"B\"}": {".": {}, "f:name": {}, "f:value": {}}}}}}}}}));
    (object, fields)
}

fn find(fields: &FieldSet, text: &str) -> Path {
    fields.find(text).unwrap_or_else(|| panic!("{text} is not a member"))
}

#[test]
fn a_value_in_a_keyed_list_is_found_wherever_its_item_stands() {
    let (mut object, fields) = deployment();
    let value = find(&fields, r#".spec.template.spec.containers[name="web"].env[name="B"].value"#);
    assert_eq!(get(&object, &value), Some(&json!("2")));
    assert_eq!(
        pointer(&object, &value).as_deref(),
        Some("/spec/template/spec/containers/1/env/1/value")
    );
    assert!(remove(&mut object, &value));
    assert!(!exists(&object, &value) && !remove(&mut object, &value));
}

#[test]
fn a_pointer_escapes_what_an_annotation_may_contain() {
    let object = json!({"metadata": {"annotations": {"a/b~c": "x"}}});
    let path = Path::of_fields(&["metadata", "annotations", "a/b~c"]);
    assert_eq!(pointer(&object, &path).as_deref(), Some("/metadata/annotations/a~1b~0c"));
    assert_eq!(object.pointer("/metadata/annotations/a~1b~0c"), Some(&json!("x")));
}

#[test]
fn a_projection_keeps_the_key_fields_of_list_items() {
    let (object, fields) = deployment();
    let image = set(json!({"f:spec": {"f:template": {"f:spec": {"f:containers": {
        "k:{\"name\":\"web\"}": {"f:image": {}}}}}}}));
    assert_eq!(
        project(&object, &image, &fields),
        json!({"spec": {"template": {"spec": {"containers": [{"name": "web", "image": "web:1"}]}}}})
    );
}

#[test]
fn a_projection_brings_whole_values_and_leaves_out_the_rest() {
    let (object, fields) = deployment();
    assert_eq!(
        project(&object, &fields, &fields),
        json!({"spec": {"template": {"spec": {"containers": [{"name": "web", "image": "web:1",
            "args": ["-v"], "env": [{"name": "B", "value": "2"}]}]}}}})
    );
    assert_eq!(
        project(
            &json!({"spec": {"replicas": null}}),
            &set(json!({"f:spec": {"f:replicas": {}}})),
            &fields
        ),
        json!({})
    );
}

#[test]
fn what_was_owned_as_empty_stays_a_shell_when_others_own_what_is_inside() {
    let object = json!({"spec": {"resources": {"limits": {"cpu": "1"}}}});
    let ours = set(json!({"f:spec": {"f:resources": {}}}));
    let theirs = set(json!({"f:spec": {"f:resources": {"f:limits": {"f:cpu": {}}}}}));
    assert_eq!(project(&object, &ours, &ours.union(&theirs)), json!({"spec": {"resources": {}}}));
    assert_eq!(project(&object, &ours, &ours), object);
}

#[test]
fn of_two_list_items_with_one_key_the_last_one_counts() {
    let object = json!({"env": [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]});
    let fields = set(json!({"f:env": {"k:{\"name\":\"A\"}": {".": {}, "f:value": {}}}}));
    assert_eq!(get(&object, &find(&fields, r#".env[name="A"].value"#)), Some(&json!("2")));
    assert_eq!(project(&object, &fields, &fields), json!({"env": [{"name": "A", "value": "2"}]}));
}

#[test]
fn items_of_a_set_are_found_by_value() {
    let object = json!({"metadata": {"finalizers": ["a", "b"]}});
    let fields = set(json!({"f:metadata": {"f:finalizers": {".": {}, "v:\"b\"": {}}}}));
    let path = find(&fields, r#".metadata.finalizers[="b"]"#);
    assert_eq!(pointer(&object, &path).as_deref(), Some("/metadata/finalizers/1"));
    assert_eq!(project(&object, &fields, &fields), json!({"metadata": {"finalizers": ["b"]}}));
}

fn texts(set: &FieldSet) -> Vec<String> {
    set.paths().iter().map(Path::to_string).collect()
}

#[test]
fn two_states_are_compared_path_by_path_wherever_list_items_stand() {
    let (before, fields) = deployment();
    let mut after = before.clone();
    let containers = &mut after["spec"]["template"]["spec"]["containers"];
    containers[1]["env"][1]["value"] = json!("3");
    containers[1]["env"].as_array_mut().unwrap().push(json!({"name": "C", "value": "9"}));
    containers.as_array_mut().unwrap().remove(0);
    let found = compare(&before, &after, &fields);
    assert_eq!(
        texts(&found.paths),
        [
            r#".spec.template.spec.containers[name="log"]"#,
            r#".spec.template.spec.containers[name="web"].env[name="B"].value"#,
            r#".spec.template.spec.containers[name="web"].env[name="C"]"#,
        ]
    );
    assert!(found.reordered.is_empty());
}

#[test]
fn another_order_of_a_keyed_list_is_a_difference() {
    let (before, fields) = deployment();
    let mut after = before.clone();
    after["spec"]["template"]["spec"]["containers"][1]["env"].as_array_mut().unwrap().reverse();
    let found = compare(&before, &after, &fields);
    assert!(found.paths.is_empty());
    assert_eq!(texts(&found.reordered), [r#".spec.template.spec.containers[name="web"].env"#]);
}

#[test]
fn a_list_of_unknown_shape_is_one_value() {
    let (before, after) = (json!({"spec": {"a": [1, 2]}}), json!({"spec": {"a": [1, 3]}}));
    let shape = set(json!({"f:spec": {"f:b": {}}}));
    assert_eq!(texts(&compare(&before, &after, &shape).paths), [".spec.a"]);
    assert_eq!(texts(&leaves(&after, &shape)), [".spec.a"]);
}

#[test]
fn status_and_what_the_server_keeps_for_itself_are_never_compared() {
    let before = json!({"apiVersion": "v1", "metadata": {"name": "a", "resourceVersion": "1"}});
    let after = json!({"apiVersion": "v2", "status": {"ready": true}, "metadata": {"name": "a",
        "uid": "u", "resourceVersion": "2", "generation": 3, "managedFields": [{}],
        "annotations": null}});
    assert!(compare(&before, &after, &FieldSet::new()).is_empty());
}

#[test]
fn how_often_a_daemon_set_was_changed_is_the_servers_business() {
    let set = |times: &str| json!({"metadata": {"annotations": {"deprecated.daemonset.template.generation": times}}});
    assert!(compare(&set("1"), &set("3"), &FieldSet::new()).is_empty());
}

#[test]
fn an_empty_map_differs_from_none() {
    let shape = set(json!({"f:spec": {"f:volumes": {"f:a": {}}}}));
    let (none, empty) = (json!({"spec": {}}), json!({"spec": {"volumes": {}}}));
    assert_eq!(texts(&compare(&none, &empty, &shape).paths), [".spec.volumes"]);
    let full = json!({"spec": {"volumes": {"a": 1}}});
    assert_eq!(texts(&compare(&none, &full, &shape).paths), [".spec.volumes.a"]);
}

#[test]
fn leaves_are_as_fine_as_the_shape() {
    let (object, fields) = deployment();
    let found = texts(&leaves(&object, &fields));
    assert!(
        found.contains(&r#".spec.template.spec.containers[name="log"]"#.to_owned()),
        "{found:?}"
    );
    assert!(found.contains(&".spec.replicas".to_owned()));
    assert!(!found.contains(&".spec".to_owned()));
}

#[test]
fn entries_tell_who_wrote_how_and_through_what() {
    let object = json!({"apiVersion": "apps/v1", "status": {"x": 1}, "metadata": {"managedFields": [
        {"manager": "lockstep", "operation": "Apply", "apiVersion": "apps/v1",
         "fieldsType": "FieldsV1", "time": "2026-11-28T03:00:00Z",
         "fieldsV1": {"f:spec": {"f:replicas": {}}}},
        {"manager": "kube-controller-manager", "operation": "Update", "apiVersion": "apps/v1",
         "subresource": "status", "fieldsType": "FieldsV1", "fieldsV1": {"f:status": {"f:x": {}}}},
    ]}});
    let found = entries(&object).unwrap();
    assert!(found[0].is_ours() && !found[1].is_ours());
    assert_eq!(found[1].subresource.as_deref(), Some("status"));
    assert_eq!(found[0].operation, Operation::Apply);
    let written: Vec<Value> = found.iter().map(Entry::to_value).collect();
    assert_eq!(json!(written), object["metadata"]["managedFields"]);
    assert_eq!(texts(&shape([&object]).unwrap()), [".spec.replicas", ".status.x"]);
}

#[test]
fn an_entry_of_an_unknown_form_stops_every_decision() {
    let entry = json!({"manager": "a", "operation": "Merge"});
    assert!(entries(&json!({"metadata": {"managedFields": [entry]}})).is_err());
    let entry = json!({"manager": "a", "operation": "Update", "fieldsType": "FieldsV2"});
    assert!(entries(&json!({"metadata": {"managedFields": [entry]}})).is_err());
    assert_eq!(entries(&json!({})), Ok(Vec::new()));
}

#[test]
fn a_value_is_put_where_its_path_says_with_what_it_lies_in() {
    let (mut object, fields) = deployment();
    let value = find(&fields, r#".spec.template.spec.containers[name="web"].env[name="B"].value"#);
    put(&mut object, &value, json!("7"));
    assert_eq!(get(&object, &value), Some(&json!("7")));
    let mut bare = json!({"spec": {"replicas": 2}});
    put(&mut bare, &value, json!("7"));
    assert_eq!(
        bare,
        json!({"spec": {"replicas": 2, "template": {"spec": {"containers": [
            {"name": "web", "env": [{"name": "B", "value": "7"}]}]}}}})
    );
    let mut other = json!({"spec": "text"});
    put(&mut other, &value, json!("7"));
    assert_eq!(other, json!({"spec": "text"}));
}

#[test]
fn paths_of_another_version_count_only_where_they_name_something() {
    let object = json!({"apiVersion": "autoscaling/v2", "spec": {"maxReplicas": 3},
        "metadata": {"managedFields": [{"manager": "kubectl", "operation": "Update",
            "apiVersion": "autoscaling/v1", "fieldsType": "FieldsV1", "fieldsV1":
            {"f:spec": {"f:maxReplicas": {}, "f:targetCPUUtilizationPercentage": {}}}}]}});
    assert_eq!(texts(&shape([&object]).unwrap()), [".spec.maxReplicas"]);
}
