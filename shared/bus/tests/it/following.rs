//! Followers through everything that can happen to a server.

use std::path::Path;

use anyhow::Result;
use lockstep_bus::{
    Appended, Bus, Continuity, DevServer, DevServerOptions, Follow, Follower, Landmark, beat::Heard,
};
use lockstep_shared::{
    id::Sequence,
    subject::{Family, STREAM},
};

use crate::world::*;

async fn store(bus: &Bus, run: &str, n: u32) -> Result<Sequence> {
    match bus.append(&request(bus, run, n), limit()).await? {
        Appended::Stored(seq) => Ok(seq),
        Appended::Taken(by) => anyhow::bail!("taken by {by:?}"),
    }
}

/// Takes reports until the entry at `last`; the sequences reported and what else was said.
async fn take_until(
    follower: &mut Follower,
    last: Sequence,
) -> Result<(Vec<Sequence>, Vec<Follow>)> {
    let (mut seqs, mut others) = (Vec::new(), Vec::new());
    while seqs.last() != Some(&last) {
        match in_time("the follower", follower.next()).await? {
            Some(Follow::Entry(entry)) => seqs.push(entry.seq),
            Some(other) => others.push(other),
            None => anyhow::bail!("it ended after {seqs:?} {others:?}"),
        }
    }
    Ok((seqs, others))
}

async fn take_caught_up(follower: &mut Follower) -> Result<(Vec<Follow>, Sequence)> {
    let mut before = Vec::new();
    loop {
        match in_time("catching up", follower.next()).await? {
            Some(Follow::CaughtUp { upto, .. }) => return Ok((before, upto)),
            Some(other) => before.push(other),
            None => anyhow::bail!("it ended after {before:?}"),
        }
    }
}

#[tokio::test]
async fn a_follower_reads_from_where_it_was_told_and_then_live() -> Result<()> {
    let World { bus, server: _server } = World::new().await?;
    for n in 1..=5 {
        store(&bus, "r1", n).await?;
    }
    let mut follower = bus.follow(vec![bus.subjects().run(&key("r1"))], 3);
    let (reports, upto) = take_caught_up(&mut follower).await?;
    let seqs: Vec<Sequence> = reports
        .iter()
        .filter_map(|report| match report {
            Follow::Entry(entry) => Some(entry.seq),
            _ => None,
        })
        .collect();
    assert_eq!((seqs, upto), (vec![3, 4, 5], 5));
    store(&bus, "other", 1).await?;
    store(&bus, "r1", 6).await?;
    let (seqs, others) = take_until(&mut follower, 7).await?;
    assert_eq!((seqs, others), (vec![7], vec![]));
    Ok(())
}

#[tokio::test]
async fn being_caught_up_names_the_connection_that_was_asked() -> Result<()> {
    let mut world = World::new().await?;
    let mut follower = world.bus.follow(vec![world.bus.subjects().all_runs()], 1);
    let mut generation = async || -> Result<u64> {
        loop {
            match in_time("catching up", follower.next()).await? {
                Some(Follow::CaughtUp { generation, .. }) => return Ok(generation),
                Some(_) => {}
                None => anyhow::bail!("it ended"),
            }
        }
    };
    assert_eq!(generation().await?, 1);
    world.server.kill();
    world.server.restart().await?;
    // What was asked before may still be on its way.
    while generation().await? < 2 {}
    assert!(world.bus.link().borrow().generation >= 2);
    Ok(())
}

#[tokio::test]
async fn a_follower_of_nothing_is_caught_up_at_the_end_of_the_log() -> Result<()> {
    let World { bus, server: _server } = World::new().await?;
    let mut empty = bus.follow(vec![bus.subjects().run(&key("r1"))], 1);
    assert_eq!(take_caught_up(&mut empty).await?, (vec![], 0));
    store(&bus, "other", 1).await?;
    let mut follower = bus.follow(vec![bus.subjects().run(&key("r1"))], 1);
    assert_eq!(take_caught_up(&mut follower).await?, (vec![], 1));
    Ok(())
}

