//! The connection: who is let in, who is not, and what is seen of it.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Result;
use lockstep_bus::{
    Bus, ConnectError, Connection, ConnectionArgs, DevServer, DevServerOptions,
    settings::{Identity, Tls},
};
use tokio::time::Instant;

use crate::world::*;

#[tokio::test]
async fn an_absent_server_is_named_with_its_address_and_what_to_do() -> Result<()> {
    // The discard port of a loopback address that nothing listens on.
    let connection = Connection::to("nats://127.0.0.1:9");
    let limit = Duration::from_millis(300);
    let error = Bus::connect(&connection, "test", limit).await.err().expect("nobody is there");
    assert!(matches!(error, ConnectError::Unreachable { .. }), "{error:?}");
    let text = error.to_string();
    assert!(text.contains("127.0.0.1:9") && text.contains("NATS_URL"), "{text}");
    Ok(())
}

#[tokio::test]
async fn wrong_credentials_are_named_at_once_and_never_shown() -> Result<()> {
    let server = DevServer::with_config("authorization { user: u, password: pw }\n").await?;
    let identity = Identity::User("u".to_owned(), "hush".to_owned());
    let wrong = Connection { identity, ..server.connection() };
    for connection in [wrong, server.connection()] {
        let started = Instant::now();
        let error = Bus::connect(&connection, "test", LIMIT).await.err().expect("refused");
        assert!(matches!(error, ConnectError::Refused { .. }), "{error:?}");
        let text = format!("{error} {error:?}");
        assert!(text.contains("NATS_CREDS") && !text.contains("hush"), "{text}");
        assert!(started.elapsed() < Duration::from_secs(2));
    }
    let bus = Bus::connect(&as_user(&server, "u"), "test", LIMIT).await?;
    assert!(bus.link().borrow().up);
    Ok(())
}

#[tokio::test]
async fn tokens_nkeys_and_addresses_with_a_password_are_let_in() -> Result<()> {
    let server = DevServer::with_config("authorization { token: \"s3cret\" }\n").await?;
    let token = Identity::Token("s3cret".to_owned());
    Bus::connect(&Connection { identity: token, ..server.connection() }, "t", LIMIT).await?;

    let public = "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4";
    let seed = "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY";
    let config = format!("authorization {{ users: [ {{ nkey: {public} }} ] }}\n");
    let server = DevServer::with_config(&config).await?;
    let nkey = Identity::Nkey(seed.to_owned());
    Bus::connect(&Connection { identity: nkey, ..server.connection() }, "t", LIMIT).await?;

    let server = DevServer::with_config("authorization { user: u, password: pw }\n").await?;
    let address = server.url().replace("nats://", "nats://u:pw@");
    Bus::connect(&Connection::to(&address), "t", LIMIT).await?;
    Ok(())
}

#[tokio::test]
async fn a_server_that_comes_later_is_waited_for() -> Result<()> {
    let mut server = DevServer::start().await?;
    server.kill();
    let connection = server.connection();
    let connecting = tokio::spawn(async move { Bus::connect(&connection, "test", LIMIT).await });
    server.restart().await?;
    let bus = in_time("the connection", connecting).await???;
    assert_eq!(bus.link().borrow().generation, 1);
    Ok(())
}

#[tokio::test]
async fn a_lost_connection_is_seen_and_remade_with_a_new_number() -> Result<()> {
    let mut world = World::new().await?;
    let mut link = world.bus.link();
    world.server.kill();
    in_time("the loss", link.wait_for(|link| !link.up)).await??;
    world.server.restart().await?;
    let link = in_time("the reconnect", link.wait_for(|link| link.up)).await??;
    assert_eq!(link.generation, 2);
    Ok(())
}

