//! Coordinators beside each other, killed, started again; a server that goes and comes back.

use anyhow::Result;
use lockstep_shared::{id::Sequence, record::RunResult};

use crate::world::*;

#[tokio::test]
async fn parity_16_two_coordinators_at_once_write_one_story() -> Result<()> {
    let mut world = World::new().await?;
    world.coordinator("c1").await?;
    world.coordinator("c2").await?;
    let letters = ["A", "B", "C", "D", "E", "F", "G", "H"];
    let steps: Vec<String> = letters.iter().map(|letter| format!("@{letter}")).collect();
    let steps = steps.join(" ");
    let mut run = world.prepared("r1", plan(&[("a", &steps), ("b", &steps)])).await?;
    for letter in letters {
        run.arrive(letter, "a").await?;
        let last = run.arrive(letter, "b").await?;
        assert_eq!(run.released(letter).await?, last);
    }
    assert_eq!(run.finish().await?, RunResult::Succeeded);
    let written = run.written_by_coordinators().await?;
    assert_eq!(written.len(), letters.len() + 4, "{written:?}");
    assert!(written.iter().all(|slot| slot.ends_with(".1")), "{written:?}");
    assert_eq!(run.fold().await?.alarm(), None);
    Ok(())
}

#[tokio::test]
async fn parity_16_killed_before_the_verdict_another_one_writes_it() -> Result<()> {
    let mut world = World::new().await?;
    let first = world.coordinator("c1").await?;
    let mut run = world.prepared("r1", reference()).await?;
    run.arrive("BE", "backend").await?;
    first.kill();
    let last = run.arrive("BE", "frontend").await?;
    world.coordinator("c2").await?;
    assert_eq!(run.released("BE").await?, last);
    assert_eq!(run.finish().await?, RunResult::Succeeded);
    Ok(())
}

#[tokio::test]
async fn parity_16_killed_after_the_verdict_another_one_closes_the_run() -> Result<()> {
    let mut world = World::new().await?;
    let first = world.coordinator("c1").await?;
    let mut run = world.prepared("r1", reference()).await?;
    run.start("backend").await?;
    run.fail("frontend").await?;
    run.wait("aborted", |fold| fold.recorded().map(|_| ())).await?;
    first.kill();
    run.roll_back("backend").await?;
    world.coordinator("c2").await?;
    assert_eq!(run.closed().await?, RunResult::RolledBack);
    Ok(())
}

#[tokio::test]
async fn a_start_goes_on_with_what_is_open_behind_much_that_is_closed() -> Result<()> {
    let mut world = World::new().await?;
    let first = world.coordinator("c1").await?;
    for number in 0..10 {
        let mut run = world.prepared(&format!("old{number}"), plan(&[("a", "t")])).await?;
        run.finish().await?;
    }
    let mut open = world.prepared("r1", plan(&[("a", "t")])).await?;
    let mut queued = world.submit("r2", plan(&[("a", "t")])).await?;
    first.kill();
    world.coordinator("c2").await?;
    assert_eq!(open.finish().await?, RunResult::Succeeded);
    queued.prepare().await?;
    assert_eq!(queued.finish().await?, RunResult::Succeeded);
    Ok(())
}

#[tokio::test]
async fn parity_17_a_server_that_is_killed_and_comes_back_is_gone_on_with() -> Result<()> {
    let mut world = World::new().await?;
    world.coordinator("c1").await?;
    let mut run = world.prepared("r1", reference()).await?;
    run.arrive("BE", "backend").await?;
    world.server.kill();
    world.server.restart().await?;
    let last: Sequence = run.arrive("BE", "frontend").await?;
    assert_eq!(run.released("BE").await?, last);
    assert_eq!(run.finish().await?, RunResult::Succeeded);
    Ok(())
}

#[tokio::test]
async fn a_log_restored_from_an_older_copy_is_read_anew_and_gone_on_with() -> Result<()> {
    let mut world = World::new().await?;
    world.coordinator("c1").await?;
    let mut run = world.prepared("r1", reference()).await?;
    world.server.stop().await?;
    let copy = copy_of(world.server.store())?;
    world.server.restart().await?;
    run.arrive("BE", "backend").await?;
    run.arrive("BE", "frontend").await?;
    let lost = run.released("BE").await?;
    world.server.stop().await?;
    std::fs::remove_dir_all(world.server.store())?;
    std::fs::rename(copy.path().join("store"), world.server.store())?;
    world.server.restart().await?;
    run.wait("the release is lost", |fold| (fold.position() < lost).then_some(())).await?;
    run.forget("BE")?;
    run.arrive("BE", "backend").await?;
    let last = run.arrive("BE", "frontend").await?;
    assert_eq!(run.released("BE").await?, last);
    assert_eq!(run.finish().await?, RunResult::Succeeded);
    assert_eq!(run.fold().await?.alarm(), None);
    Ok(())
}

/// A copy of a folder beside it, as `store` in a folder that goes with the test.
fn copy_of(store: &std::path::Path) -> Result<tempfile::TempDir> {
    let parent = store.parent().expect("the store lies in a folder");
    let copy = tempfile::tempdir_in(parent)?;
    copy_folder(store, &copy.path().join("store"))?;
    Ok(copy)
}

fn copy_folder(from: &std::path::Path, to: &std::path::Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
