//! Rubbish in the log: what servers can be made to publish, and what writers forge.

use anyhow::{Context, Result};
use async_nats::{Client, HeaderMap};
use lockstep_bus::{Appended, Bus, DevServer, Follow};
use lockstep_shared::{
    codec::{Entry, Rubbish},
    subject::Family,
};

use crate::world::*;

/// The verdict slots of one run as a reading and as a follower show them; both must agree.
async fn verdicts(bus: &Bus, expected: usize) -> Result<Vec<Entry>> {
    let filter = vec![bus.subjects().family(&key("r1"), &Family::Verdict)];
    let read = eventually("the reading", || async {
        let reading = bus.read(&filter, 0, limit()).await.map_err(|error| error.to_string())?;
        if reading.entries.len() == expected {
            Ok(reading.entries)
        } else {
            Err(format!("{:?}", reading.entries))
        }
    })
    .await?;
    let mut follower = bus.follow(filter, 1);
    let mut followed = Vec::new();
    while followed.len() < expected {
        match in_time("the follower", follower.next()).await? {
            Some(Follow::Entry(entry)) => followed.push(*entry),
            Some(Follow::LogWentBack { .. }) | None => panic!("it followed {followed:?}"),
            // A lost connection loses nothing.
            Some(_) => {}
        }
    }
    for (read, followed) in read.iter().zip(&followed) {
        assert_eq!((read.seq, read.time), (followed.seq, followed.time));
        assert_eq!(read.content.is_ok(), followed.content.is_ok(), "{read:?} {followed:?}");
    }
    Ok(read)
}

async fn publish_with(
    client: &Client,
    draft: &lockstep_shared::codec::Draft,
    forged: &[(&str, &str)],
) -> Result<()> {
    let mut headers = HeaderMap::new();
    for (name, value) in &draft.headers {
        headers.insert(name.as_str(), value.as_str());
    }
    for (name, value) in forged {
        headers.insert(*name, *value);
    }
    let payload = draft.payload.clone().into();
    client.request_with_headers(draft.subject.clone(), headers, payload).await?;
    Ok(())
}

#[tokio::test]
async fn a_forged_position_makes_a_record_rubbish_for_every_reader() -> Result<()> {
    let world = World::new().await?;
    let client = world.client().await?;
    // A forged Nats-Scheduler never gets this far: the server refuses it.
    let forged: [&[(&str, &str)]; 3] = [
        &[("Nats-Sequence", "1")],
        &[("Nats-Stream", "LOCKSTEP")],
        &[
            ("Nats-Sequence", "1"),
            ("Nats-Subject", "lockstep.run.shop.r1.verdict.9"),
            ("Nats-Time-Stamp", "2020-01-01T00:00:00Z"),
        ],
    ];
    for (n, headers) in (1..).zip(forged) {
        publish_with(&client, &verdict(&world.bus, "r1", n), headers).await?;
    }
    let entries = verdicts(&world.bus, 3).await?;
    for (n, entry) in (1..).zip(&entries) {
        assert_eq!((entry.seq, entry.slot.number), (u64::from(n), n));
        let forged = matches!(entry.content, Err(Rubbish::ForgedPosition(_)));
        assert!(forged, "{entry:?}");
    }
    // The writer of verdicts finds its slot taken by rubbish and uses the next.
    let taken = world.bus.append(&verdict(&world.bus, "r1", 1), limit()).await?;
    assert!(matches!(&taken, Appended::Taken(by) if by.content.is_err()), "{taken:?}");
    let stored = world.bus.append(&verdict(&world.bus, "r1", 4), limit()).await?;
    assert_eq!(stored, Appended::Stored(4));
    Ok(())
}

/// Headers that a stranger sends as they are, status line and all.
async fn publish_raw(url: &str, subject: &str, headers: &str, body: &str) -> Result<()> {
    publish_as(url, "", subject, headers, body).await
}

pub(crate) async fn publish_as(
    url: &str,
    user: &str,
    subject: &str,
    headers: &str,
    body: &str,
) -> Result<()> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let address = url.strip_prefix("nats://").context("an address")?;
    let mut socket = tokio::net::TcpStream::connect(address).await?;
    let total = headers.len() + body.len();
    let text = format!(
        "CONNECT {{\"verbose\":false,\"headers\":true,\"user\":\"{user}\",\"pass\":\"pw\"}}\r\nHPUB {subject} {} {total}\r\n{headers}{body}\r\nPING\r\n",
        headers.len()
    );
    socket.write_all(text.as_bytes()).await?;
    let mut seen = String::new();
    while !seen.contains("PONG") {
        let mut buffer = [0; 4096];
        let read = in_time("the stranger", socket.read(&mut buffer)).await??;
        anyhow::ensure!(read > 0, "the server hung up: {seen}");
        seen.push_str(&String::from_utf8_lossy(&buffer[..read]));
    }
    Ok(())
}

