//! The Kubernetes target: how a namespace is deployed, watched and restored.
//!
//! Its decisions are pure functions over objects as the API server gave them, so that each of them
//! is tested without a cluster. What they deliberately do not know: connections, time-outs, runs.
//! A rule cited by number is one of the numbered rules of the target's documentation.

pub mod adopt;
pub mod changed;
pub mod class;
pub mod fields;
pub mod health;
pub mod object;
pub mod order;
pub mod restore;
