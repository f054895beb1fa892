//! The agent over a real nats-server: its loop, its commands, its restarts.

#![expect(clippy::unwrap_used, reason = "a failed test is to end where it failed")]

mod back;
mod coordinated;
mod debts;
mod flood;
mod forward;
mod restart;
mod scribe;
mod standby;
mod world;
