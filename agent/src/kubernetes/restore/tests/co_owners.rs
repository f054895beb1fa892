//! What somebody else comes to own beside us, which no plan could know, with and without a dry run's
//! answer (rules 25 and 26).

use serde_json::{Value, json};

use crate::kubernetes::{
    adopt::Adopt,
    restore::{Residue, Restoration, Step},
};

/// An entry of a manager that applies these ports, each with these fields.
fn entry(manager: &str, ports: &[(u16, &[&str])]) -> Value {
    let port = |(port, fields): &(u16, &[&str])| {
        let fields = fields.iter().map(|name| (format!("f:{name}"), json!({})));
        let item: serde_json::Map<_, _> = fields.chain([(".".to_owned(), json!({}))]).collect();
        (format!("k:{{\"port\":{port},\"protocol\":\"TCP\"}}"), Value::from(item))
    };
    let ports: serde_json::Map<_, _> = ports.iter().map(port).collect();
    json!({"manager": manager, "operation": "Apply", "apiVersion": "v1",
        "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": {"f:ports": ports}}})
}

fn service(version: &str, ports: Value, entries: &[Value]) -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "spec": {"ports": ports}, "metadata": {
        "name": "web", "namespace": "shop", "uid": "u-1", "resourceVersion": version,
        "managedFields": entries}})
}

fn port(number: u16, target: u16) -> Value {
    json!({"port": number, "protocol": "TCP", "targetPort": target})
}

const ALL: &[&str] = &["port", "targetPort"];

/// The plan: another target of the port, and one port more.
fn planned() -> Value {
    let ours = entry("lockstep", &[(80, ALL), (81, ALL)]);
    service("1", json!([port(80, 2), port(81, 2)]), &[ours])
}

fn before() -> Value {
    service("1", json!([port(80, 1)]), &[entry("lockstep", &[(80, ALL)])])
}

/// Both with the dry run's answer and without.
fn each(test: impl Fn(Option<&Value>)) {
    test(Some(&planned()));
    test(None);
}

/// What is left in the end, once owners are put right.
fn end(mut restoration: Restoration<'_>, mut live: Value) -> Vec<Residue> {
    for _ in 0..3 {
        match restoration.next(Some(&live)).unwrap() {
            Step::Done(residue) => return residue,
            Step::Patch(patch) if patch[1]["path"] == "/metadata/managedFields" => {
                live["metadata"]["managedFields"] = patch[1]["value"].clone();
                restoration.carried_out();
            }
            other => panic!("it writes: {other:?}"),
        }
    }
    panic!("its owners are never right: {live}")
}

#[test]
fn what_somebody_takes_beside_us_after_our_write_is_left_and_told() {
    each(|planned| {
        let (before, adopt) = (before(), Adopt::default());
        let entries = [entry("lockstep", &[(80, ALL)]), entry("person", &[(80, ALL)])];
        let live = service("3", json!([port(80, 2)]), &entries);
        let residue = end(Restoration::new(&before, planned, &adopt), live);
        let [Residue::Taken { path, manager }] = &residue[..] else { panic!("{residue:?}") };
        assert!(path.to_string().ends_with(".targetPort"), "{path}");
        assert_eq!(manager, "person");
    });
}

#[test]
fn an_owner_beside_us_from_before_stays_one_and_takes_nothing() {
    each(|planned| {
        let adopt = Adopt::default();
        let person = || entry("person", &[(80, &["port"])]);
        let mut before = before();
        before["metadata"]["managedFields"].as_array_mut().unwrap().push(person());
        let entries = [entry("lockstep", &[(80, ALL)]), person()];
        let live = service("3", json!([port(80, 2)]), &entries);
        let mut restoration = Restoration::new(&before, planned, &adopt);
        let Step::Apply(body) = restoration.next(Some(&live)).unwrap() else { panic!() };
        assert_eq!(body["spec"]["ports"], json!([port(80, 1)]));
        restoration.carried_out();
        let back = service("4", json!([port(80, 1)]), &entries);
        assert_eq!(end(restoration, back), [], "verified");
    });
}

/// Else the rollback would be stuck on what the server says of half a port.
#[test]
fn an_item_of_ours_that_somebody_owns_too_is_kept_as_a_whole_if_his_part_alone_is_refused() {
    each(|planned| {
        let (before, adopt) = (before(), Adopt::default());
        let entries = [
            entry("lockstep", &[(80, ALL), (81, ALL)]),
            entry("person", &[(81, &["port", "name"])]),
        ];
        let mut added = port(81, 2);
        added["name"] = "more".into();
        let live = service("3", json!([port(80, 2), added]), &entries);
        let mut restoration = Restoration::new(&before, planned, &adopt);
        let alone = json!([port(80, 1)]);
        for _ in 0..2 {
            let Step::Apply(body) = restoration.next(Some(&live)).unwrap() else { panic!() };
            assert_eq!(body["spec"]["ports"], alone, "what is ours of the new one goes");
            assert!(restoration.refused(), "there is a milder way");
        }
        let Step::Apply(body) = restoration.next(Some(&live)).unwrap() else { panic!() };
        assert_eq!(body["spec"]["ports"], json!([port(80, 1), port(81, 2)]), "all of it stays");
        restoration.carried_out();
        let kept = service("4", json!([port(80, 1), added]), &entries);
        let residue = end(restoration, kept);
        let [Residue::Held { path, manager }] = &residue[..] else { panic!("{residue:?}") };
        assert!(path.to_string().contains("port=81"), "{path}");
        assert_eq!(manager, "person");
    });
}
