//! Lockstep's vocabulary, shared by all of its programs.
//!
//! Decides what names, pipeline files, plans, records and subjects look like, and what a log
//! means. Deliberately knows nothing of NATS, files, clocks or processes: nothing here does I/O.

pub mod check;
pub mod codec;
pub mod diagnostics;
pub mod error_code;
pub mod fold;
pub mod graph;
pub mod id;
pub mod manifest;
pub mod pipeline;
pub mod plan;
mod raw_yaml;
pub mod record;
mod resolve;
pub mod schema;
pub mod source;
pub mod subject;
pub mod time;
