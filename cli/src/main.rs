//! The user's program.
mod exit; mod failure; mod output; mod terminal; mod report; mod online; mod reader; mod find; mod who; mod story; mod write;
fn main() {}
