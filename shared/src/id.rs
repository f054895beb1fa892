//! Names and numbers that identify things, each a type of its own.
//!
//! Parsed once at the edge; everything behind it may rely on the grammar (PROTOCOL section 2):
//! pipelines, workflows and runs are DNS-1123 labels, barriers and foreign parties are
//! `[A-Za-z0-9][A-Za-z0-9_-]{0,62}`, and only the two built-in barriers begin with `_`.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// The longest name of any kind, in bytes: the limit of a DNS-1123 label.
pub const MAX_NAME_LENGTH: usize = 63;

/// Why a text is not a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a valid {what} name: {rule}")]
pub struct InvalidName {
    /// The refused text.
    pub text: String,
    /// What it should have named, such as "workflow".
    pub what: &'static str,
    /// The rule it breaks, as a sentence without a full stop.
    pub rule: &'static str,
}

const LABEL_RULE: &str =
    "use 1 to 63 lower-case letters, digits and '-', with a letter or digit at both ends";
const TOKEN_RULE: &str =
    "use 1 to 63 letters, digits, '_' and '-', beginning with a letter or digit";

fn is_label(text: &str) -> bool {
    let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    match (bytes.first(), bytes.last()) {
        (Some(&first), Some(&last)) => {
            bytes.len() <= MAX_NAME_LENGTH
                && alphanumeric(first)
                && alphanumeric(last)
                && bytes.iter().all(|&byte| alphanumeric(byte) || byte == b'-')
        }
        _ => false,
    }
}

fn is_token(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() <= MAX_NAME_LENGTH
        && bytes.first().is_some_and(u8::is_ascii_alphanumeric)
        && bytes.iter().all(|&byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
}

fn is_barrier(text: &str) -> bool {
    is_token(text) || text == PREPARE || text == COMMIT
}

const PREPARE: &str = "_prepare";
const COMMIT: &str = "_commit";

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal, $accepts:ident, $rule:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The name's text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;

            fn from_str(text: &str) -> Result<Self, InvalidName> {
                if $accepts(text) {
                    Ok(Self(text.to_owned()))
                } else {
                    Err(InvalidName { text: text.to_owned(), what: $what, rule: $rule })
                }
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidName;

            fn try_from(text: String) -> Result<Self, InvalidName> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.pad(&self.0)
            }
        }

        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": "string", "description": $rule, "minLength": 1, "maxLength": 63 })
            }
        }
    };
}

name!(
    /// A pipeline's name.
    PipelineName, "pipeline", is_label, LABEL_RULE
);
name!(
    /// A run's id: a UUIDv7 unless the submitter chose one.
    RunId, "run", is_label, LABEL_RULE
);
name!(
    /// A workflow's name.
    WorkflowName, "workflow", is_label, LABEL_RULE
);
name!(
    /// Who arrives at a barrier: a workflow or a foreign party of the plan.
    PartyName, "party", is_token, TOKEN_RULE
);
name!(
    /// A barrier's identifier.
    BarrierId, "barrier", is_barrier, TOKEN_RULE
);

impl RunId {
    /// A fresh id, ordered by the time it was made.
    pub fn fresh() -> Self {
        Self(uuid::Uuid::now_v7().to_string())
    }
}

impl BarrierId {
    /// The built-in barrier that every workflow passes before anything is written.
    pub fn prepare() -> Self {
        Self(PREPARE.to_owned())
    }

    /// The built-in barrier at which every workflow holds until all are through.
    pub fn commit() -> Self {
        Self(COMMIT.to_owned())
    }

    /// Whether this is `_prepare`.
    pub fn is_prepare(&self) -> bool {
        self.0 == PREPARE
    }

    /// Whether this is `_commit`.
    pub fn is_commit(&self) -> bool {
        self.0 == COMMIT
    }

    /// Whether this is one of the two barriers that no user declares.
    pub fn is_built_in(&self) -> bool {
        self.0.starts_with('_')
    }
}

impl From<&WorkflowName> for PartyName {
    fn from(workflow: &WorkflowName) -> Self {
        Self(workflow.0.clone())
    }
}

/// The incarnation of a workflow's agent: the slot number of its Joined, counted from 1.
pub type Epoch = u32;

/// A position in the stream, counted from 1.
pub type Sequence = u64;

/// A step's place in its workflow, counted from 0.
pub type StepIndex = usize;

/// One run of one pipeline, as its subjects name it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RunKey {
    /// The pipeline.
    pub pipeline: PipelineName,
    /// The run.
    pub run: RunId,
}

impl fmt::Display for RunKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.pipeline, self.run)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_lower_case_and_never_ends_in_a_dash() {
        assert!("shop-2".parse::<PipelineName>().is_ok());
        for text in ["", "Shop", "-a", "a-", "a.b", "a*", "ä", &"a".repeat(64)] {
            assert!(text.parse::<PipelineName>().is_err(), "{text:?} was accepted");
        }
    }

    #[test]
    fn only_the_built_in_barriers_begin_with_an_underscore() {
        assert!("_prepare".parse::<BarrierId>().is_ok());
        assert!("_commit".parse::<BarrierId>().is_ok());
        assert!("_other".parse::<BarrierId>().is_err());
        assert!("BE_1-x".parse::<BarrierId>().is_ok());
    }

    #[test]
    fn no_name_can_hold_what_a_subject_treats_specially() {
        for text in ["a.b", "a*", ">", "a b", "a\n"] {
            assert!(text.parse::<PartyName>().is_err(), "{text:?} was accepted");
        }
    }
}
