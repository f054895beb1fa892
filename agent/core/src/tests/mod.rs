//! Transcripts: events in, decisions out, against a log that is folded beside them.

mod back;
mod debts;
mod filters;
mod forward;
mod incarnations;
mod judge;
mod lost_log;
mod own_outcomes;
mod plans;
mod resume;
mod sizes;
mod steps;
mod wild;
mod world;
