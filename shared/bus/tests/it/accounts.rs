//! An agent that lives in a NATS account of its own, with no right to consumers or JetStream.

use std::collections::BTreeSet;

use anyhow::Result;
use lockstep_bus::{
    AppendError, Appended, Bus, DevServer, ReadError, Ring,
    beat::{Beat, Heard},
};
use lockstep_shared::{subject::Family, time::Timestamp};
use tokio::time::Instant;

use crate::{forgery, world::*};

/// The log in HUB, the agents of shop's backend in TEAM (PROTOCOL section 5).
const CONFIG: &str = r#"
accounts {
  HUB {
    jetstream: enabled
    users: [ { user: hub, password: pw } ]
    exports: [
      { service: "$JS.API.DIRECT.GET.LOCKSTEP", response_type: stream, accounts: [TEAM] }
      { service: "$JS.API.DIRECT.GET.LOCKSTEP_BUNDLES.lockstep.bundle.shop.backend.>", response_type: stream, accounts: [TEAM] }
      { service: "$JS.API.STREAM.INFO.LOCKSTEP", accounts: [TEAM] }
      { service: "$JS.API.STREAM.MSG.GET.LOCKSTEP", accounts: [TEAM] }
      { service: "lockstep.run.shop.*.request.*", accounts: [TEAM] }
      { service: "lockstep.bundle.shop.backend.>", accounts: [TEAM] }
      { service: "lockstep.beat.shop.*.backend", accounts: [TEAM] }
      { stream: "lockstep.live.run.shop.>", accounts: [TEAM] }
    ]
  }
  TEAM {
    users: [ { user: agent, password: pw } ]
    imports: [
      { service: { account: HUB, subject: "$JS.API.DIRECT.GET.LOCKSTEP" } }
      { service: { account: HUB, subject: "$JS.API.DIRECT.GET.LOCKSTEP_BUNDLES.lockstep.bundle.shop.backend.>" } }
      { service: { account: HUB, subject: "$JS.API.STREAM.INFO.LOCKSTEP" }, to: "lockstep.api.STREAM.INFO.LOCKSTEP" }
      { service: { account: HUB, subject: "$JS.API.STREAM.MSG.GET.LOCKSTEP" }, to: "lockstep.api.STREAM.MSG.GET.LOCKSTEP" }
      { service: { account: HUB, subject: "lockstep.run.shop.*.request.*" } }
      { service: { account: HUB, subject: "lockstep.bundle.shop.backend.>" } }
      { service: { account: HUB, subject: "lockstep.beat.shop.*.backend" } }
      { stream: { account: HUB, subject: "lockstep.live.run.shop.>" } }
    ]
  }
}
"#;

struct TwoAccounts {
    server: DevServer,
    hub: Bus,
    agent: Bus,
}

async fn two_accounts() -> Result<TwoAccounts> {
    let server = DevServer::with_config(CONFIG).await?;
    let hub = Bus::connect(&as_user(&server, "hub"), "hub", LIMIT).await?;
    hub.ensure_streams(&small_streams(), limit()).await?;
    let agent = Bus::connect(&as_user(&server, "agent"), "agent", LIMIT).await?;
    Ok(TwoAccounts { server, hub, agent })
}

