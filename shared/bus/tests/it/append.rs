//! PROTOCOL section 4 against a real server.

use std::time::Duration;

use anyhow::Result;
use async_nats::HeaderMap;
use lockstep_bus::{AppendError, Appended, Bus, DevServer};
use lockstep_shared::subject::Family;
use tokio::{task::JoinSet, time::Instant};

use crate::world::*;

#[tokio::test(flavor = "multi_thread")]
async fn of_eight_racing_writers_exactly_one_wins_each_slot_and_all_know_who() -> Result<()> {
    let world = World::new().await?;
    let mut writers = Vec::new();
    for number in 0..8 {
        writers.push(Bus::connect(&world.server.connection(), &format!("w{number}"), LIMIT).await?);
    }
    for slot in 1..=20 {
        let mut race = JoinSet::new();
        for bus in writers.clone() {
            race.spawn(async move {
                let draft = request(&bus, "r1", slot);
                (draft.event.clone(), bus.append(&draft, limit()).await)
            });
        }
        let mut winners = Vec::new();
        let mut seen_by_losers = Vec::new();
        while let Some(outcome) = race.join_next().await {
            match outcome? {
                (event, Ok(Appended::Stored(seq))) => winners.push((event, seq)),
                (_, Ok(Appended::Taken(by))) => {
                    seen_by_losers.push((event(&by).unwrap_or("rubbish").to_owned(), by.seq));
                }
                (_, Err(error)) => return Err(error.into()),
            }
        }
        assert_eq!(winners.len(), 1, "slot {slot}");
        assert_eq!(seen_by_losers, vec![winners[0].clone(); 7], "slot {slot}");
    }
    Ok(())
}

#[tokio::test]
async fn the_same_draft_again_is_the_same_record() -> Result<()> {
    let world = World::new().await?;
    let draft = request(&world.bus, "r1", 1);
    let first = world.bus.append(&draft, limit()).await?;
    // The server knows the message id: it answers Duplicate.
    assert_eq!(world.bus.append(&draft, limit()).await?, first);
    Ok(())
}

#[tokio::test]
async fn the_same_draft_is_known_again_after_the_server_forgot_its_message_id() -> Result<()> {
    let world = World::new().await?;
    let draft = request(&world.bus, "r1", 1);
    // As if the duplicate window had passed: stored under another message id.
    let mut headers = HeaderMap::new();
    for (name, value) in &draft.headers {
        headers.insert(name.as_str(), value.as_str());
    }
    let client = world.client().await?;
    let payload = draft.payload.clone().into();
    client.request_with_headers(draft.subject.clone(), headers, payload).await?;
    // The server answers 10077, "maximum messages per subject exceeded".
    assert_eq!(world.bus.append(&draft, limit()).await?, Appended::Stored(1));
    Ok(())
}

#[tokio::test]
async fn a_message_id_that_was_used_elsewhere_does_not_keep_a_record_out() -> Result<()> {
    let world = World::new().await?;
    let draft = request(&world.bus, "r1", 1);
    let mut headers = HeaderMap::new();
    headers.insert("Nats-Msg-Id", draft.event.as_str());
    let elsewhere = world.bus.subjects().slot(&key("r2"), &Family::Clock.slot(1));
    world.client().await?.request_with_headers(elsewhere, headers, "poison".into()).await?;

    let started = Instant::now();
    assert_eq!(world.bus.append(&draft, limit()).await?, Appended::Stored(2));
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    let stored = world.bus.get_one(&draft.subject, limit()).await?.expect("it is there");
    assert_eq!(event(&stored), Some(draft.event.as_str()));
    Ok(())
}

#[tokio::test]
async fn a_full_stream_is_named_as_full_and_nothing_is_in_doubt() -> Result<()> {
    let server = DevServer::start().await?;
    let bus = Bus::connect(&server.connection(), "test", LIMIT).await?;
    let options = lockstep_bus::StreamOptions { log_max_bytes: 64 * 1024, ..small_streams() };
    bus.ensure_streams(&options, limit()).await?;
    let error = loop {
        let number = u32::try_from(bus.log_report(limit()).await?.messages)? + 1;
        assert!(number < 1000, "the stream never filled up");
        let until = Instant::now() + Duration::from_secs(2);
        match bus.append(&request(&bus, "r1", number), until).await {
            Ok(appended) => assert!(matches!(appended, Appended::Stored(_)), "{appended:?}"),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, AppendError::Full { .. }) && !error.in_doubt(), "{error}");
    assert!(error.to_string().contains("full"), "{error}");
    let report = bus.log_report(limit()).await?;
    assert!(report.refuses_plans() && report.fill_percent() > 80, "{report:?}");
    Ok(())
}

