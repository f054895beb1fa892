//! PROTOCOL section 2: the streams as they are created, found and refused.

use std::time::Duration;

use anyhow::Result;
use lockstep_bus::{Bus, DevServer, DevServerOptions, StreamError, StreamOptions, Syncing};
use lockstep_shared::subject::{BUNDLE_STREAM, STREAM};
use tokio::time::Instant;

use crate::world::*;

#[tokio::test]
async fn the_server_keeps_the_streams_as_we_asked() -> Result<()> {
    let world = World::new().await?;
    // Found again, by somebody who creates nothing and by somebody who would.
    let found = world.bus.inspect_streams(limit()).await?;
    assert_eq!(found, world.bus.ensure_streams(&StreamOptions::default(), limit()).await?);
    assert_eq!((found.log.name.as_str(), found.bundles.name.as_str()), (STREAM, BUNDLE_STREAM));
    assert_eq!(found.log.max_age.to_string(), "720h");
    assert_eq!(found.log.warnings.len(), 1, "one replica: {:?}", found.log.warnings);
    Ok(())
}

#[tokio::test]
async fn another_configuration_is_refused_and_the_difference_printed() -> Result<()> {
    let server = DevServer::start().await?;
    let bus = Bus::connect(&server.connection(), "test", LIMIT).await?;
    let client = async_nats::connect(server.url()).await?;
    let config = async_nats::jetstream::stream::Config {
        name: STREAM.to_owned(),
        subjects: vec!["lockstep.run.>".to_owned()],
        max_messages_per_subject: 5,
        allow_direct: true,
        ..Default::default()
    };
    async_nats::jetstream::new(client).create_stream(config).await?;
    let error = bus.ensure_streams(&small_streams(), limit()).await.unwrap_err();
    let StreamError::Mismatch { stream, differences } = &error else { panic!("{error:?}") };
    assert_eq!(stream, STREAM);
    let fields: Vec<&str> = differences.iter().map(|found| found.field.as_str()).collect();
    for field in ["max_msgs_per_subject", "discard", "deny_purge", "republish", "max_bytes"] {
        assert!(fields.contains(&field), "{field} is not in {fields:?}");
    }
    assert!(!fields.contains(&"subjects") && !fields.contains(&"allow_direct"), "{fields:?}");
    let text = error.to_string();
    assert!(text.contains("max_msgs_per_subject: found 5, needed 1"), "{text}");
    Ok(())
}

#[tokio::test]
async fn no_jetstream_is_named_as_that() -> Result<()> {
    let options = DevServerOptions { without_jetstream: true, ..DevServerOptions::default() };
    let server = DevServer::with_options(options).await?;
    let bus = Bus::connect(&server.connection(), "test", LIMIT).await?;
    let error = bus.ensure_streams(&small_streams(), limit()).await.unwrap_err();
    assert!(matches!(error, StreamError::NoJetStream(_)), "{error:?}");
    assert!(error.to_string().contains("--jetstream"), "{error}");
    Ok(())
}

#[tokio::test]
async fn an_account_without_jetstream_is_named_as_that() -> Result<()> {
    let server =
        DevServer::with_config("accounts { A { users: [ { user: u, password: pw } ] } }\n").await?;
    let bus = Bus::connect(&as_user(&server, "u"), "test", LIMIT).await?;
    let error = bus.ensure_streams(&small_streams(), limit()).await.unwrap_err();
    assert!(matches!(error, StreamError::NoJetStream(_)), "{error:?}");
    Ok(())
}

#[tokio::test]
async fn a_stream_that_does_not_fit_names_its_size() -> Result<()> {
    let server = DevServer::start().await?;
    let bus = Bus::connect(&server.connection(), "test", LIMIT).await?;
    let options = StreamOptions { log_max_bytes: 1 << 50, ..small_streams() };
    let error = bus.ensure_streams(&options, limit()).await.unwrap_err();
    assert!(matches!(error, StreamError::NoRoom { bytes, .. } if bytes == 1 << 50), "{error:?}");
    Ok(())
}

#[tokio::test]
async fn who_may_not_look_is_told_so() -> Result<()> {
    let server = DevServer::with_config(
        r#"accounts { A { jetstream: enabled, users: [
            { user: u, password: pw, permissions: { publish: ["lockstep.>"] } } ] } }"#,
    )
    .await?;
    let bus = Bus::connect(&as_user(&server, "u"), "test", LIMIT).await?;
    let error = bus.inspect_streams(limit()).await.unwrap_err();
    assert!(matches!(&error, StreamError::Denied(_)), "{error:?}");
    assert!(error.to_string().contains("$JS.API.STREAM.INFO.LOCKSTEP"), "{error}");
    Ok(())
}

#[tokio::test]
async fn whether_records_reach_the_disk_is_seen_only_where_the_server_tells() -> Result<()> {
    let config = r#"accounts {
        A { jetstream: enabled, users: [ { user: u, password: pw } ] }
        $SYS { users: [ { user: system, password: pw } ] } }"#;
    for (sync_always, expected) in
        [(true, Syncing::Always), (false, Syncing::Every(Duration::from_secs(120)))]
    {
        let config = config.to_owned();
        let options = DevServerOptions { config, sync_always, ..DevServerOptions::default() };
        let server = DevServer::with_options(options).await?;
        let system = Bus::connect(&as_user(&server, "system"), "test", LIMIT).await?;
        let within = || Instant::now() + Duration::from_secs(5);
        assert_eq!(system.server_health(within()).await.syncing, expected);
        let user = Bus::connect(&as_user(&server, "u"), "test", LIMIT).await?;
        let health = user.server_health(within()).await;
        assert_eq!((health.syncing, health.max_payload), (Syncing::Unknown, 1 << 20));
    }
    Ok(())
}
