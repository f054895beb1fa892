//! The house's rules, as tests: what a reviewer would otherwise have to remember.

mod docs;
mod layout;
mod pipelines;
mod protocol;
mod tree;
mod words;
