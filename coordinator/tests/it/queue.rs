//! One run of a pipeline at a time.

use anyhow::Result;
use lockstep_shared::{
    fold::Admission,
    plan::Concurrency,
    record::{Record, RunResult},
    subject::Family,
};

use crate::world::*;

#[tokio::test]
async fn parity_19_a_queue_of_five_runs_one_after_the_other_in_plan_order() -> Result<()> {
    let mut world = World::new().await?;
    world.coordinator("c1").await?;
    world.coordinator("c2").await?;
    let mut hands = Vec::new();
    for number in 1..=5 {
        hands.push(world.submit(&format!("r{number}"), plan(&[("a", "t")])).await?);
    }
    let mut freed = 0;
    for run in &mut hands {
        run.prepare().await?;
        let fold = run.fold().await?;
        let Admission::Admitted(admitted) = fold.admission() else { panic!("it is admitted") };
        assert!(admitted.seq > freed, "two runs at once");
        assert_eq!(run.finish().await?, RunResult::Succeeded);
        freed = run.fold().await?.closed().unwrap().moment.seq;
    }
    Ok(())
}

#[tokio::test]
async fn parity_19_a_second_run_is_refused_and_a_queued_one_can_be_cancelled() -> Result<()> {
    let mut world = World::new().await?;
    world.coordinator("c1").await?;
    let mut open = world.prepared("r1", plan(&[("a", "t")])).await?;
    let mut refusing = plan(&[("a", "t")]);
    refusing.concurrency = Concurrency::Refuse;
    let second = world.submit("r2", refusing).await?;
    assert_eq!(second.closed().await?, RunResult::Refused);
    let fold = second.fold().await?;
    let Admission::Refused { reason, cancelled, .. } = fold.admission() else { panic!("refused") };
    assert!(reason.contains("run r1") && !cancelled, "{reason}");
    let mut queued = world.submit("r3", plan(&[("a", "t")])).await?;
    let (by, reason) = ("ada".to_owned(), "not today".to_owned());
    queued.write(Family::Request, Record::AbortRequested { by, reason }).await?;
    assert_eq!(queued.closed().await?, RunResult::Refused);
    let fold = queued.fold().await?;
    assert!(matches!(fold.admission(), Admission::Refused { cancelled: true, .. }));
    assert_eq!(open.finish().await?, RunResult::Succeeded);
    Ok(())
}
