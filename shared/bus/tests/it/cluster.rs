//! Three servers, three replicas, one of them killed again and again.

use std::{net::TcpListener, time::Duration};

use anyhow::Result;
use lockstep_bus::{Appended, Bus, Connection, DevServer, DevServerOptions, Follow, StreamOptions};
use lockstep_shared::subject::Family;
use tokio::time::Instant;

use crate::world::*;

/// Ports that were free a moment ago; routes have to be known before the servers start.
fn free_ports(count: usize) -> Result<Vec<u16>> {
    let listeners: Vec<TcpListener> =
        (0..count).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<std::io::Result<_>>()?;
    listeners.iter().map(|listener| Ok(listener.local_addr()?.port())).collect()
}

async fn three_servers() -> Result<Vec<DevServer>> {
    let ports = free_ports(3)?;
    let routes: Vec<String> = ports.iter().map(|port| format!("nats://127.0.0.1:{port}")).collect();
    let start = |(number, port): (usize, &u16)| {
        let config = format!(
            "server_name: n{number}\ncluster {{ name: c, listen: \"127.0.0.1:{port}\", routes: {routes:?} }}\n"
        );
        DevServer::with_options(DevServerOptions { config, ..DevServerOptions::default() })
    };
    futures::future::try_join_all(ports.iter().enumerate().map(start)).await.map_err(Into::into)
}

#[tokio::test(flavor = "multi_thread")]
async fn readings_of_every_node_have_no_hole_while_a_node_is_killed() -> Result<()> {
    let mut servers = three_servers().await?;
    let urls: Vec<String> = servers.iter().map(|server| server.url().to_owned()).collect();
    let all = Connection { urls, ..servers[0].connection() };
    let bus = Bus::connect(&all, "writer", LIMIT).await?;
    let options = StreamOptions { replicas: 3, ..small_streams() };
    let report = bus.ensure_streams(&options, limit()).await?;
    assert_eq!((report.log.replicas, report.log.warnings), (3, vec![]));

    let filter = vec![bus.subjects().family(&key("r1"), &Family::Request)];
    let mut follower = bus.follow(filter.clone(), 1);
    let mut last = 0;
    for round in 0..3_u32 {
        let writer = bus.clone();
        let writing = tokio::spawn(async move {
            let mut last = 0;
            for n in 1..=30 {
                let until = Instant::now() + Duration::from_secs(60);
                match writer.append(&request(&writer, "r1", round * 30 + n), until).await? {
                    Appended::Stored(seq) => last = seq,
                    Appended::Taken(by) => anyhow::bail!("taken by {by:?}"),
                }
            }
            Ok(last)
        });
        let victim = usize::try_from(round)?;
        servers[victim].kill();
        // Readings go on meanwhile, each with all that is known to be stored.
        while !writing.is_finished() {
            let reading = bus.read(&filter, last, Instant::now() + Duration::from_secs(30)).await?;
            let numbers: Vec<u32> = reading.entries.iter().map(|entry| entry.slot.number).collect();
            let whole: Vec<u32> = (1..=u32::try_from(numbers.len())?).collect();
            assert_eq!(numbers, whole, "a hole");
            assert!(reading.upto >= last, "{} is behind {last}", reading.upto);
            last = reading.upto;
        }
        last = writing.await??;
        servers[victim].restart().await?;
        let reading = bus.read(&filter, last, Instant::now() + Duration::from_secs(30)).await?;
        assert_eq!(reading.entries.len(), usize::try_from((round + 1) * 30)?);
    }
    let mut followed = Vec::new();
    while followed.len() < 90 {
        match in_time("the follower", follower.next()).await? {
            Some(Follow::Entry(entry)) => followed.push(entry.slot.number),
            Some(Follow::LogWentBack { why }) => panic!("{why}"),
            Some(_) => {}
            None => panic!("it ended"),
        }
    }
    assert_eq!(followed, (1..=90).collect::<Vec<_>>());
    Ok(())
}
