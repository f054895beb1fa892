//! The real program: what it prints, and the code that it ends with.

mod dev;
mod manifests;
mod offline;
mod online;
mod parties;
mod recipe;
mod reference;
mod rollback;
mod trouble;
mod world;