#[tokio::test]
async fn a_stored_status_line_is_taken_for_nobodys_answer() -> Result<()> {
    let world = World::new().await?;
    let cases = [
        "NATS/1.0 204 EOB\r\nNats-UpTo-Sequence: 99\r\nNats-Num-Pending: 0\r\n\r\n",
        "NATS/1.0 404 No Results\r\n\r\n",
        "NATS/1.0 413 Too Many Results\r\n\r\n",
        "NATS/1.0 503\r\n\r\n",
        "NATS/1.0 100 Idle Heartbeat\r\nNats-Last-Consumer: 77\r\n\r\n",
        "NATS/1.0 409 Consumer Deleted\r\n\r\n",
    ];
    for (n, headers) in (1..).zip(cases) {
        let subject = verdict(&world.bus, "r1", n).subject;
        publish_raw(world.server.url(), &subject, headers, "").await?;
    }
    world.bus.append(&verdict(&world.bus, "r1", 7), limit()).await?;
    let entries = verdicts(&world.bus, 7).await?;
    let valid: Vec<bool> = entries.iter().map(|entry| entry.content.is_ok()).collect();
    assert_eq!(valid, [false, false, false, false, false, false, true]);
    for n in 1..=6 {
        let taken = world.bus.append(&verdict(&world.bus, "r1", n), limit()).await?;
        assert!(matches!(&taken, Appended::Taken(by) if by.slot.number == n), "{taken:?}");
    }
    Ok(())
}

#[tokio::test]
async fn answers_that_a_server_was_made_to_store_are_skipped_by_all() -> Result<()> {
    let world = World::new().await?;
    let client = world.client().await?;
    world.bus.append(&request(&world.bus, "r1", 1), limit()).await?;
    let slot = |n: u32| verdict(&world.bus, "r1", n).subject;
    // A PubAck, a direct get, the end of a multi-last direct get, and a stream's state, each with
    // a verdict's slot as the reply subject.
    let own = request(&world.bus, "r1", 2).subject;
    client.publish_with_reply(own.clone(), slot(1), "x".into()).await?;
    let get = "$JS.API.DIRECT.GET.LOCKSTEP";
    let last = format!("{{\"last_by_subj\":\"{own}\"}}");
    client.publish_with_reply(get, slot(2), last.into()).await?;
    client.publish_with_reply(get, slot(3), "{\"multi_last\":[\"nothing.here\"]}".into()).await?;
    client.publish_with_reply("$JS.API.STREAM.INFO.LOCKSTEP", slot(4), "".into()).await?;
    let entries = verdicts(&world.bus, 4).await?;
    assert!(entries.iter().all(|entry| entry.content.is_err()), "{entries:?}");
    let stored = world.bus.append(&verdict(&world.bus, "r1", 5), limit()).await?;
    assert!(matches!(stored, Appended::Stored(_)), "{stored:?}");
    Ok(())
}

#[tokio::test]
async fn a_follower_gets_past_headers_that_no_client_can_read() -> Result<()> {
    let world = World::new().await?;
    let bus = &world.bus;
    bus.append(&verdict(bus, "r1", 1), limit()).await?;
    for (n, headers) in [(2, "NATS/1.0\r\nno colon here\r\n\r\n"), (3, "nonsense\r\n\r\n")] {
        let subject = verdict(bus, "r1", n).subject;
        publish_raw(world.server.url(), &subject, headers, "{}").await?;
    }
    bus.append(&verdict(bus, "r1", 4), limit()).await?;
    let mut follower = bus.follow(vec![bus.subjects().run(&key("r1"))], 1);
    let mut seen = Vec::new();
    while seen.len() < 4 {
        match in_time("the follower", follower.next()).await?.context("it goes on")? {
            Follow::Entry(entry) => seen.push((entry.seq, entry.content.is_ok())),
            other => anyhow::ensure!(!matches!(other, Follow::LogWentBack { .. }), "{other:?}"),
        }
    }
    assert_eq!(seen, [(1, true), (2, false), (3, false), (4, true)]);
    Ok(())
}

/// What no client library reads: it gives the connection up.
pub(crate) const MALFORMED: [&str; 3] = [
    "NATS/1.0\r\nno colon here\r\n\r\n",
    "NATS/1.0 what is this\r\n\r\n",
    "NATS/1.0\r\na name: with a blank\r\n\r\n",
];

