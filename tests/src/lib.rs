//! What the tests of the whole share.
//!
//! `world` runs the real programs against a real nats-server, `cluster` starts a real Kubernetes,
//! `stage` plays pipelines on both, `proxy` stands between an agent and its API server; everything
//! else drives the real cores without any of them.

pub mod bench;
pub mod chance;
pub mod cluster;
pub mod log;
pub mod model;
pub mod plans;
pub mod proxy;
pub mod rendezvous;
pub mod script;
pub mod sim;
pub mod stage;
pub mod world;
