//! Sets of paths are sets: the laws hold for any of them, and the server's form is read and
//! written.

use proptest::prelude::*;
use serde_json::json;

use crate::kubernetes::fields::{Element, FieldSet, FieldsError, Literal, Path};

fn element() -> impl Strategy<Value = Element> {
    let literal = prop_oneof![
        any::<bool>().prop_map(|b| json!(b)),
        (0..4i64).prop_map(|n| json!(n)),
        "[a-c.\"]{0,2}".prop_map(|s| json!(s)),
    ];
    prop_oneof![
        4 => "[a-c]|a\\.b/c|k:".prop_map(Element::Field),
        2 => prop::collection::btree_map("name|port", literal.clone().prop_map(Literal), 1..3)
            .prop_map(Element::Key),
        1 => literal.prop_map(Literal).prop_map(Element::Value),
        1 => (0..3usize).prop_map(Element::Index),
    ]
}

fn path() -> impl Strategy<Value = Path> {
    prop::collection::vec(element(), 1..4).prop_map(Path::from)
}

fn set() -> impl Strategy<Value = FieldSet> {
    prop::collection::vec(path(), 0..8).prop_map(|paths| paths.into_iter().collect())
}

proptest! {
    #[test]
    fn what_the_server_would_keep_is_read_back(a in set()) {
        prop_assert_eq!(FieldSet::from_v1(&a.to_v1()), Ok(a));
    }

    #[test]
    fn the_algebra_is_that_of_sets_of_paths(a in set(), b in set(), probe in path()) {
        for path in a.paths().iter().chain(&b.paths()).chain([&probe]) {
            let (in_a, in_b) = (a.contains(path), b.contains(path));
            prop_assert_eq!(a.union(&b).contains(path), in_a || in_b);
            prop_assert_eq!(a.intersection(&b).contains(path), in_a && in_b);
            prop_assert_eq!(a.difference(&b).contains(path), in_a && !in_b);
        }
    }

    #[test]
    fn equal_sets_have_one_form(a in set(), b in set()) {
        prop_assert_eq!(a.difference(&b).union(&a.intersection(&b)), a.clone());
        prop_assert_eq!(a.union(&b), b.union(&a));
        prop_assert!(a.difference(&a).is_empty());
        prop_assert_eq!(a.paths().into_iter().collect::<FieldSet>(), a);
    }

    #[test]
    fn a_prefix_parts_a_set_in_two(a in set(), prefix in path()) {
        let (inside, outside) = (a.within(&prefix), a.without(&prefix));
        prop_assert!(inside.paths().iter().all(|path| path.starts_with(&prefix)));
        prop_assert!(outside.paths().iter().all(|path| !path.starts_with(&prefix)));
        prop_assert_eq!(inside.union(&outside), a.clone());
        prop_assert_eq!(a.has_below(&prefix), inside.paths().iter().any(|path| *path != prefix));
    }

    #[test]
    fn every_member_is_found_by_its_text(a in set()) {
        for path in a.paths() {
            let found = a.find(&path.to_string());
            prop_assert_eq!(found.map(|found| found.to_string()), Some(path.to_string()));
        }
    }
}

#[test]
fn a_path_is_printed_as_in_a_conflict_of_the_server() {
    let set = FieldSet::from_v1(&json!({
        "f:metadata": {"f:annotations": {"f:shop.dev/owner.team": {}}},
        "f:spec": {"f:template": {"f:spec": {"f:containers": {
            "k:{\"name\":\"web\"}": {".": {}, "f:image": {}, "f:ports": {
                "k:{\"containerPort\":80,\"protocol\":\"TCP\"}":
                    {".": {}, "f:containerPort": {}}}}}}}},
    }));
    let texts: Vec<String> = set.unwrap().paths().iter().map(Path::to_string).collect();
    assert_eq!(
        texts,
        [
            ".metadata.annotations.shop.dev/owner.team",
            r#".spec.template.spec.containers[name="web"]"#,
            r#".spec.template.spec.containers[name="web"].image"#,
            r#".spec.template.spec.containers[name="web"].ports[containerPort=80,protocol="TCP"]"#,
            r#".spec.template.spec.containers[name="web"].ports[containerPort=80,protocol="TCP"].containerPort"#,
        ]
    );
}

#[test]
fn a_dotted_name_is_found_by_the_text_that_the_server_prints() {
    let path = Path::of_fields(&["metadata", "annotations", "shop.dev/owner.team"]);
    let set: FieldSet = [path.clone()].into_iter().collect();
    assert_eq!(set.find(".metadata.annotations.shop.dev/owner.team"), Some(path.clone()));
    assert_eq!(set.find("metadata.annotations.shop.dev/owner.team"), Some(path));
    assert_eq!(set.find(".metadata.annotations"), None);
}

#[test]
fn owning_a_presence_is_not_owning_what_lies_inside() {
    let read = |value| FieldSet::from_v1(&value).unwrap();
    let whole = read(json!({"f:selector": {}}));
    let presence = read(json!({"f:labels": {".": {}, "f:a": {}}}));
    let inside = Path::of_fields(&["selector", "app"]);
    assert!(whole.touches(&inside, &whole));
    assert!(!presence.touches(&Path::of_fields(&["labels", "b"]), &presence));
    assert!(presence.touches(&Path::of_fields(&["labels"]), &presence));

    // A map that one manager owned as empty, while another owns an entry, is no whole value.
    let empty = read(json!({"f:labels": {}}));
    assert!(!empty.touches(&Path::of_fields(&["labels", "a"]), &presence));
    assert!(empty.touches(&Path::of_fields(&["labels"]), &presence));
}

#[test]
fn rubbish_is_refused_with_what_it_is() {
    for (text, rubbish) in [
        ("x:a", json!({"x:a": {}})),
        ("nothing", json!({"nothing": {}})),
        ("k:[]", json!({"k:[]": {}})),
        ("i:-1", json!({"i:-1": {}})),
    ] {
        assert_eq!(FieldSet::from_v1(&rubbish), Err(FieldsError::Element(text.to_owned())));
    }
    assert_eq!(FieldSet::from_v1(&json!({"f:a": 1})), Err(FieldsError::NotASet));
    let deep = (0..200).fold(json!({}), |inner, _| json!({"f:a": inner}));
    assert_eq!(FieldSet::from_v1(&deep), Err(FieldsError::Depth));
}
