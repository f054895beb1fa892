//! The private server and its end.

use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use lockstep_bus::{Appended, Bus, DevServer, DevServerError};

use crate::{append::signal, world::*};

fn runs(pid: u32) -> bool {
    // A zombie has no command line any more.
    std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| !line.is_empty())
}

#[tokio::test]
async fn it_listens_on_a_free_loopback_port_and_keeps_port_and_store() -> Result<()> {
    let mut server = DevServer::start().await?;
    let second = DevServer::start().await?;
    assert_ne!(server.url(), second.url());
    let url = server.url().to_owned();
    let bus = Bus::connect(&server.connection(), "test", LIMIT).await?;
    bus.ensure_streams(&small_streams(), limit()).await?;
    assert_eq!(bus.append(&request(&bus, "r1", 1), limit()).await?, Appended::Stored(1));
    server.stop().await?;
    assert_eq!(server.pid(), None);
    server.restart().await?;
    assert_eq!(server.url(), url);
    assert!(bus.get_one(&request(&bus, "r1", 1).subject, limit()).await?.is_some());
    Ok(())
}

#[tokio::test]
async fn it_goes_with_its_owner_and_so_does_its_folder() -> Result<()> {
    let server = DevServer::start().await?;
    let (pid, store) = (server.pid().context("it runs")?, server.store().to_owned());
    assert!(runs(pid) && store.exists());
    drop(server);
    assert!(!runs(pid) && !store.exists());
    Ok(())
}

#[tokio::test]
async fn a_configuration_that_it_refuses_is_shown_with_its_own_words() {
    let error = DevServer::with_config("no_such_setting: 5\n").await.err().expect("it ends");
    assert!(matches!(&error, DevServerError::Ended { .. }), "{error:?}");
    assert!(error.to_string().contains("unknown field \"no_such_setting\""), "{error}");
}

/// Not a test of its own: the process that `it_dies_with_its_parent` kills.
#[tokio::test]
async fn child_that_owns_a_server() -> Result<()> {
    let Some(told) = std::env::var_os("LOCKSTEP_TEST_TELL_PID") else {
        return Ok(());
    };
    let server = DevServer::start().await?;
    let line = format!("{} {}\n", server.pid().context("it runs")?, server.store().display());
    std::fs::write(&told, line)?;
    std::future::pending().await
}

#[tokio::test]
async fn it_dies_with_its_parent_also_by_kill_9() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let told = folder.path().join("pid");
    let mut parent = Command::new(std::env::current_exe()?)
        .args(["--exact", "dev_server::child_that_owns_a_server", "--nocapture"])
        .env("LOCKSTEP_TEST_TELL_PID", &told)
        .stdout(Stdio::null())
        .spawn()?;
    let read = || async {
        let text = std::fs::read_to_string(&told).unwrap_or_default();
        let (pid, store) = text.trim().split_once(' ').ok_or("nothing told")?;
        let pid: u32 = pid.parse().map_err(|_| text.clone())?;
        Ok((pid, std::path::PathBuf::from(store)))
    };
    let (pid, store) = eventually("the server's number", read).await?;
    assert!(runs(pid) && store.exists());
    signal(i32::try_from(parent.id())?, rustix::process::Signal::KILL)?;
    parent.wait()?;
    eventually("the server's end", || async {
        if runs(pid) { Err(format!("{pid} still runs")) } else { Ok(()) }
    })
    .await?;
    eventually("the folder's end", || async {
        if store.exists() { Err(format!("{} is there", store.display())) } else { Ok(()) }
    })
    .await?;
    Ok(())
}
