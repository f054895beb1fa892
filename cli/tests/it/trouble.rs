//! What stands in the way: each is named, with what to do, and ends with its code.

use std::process::Command;

use lockstep_bus::DevServer;
use lockstep_shared::{
    codec::Draft,
    id::RunKey,
    subject::{Family, Subjects},
};

use crate::world::{LIMIT, Running, World, good_shop, lockstep};

async fn server_with(config: &str) -> DevServer {
    DevServer::with_config(config).await.expect("a server starts")
}

async fn call(server: &DevServer, args: &[&str], env: &[(&str, &str)]) -> crate::world::Ran {
    let all: Vec<&str> = args.iter().copied().chain(["-s", server.url()]).collect();
    Running::start_with(std::path::Path::new("."), &all, env).end().await
}

/// What the doctor says of the log's stream, once it finds nothing wrong.
async fn healthy(world: &World) -> String {
    let limit = std::time::Instant::now() + LIMIT;
    loop {
        let ran = world.call(&["doctor", "-o", "json"]).await;
        if ran.code == 0 {
            let looks = ran.json();
            let mut looks = looks.as_array().into_iter().flatten();
            let stream = looks.find(|look| look["what"] == "stream");
            let found = stream.and_then(|look| look["found"].as_str());
            return found.expect("the doctor says what it found of the stream").to_owned();
        }
        assert!(std::time::Instant::now() < limit, "{ran:#?}");
    }
}

#[test]
fn no_server_is_told_with_its_address() {
    for verb in [&["status"][..], &["ls"], &["abort", "r1", "--reason", "x"]] {
        let all: Vec<&str> = verb.iter().copied().chain(["-s", "nats://127.0.0.1:1"]).collect();
        let ran = lockstep(&all).ended(8);
        assert!(ran.err.contains("nats://127.0.0.1:1"), "{}", ran.err);
        assert!(ran.err.contains("help:"), "{}", ran.err);
    }
    let doctor = lockstep(&["doctor", "-s", "nats://127.0.0.1:1"]).ended(8);
    assert!(doctor.out.contains("fail  connection"), "{}", doctor.out);
}

