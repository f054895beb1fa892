//! Ports of the machine's loopback that lead into the node's network.
//!
//! One thread enters that network and connects there; what listens was made outside before. The
//! thread ends with the relay.

use std::{
    fs::File,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    os::fd::AsFd,
    thread::JoinHandle,
};

use anyhow::{Context, Result};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener as Listener, TcpStream},
    sync::mpsc::{Receiver, Sender, channel},
    task::JoinSet,
};

/// How many routes may wait to be taken up, each of which takes a moment.
const ROUTES: usize = 64;

/// A port outside and where it leads inside.
type Route = (TcpListener, SocketAddr);

/// Leads connections into the node's network until it is dropped.
pub(in crate::cluster) struct Relay {
    routes: Option<Sender<Route>>,
    thread: Option<JoinHandle<()>>,
}

impl Relay {
    /// Into this network.
    pub(super) fn into(network: File) -> Result<Self> {
        let (routes, asked) = channel(ROUTES);
        let (entered, has_entered) = std::sync::mpsc::channel();
        let enter = move || -> Result<tokio::runtime::Runtime> {
            let kind = Some(LinkNameSpaceType::Network);
            move_into_link_name_space(network.as_fd(), kind).context("entering the network")?;
            Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
        };
        let thread =
            std::thread::Builder::new().name("relay".to_owned()).spawn(move || match enter() {
                Ok(runtime) => {
                    entered.send(Ok(())).ok();
                    runtime.block_on(serve(asked));
                }
                Err(error) => {
                    entered.send(Err(error)).ok();
                }
            })?;
        has_entered.recv().context("the relay's thread ended")??;
        Ok(Self { routes: Some(routes), thread: Some(thread) })
    }

    /// From this port outside, or any if it is 0, to that address inside.
    pub(in crate::cluster) fn lead(&self, port: u16, inside: SocketAddr) -> Result<SocketAddr> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
            .with_context(|| format!("listening on 127.0.0.1:{port}"))?;
        listener.set_nonblocking(true)?;
        let outside = listener.local_addr()?;
        let routes = self.routes.as_ref().context("the relay runs until it is dropped")?;
        routes.try_send((listener, inside)).ok().context("the relay takes no more routes")?;
        Ok(outside)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        drop(self.routes.take());
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

/// Until nobody can ask for another route.
async fn serve(mut asked: Receiver<Route>) {
    let mut routes = JoinSet::new();
    while let Some((listener, inside)) = asked.recv().await {
        if let Ok(listener) = Listener::from_std(listener) {
            routes.spawn(accept(listener, inside));
        }
    }
}

async fn accept(listener: Listener, inside: SocketAddr) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                if let Ok((outer, _)) = accepted {
                    connections.spawn(connect(outer, inside));
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// A connection that cannot be made inside is closed outside.
async fn connect(mut outer: TcpStream, inside: SocketAddr) {
    if let Ok(mut inner) = TcpStream::connect(inside).await {
        copy_bidirectional(&mut outer, &mut inner).await.ok();
    }
}
