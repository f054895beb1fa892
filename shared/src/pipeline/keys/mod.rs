//! The grammar of the pipeline file as tables: which keys stand where, and what they mean.
//!
//! The reader refuses what is not in them; the JSON Schema and docs/reference/pipeline.md are
//! made from them, so that the three cannot disagree.

mod document;
mod steps;

pub(crate) use document::{
    API_VERSION, BARRIER, DOCUMENT, EMPTY, KIND, KUBERNETES, METADATA, PARAM, SPEC, TARGET,
    TIMEOUTS, WORKFLOW,
};
pub(crate) use steps::{BARRIER_STEP, DEPLOY, HEALTH, HELM, HTTP, RUN, STEP, VERIFY, WAIT};

use crate::error_code::Code;

const TEXTS: Shape = Shape::List(&Shape::Text);
const TEXT_OR_TEXTS: Shape = Shape::Either(&Shape::Text, &TEXTS);

/// The keys of one kind of map.
pub(crate) struct Table {
    /// The map's name in the reference and the schema.
    pub(crate) name: &'static str,
    /// What such a map is, with an article, as messages call it.
    pub(crate) what: &'static str,
    /// What it is for.
    pub(crate) doc: &'static str,
    /// Its keys.
    pub(crate) keys: &'static [Key],
    /// Keys that people expect here and that are refused with a word on why.
    pub(crate) refused: &'static [Refused],
}

/// A key that people expect at a place where it is not.
pub(crate) struct Refused {
    /// The key.
    pub(crate) name: &'static str,
    /// The code it is refused with.
    pub(crate) code: Code,
    /// What to do.
    pub(crate) help: &'static str,
}

/// One key of a map.
pub(crate) struct Key {
    /// How it is written.
    pub(crate) name: &'static str,
    /// What may stand behind it.
    pub(crate) shape: Shape,
    /// Whether it has to be there.
    pub(crate) required: bool,
    /// What holds if it is absent, as the reference says it.
    pub(crate) default: &'static str,
    /// What it is for.
    pub(crate) doc: &'static str,
    /// A value for it, as JSON.
    pub(crate) example: &'static str,
}

/// What may stand behind a key.
#[derive(Clone, Copy)]
pub(crate) enum Shape {
    /// Exactly this text.
    Fixed(&'static str),
    /// Any text.
    Text,
    /// A DNS-1123 label.
    Label,
    /// A barrier's or foreign party's name.
    Token,
    /// `true` or `false`.
    Flag,
    /// `true`, `false` or one parameter.
    Condition,
    /// A whole number from 0.
    Count,
    /// An HTTP status.
    Status,
    /// A duration.
    Duration,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A text for a shell, or a program with its arguments.
    Command,
    /// Texts by free keys.
    TextMap,
    /// A list.
    List(&'static Shape),
    /// A map with these keys.
    Object(&'static Table),
    /// Maps with these keys, by free keys.
    Objects(&'static Table),
    /// A map with exactly one of these keys.
    OneKey(&'static Table),
    /// Either form.
    Either(&'static Shape, &'static Shape),
    /// The map itself or nothing at all.
    Optional(&'static Shape),
    /// Axes with their values, `include` and `exclude`.
    Matrix,
}

const fn key(name: &'static str, shape: Shape, doc: &'static str, example: &'static str) -> Key {
    Key { name, shape, required: false, default: "", doc, example }
}

impl Key {
    const fn required(self) -> Self {
        Self { required: true, ..self }
    }

    const fn default(self, default: &'static str) -> Self {
        Self { default, ..self }
    }
}

const fn table(
    name: &'static str,
    what: &'static str,
    doc: &'static str,
    keys: &'static [Key],
) -> Table {
    Table { name, what, doc, keys, refused: &[] }
}

impl Table {
    const fn refusing(self, refused: &'static [Refused]) -> Self {
        Self { refused, ..self }
    }

    /// The key of this name.
    pub(crate) fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }
}