#[tokio::test]
async fn a_missing_permission_is_reported_at_once_as_what_it_is() -> Result<()> {
    let server = DevServer::with_config(
        r#"accounts { A { jetstream: enabled, users: [
            { user: admin, password: pw },
            { user: agent, password: pw, permissions: {
                publish: { allow: ["$JS.API.>", "lockstep.run.shop.*.workflow.backend.*"] } } },
        ] } }"#,
    )
    .await?;
    let admin = Bus::connect(&as_user(&server, "admin"), "admin", LIMIT).await?;
    admin.ensure_streams(&small_streams(), limit()).await?;
    let agent = Bus::connect(&as_user(&server, "agent"), "agent", LIMIT).await?;
    let started = Instant::now();
    let error = agent.append(&verdict(&agent, "r1", 1), limit()).await.unwrap_err();
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
    let AppendError::Denied { denial, .. } = &error else { panic!("{error:?}") };
    assert_eq!(denial.subject, "lockstep.run.shop.r1.verdict.1");
    assert!(error.to_string().contains("does not permit"), "{error}");
    Ok(())
}

#[tokio::test]
async fn without_a_stream_the_error_says_what_to_start() -> Result<()> {
    let server = DevServer::start().await?;
    let bus = Bus::connect(&server.connection(), "test", LIMIT).await?;
    let until = Instant::now() + Duration::from_secs(2);
    let error = bus.append(&request(&bus, "r1", 1), until).await.unwrap_err();
    assert!(matches!(error, AppendError::NoStream { .. }) && !error.in_doubt(), "{error:?}");
    assert!(error.to_string().contains("lockstep-coordinator"), "{error}");
    Ok(())
}

#[tokio::test]
async fn what_got_no_answer_is_in_doubt_and_may_indeed_be_stored() -> Result<()> {
    let mut world = World::new().await?;
    let draft = request(&world.bus, "r1", 1);
    // A stopped process takes the bytes and answers nobody.
    let pid = i32::try_from(world.server.pid().expect("it runs"))?;
    signal(pid, rustix::process::Signal::STOP)?;
    eventually("the stop", || async {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        if stat.contains(") T ") { Ok(()) } else { Err(stat) }
    })
    .await?;
    let until = Instant::now() + Duration::from_secs(2);
    let error = world.bus.append(&draft, until).await.unwrap_err();
    assert!(error.in_doubt() && error.to_string().contains("may still be stored"), "{error}");
    signal(pid, rustix::process::Signal::CONT)?;
    let bus = world.bus.clone();
    let stored = eventually("the record", || async {
        bus.get_one(&draft.subject, limit()).await.unwrap().ok_or("nothing there".to_owned())
    });
    assert_eq!(event(&stored.await?), Some(draft.event.as_str()));
    world.server.kill();
    Ok(())
}

#[tokio::test]
async fn an_append_outlives_a_killed_server() -> Result<()> {
    let mut world = World::new().await?;
    world.server.kill();
    let bus = world.bus.clone();
    let draft = request(&bus, "r1", 1);
    let append = tokio::spawn(async move { bus.append(&draft, limit()).await });
    world.server.restart().await?;
    assert_eq!(append.await??, Appended::Stored(1));
    Ok(())
}

#[tokio::test]
async fn an_answer_that_is_no_acknowledgement_of_the_stream_stores_nothing() -> Result<()> {
    let server = DevServer::start().await?;
    let bus = Bus::connect(&server.connection(), "test", LIMIT).await?;
    let client = async_nats::connect(server.url()).await?;
    // Somebody answers in the stream's place.
    let mut liar = client.subscribe("lockstep.run.>").await?;
    client.flush().await?;
    let lies = tokio::spawn(async move {
        use futures::StreamExt;
        while let Some(message) = liar.next().await {
            let ack = r#"{"stream":"OTHER","seq":7}"#;
            client.publish(message.reply.unwrap(), ack.into()).await.unwrap();
        }
    });
    let until = Instant::now() + Duration::from_secs(2);
    let error = bus.append(&request(&bus, "r1", 1), until).await.unwrap_err();
    assert!(error.to_string().contains("OTHER"), "{error}");
    lies.abort();
    Ok(())
}

pub(crate) fn signal(pid: i32, signal: rustix::process::Signal) -> Result<()> {
    let pid = rustix::process::Pid::from_raw(pid).expect("a process id");
    Ok(rustix::process::kill_process(pid, signal)?)
}
