//! States of objects and what is said of them, one row each, and what lies between the rows.

mod around;
mod custom;
mod fixtures;
mod simple;
mod time;
mod workloads;

use fixtures::Row;

#[test]
fn every_state_of_the_table_is_told_as_what_it_is() {
    let rows: Vec<Row> = [workloads::rows(), simple::rows(), custom::rows()].concat();
    assert!(rows.len() >= 60, "{} rows", rows.len());
    let wrong: Vec<_> = rows.iter().filter_map(Row::wrong).collect();
    assert!(wrong.is_empty(), "{} of {} rows:\n{}", wrong.len(), rows.len(), wrong.join("\n"));
}
