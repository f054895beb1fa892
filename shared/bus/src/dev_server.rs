//! A private nats-server for `lockstep dev` and for tests: a child process with JetStream in a
//! temporary folder on a free loopback port, which never outlives this process.

use std::path::{Path, PathBuf};

use crate::settings::Connection;

/// A running private server; killed on drop, and also when this process is killed.
pub struct DevServer {}

/// What a private server is to be like.
#[derive(Debug, Clone, Default)]
pub struct DevServerOptions {
    /// Further configuration: accounts, users, limits.
    pub config: String,
    /// Whether it is started without JetStream.
    pub without_jetstream: bool,
    /// Where it stores; a temporary folder that goes with it if absent.
    pub store: Option<PathBuf>,
    /// Whether every record is on disk before it is acknowledged.
    pub sync_always: bool,
}

/// Why there is no private server.
#[derive(Debug, thiserror::Error)]
pub enum DevServerError {
    /// x
    #[error("x")]
    X,
}

impl DevServer {
    /// Starts one with the defaults and waits until it is ready.
    ///
    /// # Errors
    /// [`DevServerError`].
    pub async fn start() -> Result<Self, DevServerError> {
        panic!("being written")
    }

    /// Starts one with further configuration.
    ///
    /// # Errors
    /// [`DevServerError`].
    pub async fn with_config(_text: &str) -> Result<Self, DevServerError> {
        panic!("being written")
    }

    /// Starts one.
    ///
    /// # Errors
    /// [`DevServerError`].
    pub async fn with_options(_options: DevServerOptions) -> Result<Self, DevServerError> {
        panic!("being written")
    }

    /// Its address.
    pub fn url(&self) -> &str {
        panic!("being written")
    }

    /// Settings that connect to it, without credentials.
    pub fn connection(&self) -> Connection {
        panic!("being written")
    }

    /// Its process id, while it runs.
    pub fn pid(&self) -> Option<u32> {
        panic!("being written")
    }

    /// Where it stores.
    pub fn store(&self) -> &Path {
        panic!("being written")
    }

    /// Kills it as `kill -9` does; the store and the port stay ours.
    pub fn kill(&mut self) {
        panic!("being written")
    }

    /// Stops it in good order.
    ///
    /// # Errors
    /// [`DevServerError`].
    pub async fn stop(&mut self) -> Result<(), DevServerError> {
        panic!("being written")
    }

    /// Starts it again after [`DevServer::kill`] or [`DevServer::stop`]: same store, same port.
    ///
    /// # Errors
    /// [`DevServerError`].
    pub async fn restart(&mut self) -> Result<(), DevServerError> {
        panic!("being written")
    }
}
