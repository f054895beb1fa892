//! The agent: carries out one or several workflows, each at its own target.

pub mod command;
pub mod state;
pub mod verify;
