//! The file as a tree of places: what is written where, without an opinion on it.
//!
//! Scalars keep their spelling, so that a version `1.10` stays what it is and `no` is a text.

use crate::diagnostics::{At, Place};

/// A value of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    /// Where it is written; of a map its first key, of a list its beginning.
    pub(crate) place: Place,
    /// What is written.
    pub(crate) kind: NodeKind,
}

/// What a value is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NodeKind {
    /// Nothing, or `null`.
    Null,
    /// A plain value.
    Scalar(Scalar),
    /// Values in order.
    List(Vec<Node>),
    /// Values by key, in order.
    Map(Vec<(At<String>, Node)>),
    /// A value that depends on something that was reported already: nothing is said of it again.
    Unknown,
}

impl NodeKind {
    /// What it is, for a message.
    pub(crate) fn describe(&self) -> String {
        const SHOWN: usize = 40;
        match self {
            Self::Null => "nothing".to_owned(),
            Self::Scalar(scalar) if scalar.text.chars().count() <= SHOWN => {
                format!("{:?}", scalar.text)
            }
            Self::Scalar(_) => "a long text".to_owned(),
            Self::List(_) => "a list".to_owned(),
            Self::Map(_) => "a map".to_owned(),
            Self::Unknown => "an unknown value".to_owned(),
        }
    }
}

/// A plain value as it is spelt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Scalar {
    /// The text.
    pub(crate) text: String,
    /// How it came about.
    pub(crate) form: Form,
}

/// How a plain value came about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Form {
    /// A number or boolean without quotes.
    Bare,
    /// Any other text.
    Text,
    /// A text in which expressions were replaced; this is how it was before.
    Replaced(String),
}

impl Node {
    /// How many values it holds, itself included.
    pub(crate) fn count(&self) -> usize {
        1 + match &self.kind {
            NodeKind::List(items) => items.iter().map(Self::count).sum::<usize>(),
            NodeKind::Map(entries) => entries.iter().map(|(_, value)| value.count()).sum(),
            NodeKind::Null | NodeKind::Scalar(_) | NodeKind::Unknown => 0,
        }
    }

    /// The value of a key, if this is a map that has it.
    pub(crate) fn get(&self, key: &str) -> Option<&Node> {
        match &self.kind {
            NodeKind::Map(entries) => {
                entries.iter().find(|(at, _)| at.value == key).map(|(_, value)| value)
            }
            _ => None,
        }
    }
}
