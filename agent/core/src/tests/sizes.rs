//! Every record that an agent appends stays within its size, whatever the target printed.

use lockstep_shared::{codec, record::Record, source::Source, subject::Subjects, time::Timestamp};

use super::{
    plans::{alone, key, workflow},
    world::World,
};
use crate::Report;

/// Text that JSON writes six times as long.
fn noise(bytes: usize) -> String {
    "\u{1}".repeat(bytes)
}

fn assert_all_fit(world: &World) {
    let source = Source::Agent("shop".parse().unwrap(), workflow("backend"), "x".repeat(128));
    let own = |entry: &&lockstep_shared::codec::Entry| entry.slot.to_string().contains("backend");
    for entry in world.log.iter().filter(own) {
        let record = &entry.content.as_ref().unwrap().record;
        let draft = codec::encode(
            &Subjects::default(),
            &key("r1"),
            &entry.slot,
            record,
            &source,
            Timestamp(1),
            Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        );
        assert!(draft.is_ok(), "{}: {}", entry.slot, draft.unwrap_err());
    }
}

#[test]
fn a_failure_with_endless_output_fits() {
    let mut world = World::running(alone("smoke~ deploy"));
    let (error, output) = (noise(100_000), noise(100_000));
    world.report(Report::Failed {
        step: 0,
        attempt: 1,
        error: error.clone(),
        output: output.clone(),
    });
    world.report(Report::Failed { step: 1, attempt: 1, error, output });
    assert_all_fit(&world);
    assert!(matches!(
        world.log.iter().rev().find_map(|entry| match &entry.content.as_ref().unwrap().record {
            Record::Failed { output, .. } => Some(output.len()),
            _ => None,
        }),
        Some(1..)
    ));
}

#[test]
fn a_residue_of_thousands_fits_and_is_counted() {
    let mut world = World::running(alone("deploy"));
    world.break_down(0, 1);
    let residue: Vec<String> =
        (0..5_000).map(|number| format!("{number} {}", noise(900))).collect();
    world.report(Report::Undone { step: 0, residue: residue.clone(), output: noise(50_000) });
    assert_all_fit(&world);
    let last = world.log.last().unwrap().content.as_ref().unwrap();
    let Record::RolledBack { residue: listed, .. } = &last.record else { panic!("{last:?}") };
    assert_eq!(listed.len(), 11);
    assert_eq!(listed[10], "and 990 more");

    let mut world = World::running(alone("deploy"));
    world.break_down(0, 1);
    for _ in 0..3 {
        let (error, left) = (noise(50_000), residue.clone());
        world.report(Report::UndoFailed { step: 0, error, left, output: noise(50_000) });
        world.let_pass(lockstep_shared::time::Span::seconds(2));
    }
    assert_all_fit(&world);
}

#[test]
fn long_names_warnings_and_digests_fit() {
    let mut world = World::new(alone("deploy"));
    world.ring();
    world.report(Report::Prepared { view: Some(noise(50_000)) });
    world.coordinate();
    world.finish(0, 1);
    world.coordinate();
    let warnings = (0..100).map(|_| noise(5_000)).collect();
    world.report(Report::Finalized { warnings });
    assert_all_fit(&world);
}
