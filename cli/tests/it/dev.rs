//! `dev`: everything in one process, and what it leaves behind.

use std::{path::Path, time::Duration};

use tempfile::TempDir;

use crate::world::{LIMIT, Running, good_shop, shop};

fn folder(text: &str) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder with a file");
    std::fs::write(folder.path().join("pipeline.yaml"), text).expect("a folder with a file");
    folder
}

fn dev(folder: &Path, args: &[&str]) -> Running {
    let all: Vec<&str> = ["dev", "pipeline.yaml"].iter().chain(args).copied().collect();
    Running::start(folder, &all)
}

async fn wait_for(path: &Path) {
    let limit = tokio::time::Instant::now() + LIMIT;
    while !path.exists() {
        assert!(tokio::time::Instant::now() < limit, "{} does not appear", path.display());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_command_runs_a_pipeline_and_shows_each_change_as_a_line() {
    let folder = folder(&good_shop().replace("echo one", "echo building; echo one"));
    let ran = dev(folder.path(), &[]).end().await.ended(0);
    assert!(ran.out.contains("succeeded"), "{}", ran.out);
    for wanted in ["lockstep status -s nats://127.0.0.1:", "backend | building", "committed"] {
        assert!(ran.err.contains(wanted), "{wanted} is missing in\n{}", ran.err);
    }
    assert!(folder.path().join("backend.txt").exists());
    dev(folder.path(), &["-o", "name"]).end().await.ended(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_is_rolled_back_and_ends_with_4() {
    let folder = folder(&shop("touch backend.txt", "exit 3", ""));
    let ran = dev(folder.path(), &["-o", "json"]).end().await.ended(4);
    assert_eq!(ran.json()["result"], "rolled-back");
    assert!(!folder.path().join("backend.txt").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_aborts_and_rolls_back() {
    let folder = folder(&shop("touch backend.txt started; sleep 30", "true", ""));
    let running = dev(folder.path(), &[]);
    wait_for(&folder.path().join("started")).await;
    running.signal("INT").await;
    let ran = running.end().await.ended(6);
    assert!(ran.err.contains("aborting the run"), "{}", ran.err);
    assert!(!folder.path().join("backend.txt").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn two_at_once_are_refused() {
    let folder = folder(&shop("touch started; sleep 3", "true", ""));
    let first = dev(folder.path(), &[]);
    wait_for(&folder.path().join("started")).await;
    let second = dev(folder.path(), &[]).end().await.ended(8);
    assert!(second.err.contains("another `lockstep dev`"), "{}", second.err);
    first.end().await.ended(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_run_is_settled_before_the_next() {
    let folder = folder(&shop("touch backend.txt started; sleep 30", "true", ""));
    let running = dev(folder.path(), &[]);
    wait_for(&folder.path().join("started")).await;
    running.signal("KILL").await;
    running.end().await.ended(137);
    std::fs::write(folder.path().join("pipeline.yaml"), good_shop()).unwrap();
    let refused = dev(folder.path(), &[]).end().await.ended(5);
    assert!(refused.err.contains("--settle resume"), "{}", refused.err);
    assert!(refused.err.contains("--settle accept"), "{}", refused.err);
    std::fs::write(folder.path().join("seen"), "").unwrap();
    let settled = dev(folder.path(), &["--settle", "resume"]).end().await.ended(0);
    assert!(settled.err.contains("settled what run"), "{}", settled.err);
    assert!(folder.path().join("backend.txt").exists(), "the run after it succeeded");
    dev(folder.path(), &[]).end().await.ended(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_that_did_not_finish_ends_with_one_instruction_that_works() {
    let stubborn = shop("touch backend.txt", "exit 1", "");
    let folder = folder(&stubborn.replace("rm -f backend.txt", "test ! -e block"));
    std::fs::write(folder.path().join("block"), "").unwrap();
    let ran = dev(folder.path(), &[]).end().await.ended(5);
    let all = format!("{}{}", ran.out, ran.err);
    assert!(!all.contains("lockstep rollback"), "that log is gone with its server: {all}");
    assert_eq!(all.matches("--settle resume").count(), 1, "{all}");
    std::fs::remove_file(folder.path().join("block")).unwrap();
    let settled = dev(folder.path(), &["--settle", "resume"]).end().await.ended(4);
    assert!(settled.err.contains("settled what run"), "{}", settled.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_run_left_can_be_kept() {
    let folder = folder(&shop("touch backend.txt started; sleep 30", "true", ""));
    let running = dev(folder.path(), &[]);
    wait_for(&folder.path().join("started")).await;
    running.signal("KILL").await;
    running.end().await.ended(137);
    let undone = good_shop().replace("echo one > backend.txt", "test -e backend.txt");
    std::fs::write(folder.path().join("pipeline.yaml"), undone).unwrap();
    dev(folder.path(), &["--settle", "accept"]).end().await.ended(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_takes_too_long_is_aborted() {
    let folder = folder(&shop("touch backend.txt; sleep 30", "true", ""));
    let ran = dev(folder.path(), &["--timeout", "3s"]).end().await.ended(6);
    assert!(ran.out.contains("it took too long"), "{}", ran.out);
}
