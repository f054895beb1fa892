//! Texts are read as kubectl reads them: what it makes of `testdata/manifests` is written beside
//! each file, and a test of the whole compares that with kubectl itself.

use std::{fs, path::PathBuf};

use serde_json::{Value, json};

use super::{map, one};
use crate::{diagnostics::Findings, manifest::object::objects};

/// The objects of a text that has to be good.
fn read(text: &str) -> Vec<Value> {
    let mut findings = Findings::default();
    let objects = objects(text, &mut findings);
    assert!(findings.is_empty(), "{findings:?}");
    objects.into_iter().map(|written| written.object).collect()
}

#[test]
fn texts_are_read_as_kubectl_reads_them() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata/manifests");
    let mut count = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if name.ends_with(".kubectl.json") {
            continue;
        }
        count += 1;
        let expected = fs::read_to_string(format!("{}.kubectl.json", path.display())).unwrap();
        let expected: Vec<Value> = serde_json::from_str(&expected).unwrap();
        let read = read(&fs::read_to_string(&path).unwrap());
        assert_eq!(read.len(), expected.len(), "{name}");
        for (read, expected) in read.iter().zip(&expected) {
            assert_eq!(read, expected, "{name}");
        }
    }
    assert!(count >= 3, "only {count} files");
}

#[test]
fn a_byte_order_mark_is_no_part_of_the_text() {
    let deployment = one("wait: false", &format!("\u{feff}{}", map("a"))).unwrap();
    let objects = &deployment.bundles[&"web".parse().unwrap()].steps[&0];
    assert_eq!(objects[0].object["metadata"], json!({ "name": "a", "namespace": "web" }));
}

#[test]
fn deep_schemas_are_read_and_endless_nesting_is_not() {
    let nested = |depth: usize| {
        format!("{}spec: {}1{}\n", map("a"), "{a: ".repeat(depth), "}".repeat(depth))
    };
    read(&nested(60));
    let mut findings = Findings::default();
    assert!(objects(&nested(5000), &mut findings).is_empty());
    assert!(findings.has_errors());
}

#[test]
fn a_large_text_is_read_in_good_time() {
    let data: String = (0..20_000).map(|line| format!("  key-{line}: value {line}\n")).collect();
    let text = format!("{}data:\n{data}", map("a"));
    assert_eq!(read(&text)[0]["data"].as_object().unwrap().len(), 20_000);
}
