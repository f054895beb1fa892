//! What the tests of the whole share.
//!
//! `world` runs the real programs against a real nats-server; everything else drives the real
//! cores without either.

pub mod bench;
pub mod world;