#[tokio::test]
async fn it_appends_reads_whole_filters_and_hears_the_bell() -> Result<()> {
    let world = two_accounts().await?;
    let (hub, agent) = (&world.hub, &world.agent);
    let filter = vec![
        agent.subjects().family(&key("r1"), &Family::Request),
        agent.subjects().family(&key("r1"), &Family::Verdict),
    ];
    let mut bell = agent.bell();
    bell.listen(&filter.iter().cloned().collect::<BTreeSet<_>>()).await;
    assert_eq!(agent.read(&filter, 0, limit()).await?.entries, []);

    for n in 1..=20 {
        let appended = agent.append(&request(agent, "r1", n), limit()).await?;
        assert_eq!(appended, Appended::Stored(n.into()));
    }
    hub.append(&verdict(hub, "r1", 1), limit()).await?;
    let reading = agent.read(&filter, 21, limit()).await?;
    assert_eq!((reading.upto, reading.entries.len()), (21, 21));
    let mut rung = 0;
    while rung < 21 {
        match in_time("the bell", bell.next()).await? {
            Some(Ring::Copy(entry)) => rung = entry.seq,
            other => panic!("{other:?}"),
        }
    }
    // A slot that is taken, and a message that was stored before, are known across accounts too.
    let taken = agent.append(&request(agent, "r1", 1), limit()).await?;
    assert!(matches!(taken, Appended::Taken(_)), "{taken:?}");
    Ok(())
}

#[tokio::test]
async fn it_knows_the_logs_state_by_its_imported_name() -> Result<()> {
    let world = two_accounts().await?;
    world.hub.append(&request(&world.hub, "r1", 1), limit()).await?;
    let known = world.agent.log_state(limit()).await?;
    assert_eq!(known, world.hub.log_state(limit()).await?);
    assert_eq!(known.last, 1);
    Ok(())
}

#[tokio::test]
async fn it_skips_a_record_with_malformed_headers() -> Result<()> {
    let world = two_accounts().await?;
    let bad = verdict(&world.hub, "r1", 1).subject;
    forgery::publish_as(world.server.url(), "hub", &bad, forgery::MALFORMED[0], "{}").await?;
    world.hub.append(&verdict(&world.hub, "r1", 2), limit()).await?;
    let filter = vec![world.agent.subjects().family(&key("r1"), &Family::Verdict)];
    let reading = world.agent.read(&filter, 2, limit()).await?;
    let valid: Vec<bool> = reading.entries.iter().map(|entry| entry.content.is_ok()).collect();
    assert_eq!((reading.upto, valid), (2, vec![false, true]));
    Ok(())
}

#[tokio::test]
async fn it_writes_and_reads_its_own_bundles_and_no_others() -> Result<()> {
    let world = two_accounts().await?;
    let (pipeline, backend) = ("shop".parse()?, "backend".parse()?);
    let content = vec![7; 1_300_000];
    let digest = world.hub.put_bundle(&pipeline, &backend, &content, Timestamp(0), limit()).await?;
    assert!(world.agent.get_bundle(&pipeline, &backend, &digest, limit()).await? == content);
    let view = world.agent.put_bundle(&pipeline, &backend, b"view", Timestamp(0), limit()).await?;
    assert_eq!(world.hub.get_bundle(&pipeline, &backend, &view, limit()).await?, b"view");

    let other = "frontend".parse()?;
    let secret = world.hub.put_bundle(&pipeline, &other, b"secret", Timestamp(0), limit()).await?;
    let until = Instant::now() + std::time::Duration::from_secs(2);
    assert!(world.agent.get_bundle(&pipeline, &other, &secret, until).await.is_err());
    Ok(())
}

#[tokio::test]
async fn its_beats_are_heard_by_a_spare_of_its_account_and_by_coordinators() -> Result<()> {
    let world = two_accounts().await?;
    let spare = Bus::connect(&as_user(&world.server, "agent"), "spare", LIMIT).await?;
    let workflow = "backend".parse()?;
    let beat = Beat { epoch: 1, step: None, progress: "preparing".to_owned() };
    let beats = [
        spare.beats_of(&key("r1"), &workflow).await,
        world.hub.all_beats().await,
        world.hub.beats_of_run(&key("r1")).await,
    ];
    for mut listener in beats {
        // The subscription may still be on its way when the first one is sent.
        let mut again = tokio::time::interval(std::time::Duration::from_millis(50));
        let heard = loop {
            tokio::select! {
                heard = in_time("a beat", listener.next()) => break heard?,
                _ = again.tick() => world.agent.beat(&key("r1"), &workflow, &beat).await,
            }
        };
        assert_eq!(heard, Some(Heard::Beat(key("r1"), workflow.clone(), beat.clone())));
    }
    Ok(())
}