#[tokio::test]
async fn several_filters_make_one_order_and_headings_carry_no_content() -> Result<()> {
    let World { bus, server: _server } = World::new().await?;
    store(&bus, "r1", 1).await?;
    store(&bus, "r2", 1).await?;
    store(&bus, "r1", 2).await?;
    store(&bus, "r3", 1).await?;
    let filters = vec![
        bus.subjects().family(&key("r1"), &Family::Request),
        bus.subjects().family(&key("r3"), &Family::Request),
    ];
    let mut follower = bus.follow_headings(filters, 1);
    let (reports, _) = take_caught_up(&mut follower).await?;
    let headings: Vec<(Sequence, String, u32)> = reports
        .into_iter()
        .map(|report| match report {
            Follow::Heading(heading) => {
                (heading.seq, heading.key.run.to_string(), heading.slot.number)
            }
            other => panic!("{other:?}"),
        })
        .collect();
    let expected = [(1, "r1", 1), (3, "r1", 2), (4, "r3", 1)];
    assert_eq!(headings, expected.map(|(seq, run, n)| (seq, run.to_owned(), n)));
    Ok(())
}

#[tokio::test]
async fn nothing_is_missed_or_repeated_through_kills_of_the_server() -> Result<()> {
    let options = DevServerOptions { sync_always: true, ..DevServerOptions::default() };
    let mut world = World::on(DevServer::with_options(options).await?).await?;
    let bus = world.bus.clone();
    let mut follower = bus.follow(vec![bus.subjects().all_runs()], 1);
    let mut last = 0;
    for round in 0..4 {
        let writer = bus.clone();
        let (tell, mut written) = tokio::sync::watch::channel(0);
        let writing = tokio::spawn(async move {
            let mut last = 0;
            for n in 1..=25 {
                last = store(&writer, "r1", round * 25 + n).await?;
                tell.send_replace(n);
            }
            anyhow::Ok(last)
        });
        // In the middle of it, each round elsewhere.
        in_time("some records", written.wait_for(|n| *n >= 5 * (round + 1))).await??;
        world.server.kill();
        world.server.restart().await?;
        let before = last;
        last = in_time("writing", writing).await???;
        let (seqs, _) = take_until(&mut follower, last).await?;
        assert_eq!(seqs, (before + 1..=last).collect::<Vec<_>>(), "round {round}");
    }
    Ok(())
}

#[tokio::test]
async fn a_deleted_consumer_is_made_again() -> Result<()> {
    let world = World::new().await?;
    let bus = &world.bus;
    let mut follower = bus.follow(vec![bus.subjects().all_runs()], 1);
    take_caught_up(&mut follower).await?;
    let context = async_nats::jetstream::new(world.client().await?);
    let stream = context.get_stream(STREAM).await?;
    let mut names = stream.consumer_names();
    let name = {
        use futures::StreamExt;
        names.next().await.expect("there is one")?
    };
    stream.delete_consumer(&name).await?;
    store(bus, "r1", 1).await?;
    let (seqs, others) = take_until(&mut follower, 1).await?;
    assert_eq!(seqs, [1]);
    assert!(matches!(&others[..], [Follow::Rebuilt { .. }]), "{others:?}");
    Ok(())
}

