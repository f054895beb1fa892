//! Simulated stories of the real cores, and every invariant broken on purpose once.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use lockstep_shared::plan::OnFailure;
use lockstep_tests::{
    plans::Sketch,
    sim::{Failure, Invariant, Sabotage, Scenario, Storm, simulate, tell},
};

/// How many stories are told: `LOCKSTEP_SEEDS`, or 2,000.
fn seeds() -> u64 {
    match std::env::var("LOCKSTEP_SEEDS") {
        Ok(count) => count.parse().expect("LOCKSTEP_SEEDS is a number"),
        Err(_) => 2_000,
    }
}

#[test]
fn no_story_breaks_an_invariant() {
    let (next, count) = (AtomicU64::new(0), seeds());
    let failure: Mutex<Option<Box<Failure>>> = Mutex::new(None);
    let tell_some = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= count || failure.lock().unwrap().is_some() {
                return;
            }
            if let Err(failed) = simulate(seed) {
                failure.lock().unwrap().get_or_insert(failed);
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(tell_some);
        }
    });
    if let Some(failure) = failure.into_inner().unwrap() {
        panic!("{failure}");
    }
}

#[test]
fn a_story_is_told_the_same_way_twice() {
    for seed in 0..20 {
        let (first, second) = (simulate(seed).unwrap(), simulate(seed).unwrap());
        assert_eq!(first.events, second.events, "seed {seed}");
        assert_eq!(first.results, second.results, "seed {seed}");
    }
}

#[test]
fn without_faults_every_run_succeeds() {
    for on_failure in [OnFailure::RollbackAll, OnFailure::EachOwn] {
        for seed in 0..50 {
            let sketch = Sketch { on_failure, ..Sketch::reference() };
            let told = tell(Scenario::of(&sketch, seed, Storm::NONE), None);
            let told = told.unwrap_or_else(|failure| panic!("{failure}"));
            assert_eq!(told.results.get("Succeeded"), Some(&1), "seed {seed}: {:?}", told.results);
        }
    }
}

/// Among the stories in which a sabotage shows, one shows what it breaks; in others something
/// else may be broken first.
fn is_caught(sabotage: Sabotage) {
    let mut others = Vec::new();
    for seed in 0..400 {
        if let Err(failure) = tell(Scenario::of_seed(seed), Some(sabotage)) {
            let invariant = failure.violation.invariant;
            if invariant == sabotage.breaks() {
                assert!(failure.transcript.len() > 3, "the transcript is empty");
                assert!(failure.to_string().contains(&format!("--from {seed}")));
                return;
            }
            others.push((seed, invariant));
        }
    }
    panic!("nobody noticed {sabotage:?} in 400 stories, but {others:?}");
}

macro_rules! caught {
    ($($name:ident: $sabotage:ident;)*) => {
        $(
            #[test]
            fn $name() {
                is_caught(Sabotage::$sabotage);
            }
        )*

        #[test]
        fn every_invariant_is_broken_once() {
            let broken = [$(Sabotage::$sabotage.breaks()),*];
            for invariant in Invariant::ALL {
                assert!(broken.contains(&invariant), "{invariant:?} is never broken on purpose");
            }
        }
    };
}

caught! {
    two_coordinators_that_name_different_records_are_caught: NameAnother;
    a_verdict_that_the_log_does_not_imply_is_caught: Hurry;
    a_decision_that_changes_is_caught: Reverse;
    a_coordinator_that_skips_a_record_is_caught: SkipARecord;
    a_run_committed_and_aborted_is_caught: Contradict;
    a_second_run_beside_an_open_one_is_caught: AdmitAll;
    a_coordinator_that_waits_for_nothing_is_caught: Sleep;
    an_agent_that_waits_for_nothing_is_caught: AgentSleeps;
    a_run_that_never_closes_is_caught: LeaveOpen;
    a_party_behind_an_incomplete_barrier_is_caught: PassBarriers;
    a_write_before_the_undo_record_is_caught: SaveNothing;
    an_undo_in_a_committed_run_is_caught: UndoForFinalize;
    a_finalize_in_an_aborted_run_is_caught: FinalizeForUndo;
    an_act_on_an_acknowledgement_is_caught: ActOnSending;
    a_step_that_is_neither_undone_nor_reported_is_caught: ForgetUndo;
    a_commit_without_its_steps_is_caught: ForgetStart;
    two_writers_to_one_target_are_caught: ShareLock;
    a_newer_run_over_an_open_debt_is_caught: ForgetDebts;
    a_write_while_planning_is_caught: WriteWhilePlanning;
    a_record_over_its_size_is_caught: Ramble;
}
