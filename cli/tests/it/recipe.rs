//! The CI job that the guide shows, run as it stands there.

use std::{os::unix::fs::PermissionsExt, path::Path, process::Stdio};

use tokio::process::{Child, Command};

use crate::world::World;

/// The guide's block of this language that holds a text.
fn block(language: &str, holds: &str) -> String {
    let guide = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/guide.md");
    let guide = std::fs::read_to_string(guide).expect("the guide is there");
    let begin = format!("```{language}\n");
    let blocks = guide.split(&begin).skip(1);
    let mut blocks = blocks.filter_map(|rest| rest.split("```").next());
    blocks.find(|block| block.contains(holds)).expect("the guide shows it").to_owned()
}

fn script(world: &World, name: &str, text: &str) {
    let path = world.file(name, &format!("#!/bin/sh\nset -eu\n{text}\n"));
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).expect("executable");
}

/// The world of the guide's example; the frontend's deployment is this.
async fn world(frontend: &str) -> World {
    let mut world = World::new().await;
    world.agent("shop", &["frontend"]).await;
    let head = "apiVersion: lockstep.dev/v1alpha1\nkind: Pipeline\nmetadata: { name: shop }\n";
    world.file("shop.yaml", &format!("{head}{}", block("yaml", "parties: [backend-job]")));
    script(&world, "deploy-frontend.sh", frontend);
    script(&world, "undo-frontend.sh", "rm -f frontend");
    script(&world, "deploy-backend.sh", "touch backend; test ! -e broken");
    script(&world, "undo-backend.sh", "rm backend");
    world
}

/// Begins the job.
fn job(world: &World) -> Child {
    let program = Path::new(env!("CARGO_BIN_EXE_lockstep"));
    let path = std::env::var("PATH").unwrap_or_default();
    let path = format!("{}:{path}", program.parent().expect("it is in a folder").display());
    Command::new("bash")
        .args(["-c", &block("bash", "barrier arrive backend-done")])
        .current_dir(world.folder.path())
        .envs([("PATH", path.as_str()), ("RUN_ID", "a1"), ("VERSION", "v2"), ("JOB_URL", "x")])
        .env("NATS_URL", world.server.url())
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("bash runs")
}

async fn ended(job: Child, code: i32) -> String {
    let output = tokio::time::timeout(crate::world::LIMIT, job.wait_with_output()).await;
    let output = output.expect("the job ends in time").expect("it ends");
    let err = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{err}");
    err
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_takes_back_what_it_deployed_when_the_run_fails_after_the_barrier() {
    let world = world("test -e ../never").await;
    let run = world.start(&["run", "shop.yaml", "--run-id", "a1"]);
    let err = ended(job(&world), 4).await;
    assert!(err.contains("frontend failed in step"), "{err}");
    assert!(!world.has("backend"), "it was left beside what went back: {err}");
    let run = run.end().await.ended(4);
    assert!(run.err.contains("backend-done: released"), "it failed after the barrier: {}", run.err);
    let err = ended(job(&world), 4).await;
    assert!(!world.has("backend"), "the job was repeated after the run had ended: {err}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_keeps_what_it_deployed_when_the_run_commits() {
    let world = world("touch frontend").await;
    let job_before_the_run = job(&world);
    let run = world.start(&["run", "shop.yaml", "--run-id", "a1"]);
    ended(job_before_the_run, 0).await;
    run.end().await.ended(0);
    assert!(world.has("backend") && world.has("frontend"));
    ended(job(&world), 0).await;
    assert!(world.has("backend"), "repeating it changes nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_fails_before_the_run_begins_still_takes_everybody_back() {
    let world = world("touch frontend").await;
    world.file("broken", "");
    let job = job(&world);
    let run = world.call(&["run", "shop.yaml", "--run-id", "a1"]).await.ended(4);
    assert!(run.out.contains("backend job failed"), "{}", run.out);
    ended(job, 1).await;
    assert!(!world.has("backend") && !world.has("frontend"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_of_a_run_that_was_refused_takes_back_what_it_deployed() {
    let world = world("touch frontend").await;
    world.call(&["run", "shop.yaml", "--run-id", "a0", "--detach"]).await.ended(0);
    world.call(&["run", "shop.yaml", "--run-id", "a1"]).await.ended(8);
    let err = ended(job(&world), 4).await;
    assert!(!world.has("backend"), "{err}");
    world.call(&["abort", "a0", "--reason", "done", "--wait"]).await.ended(0);
}
