//! The Kubernetes target: how a namespace is deployed, watched and restored.
//!
//! Its decisions are pure functions over objects as the API server gave them, so that each of them
//! is tested without a cluster. What they deliberately do not know: connections, time-outs, runs.
//! A rule cited by number is one of the numbered rules of the target's documentation.
//!
//! The shell around them (`client`, `lease`, `undo`, `target`) talks to the API server and decides
//! nothing about runs: what to do when is the order of `lockstep-agent-core`.

pub mod adopt;
pub(crate) mod apply;
pub mod changed;
pub(crate) mod claim;
pub mod class;
pub mod client;
pub(crate) mod defaults;
pub mod destroy;
pub mod evidence;
pub(crate) mod fence;
pub mod fields;
pub mod health;
pub mod inventory;
pub(crate) mod late;
pub mod lease;
pub(crate) mod looks;
pub mod object;
pub mod order;
pub(crate) mod pace;
pub(crate) mod prepare;
pub(crate) mod preview;
pub(crate) mod progress;
pub(crate) mod prune;
pub(crate) mod record;
pub mod restore;
pub mod rights;
pub(crate) mod rollback;
mod secret;
pub(crate) mod stuck;
pub(crate) mod target;
pub mod undo;
pub(crate) mod wanted;
pub(crate) mod writer;
