//! Sets of fields as the API server keeps them in `managedFields`, and objects seen through them.
//!
//! Decides which paths belong to a set, what an object has at them, and where two states of an
//! object differ. Knows no schema and asks for none: the paths that managers own tell which lists
//! are keyed, and by which fields. Deliberately knows nothing of who may own what.

mod at;
mod compare;
mod element;
mod entry;
mod list;
mod path;
mod project;
mod set;
#[cfg(test)]
mod tests;
mod v1;

pub use at::{exists, get, pointer, put, remove};
pub use compare::{Differences, compare};
pub use element::{Element, Literal};
pub use entry::{Entry, Operation, entries, owned, shape};
pub use list::{has_item_twice, item_name};
pub use path::Path;
pub use project::{leaves, project};
pub use set::FieldSet;
pub use v1::FieldsError;
