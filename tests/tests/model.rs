//! Every reachable state of the real cores in the reference story, with one thing going wrong at
//! any moment. Larger budgets: `cargo run -p lockstep-tests --bin model -- --help`.

#![expect(clippy::print_stdout, reason = "figures that a test shows")]

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use lockstep_shared::codec::Entry;
use lockstep_tests::{
    model::{Budget, Settings, explore, swap_neighbours},
    plans::Sketch,
    sim::{Sabotage, simulate},
};

/// Far above what these budgets reach: to reach it is a failure.
const CAP: usize = 20_000_000;

const NOTHING: Budget = Budget { failures: 0, crashes: 0, doubts: 0, aborts: 0 };

/// The largest exploration takes 8 GB, so there is one at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn settings(budget: Budget) -> Settings {
    Settings { sketch: Sketch::reference(), budget, time: false, cap: CAP, sabotage: None }
}

/// Explores, and sees that there was something to explore.
fn explored(settings: Settings, least: usize) {
    let _alone = alone();
    let counted = explore(settings).unwrap_or_else(|counterexample| panic!("{counterexample}"));
    println!("{counted:?}");
    assert!(counted.states > least, "only {} states: moves are missing", counted.states);
    assert!(counted.ends > 0, "no story ends");
}

#[test]
fn every_reachable_state_with_one_failure_while_time_passes() {
    let settings = settings(Budget { failures: 1, ..NOTHING });
    explored(Settings { time: true, ..settings }, 5_000_000);
}

#[test]
fn every_reachable_state_with_one_failure_and_an_abort() {
    explored(settings(Budget { failures: 1, aborts: 1, ..NOTHING }), 500_000);
}

#[test]
fn every_reachable_state_with_one_crash() {
    explored(settings(Budget { crashes: 1, ..NOTHING }), 50_000);
}

#[test]
fn every_reachable_state_with_one_append_in_doubt() {
    explored(settings(Budget { doubts: 1, ..NOTHING }), 30_000);
}

#[test]
fn every_reachable_state_of_each_own_with_one_failure() {
    let settings = settings(Budget { failures: 1, ..NOTHING });
    explored(Settings { sketch: Sketch::reference().each_own(), ..settings }, 30_000);
}

#[test]
fn what_is_broken_on_purpose_is_found() {
    let _alone = alone();
    for (sabotage, budget) in [
        (Sabotage::Hurry, NOTHING),
        (Sabotage::LeaveOpen, NOTHING),
        (Sabotage::Sleep, NOTHING),
        (Sabotage::SaveNothing, NOTHING),
        (Sabotage::UndoForFinalize, NOTHING),
        (Sabotage::ForgetStart, NOTHING),
        (Sabotage::FinalizeForUndo, Budget { failures: 1, ..NOTHING }),
        (Sabotage::ForgetUndo, Budget { failures: 1, ..NOTHING }),
    ] {
        let counterexample = explore(Settings { sabotage: Some(sabotage), ..settings(budget) })
            .expect_err(&format!("nobody noticed {sabotage:?}"));
        let broken = counterexample.violation.invariant;
        assert_eq!(broken, sabotage.breaks(), "{sabotage:?}: {counterexample}");
    }
}

#[test]
fn a_cap_that_is_reached_is_a_failure() {
    let _alone = alone();
    let counterexample = explore(Settings { cap: 1_000, ..settings(NOTHING) });
    assert!(counterexample.is_err_and(|found| found.to_string().contains("more than 1000 states")));
}

#[test]
fn records_that_the_model_takes_for_unordered_are() {
    let mut swapped = 0;
    for seed in 0..200 {
        let told = simulate(seed).unwrap_or_else(|failure| panic!("{failure}"));
        let mut runs: BTreeMap<_, Vec<Entry>> = BTreeMap::new();
        for entry in told.log {
            runs.entry(entry.key.clone()).or_default().push(entry);
        }
        for (key, log) in runs {
            swapped += swap_neighbours(&log)
                .unwrap_or_else(|differs| panic!("seed {seed}, run {key}: {differs}"));
        }
    }
    println!("{swapped} pairs swapped");
    assert!(swapped > 1_000, "only {swapped} pairs to swap");
}
