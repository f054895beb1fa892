//! Scenarios: entries in, decisions out.

mod clocks;
mod queue;
mod races;
mod start;
mod support;
mod verdicts;
