//! Foreign parties: arriving, waiting and saying no.

use lockstep_shared::record::Record;

use crate::world::{World, shop};

const QA: &str = ", parties: [qa]";

/// A run whose workflows stand at BE, or soon will, and wait for qa.
async fn waiting() -> World {
    let mut world = World::new().await;
    world.agent("shop", &["backend", "frontend"]).await;
    world.file("shop.yaml", &shop("touch backend.txt", "touch frontend.txt", QA));
    world.call(&["run", "shop.yaml", "--run-id", "r1", "--detach"]).await.ended(0);
    world.status("r1", |report| report["phase"] == "running").await;
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approval_releases_the_barrier_and_a_second_one_changes_nothing() {
    let world = waiting().await;
    let told = world.call(&["status", "r1"]).await.ended(0).out;
    assert!(told.contains("lockstep barrier arrive BE --party qa --run r1"), "{told}");
    let waiter = world.start(&["barrier", "wait", "BE", "--run", "r1"]);
    let args =
        ["barrier", "arrive", "BE", "--run", "r1", "--party", "qa", "--message", "looks good"];
    let arrived = world.call(&args).await.ended(0);
    assert!(arrived.out.contains("shop/r1 BE: arrived (#"), "{}", arrived.out);
    assert!(waiter.end().await.ended(0).out.contains("released (#"));
    let again =
        world.call(&["barrier", "arrive", "BE", "--run", "r1", "--party", "qa"]).await.ended(0);
    assert!(again.out.contains("arrived already"), "{}", again.out);
    let report = world.status("r1", |report| report["phase"] == "closed").await;
    assert_eq!(report["result"], "succeeded");
    let arrivals = report["barriers"].as_array().unwrap();
    let be = arrivals.iter().find(|barrier| barrier["id"] == "BE").unwrap();
    assert!(be["arrived"].to_string().contains("looks good"), "{be}");
    let late =
        world.call(&["barrier", "fail", "BE", "--run", "r1", "--party", "qa", "-m", "no"]).await;
    assert!(late.ended(9).out.contains("use `lockstep abort shop/r1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_no_rolls_everybody_back_and_whoever_waits_hears_why() {
    let world = waiting().await;
    let waiter = world.start(&["barrier", "wait", "BE", "--pipeline", "shop", "--party", "qa"]);
    let args =
        ["barrier", "fail", "BE", "--pipeline", "shop", "--party", "qa", "-m", "cart is broken"];
    world.call(&args).await.ended(0);
    let waiter = waiter.end().await.ended(4);
    assert!(waiter.err.contains("qa failed barrier BE"), "{}", waiter.err);
    assert!(waiter.err.contains("cart is broken"), "{}", waiter.err);
    let report = world.status("r1", |report| report["phase"] == "closed").await;
    assert_eq!(report["result"], "rolled-back");
    assert!(!world.has("backend.txt"));
    let late =
        world.call(&["barrier", "arrive", "BE", "--run", "r1", "--party", "qa"]).await.ended(9);
    assert!(late.out.contains("too late"), "{}", late.out);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_arrives_for_a_workflow_or_under_a_wrong_name() {
    let world = waiting().await;
    let refused = |args: &'static [&'static str]| {
        let all: Vec<&str> = ["barrier", "arrive"].iter().chain(args).copied().collect();
        world.start(&all).end()
    };
    let workflow = refused(&["BE", "--run", "r1", "--party", "backend"]).await.ended(2);
    assert!(workflow.err.contains("backend is a workflow"), "{}", workflow.err);
    let party = refused(&["BE", "--run", "r1", "--party", "qaa"]).await.ended(2);
    assert!(party.err.contains("did you mean qa?"), "{}", party.err);
    assert!(workflow.err.contains("the foreign parties of BE are: qa"), "{}", workflow.err);
    for args in [
        &["BE", "--run", "r1", "--party", "ops"][..],
        &["BE", "--pipeline", "shop", "--party", "ops"],
    ] {
        let other = refused(args).await.ended(2);
        assert!(other.err.contains("ops is no foreign party of barrier BE"), "{}", other.err);
        assert!(other.err.contains("the foreign parties of BE are: qa"), "{}", other.err);
    }
    let workflow = refused(&["BE", "--pipeline", "shop", "--party", "backend"]).await.ended(2);
    assert!(workflow.err.contains("backend is a workflow"), "{}", workflow.err);
    let barrier = refused(&["BF", "--run", "r1", "--party", "qa"]).await.ended(2);
    assert!(barrier.err.contains("did you mean BE?"), "{}", barrier.err);
    let run = refused(&["BE", "--run", "r9", "--party", "qa"]).await.ended(2);
    assert!(run.err.contains("no plan of a run r9"), "{}", run.err);
    let pipeline = refused(&["BE", "--pipeline", "other", "--party", "qa"]).await.ended(2);
    assert!(pipeline.err.contains("other has no open run"), "{}", pipeline.err);
    world.call(&["abort", "r1", "--reason", "done", "--wait"]).await.ended(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_party_may_come_before_the_run_and_give_up() {
    let mut world = World::new().await;
    world.agent("shop", &["backend", "frontend"]).await;
    let args = ["barrier", "arrive", "BE", "--pipeline", "shop", "--party", "qa", "--wait-for-run"];
    let hasty: Vec<&str> = args.iter().copied().chain(["--timeout", "1s"]).collect();
    world.call(&hasty).await.ended(7);
    let patient: Vec<&str> = args.iter().copied().chain(["--wait", "-o", "json"]).collect();
    let party = world.start(&patient);
    world.file("shop.yaml", &shop("touch backend.txt", "touch frontend.txt", QA));
    world.call(&["run", "shop.yaml", "--run-id", "r1"]).await.ended(0);
    let party = party.end().await.ended(0);
    assert_eq!(party.json()["state"], "released");
    assert!(party.err.contains("waiting for the run"), "{}", party.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_for_a_barrier_can_be_given_up() {
    let world = waiting().await;
    let ran = world.call(&["barrier", "wait", "BE", "--run", "shop/r1", "--timeout", "1s"]).await;
    assert!(ran.ended(7).out.contains("the barrier is open"));
    world.call(&["abort", "r1", "--reason", "done", "--wait"]).await.ended(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn rubbish_in_a_partys_slot_is_stepped_over() {
    let world = waiting().await;
    let client = world.bus().await;
    let subject = client.subjects().slot(
        &lockstep_shared::id::RunKey {
            pipeline: "shop".parse().unwrap(),
            run: "r1".parse().unwrap(),
        },
        &lockstep_shared::subject::Family::Party("BE".parse().unwrap(), "qa".parse().unwrap())
            .slot(1),
    );
    let draft = lockstep_shared::codec::Draft {
        subject,
        event: "rubbish".to_owned(),
        headers: Vec::new(),
        payload: serde_json::to_vec(&Record::Admitted {}).unwrap(),
    };
    let limit = tokio::time::Instant::now() + crate::world::LIMIT;
    client.append(&draft, limit).await.unwrap();
    world.call(&["barrier", "arrive", "BE", "--run", "r1", "--party", "qa"]).await.ended(0);
    let report = world.status("r1", |report| report["phase"] == "closed").await;
    assert_eq!(report["result"], "succeeded");
    assert_eq!(report["void"][0]["kind"], "rubbish");
}
