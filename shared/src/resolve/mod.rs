//! Makes a plan of a pipeline file: parameters get values, expressions are replaced, matrices
//! multiply, conditions are decided.
//!
//! Expressions are replaced in the tree, before anything is read from it, so that they may stand
//! for any plain value; what replaces them is never read as YAML.

mod condition;
mod expression;
mod matrix;
mod params;
mod plan;

pub(crate) use condition::condition;
pub(crate) use expression::Scope;
pub(crate) use matrix::{Combination, combinations};
pub(crate) use params::{Declared, Params};
pub(crate) use plan::plan;
