//! One coordinator and one run: released, aborted, timed out, forgotten.

use anyhow::Result;
use lockstep_shared::{
    id::PartyName,
    record::{Deadline, RunResult},
    time::Span,
};

use crate::world::*;

#[tokio::test]
async fn parity_01_a_run_is_admitted_released_committed_and_closed() -> Result<()> {
    let mut world = World::new().await?;
    world.coordinator("c1").await?;
    let mut run = world.prepared("r1", reference()).await?;
    run.arrive("BE", "backend").await?;
    let last = run.arrive("BE", "frontend").await?;
    assert_eq!(run.released("BE").await?, last);
    assert_eq!(run.finish().await?, RunResult::Succeeded);
    let written = run.written_by_coordinators().await?;
    let expected = [
        "admission.1",
        "barrier._prepare.verdict.1",
        "barrier.BE.verdict.1",
        "verdict.1",
        "closed.1",
    ];
    assert_eq!(written, expected);
    Ok(())
}

#[tokio::test]
async fn parity_03_a_failure_reaches_the_log_as_aborted_with_its_cause() -> Result<()> {
    let mut world = World::new().await?;
    world.coordinator("c1").await?;
    let mut run = world.prepared("r1", reference()).await?;
    run.start("backend").await?;
    run.arrive("BE", "frontend").await?;
    let failed = run.fail("backend").await?;
    let barrier = "BE".parse()?;
    let aborted = run.wait("BE aborted", |fold| fold.barriers()[&barrier].recorded.clone()).await?;
    assert_eq!(aborted.at, failed);
    run.roll_back("backend").await?;
    assert_eq!(run.closed().await?, RunResult::RolledBack);
    let cause = run.fold().await?.closed().unwrap().cause.clone().unwrap();
    assert_eq!((cause.at, cause.output.as_str()), (failed, "boom"));
    assert!(cause.text.starts_with("backend failed in step \"deploy\""));
    let written = run.written_by_coordinators().await?;
    assert_eq!(written[2..], ["verdict.1", "barrier.BE.verdict.1", "closed.1"]);
    Ok(())
}

#[tokio::test]
async fn parity_07_a_barriers_deadline_is_recorded_within_a_second_of_due() -> Result<()> {
    let mut world = World::new().await?;
    world.coordinator("c1").await?;
    let mut plan = reference();
    plan.barriers.get_mut(&"BE".parse()?).unwrap().timeout = Span::seconds(2);
    let mut run = world.prepared("r1", plan).await?;
    run.arrive("BE", "frontend").await?;
    let deadline = Deadline::Barrier("BE".parse()?);
    let due = run.wait("the clock runs", |fold| fold.clock(&deadline)).await?;
    let cause = run.wait("aborted", |fold| fold.recorded()?.cause.clone()).await?;
    assert!(cause.text.contains("missing backend"), "{}", cause.text);
    let entries = run.entries().await?;
    let recorded = entries.iter().find(|entry| entry.seq == cause.at).unwrap().time;
    assert!(recorded >= due, "it was recorded early");
    let late = recorded.since(due);
    println!("the deadline was recorded {late} after it was due");
    assert!(late < Span::seconds(1), "recorded {late} late");
    Ok(())
}

#[tokio::test]
async fn open_runs_are_told_until_they_are_closed() -> Result<()> {
    let mut world = World::new().await?;
    world.coordinator("c1").await?;
    let mut run = world.prepared("r1", reference()).await?;
    let (pipeline, party): (_, PartyName) = ("shop".parse()?, "backend".parse()?);
    let open = world.bus.ask_open(&pipeline, &party, limit()).await?;
    assert_eq!(open, Some(vec!["r1".parse()?]));
    run.finish().await?;
    let (bus, pipeline, party) = (&world.bus, &pipeline, &party);
    eventually("r1 is forgotten", || async move {
        match bus.ask_open(pipeline, party, limit()).await {
            Ok(Some(runs)) if runs.is_empty() => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await
}

#[tokio::test]
async fn a_hundred_runs_at_once_end_side_by_side() -> Result<()> {
    let mut world = World::new().await?;
    world.coordinator("c1").await?;
    let mut hands = Vec::new();
    for number in 0..100 {
        let mut plan = plan(&[("a", "t"), ("b", "t")]);
        plan.pipeline = format!("p{number}").parse()?;
        hands.push(world.submit("r1", plan).await?);
    }
    let mut running = tokio::task::JoinSet::new();
    for mut hand in hands {
        running.spawn(async move {
            hand.prepare().await?;
            hand.finish().await
        });
    }
    while let Some(ended) = running.join_next().await {
        assert_eq!(ended??, RunResult::Succeeded);
    }
    Ok(())
}
