//! The house's rules, as tests: what a reviewer would otherwise have to remember.

mod commands;
mod docs;
mod layout;
mod pipelines;
mod protocol;
mod runbook;
mod tree;
mod words;
