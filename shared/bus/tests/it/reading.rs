//! PROTOCOL section 5, readings and the bell, against a real server.

use std::{collections::BTreeSet, time::Duration};

use anyhow::Result;
use lockstep_bus::{Appended, Bus, ReadError, Ring};
use lockstep_shared::subject::Family;
use tokio::time::Instant;

use crate::world::*;

fn requests(bus: &Bus, run: &str) -> Vec<String> {
    vec![bus.subjects().family(&key(run), &Family::Request)]
}

async fn append(bus: &Bus, run: &str, n: u32) -> Result<u64> {
    match bus.append(&request(bus, run, n), limit()).await? {
        Appended::Stored(seq) => Ok(seq),
        Appended::Taken(by) => anyhow::bail!("taken by {by:?}"),
    }
}

#[tokio::test]
async fn a_reading_is_the_whole_filter_in_order_up_to_its_position() -> Result<()> {
    let World { bus, server: _server } = World::new().await?;
    for n in 1..=5 {
        append(&bus, "r1", n).await?;
        append(&bus, "other", n).await?;
    }
    let mut filter = requests(&bus, "r1");
    filter.push(bus.subjects().family(&key("r1"), &Family::Verdict));
    let reading = bus.read(&filter, 9, limit()).await?;
    assert_eq!(reading.upto, 10);
    let slots: Vec<u32> = reading.entries.iter().map(|entry| entry.slot.number).collect();
    assert_eq!(slots, [1, 2, 3, 4, 5]);
    assert!(reading.entries.iter().all(|entry| entry.key == key("r1") && entry.content.is_ok()));
    Ok(())
}

#[tokio::test]
async fn nothing_there_is_a_reading_only_if_nothing_is_expected() -> Result<()> {
    let World { bus, server: _server } = World::new().await?;
    append(&bus, "other", 1).await?;
    let reading = bus.read(&requests(&bus, "r1"), 0, limit()).await?;
    assert_eq!((reading.upto, reading.entries.len()), (0, 0));
    let until = Instant::now() + Duration::from_secs(2);
    let error = bus.read(&requests(&bus, "r1"), 1, until).await.unwrap_err();
    assert!(matches!(&error, ReadError::TimedOut { reason } if reason.contains("#1")), "{error}");
    Ok(())
}

#[tokio::test]
async fn a_reading_waits_until_the_log_reaches_its_floor() -> Result<()> {
    let World { bus, server: _server } = World::new().await?;
    append(&bus, "r1", 1).await?;
    let reader = bus.clone();
    let filter = requests(&bus, "r1");
    let reading = tokio::spawn(async move { reader.read(&filter, 2, limit()).await });
    append(&bus, "r1", 2).await?;
    let reading = in_time("the reading", reading).await???;
    assert_eq!((reading.upto, reading.entries.len()), (2, 2));
    Ok(())
}

#[tokio::test]
async fn a_reading_takes_1024_records_and_says_so_of_more() -> Result<()> {
    let World { bus, server: _server } = World::new().await?;
    let store = |n: u32| {
        let bus = bus.clone();
        async move { append(&bus, "r1", n).await }
    };
    for batch in 0..16_u32 {
        let batch = (1..=64).map(|n| store(batch * 64 + n));
        futures::future::try_join_all(batch).await?;
    }
    let reading = bus.read(&requests(&bus, "r1"), 1024, limit()).await?;
    assert_eq!(reading.entries.len(), 1024);
    store(1025).await?;
    let error = bus.read(&requests(&bus, "r1"), 0, limit()).await.unwrap_err();
    assert!(matches!(error, ReadError::TooMany), "{error}");
    Ok(())
}

#[tokio::test]
async fn one_slot_can_be_looked_at() -> Result<()> {
    let World { bus, server: _server } = World::new().await?;
    let draft = request(&bus, "r1", 1);
    assert_eq!(bus.get_one(&draft.subject, limit()).await?, None);
    bus.append(&draft, limit()).await?;
    let entry = bus.get_one(&draft.subject, limit()).await?.expect("it is there");
    assert_eq!((entry.seq, event(&entry)), (1, Some(draft.event.as_str())));
    Ok(())
}

#[tokio::test]
async fn the_bell_rings_for_what_it_listens_to_and_no_longer() -> Result<()> {
    let World { bus, server: _server } = World::new().await?;
    let mut bell = bus.bell();
    bell.listen(&BTreeSet::from_iter(requests(&bus, "r1"))).await;
    append(&bus, "other", 1).await?;
    append(&bus, "r1", 1).await?;
    let ring = in_time("the bell", bell.next()).await?;
    let Some(Ring::Copy(entry)) = ring else { panic!("{ring:?}") };
    assert_eq!((entry.seq, &entry.key), (2, &key("r1")));
    let read = bus.get_one(&request(&bus, "r1", 1).subject, limit()).await?;
    assert_eq!(Some(*entry), read, "a copy is what a reading shows");

    bell.listen(&BTreeSet::from_iter(requests(&bus, "other"))).await;
    append(&bus, "r1", 2).await?;
    append(&bus, "other", 2).await?;
    let ring = in_time("the bell", bell.next()).await?;
    assert!(matches!(&ring, Some(Ring::Copy(entry)) if entry.key == key("other")), "{ring:?}");
    Ok(())
}

#[tokio::test]
async fn the_bell_says_that_copies_may_be_missed_after_a_reconnect() -> Result<()> {
    let mut world = World::new().await?;
    let mut bell = world.bus.bell();
    bell.listen(&BTreeSet::from_iter(requests(&world.bus, "r1"))).await;
    world.server.kill();
    world.server.restart().await?;
    assert_eq!(in_time("the bell", bell.next()).await?, Some(Ring::Missed));
    append(&world.bus, "r1", 1).await?;
    let ring = in_time("the bell", bell.next()).await?;
    assert!(matches!(ring, Some(Ring::Copy(_))), "it listens again: {ring:?}");
    Ok(())
}

#[tokio::test]
async fn a_closed_connection_ends_every_wait() -> Result<()> {
    let World { bus, server: _server } = World::new().await?;
    let mut bell = bus.bell();
    let mut follower = bus.follow(vec![bus.subjects().all_runs()], 1);
    bus.clone().close(LIMIT).await;
    assert_eq!(in_time("the bell", bell.next()).await?, None);
    in_time("the follower", async { while follower.next().await.is_some() {} }).await?;
    let error = bus.read(&requests(&bus, "r1"), 0, limit()).await.unwrap_err();
    assert!(matches!(error, ReadError::Closed), "{error}");
    Ok(())
}
