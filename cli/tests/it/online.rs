//! Submitting, watching and looking at runs.

use std::time::Duration;

use serde_json::Value;

use crate::world::{World, good_shop, shop};

async fn staffed() -> World {
    let mut world = World::new().await;
    world.agent("shop", &["backend", "frontend"]).await;
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_watched_to_its_good_end_and_can_be_looked_at() {
    let world = staffed().await;
    world.file("shop.yaml", &good_shop());
    let ran = world.call(&["run", "shop.yaml", "--run-id", "r1"]).await.ended(0);
    assert!(ran.out.contains("shop/r1  succeeded"), "{}", ran.out);
    for wanted in ["backend: step \"deploy\" started", "BE: released", "committed", "run shop/r1"] {
        assert!(ran.err.contains(wanted), "{wanted} is missing in\n{}", ran.err);
    }
    assert!(!ran.err.contains('\u{1b}') && !ran.out.contains('\u{1b}'), "plain lines in a pipe");
    let status = world.call(&["status", "r1", "-o", "json"]).await.ended(0).json();
    assert_eq!(
        (status["phase"].as_str(), status["result"].as_str()),
        (Some("closed"), Some("succeeded"))
    );
    assert_eq!(world.call(&["status", "-o", "name"]).await.ended(0).out, "shop/r1\n");
    let list = world.call(&["ls", "-o", "json"]).await.ended(0).json();
    assert_eq!(list[0]["run"], "r1");
    let table = world.call(&["ls"]).await.ended(0).out;
    let mut rows = table.lines();
    assert!(rows.next().is_some_and(|row| row.starts_with("PLANNED") && row.ends_with("STATE")));
    assert!(
        rows.next().is_some_and(|row| row.contains("shop/r1 ") && row.ends_with("succeeded")),
        "{table}"
    );
    let bare = world.call(&["ls", "--no-headers"]).await.ended(0).out;
    assert_eq!(bare.lines().count(), 1, "{bare}");
    let yaml = world.call(&["ls", "-o", "yaml"]).await.ended(0).out;
    assert!(yaml.contains("result: succeeded"), "{yaml}");
    let events = world.call(&["events", "r1", "-o", "jsonl"]).await.ended(0).out;
    let kinds: Vec<String> = events
        .lines()
        .map(|line| {
            serde_json::from_str::<Value>(line).unwrap()["kind"].as_str().unwrap().to_owned()
        })
        .collect();
    assert_eq!(
        (kinds.first().map(String::as_str), kinds.last().map(String::as_str)),
        (Some("Plan"), Some("Closed"))
    );
    let nope = world.call(&["events", "r1", "--kind", "Comitted"]).await.ended(2);
    assert!(nope.err.contains("did you mean Committed?"), "{}", nope.err);
    let nope = world.call(&["events", "r1", "--kind", "nope"]).await.ended(2);
    assert!(nope.err.contains("StepStarted") && nope.err.contains("Closed"), "{}", nope.err);
    let followed = world.call(&["events", "r1", "--follow", "--kind", "Committed"]).await.ended(0);
    assert_eq!(followed.out.lines().count(), 1, "{}", followed.out);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_that_is_in_use_attaches_to_that_run() {
    let world = staffed().await;
    world.file("shop.yaml", &good_shop());
    world.file("other.yaml", &shop("true", "false", ""));
    world.call(&["run", "shop.yaml", "--run-id", "r1"]).await.ended(0);
    let again = world.call(&["run", "shop.yaml", "--run-id", "r1", "-o", "json"]).await.ended(0);
    assert!(again.err.contains("was submitted before; watching that one"), "{}", again.err);
    assert_eq!(again.json()["result"], "succeeded");
    for flags in [&["--run-id", "r1"][..], &["--run-id", "r1", "--detach"]] {
        let args: Vec<&str> = ["run", "other.yaml"].iter().chain(flags).copied().collect();
        let other = world.call(&args).await.ended(2);
        assert!(other.err.contains("is in use for another plan"), "{}", other.err);
        assert!(other.err.contains("lockstep status shop/r1"), "{}", other.err);
        assert_eq!(other.out, "", "nothing of another run is printed as an answer");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_ends_with_4_names_the_culprit_and_leaves_its_output_in_the_log() {
    let world = staffed().await;
    let frontend = "echo disk is full >&2; exit 3";
    world.file("shop.yaml", &shop("echo one > backend.txt", frontend, ""));
    let ran = world.call(&["run", "shop.yaml", "--run-id", "r1", "-o", "json"]).await.ended(4);
    let report = ran.json();
    assert_eq!(report["result"], "rolled-back");
    assert_eq!(report["cause"]["workflow"], "frontend");
    assert!(report["cause"]["output"].as_str().unwrap().contains("disk is full"), "{report}");
    assert!(!world.has("backend.txt"), "the backend was not taken back");
    assert!(ran.err.contains("what to do:"), "{}", ran.err);
    let logs = world.call(&["logs", "r1", "--workflow", "frontend"]).await.ended(0).out;
    assert!(logs.contains("frontend/deploy") && logs.contains("  disk is full"), "{logs}");
    let misspelt = world.call(&["logs", "r1", "--workflow", "frontned"]).await.ended(2);
    assert!(misspelt.err.contains("did you mean \"frontend\""), "{}", misspelt.err);
    let github = world.call(&["run", "shop.yaml", "--run-id", "r1", "-o", "github"]).await.ended(4);
    let annotation = github.out.lines().find(|line| line.starts_with("::error ")).unwrap();
    assert!(annotation.contains("frontend failed in step"), "{annotation}");
}

#[tokio::test(flavor = "multi_thread")]
async fn json_lines_bring_every_record_and_then_the_report() {
    let world = staffed().await;
    world.file("shop.yaml", &good_shop());
    let ran = world.call(&["run", "shop.yaml", "-o", "jsonl"]).await.ended(0);
    let lines: Vec<Value> = ran.out.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(lines[0]["event"]["kind"], "Plan");
    assert_eq!(lines.last().unwrap()["report"]["result"], "succeeded");
    assert!(lines[..lines.len() - 1].iter().all(|line| line["event"].is_object()));
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_there_is_told_by_name_and_waiting_can_be_given_up() {
    let world = World::deserted().await;
    world.file("shop.yaml", &good_shop());
    let ran = world.call(&["run", "shop.yaml", "--run-id", "r1", "--timeout", "4s"]).await.ended(7);
    assert!(ran.err.contains("no coordinator answers"), "{}", ran.err);
    assert!(ran.err.contains("lockstep abort shop/r1"), "{}", ran.err);
    let status = world.call(&["status", "r1"]).await.ended(0);
    assert!(status.out.contains("a coordinator: none answers"), "{}", status.out);
    let mut world = world;
    world.coordinate().await;
    let joining = world.status("r1", |report| report["phase"] == "joining").await;
    let missing = joining["waiting"][0]["missing"].as_array().unwrap();
    assert_eq!(missing.len(), 2, "{joining}");
    assert!(joining["waiting"][0]["until"].is_string(), "{joining}");
    assert_eq!(joining["coordinator"], "alive");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_detached_run_goes_on_and_ctrl_c_only_stops_watching() {
    let world = staffed().await;
    world.file("shop.yaml", &shop("sleep 2; touch backend.txt", "touch frontend.txt", ""));
    let ran = world.call(&["run", "shop.yaml", "--run-id", "r1", "--detach"]).await.ended(0);
    assert_eq!(ran.out, "shop/r1\n");
    let watcher = world.start(&["run", "shop.yaml", "--run-id", "r1"]);
    world.status("r1", |report| report["phase"] == "running").await;
    watcher.signal("INT").await;
    let watcher = watcher.end().await.ended(130);
    assert!(watcher.err.contains("detached. The run goes on"), "{}", watcher.err);
    assert!(watcher.err.contains("lockstep abort shop/r1"), "{}", watcher.err);
    let closed =
        world.call(&["status", "r1", "--watch", "--exit-code", "-o", "jsonl"]).await.ended(0);
    let last: Value = serde_json::from_str(closed.out.lines().last().unwrap()).unwrap();
    assert_eq!(last["result"], "succeeded");
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_aborts_where_that_is_wanted() {
    let world = staffed().await;
    world.file("shop.yaml", &shop("touch backend.txt started; sleep 30", "true", ""));
    let runner = world.start(&["run", "shop.yaml", "--run-id", "r1", "--abort-on-interrupt"]);
    world.wait_for("started").await;
    runner.signal("TERM").await;
    let runner = runner.end().await.ended(6);
    assert!(runner.out.contains("cancelled, rolled back"), "{}", runner.out);
    assert!(!world.has("backend.txt"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_plan_of_one_workflow_asks_its_agent_only_and_is_never_run() {
    let world = staffed().await;
    world.file("shop.yaml", &good_shop());
    let narrow = ["plan", "shop.yaml", "--live", "--workflow", "backend", "-o", "json"];
    let answer = world.call(&narrow).await.ended(0).json();
    assert_eq!(answer["result"], "planned");
    let views: Vec<&String> = answer["views"].as_object().unwrap().keys().collect();
    assert_eq!(views, ["backend"]);
    let run = answer["run"].as_str().unwrap();
    let ran = world.call(&["run", "--from-run", run]).await.ended(2);
    assert!(ran.err.contains("planned a part of its pipeline only"), "{}", ran.err);
    let ran = world.call(&["plan", "shop.yaml", "-w", "nobody"]).await.ended(2);
    assert!(ran.err.contains("no workflow nobody takes part"), "{}", ran.err);
    assert!(ran.err.contains("backend, frontend"), "{}", ran.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn parity_14_an_abort_is_told_to_everybody_and_a_late_one_changes_nothing() {
    let world = staffed().await;
    world.file("shop.yaml", &shop("touch backend.txt started; sleep 30", "true", ""));
    let runner = world.start(&["run", "shop.yaml", "--run-id", "r1"]);
    world.wait_for("started").await;
    let abort =
        world.call(&["abort", "r1", "--reason", "wrong \u{1b}[2Jday", "--wait"]).await.ended(0);
    assert!(abort.out.contains("abort requested"), "{}", abort.out);
    let last = abort.err.lines().last().unwrap_or_default();
    assert_eq!(last, "shop/r1: closed: cancelled, rolled back", "{}", abort.err);
    let runner = runner.end().await.ended(6);
    assert!(runner.out.contains("abort requested by tester@here: wrong"), "{}", runner.out);
    assert!(!runner.out.contains('\u{1b}') && !runner.err.contains('\u{1b}'), "{runner:?}");
    let late = world.call(&["abort", "r1", "--reason", "again"]).await.ended(9);
    assert!(late.out.contains("too late: the run is closed"), "{}", late.out);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_does_not_exist_is_answered_with_what_may_be_meant() {
    let world = staffed().await;
    let empty = world.call(&["status"]).await.ended(2);
    assert!(empty.err.contains("the log holds no run"), "{}", empty.err);
    world.file("shop.yaml", &good_shop());
    world.call(&["run", "shop.yaml", "--run-id", "release-7"]).await.ended(0);
    let ran = world.call(&["status", "relaese-7"]).await.ended(2);
    assert!(ran.err.contains("did you mean shop/release-7"), "{}", ran.err);
    world.call(&["status", "shop/rele"]).await.ended(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_run_is_refused_by_name_and_an_earlier_one_can_be_run_again() {
    let world = staffed().await;
    world.file("slow.yaml", &shop("touch started; sleep 3", "true", ""));
    world.file("shop.yaml", &good_shop());
    let first = world.start(&["run", "slow.yaml", "--run-id", "r1"]);
    world.wait_for("started").await;
    let second = world.call(&["run", "shop.yaml", "--run-id", "r2"]).await.ended(8);
    assert!(second.out.contains("refused:") && second.out.contains("r1"), "{}", second.out);
    first.end().await.ended(0);
    let again = world.call(&["run", "--from-run", "r1", "--run-id", "r3", "-o", "json"]).await;
    assert_eq!(again.ended(0).json()["fromRun"], "r1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queued_run_names_what_is_before_it_and_can_be_cancelled() {
    let world = staffed().await;
    let queue = |text: String| text.replace("timeout: 30m", "timeout: 30m\n  concurrency: queue");
    world.file("slow.yaml", &queue(shop("touch started; sleep 5", "true", "")));
    world.file("shop.yaml", &queue(good_shop()));
    let first = world.start(&["run", "slow.yaml", "--run-id", "r1"]);
    world.wait_for("started").await;
    let second = world.start(&["run", "shop.yaml", "--run-id", "r2"]);
    let queued = world.status("r2", |report| report["phase"] == "waiting").await;
    assert_eq!(queued["summary"], "queued behind r1");
    assert_eq!(queued["waiting"][0]["missing"][0]["who"], "run r1");
    world.call(&["abort", "r2", "--reason", "not today"]).await.ended(0);
    first.end().await.ended(0);
    let second = second.end().await.ended(6);
    assert!(second.out.contains("refused:"), "{}", second.out);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_plan_asks_the_agents_and_writes_nothing() {
    let world = staffed().await;
    world.file("shop.yaml", &good_shop());
    let ran = world.call(&["plan", "shop.yaml", "--live", "-o", "json"]).await.ended(0);
    let answer = ran.json();
    assert_eq!(answer["result"], "planned");
    let does = answer["views"]["backend"]["steps"][0]["does"].as_str().unwrap();
    assert_eq!(does, "runs `echo one > backend.txt`");
    let ran = world.call(&["plan", "shop.yaml", "--live"]).await.ended(0);
    for wanted in ["backend would", "runs `echo two > frontend.txt`", "undo $ rm -f backend.txt"] {
        assert!(ran.out.contains(wanted), "{wanted} is missing in\n{}", ran.out);
    }
    assert!(!world.has("backend.txt"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_finds_a_healthy_world_and_names_a_missing_coordinator() {
    let mut world = World::deserted().await;
    let ran = world.call(&["doctor"]).await.ended(8);
    assert!(ran.out.contains("fail  coordinator"), "{}", ran.out);
    world.coordinate().await;
    let limit = tokio::time::Instant::now() + crate::world::LIMIT;
    loop {
        let ran = world.call(&["doctor", "-o", "json"]).await;
        if ran.code == 0 {
            let looks = ran.json();
            let of = |what: &str| {
                let looks = looks.as_array().unwrap().iter();
                looks.filter(|look| look["what"] == what).cloned().collect::<Vec<_>>()
            };
            assert_eq!(of("clock")[0]["state"], "ok", "{looks}");
            assert_eq!(of("fill").len(), 2, "{looks}");
            assert!(!of("safety").is_empty(), "one replica is worth a warning: {looks}");
            return;
        }
        assert!(tokio::time::Instant::now() < limit, "{ran:#?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