#[tokio::test]
async fn the_server_knows_our_name_and_we_use_our_own_inbox() -> Result<()> {
    let server = DevServer::with_config(
        r#"http: "127.0.0.1:-1"
        accounts { A { jetstream: enabled, users: [
            { user: u, password: pw, permissions: { subscribe: ["_MINE.>", "lockstep.>"] } } ] } }"#,
    )
    .await?;
    let connection = Connection { inbox_prefix: Some("_MINE".to_owned()), ..as_user(&server, "u") };
    let bus = Bus::connect(&connection, "lockstep-agent backend", LIMIT).await?;
    // Answers arrive at our own inbox only.
    bus.ensure_streams(&small_streams(), limit()).await?;
    assert_eq!(bus.link().borrow().denial, None);
    assert!(bus.server_version().starts_with("2."), "{}", bus.server_version());
    Ok(())
}

/// A file of the folder `keys`.
fn key_file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/keys").join(name)
}

#[tokio::test]
async fn a_credentials_file_is_let_in_and_works() -> Result<()> {
    let config = std::fs::read_to_string(key_file("operator.conf"))?;
    let server = DevServer::with_config(&config).await?;
    let args = ConnectionArgs {
        server: Some(server.url().to_owned()),
        creds: Some(key_file("agent.creds")),
        ..ConnectionArgs::default()
    };
    let connection = Connection::resolve_with(&args, &|_| None)?;
    let bus = Bus::connect(&connection, "test", LIMIT).await?;
    bus.ensure_streams(&small_streams(), limit()).await?;
    let without = Bus::connect(&server.connection(), "test", LIMIT).await.err();
    assert!(matches!(without, Some(ConnectError::Refused { .. })), "{without:?}");
    Ok(())
}

#[tokio::test]
async fn tls_is_spoken_after_or_before_the_greeting_with_our_own_certificate() -> Result<()> {
    let file = |name: &str| format!("{:?}", key_file(name));
    for first in [false, true] {
        let server = DevServer::with_config(&format!(
            "tls {{ cert_file: {}, key_file: {}, ca_file: {}, verify: true, handshake_first: {first} }}\n",
            file("server.pem"),
            file("server.key"),
            file("ca.pem"),
        ))
        .await?;
        let tls = Tls {
            ca: Some(key_file("ca.pem")),
            cert: Some(key_file("client.pem")),
            key: Some(key_file("client.key")),
            first,
        };
        let connection = Connection { tls: tls.clone(), ..server.connection() };
        let bus = Bus::connect(&connection, "test", LIMIT).await?;
        bus.ensure_streams(&small_streams(), limit()).await?;
        // Without a certificate the server lets nobody in.
        let anonymous = Tls { cert: None, key: None, ..tls };
        let connection = Connection { tls: anonymous, ..server.connection() };
        let limit = Duration::from_millis(500);
        let refused = Bus::connect(&connection, "test", limit).await.err();
        assert!(refused.is_some(), "first: {first}");
    }
    Ok(())
}

#[tokio::test]
async fn a_domain_is_asked_by_its_name() -> Result<()> {
    let store = tempfile::tempdir()?;
    let options = DevServerOptions {
        config: format!("jetstream {{ store_dir: {:?}, domain: hub }}\n", store.path()),
        without_jetstream: true,
        ..DevServerOptions::default()
    };
    let server = DevServer::with_options(options).await?;
    let connection = Connection { js_domain: Some("hub".to_owned()), ..server.connection() };
    let bus = Bus::connect(&connection, "test", LIMIT).await?;
    bus.ensure_streams(&small_streams(), limit()).await?;
    bus.append(&request(&bus, "r1", 1), limit()).await?;
    let reading = bus.read(&[bus.subjects().run(&key("r1"))], 1, limit()).await?;
    assert_eq!(reading.entries.len(), 1);
    let mut follower = bus.follow(vec![bus.subjects().run(&key("r1"))], 1);
    let first = in_time("the follower", follower.next()).await?;
    assert!(matches!(first, Some(lockstep_bus::Follow::Entry(_))), "{first:?}");

    let wrong = Connection { js_domain: Some("elsewhere".to_owned()), ..server.connection() };
    let bus = Bus::connect(&wrong, "test", LIMIT).await?;
    let error = bus.inspect_streams(limit()).await.unwrap_err().to_string();
    assert!(error.contains("$JS.elsewhere.API"), "{error}");
    Ok(())
}
