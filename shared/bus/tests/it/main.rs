//! The bus against a real nats-server: one private server per test, gone on drop.

#![expect(clippy::unwrap_used, reason = "a failed test is to end where it failed")]

mod accounts;
mod append;
mod bundles;
mod cluster;
mod connection;
mod dev_server;
mod following;
mod forgery;
mod reading;
mod streams;
mod world;
