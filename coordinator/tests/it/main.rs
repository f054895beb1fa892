//! The coordinator over a real nats-server; the agents are played by hand.

#![expect(clippy::unwrap_used, reason = "a failed test is to end where it failed")]

mod latency;
mod program;
mod queue;
mod restart;
mod runs;
mod world;
