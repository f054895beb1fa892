//! Every reachable state of the real cores in the reference story, with one thing going wrong.
//! Larger budgets: `cargo run -p lockstep-tests --bin model -- --help`.

#![expect(clippy::print_stdout, reason = "figures that a test shows")]

use lockstep_tests::{
    model::{Budget, Settings, explore},
    plans::Sketch,
};

/// Far above what these budgets reach: to reach it is a failure.
const CAP: usize = 2_000_000;

fn explored(budget: Budget) {
    let settings = Settings { sketch: Sketch::reference(), budget, cap: CAP, sabotage: None };
    match explore(settings) {
        Ok(counted) => println!("{counted:?}"),
        Err(counterexample) => panic!("{counterexample}"),
    }
}

const NOTHING: Budget =
    Budget { failures: 0, crashes: 0, clocks: 0, void_clocks: 0, doubts: 0, aborts: 0 };

#[test]
fn every_reachable_state_with_one_failure() {
    explored(Budget { failures: 1, ..NOTHING });
}

#[test]
fn every_reachable_state_with_one_crash() {
    explored(Budget { crashes: 1, ..NOTHING });
}
