//! The records that docs/protocol.md shows are records: they decode, and all kinds are shown.

use std::{collections::BTreeSet, fs};

use lockstep_shared::{
    codec::{self, RawMessage, Via},
    record::Record,
    source::Source,
    subject::{Family, Subjects},
    time::Timestamp,
};
use serde_json::Value;

use crate::tree::root;

/// Every JSON block of the protocol that is a record's body.
fn shown_records() -> Vec<Value> {
    let text = fs::read_to_string(root().join("docs/protocol.md")).expect("it exists");
    let blocks = text.split("```json\n").skip(1).filter_map(|rest| rest.split("```").next());
    let values = blocks.map(|block| {
        serde_json::from_str::<Value>(block)
            .unwrap_or_else(|error| panic!("docs/protocol.md shows no JSON: {error}\n{block}"))
    });
    values.filter(|value| value.get("kind").is_some()).collect()
}

#[test]
fn every_shown_record_is_valid_by_itself_and_complete() {
    for shown in shown_records() {
        let text = |member: &str| shown[member].as_str().unwrap_or_default().to_owned();
        let subjects = Subjects::default();
        let subject = text("subject");
        let (key, slot) = subjects.parse(&subject).unwrap_or_else(|| panic!("no slot: {subject}"));
        let source = match &slot.family {
            Family::Plan => Source::Submitter("ada".to_owned()),
            Family::Request => Source::Operator("ada".to_owned()),
            Family::Workflow(workflow) => {
                Source::Agent(key.pipeline.clone(), workflow.clone(), "host-1".to_owned())
            }
            Family::Party(_, party) => {
                Source::Party(key.pipeline.clone(), party.clone(), "ada".to_owned())
            }
            _ => Source::Coordinator("host-2".to_owned()),
        };
        let header = |name: &str, value: String| (name.to_owned(), value);
        let message = RawMessage {
            seq: 1,
            time: Timestamp(1),
            subject,
            headers: vec![
                header("ce-id", "0198c5a4-0000-7000-8000-000000000001".to_owned()),
                header("ce-type", format!("dev.lockstep.{}", text("kind"))),
                header("ce-source", source.to_string()),
            ],
            payload: serde_json::to_vec(&shown).unwrap(),
            via: Via::Consumer,
        };
        let entry = codec::decode(&subjects, &message).expect("the subject was parsed above");
        let stated = entry.content.unwrap_or_else(|rubbish| panic!("{rubbish}\n{shown:#}"));
        assert_written_alike(&shown, &stated.record);
    }
}

/// What the document shows is what this build writes, member for member.
fn assert_written_alike(shown: &Value, record: &Record) {
    let mut written = serde_json::to_value(record).expect("a record is JSON");
    let members = written.as_object_mut().expect("a record is a map");
    for envelope in ["subject", "protocol"] {
        members.insert(envelope.to_owned(), shown[envelope].clone());
    }
    assert_eq!(*shown, written, "docs/protocol.md shows (left) what is not written so (right)");
}

#[test]
fn every_kind_of_record_is_shown() {
    let text = fs::read_to_string(root().join("shared/src/record.rs")).unwrap();
    let kinds: BTreeSet<String> = text
        .lines()
        .filter(|line| line.trim_start().starts_with("Self::") && line.contains("=> \""))
        .filter_map(|line| line.split('"').nth(1).map(str::to_owned))
        .collect();
    let shown: BTreeSet<String> = shown_records()
        .iter()
        .filter_map(|value| value["kind"].as_str().map(str::to_owned))
        .collect();
    assert!(kinds.len() > 20, "the kinds are no longer found in shared/src/record.rs");
    assert_eq!(kinds, shown, "kinds of the code (left), shown in docs/protocol.md (right)");
}