#[tokio::test]
async fn a_record_with_malformed_headers_is_rubbish_to_every_reader_and_writer() -> Result<()> {
    let world = World::new().await?;
    world.bus.append(&verdict(&world.bus, "r1", 1), limit()).await?;
    for (n, headers) in (2..).zip(MALFORMED) {
        let subject = verdict(&world.bus, "r1", n).subject;
        publish_raw(world.server.url(), &subject, headers, "{}").await?;
    }
    world.bus.append(&verdict(&world.bus, "r1", 5), limit()).await?;
    let entries = verdicts(&world.bus, 5).await?;
    let valid: Vec<bool> = entries.iter().map(|entry| entry.content.is_ok()).collect();
    assert_eq!(valid, [true, false, false, false, true]);
    let positions: Vec<u64> = entries.iter().map(|entry| entry.seq).collect();
    assert_eq!(positions, [1, 2, 3, 4, 5]);

    // From then on it costs no connection: not to read, not to look, not to write.
    let generation = world.bus.link().borrow().generation;
    let filter = vec![world.bus.subjects().family(&key("r1"), &Family::Verdict)];
    let reading = world.bus.read(&filter, 5, limit()).await?;
    assert_eq!((reading.upto, reading.entries.len()), (5, 5));
    let seen = world.bus.get_one(&entries_subject(&world.bus, 3), limit()).await?;
    assert!(seen.is_some_and(|entry| entry.content.is_err()));
    let taken = world.bus.append(&verdict(&world.bus, "r1", 2), limit()).await?;
    assert!(matches!(&taken, Appended::Taken(by) if by.content.is_err()), "{taken:?}");
    assert_eq!(world.bus.link().borrow().generation, generation);
    Ok(())
}

fn entries_subject(bus: &Bus, n: u32) -> String {
    verdict(bus, "r1", n).subject
}

#[tokio::test]
async fn who_may_not_look_at_malformed_headers_is_told_the_subject_and_what_to_permit() -> Result<()>
{
    let server = DevServer::with_config(
        r#"accounts { A { jetstream: enabled, users: [
            { user: admin, password: pw },
            { user: agent, password: pw, permissions: { publish: [
                "$JS.API.STREAM.INFO.LOCKSTEP", "$JS.API.DIRECT.GET.LOCKSTEP"] } } ] } }"#,
    )
    .await?;
    let admin = Bus::connect(&as_user(&server, "admin"), "admin", LIMIT).await?;
    admin.ensure_streams(&small_streams(), limit()).await?;
    admin.append(&verdict(&admin, "r1", 1), limit()).await?;
    let bad = verdict(&admin, "r1", 2).subject;
    publish_as(server.url(), "admin", &bad, MALFORMED[0], "{}").await?;
    let agent = Bus::connect(&as_user(&server, "agent"), "agent", LIMIT).await?;
    let filter = vec![agent.subjects().family(&key("r1"), &Family::Verdict)];
    let error = agent.read(&filter, 0, limit()).await.unwrap_err().to_string();
    assert!(error.contains(&bad) && error.contains("STREAM.MSG.GET.LOCKSTEP"), "{error}");
    Ok(())
}

#[tokio::test]
async fn a_follower_that_may_not_look_at_malformed_headers_says_what_to_permit() -> Result<()> {
    let server = DevServer::with_config(
        r#"accounts { A { jetstream: enabled, users: [
            { user: admin, password: pw },
            { user: viewer, password: pw, permissions: { publish: [
                "$JS.API.STREAM.INFO.LOCKSTEP", "$JS.API.DIRECT.GET.LOCKSTEP",
                "$JS.API.CONSUMER.>", "$JS.FC.>"] } } ] } }"#,
    )
    .await?;
    let admin = Bus::connect(&as_user(&server, "admin"), "admin", LIMIT).await?;
    admin.ensure_streams(&small_streams(), limit()).await?;
    admin.append(&verdict(&admin, "r1", 1), limit()).await?;
    let bad = verdict(&admin, "r1", 2).subject;
    publish_as(server.url(), "admin", &bad, MALFORMED[0], "{}").await?;
    let viewer = Bus::connect(&as_user(&server, "viewer"), "viewer", LIMIT).await?;
    let mut follower = viewer.follow(vec![viewer.subjects().run(&key("r1"))], 1);
    loop {
        match in_time("the follower", follower.next()).await?.context("it goes on")? {
            Follow::Trouble { why } if why.contains("STREAM.MSG.GET.LOCKSTEP") => {
                // What came in one piece with the malformed record may be lost with it.
                anyhow::ensure!(why.contains("behind #1") || why.contains("behind #0"), "{why}");
                return Ok(());
            }
            other => anyhow::ensure!(!matches!(other, Follow::LogWentBack { .. }), "{other:?}"),
        }
    }
}
