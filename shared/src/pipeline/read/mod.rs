//! From the tree to the draft: what each key of the tables means.
//!
//! Reads, and reports what cannot be read; whether the whole makes sense is for the checks.

mod deploy;
mod document;
mod step;
mod verify;
mod workflow;

pub(crate) use document::{Head, document, head};