fn copy_folder(from: &Path, to: &Path) -> Result<()> {
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

/// A world whose log was stopped at #3, copied, and went on to #5.
async fn world_with_backup() -> Result<(World, tempfile::TempDir, tempfile::TempDir)> {
    let (store_folder, backup) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let options =
        DevServerOptions { store: Some(store_folder.path().to_owned()), ..Default::default() };
    let mut world = World::on(DevServer::with_options(options).await?).await?;
    for n in 1..=3 {
        store(&world.bus, "r1", n).await?;
    }
    world.server.stop().await?;
    copy_folder(store_folder.path(), backup.path())?;
    world.server.restart().await?;
    for n in 4..=5 {
        store(&world.bus, "r1", n).await?;
    }
    Ok((world, store_folder, backup))
}

async fn restore(world: &mut World, store: &Path, backup: &Path) -> Result<()> {
    world.server.stop().await?;
    std::fs::remove_dir_all(store)?;
    copy_folder(backup, store)?;
    world.server.restart().await?;
    Ok(())
}

#[tokio::test]
async fn a_log_restored_from_an_older_copy_is_noticed_and_read_anew() -> Result<()> {
    let (mut world, folder, backup) = world_with_backup().await?;
    let bus = world.bus.clone();
    let mut follower = bus.follow(vec![bus.subjects().all_runs()], 1);
    take_until(&mut follower, 5).await?;
    restore(&mut world, folder.path(), backup.path()).await?;
    let (seqs, others) = take_until(&mut follower, 3).await?;
    assert_eq!(seqs, [1, 2, 3], "it begins anew");
    let told = others
        .iter()
        .any(|other| matches!(other, Follow::LogWentBack { why } if why.contains("#5")));
    assert!(told, "{others:?}");
    Ok(())
}

#[tokio::test]
async fn an_agent_notices_a_restored_log_also_after_it_grew_again() -> Result<()> {
    let (mut world, folder, backup) = world_with_backup().await?;
    let bus = world.bus.clone();
    let before = bus.log_state(limit()).await?;
    let own = bus.get_one(&request(&bus, "r1", 5).subject, limit()).await?.expect("it is there");
    let own = Landmark::of(&own);
    let check = || bus.check_history(&before, 5, Some(&own), limit());
    assert_eq!(check().await?.0, Continuity::Same);
    world.server.stop().await?;
    world.server.restart().await?;
    assert_eq!(check().await?.0, Continuity::Same, "a restart loses nothing");

    restore(&mut world, folder.path(), backup.path()).await?;
    let shorter = in_time("the check", check()).await??.0;
    assert!(matches!(&shorter, Continuity::WentBack(why) if why.contains("#3")), "{shorter:?}");
    for n in 4..=6 {
        store(&bus, "r1", n).await?;
    }
    let grown = in_time("the check", check()).await??.0;
    assert!(matches!(&grown, Continuity::WentBack(why) if why.contains("another")), "{grown:?}");
    Ok(())
}

#[tokio::test]
async fn a_stream_that_was_created_anew_is_another_log() -> Result<()> {
    let world = World::new().await?;
    let bus = world.bus.clone();
    store(&bus, "r1", 1).await?;
    let before = bus.log_state(limit()).await?;
    let context = async_nats::jetstream::new(world.client().await?);
    context.delete_stream(STREAM).await?;
    bus.ensure_streams(&small_streams(), limit()).await?;
    store(&bus, "r1", 1).await?;
    let (continuity, _) = bus.check_history(&before, 1, None, limit()).await?;
    assert!(matches!(continuity, Continuity::WentBack(_)), "{continuity:?}");
    Ok(())
}

#[tokio::test]
async fn a_follower_without_permission_says_so_and_goes_on_trying() -> Result<()> {
    let server = DevServer::with_config(
        r#"accounts { A { jetstream: enabled, users: [
            { user: admin, password: pw },
            { user: weak, password: pw, permissions: {
                publish: ["$JS.API.STREAM.INFO.LOCKSTEP"] } } ] } }"#,
    )
    .await?;
    let admin = Bus::connect(&as_user(&server, "admin"), "admin", LIMIT).await?;
    admin.ensure_streams(&small_streams(), limit()).await?;
    let weak = Bus::connect(&as_user(&server, "weak"), "weak", LIMIT).await?;
    let mut follower = weak.follow(vec![weak.subjects().all_runs()], 1);
    let report = in_time("the trouble", follower.next()).await?;
    let told = matches!(&report, Some(Follow::Trouble { why }) if why.contains("CONSUMER.CREATE"));
    assert!(told, "{report:?}");
    Ok(())
}

#[tokio::test]
async fn beats_and_questions_for_open_runs_arrive() -> Result<()> {
    let World { bus, server: _server } = World::new().await?;
    let workflow = "backend".parse()?;
    let mut all = bus.all_beats().await;
    let mut own = bus.beats_of(&key("r1"), &workflow).await;
    let beat = lockstep_bus::beat::Beat { epoch: 2, step: Some(1), progress: "deploying".into() };
    bus.beat(&key("r2"), &workflow, &beat).await;
    bus.beat(&key("r1"), &workflow, &beat).await;
    let heard = in_time("a beat", all.next()).await?;
    assert_eq!(heard, Some(Heard::Beat(key("r2"), workflow.clone(), beat.clone())));
    let heard = in_time("own beat", own.next()).await?;
    assert_eq!(heard, Some(Heard::Beat(key("r1"), workflow.clone(), beat)));

    let (pipeline, party) = ("shop".parse()?, "qa_1".parse()?);
    let nobody = bus.ask_open(&pipeline, &party, limit()).await?;
    assert_eq!(nobody, None, "nobody knows yet");
    let mut questions = bus.open_questions().await;
    let answering = tokio::spawn(async move {
        let question = questions.next().await.expect("a question");
        assert_eq!(question.party.as_str(), "qa_1");
        question.answer(&["r1".parse().unwrap(), "r2".parse().unwrap()]).await;
    });
    let runs = bus.ask_open(&pipeline, &party, limit()).await?;
    assert_eq!(runs, Some(vec!["r1".parse()?, "r2".parse()?]));
    answering.await?;
    Ok(())
}
