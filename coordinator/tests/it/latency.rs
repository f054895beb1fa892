//! How soon a verdict follows what decides it; printed, not judged: the machine may be busy.

use std::{collections::BTreeSet, time::Duration};

use anyhow::Result;
use lockstep_bus::Ring;
use lockstep_shared::{record::Record, subject::Family};
use tokio::time::Instant;

use crate::world::*;

const ROUNDS: usize = 50;

#[tokio::test]
async fn the_bell_of_a_release_follows_the_last_arrival() -> Result<()> {
    let mut world = World::new().await?;
    world.coordinator("c1").await?;
    let names: Vec<String> = (0..ROUNDS).map(|round| format!("B{round}")).collect();
    let steps: Vec<String> = names.iter().map(|name| format!("@{name}")).collect();
    let steps = steps.join(" ");
    let mut run = world.prepared("r1", plan(&[("a", &steps), ("b", &steps)])).await?;
    let mut taken = Vec::new();
    for name in &names {
        let verdict = Family::BarrierVerdict(name.parse()?);
        let mut bell = world.bus.bell();
        bell.listen(&BTreeSet::from([world.bus.subjects().family(&run.key, &verdict)])).await;
        run.arrive(name, "a").await?;
        let begun = Instant::now();
        run.arrive(name, "b").await?;
        loop {
            let Some(Ring::Copy(copy)) = in_time("the release", bell.next()).await? else {
                anyhow::bail!("the bell missed something")
            };
            if let Ok(stated) = &copy.content
                && matches!(stated.record, Record::Released { .. })
            {
                break;
            }
        }
        taken.push(begun.elapsed());
    }
    taken.sort();
    let (median, worst): (Duration, Duration) = (taken[ROUNDS / 2], taken[ROUNDS - 1]);
    println!("last arrival to the bell of its release: p50 {median:?}, max {worst:?}");
    Ok(())
}