#[test]
fn settings_that_make_no_connection_end_with_3() {
    let ran = lockstep(&["status", "--creds", "/nowhere/user.creds"]).ended(3);
    assert!(ran.err.contains("/nowhere/user.creds"), "{}", ran.err);
    let ran = lockstep(&["status", "--prefix", "a.*"]).ended(3);
    assert!(ran.err.contains("a.*"), "{}", ran.err);
    let ran = lockstep(&["status", "--nats-context", "nowhere"]).ended(3);
    assert!(ran.err.contains("nowhere"), "{}", ran.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_credentials_are_told_at_once() {
    let server = server_with("authorization { user: alice, password: secret }").await;
    let begin = std::time::Instant::now();
    let wrong = [("NATS_USER", "alice"), ("NATS_PASSWORD", "wrong")];
    let ran = call(&server, &["status"], &wrong).await.ended(8);
    assert!(ran.err.contains("refuses a user and password"), "{}", ran.err);
    assert!(!ran.err.contains("wrong"), "a secret must not be shown: {}", ran.err);
    assert!(begin.elapsed() < LIMIT / 10, "{:?}", begin.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn no_jetstream_is_told_as_that() {
    let options = lockstep_bus::dev_server::DevServerOptions {
        without_jetstream: true,
        ..Default::default()
    };
    let server = DevServer::with_options(options).await.unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), good_shop()).unwrap();
    let ran = call(&server, &["run", file.path().to_str().unwrap()], &[]).await.ended(8);
    assert!(ran.err.contains("JetStream"), "{}", ran.err);
    let doctor = call(&server, &["doctor"], &[]).await.ended(8);
    assert!(
        doctor.out.contains("fail  streams") && doctor.out.contains("JetStream"),
        "{}",
        doctor.out
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn no_stream_is_told_with_who_creates_it() {
    let server = DevServer::start().await.unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), good_shop()).unwrap();
    let run = ["run", file.path().to_str().unwrap()];
    for verb in [&run[..], &["status"], &["ls"], &["events"], &["logs", "r1"]] {
        let ran = call(&server, verb, &[]).await.ended(8);
        assert_eq!(ran.err.matches("has no log yet").count(), 1, "{}", ran.err);
        assert!(ran.err.contains("start one with `lockstep-coordinator`"), "{}", ran.err);
        assert!(!ran.err.contains("because:"), "one sentence says it: {}", ran.err);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_permission_is_told_as_that() {
    let config = "
        accounts { A { jetstream: enabled, users: [
            { user: all, password: p },
            { user: few, password: p, permissions { publish: { deny: [\"lockstep.run.>\"] } } },
        ] } }
        no_auth_user: all";
    let mut world = World::on(server_with(config).await).await;
    world.coordinate().await;
    world.file("shop.yaml", &good_shop());
    let file = world.folder.path().join("shop.yaml");
    let few = [("NATS_USER", "few"), ("NATS_PASSWORD", "p")];
    let ran = call(&world.server, &["run", file.to_str().unwrap()], &few).await.ended(8);
    assert!(ran.err.contains("lockstep.run.shop."), "{}", ran.err);
    assert!(ran.err.contains("credentials"), "{}", ran.err);
    let doctor = ["doctor", "--role", "submitter", "--pipeline", "shop"];
    let ran = call(&world.server, &doctor, &few).await.ended(8);
    assert!(ran.out.contains("fail  publishing"), "{}", ran.out);
    assert!(ran.out.contains("publish to lockstep.run.shop.doctor.plan"), "{}", ran.out);
    let before = healthy(&world).await;
    for role in [
        &["submitter"][..],
        &["operator"],
        &["coordinator"],
        &["agent", "--pipeline", "shop", "--workflow", "backend"],
        &["party", "--pipeline", "shop", "--party", "qa"],
    ] {
        let args: Vec<&str> = ["doctor", "--role"].iter().chain(role).copied().collect();
        let ran = world.call(&args).await.ended(0);
        assert!(ran.out.contains("ok    publishing    may write lockstep.run."), "{}", ran.out);
    }
    assert!(before.starts_with("LOCKSTEP: 0 records"), "{before}");
    assert_eq!(before, healthy(&world).await, "a rehearsal was stored");
}

#[tokio::test(flavor = "multi_thread")]
async fn status_answers_and_says_what_it_may_not_ask() {
    let config = "
        accounts { A { jetstream: enabled, users: [
            { user: all, password: p },
            { user: few, password: p, permissions {
                publish: { deny: [\"lockstep.open.>\"] }, subscribe: { deny: [\"lockstep.beat.>\"] } } },
        ] } }
        no_auth_user: all";
    let mut world = World::on(server_with(config).await).await;
    world.coordinate().await;
    world.file("shop.yaml", &good_shop());
    world.call(&["run", "shop.yaml", "--run-id", "r1", "--detach"]).await.ended(0);
    let few = [("NATS_USER", "few"), ("NATS_PASSWORD", "p")];
    let ran = call(&world.server, &["status", "r1", "-o", "json"], &few).await.ended(0);
    assert_eq!(ran.json()["coordinator"], "unknown");
    let warnings = ran.json()["warnings"].to_string();
    for missing in ["publish to lockstep.open.shop.backend", "subscribe to lockstep.beat."] {
        assert!(warnings.contains(missing), "{missing} is missing in {warnings}");
    }
    world.call(&["abort", "r1", "--reason", "done", "--wait"]).await.ended(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_goes_away_is_not_taken_for_a_missing_coordinator() {
    let mut world = World::new().await;
    world.file("shop.yaml", &good_shop());
    let run = world.start(&["run", "shop.yaml", "--run-id", "r1", "--timeout", "12s"]);
    world.status("r1", |report| report["phase"] == "joining").await;
    world.server.kill();
    let ran = run.end().await.ended(7);
    assert!(ran.err.contains("NATS is out of reach"), "{}", ran.err);
    assert!(!ran.err.contains("no coordinator answers"), "{}", ran.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_the_end_of_an_abort_is_told_that_the_log_is_gone() {
    let world = World::deserted().await;
    let bus = world.bus().await;
    world.file("shop.yaml", &good_shop());
    world.call(&["run", "shop.yaml", "--run-id", "r1", "--detach"]).await.ended(0);
    // Nobody closes it: no coordinator runs.
    let abort = ["abort", "r1", "--reason", "no", "--wait", "--timeout", "30s"];
    let waiting = world.start(&abort);
    let key = RunKey { pipeline: "shop".parse().unwrap(), run: "r1".parse().unwrap() };
    let filter = [bus.subjects().family(&key, &Family::Request)];
    let limit = tokio::time::Instant::now() + LIMIT;
    while bus.read(&filter, 0, limit).await.unwrap().entries.is_empty() {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let client = async_nats::connect(world.server.url()).await.unwrap();
    async_nats::jetstream::new(client).delete_stream("LOCKSTEP").await.unwrap();
    let ran = waiting.end().await.ended(8);
    assert!(ran.err.contains("the log cannot be read just now"), "{}", ran.err);
    assert!(ran.err.contains("cannot read run shop/r1 to its end"), "{}", ran.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_with_another_configuration_is_compared() {
    let world = World::deserted().await;
    let bus = world.bus().await;
    let client = async_nats::connect(world.server.url()).await.unwrap();
    let jetstream = async_nats::jetstream::new(client);
    let mut config = jetstream.get_stream("LOCKSTEP").await.unwrap().cached_info().config.clone();
    config.duplicate_window = std::time::Duration::from_secs(1);
    jetstream.update_stream(&config).await.unwrap();
    drop(bus);
    world.file("shop.yaml", &good_shop());
    let ran = world.call(&["run", "shop.yaml"]).await.ended(8);
    assert!(ran.err.contains("duplicate_window"), "{}", ran.err);
    assert!(world.call(&["doctor"]).await.ended(8).out.contains("duplicate_window"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_stream_accepts_no_plan() {
    let world = World::deserted().await;
    let client = async_nats::connect(world.server.url()).await.unwrap();
    let jetstream = async_nats::jetstream::new(client.clone());
    let mut config = jetstream.get_stream("LOCKSTEP").await.unwrap().cached_info().config.clone();
    config.max_bytes = 64 * 1024;
    jetstream.update_stream(&config).await.unwrap();
    let subjects = Subjects::default();
    let key = RunKey { pipeline: "old".parse().unwrap(), run: "r0".parse().unwrap() };
    for number in 1..=60 {
        let slot = Family::Clock.slot(number);
        let subject = subjects.slot(&key, &slot);
        jetstream.publish(subject, vec![b'x'; 950].into()).await.unwrap().await.unwrap();
    }
    world.file("shop.yaml", &good_shop());
    let ran = world.call(&["run", "shop.yaml"]).await.ended(8);
    assert!(ran.err.contains("% full"), "{}", ran.err);
    assert!(ran.err.contains("max_bytes"), "{}", ran.err);
    assert!(world.call(&["doctor"]).await.ended(8).out.contains("fail  fill"));
}

#[tokio::test(flavor = "multi_thread")]
async fn rubbish_in_a_plans_slot_means_that_there_is_no_such_run() {
    let world = World::new().await;
    let subjects = Subjects::default();
    let key = RunKey { pipeline: "shop".parse().unwrap(), run: "r1".parse().unwrap() };
    let draft = Draft {
        subject: subjects.slot(&key, &Family::Plan.slot(1)),
        event: "rubbish".to_owned(),
        headers: Vec::new(),
        payload: b"+ACK".to_vec(),
    };
    world.bus().await.append(&draft, tokio::time::Instant::now() + LIMIT).await.unwrap();
    world.file("shop.yaml", &good_shop());
    let ran = world.call(&["run", "shop.yaml", "--run-id", "r1"]).await.ended(8);
    assert!(ran.err.contains("choose another `--run-id`"), "{}", ran.err);
    let status = world.call(&["status", "shop/r1", "-o", "json"]).await.ended(0).json();
    assert_eq!(status["phase"], "expired");
    assert_eq!(status["void"][0]["kind"], "rubbish");
}

#[test]
fn a_missing_nats_server_program_is_told_with_what_to_do() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), good_shop()).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_lockstep"))
        .args(["dev", file.path().to_str().unwrap()])
        .env("LOCKSTEP_NATS_SERVER", "/nowhere/nats-server")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(8));
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(err.contains("LOCKSTEP_NATS_SERVER is /nowhere/nats-server"), "{err}");
}
