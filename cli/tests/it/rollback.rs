//! What an unfinished rollback leaves, and how it is settled.

use serde_json::Value;

use crate::world::{World, shop};

/// A run whose backend cannot be undone while `block` is there.
fn stubborn() -> String {
    shop("touch backend.txt", "exit 1", "")
        .replace("rm -f backend.txt", "echo undoing; test ! -e block; rm -f backend.txt")
}

async fn stuck() -> World {
    let mut world = World::new().await;
    world.agent("shop", &["backend", "frontend"]).await;
    world.file("block", "");
    world.file("stubborn.yaml", &stubborn());
    world.file("shop.yaml", &shop("touch backend.txt", "touch frontend.txt", ""));
    let ran = world.call(&["run", "stubborn.yaml", "--run-id", "r1"]).await.ended(5);
    assert!(ran.out.contains("lockstep rollback resume shop/r1"), "{}", ran.out);
    assert!(world.has("backend.txt"));
    let once =
        ran.out.matches("rollback resume").count() + ran.err.matches("rollback resume").count();
    assert_eq!(once, 1, "one instruction: {ran:#?}");
    let logs = world.call(&["logs", "r1", "--workflow", "backend"]).await.ended(0).out;
    assert!(logs.contains("backend/(undo)") && logs.contains("  undoing"), "{logs}");
    let next = world.call(&["run", "shop.yaml", "--run-id", "r2"]).await.ended(4);
    assert!(next.out.contains("r1"), "the next run names what is not settled: {}", next.out);
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn parity_21_a_rollback_is_resumed_once_its_obstacle_is_gone() {
    let world = stuck().await;
    std::fs::remove_file(world.folder.path().join("block")).unwrap();
    let args =
        ["rollback", "resume", "r1", "--workflow", "backend", "--reason", "mended", "--wait"];
    let resumed = world.call(&args).await.ended(0);
    assert!(resumed.err.contains("backend is settled"), "{}", resumed.err);
    assert!(!world.has("backend.txt"));
    let report = world.call(&["status", "r1", "-o", "json", "--exit-code"]).await.ended(4).json();
    assert_eq!(report["result"], "rollback-incomplete", "Closed never changes");
    assert_eq!(report["summary"], "failed; what a rollback left is settled");
    let settled = &report["workflows"][0]["settled"];
    assert_eq!(
        (&settled["how"], &settled["request"]["reason"]),
        (&"rolled-back".into(), &"mended".into())
    );
    assert_eq!(report["void"], Value::Null, "what settles a debt is not void");
    let again = world.call(&args).await.ended(9);
    assert!(
        again.out.contains("already settled: backend: settled by tester@here"),
        "{}",
        again.out
    );
    let list = world.call(&["ls"]).await.ended(0).out;
    assert!(list.contains("what a rollback left is settled"), "{list}");
    world.call(&["run", "shop.yaml", "--run-id", "r3"]).await.ended(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn parity_21_what_is_left_can_be_kept() {
    let world = stuck().await;
    let wrong = world.call(&["rollback", "accept", "r1", "-w", "bakend", "-r", "x"]).await.ended(2);
    assert!(wrong.err.contains("did you mean backend?"), "{}", wrong.err);
    let args = ["rollback", "accept", "r1", "--reason", "restored by hand", "--wait"];
    world.call(&args).await.ended(0);
    assert!(world.has("backend.txt"), "it was to be kept");
    world.call(&["run", "shop.yaml", "--run-id", "r3"]).await.ended(0);
    let status = world.call(&["status", "r1"]).await.ended(0).out;
    assert!(status.contains("accept requested by tester@here"), "{status}");
    assert!(status.contains("restored by hand; what is there was kept"), "{status}");
    assert!(!status.contains("left:") && !status.contains("has to be settled"), "{status}");
    let fine = world.call(&["rollback", "accept", "r3", "--reason", "x"]).await.ended(2);
    assert!(fine.err.contains("nothing of shop/r3 is to be settled: succeeded"), "{}", fine.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipelines_name_means_the_run_that_the_verb_is_about() {
    let world = stuck().await;
    let both =
        world.call(&["rollback", "accept", "shop", "-r", "by hand", "--wait"]).await.ended(0);
    assert!(both.out.contains("shop/r1: accept requested"), "the one with the debt: {}", both.out);
    let none = world.call(&["rollback", "resume", "shop"]).await.ended(2);
    assert!(
        none.err.contains("no run of shop has a rollback that is not finished"),
        "{}",
        none.err
    );
    let none = world.call(&["abort", "shop", "-r", "x"]).await.ended(9);
    assert!(none.err.contains("no run of shop is open"), "{}", none.err);
    let none = world.call(&["run", "--from-run", "shop"]).await.ended(2);
    assert!(none.err.contains("no run of shop in the log was committed"), "{}", none.err);
    world.call(&["run", "shop.yaml", "--run-id", "good"]).await.ended(0);
    world.call(&["plan", "shop.yaml", "--live"]).await.ended(0);
    let status = world.call(&["status", "shop", "-o", "name"]).await.ended(0);
    assert_eq!(status.out, "shop/good\n", "a dry run is passed over");
    world.call(&["run", "stubborn.yaml", "--run-id", "r4"]).await.ended(5);
    let repeated = world.call(&["run", "--from-run", "shop", "--detach"]).await.ended(0);
    let report = world.status(repeated.out.trim(), |report| report["phase"] == "closed").await;
    assert_eq!(report["fromRun"], "good", "the latest that was committed");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_resumed_while_an_undo_is_still_being_tried() {
    let mut world = World::new().await;
    world.agent("shop", &["backend", "frontend"]).await;
    let slow = "touch undoing; until test -e go; do sleep 0.05; done";
    let slow = shop("touch backend.txt", "exit 1", "").replace("rm -f backend.txt", slow);
    world.file("slow.yaml", &slow);
    world.call(&["run", "slow.yaml", "--run-id", "r1", "--detach"]).await.ended(0);
    world.wait_for("undoing").await;
    let early = world.call(&["rollback", "resume", "shop"]).await.ended(2);
    assert!(
        early.err.contains("backend is still undoing, and tries each undo three times"),
        "{}",
        early.err
    );
    let mut waiter = world.start(&["abort", "r1", "--reason", "again", "--wait"]);
    waiter.says("already aborted at #").await;
    world.file("go", "");
    let waited = waiter.end().await.ended(0);
    assert!(waited.err.contains("closed: failed, rolled back"), "{}", waited.err);
    let late = world.call(&["abort", "r1", "--reason", "again", "--wait"]).await.ended(9);
    assert!(late.out.contains("too late: the run is closed"), "{}", late.out);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nothing_undoes_is_listed_unless_the_author_said_that_nothing_is_left() {
    let mut world = World::new().await;
    world.agent("shop", &["backend", "frontend"]).await;
    let undo = ", undo: 'rm -f backend.txt' }";
    let unsaid = shop("touch backend.txt", "exit 1", "").replace(undo, " }");
    world.file("unsaid.yaml", &unsaid);
    let ran = world.call(&["run", "unsaid.yaml", "--run-id", "r1"]).await.ended(4);
    assert!(ran.err.contains("lockstep::no-undo"), "{}", ran.err);
    assert!(
        ran.out.contains("left: step \"deploy\" has no undo: what it did stays"),
        "{}",
        ran.out
    );
    let report = world.call(&["status", "r1", "-o", "json"]).await.ended(0).json();
    let left = "step \"deploy\" has no undo: what it did stays";
    let backend = &report["workflows"].as_array().unwrap()[0];
    assert_eq!(
        (backend["name"].as_str(), backend["left"][0].as_str()),
        (Some("backend"), Some(left))
    );
    let said = shop("touch backend.txt", "exit 1", "").replace(undo, ", undo: none }");
    world.file("said.yaml", &said);
    let ran = world.call(&["run", "said.yaml", "--run-id", "r2"]).await.ended(4);
    assert!(!ran.err.contains("no-undo") && !ran.out.contains("left:"), "{ran:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_the_log_has_forgotten_is_named_in_full() {
    let world = World::new().await;
    world.call(&["rollback", "accept", "gone", "--reason", "x"]).await.ended(2);
    let ran = world.call(&["rollback", "accept", "shop/gone", "--reason", "x"]).await.ended(0);
    assert!(ran.err.contains("the log holds nothing of shop/gone"), "{}", ran.err);
    let status = world.call(&["status", "shop/gone", "-o", "json"]).await.ended(0).json();
    assert_eq!(status["phase"], "expired");
}