#[tokio::test]
async fn who_may_not_hear_beats_is_told_so_again_and_again() -> Result<()> {
    let server = DevServer::with_config(
        r#"accounts { A { users: [
            { user: u, password: pw, permissions: { subscribe: ["_INBOX.>"] } } ] } }"#,
    )
    .await?;
    let bus = Bus::connect(&as_user(&server, "u"), "u", LIMIT).await?;
    let mut beats = bus.beats_of(&key("r1"), &"backend".parse()?).await;
    for _ in 0..2 {
        let heard = in_time("the refusal", beats.next()).await?;
        let Some(Heard::Deaf(denial)) = heard else { anyhow::bail!("{heard:?}") };
        assert!(denial.to_string().contains("subscribe to lockstep.beat.shop.r1.backend"));
    }
    Ok(())
}

#[tokio::test]
async fn what_it_may_not_write_reaches_nobody() -> Result<()> {
    let world = two_accounts().await?;
    let until = Instant::now() + std::time::Duration::from_secs(2);
    let error = world.agent.append(&verdict(&world.agent, "r1", 1), until).await.unwrap_err();
    assert!(matches!(error, AppendError::NoStream { .. }), "{error:?}");
    let filter = [world.hub.subjects().family(&key("r1"), &Family::Verdict)];
    assert_eq!(world.hub.read(&filter, 0, limit()).await?.entries, []);
    Ok(())
}

#[tokio::test]
async fn a_refused_reading_is_said_at_once() -> Result<()> {
    let server = DevServer::with_config(
        r#"accounts { A { jetstream: enabled, users: [
            { user: u, password: pw, permissions: { publish: ["lockstep.>"] } } ] } }"#,
    )
    .await?;
    let bus = Bus::connect(&as_user(&server, "u"), "u", LIMIT).await?;
    let error = bus.read(&["lockstep.run.>".to_owned()], 0, limit()).await.unwrap_err();
    assert!(matches!(&error, ReadError::Denied(_)), "{error:?}");
    assert!(error.to_string().contains("$JS.API.DIRECT.GET.LOCKSTEP"), "{error}");
    Ok(())
}

#[tokio::test]
async fn answers_sent_to_slots_across_accounts_are_rubbish_or_never_arrive() -> Result<()> {
    let world = two_accounts().await?;
    let (hub, agent) = (&world.hub, &world.agent);
    agent.append(&request(agent, "r1", 1), limit()).await?;
    let options = async_nats::ConnectOptions::with_user_and_password("agent".into(), "pw".into());
    let stranger = options.connect(world.server.url()).await?;
    let slot = |n: u32| request(agent, "r1", n).subject;
    let forged = [slot(2), verdict(agent, "r1", 1).subject];
    for reply in forged {
        let last = format!("{{\"last_by_subj\":\"{}\"}}", slot(1));
        let get = "$JS.API.DIRECT.GET.LOCKSTEP";
        stranger.publish_with_reply(get, reply.clone(), last.into()).await?;
        stranger.publish_with_reply(slot(3), reply, "x".into()).await?;
    }
    stranger.flush().await?;
    // Whatever of it arrived: nobody takes it for a record, and the next free slot is found.
    let mut n = 2;
    while let Appended::Taken(by) = agent.append(&request(agent, "r1", n), limit()).await? {
        assert!(by.content.is_err(), "{by:?}");
        n += 1;
    }
    let everything = [hub.subjects().run(&key("r1"))];
    let reading = hub.read(&everything, 0, limit()).await?;
    let valid: Vec<u32> = reading
        .entries
        .iter()
        .filter(|entry| entry.content.is_ok())
        .map(|entry| entry.slot.number)
        .collect();
    assert_eq!(valid, [1, n], "{:?}", reading.entries);
    Ok(())
}
