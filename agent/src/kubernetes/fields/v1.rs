//! The form of a set in `managedFields`: FieldsV1.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{Element, FieldSet, Literal};

/// How deep a set may be nested. The server's objects are far from it; it bounds the stack.
const MAX_DEPTH: usize = 128;

/// Why the ownership that an object records cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FieldsError {
    /// A set has an element of an unknown form.
    #[error(
        "managedFields holds {0:?}, which is no element of FieldsV1, so it is unknown who owns \
         what; compare with `kubectl get --show-managed-fields`"
    )]
    Element(String),
    /// A set is not made of objects.
    #[error(
        "managedFields holds a set that is not made of objects, so it is unknown who owns what; \
         compare with `kubectl get --show-managed-fields`"
    )]
    NotASet,
    /// A set is nested too deeply.
    #[error("managedFields is nested more than {MAX_DEPTH} levels deep; this object is not usable")]
    Depth,
    /// An entry has no manager or uses another format than FieldsV1.
    #[error(
        "an entry of managedFields has no {0} that is known, so it is unknown who owns what; \
         compare with `kubectl get --show-managed-fields`"
    )]
    Entry(&'static str),
}

impl FieldSet {
    /// Reads the form that the server keeps: `{"f:spec":{"f:replicas":{}}}`.
    ///
    /// # Errors
    /// [`FieldsError`] if it is not of that form.
    pub fn from_v1(value: &Value) -> Result<Self, FieldsError> {
        read(value, 0)
    }

    /// Writes the form that the server keeps.
    pub fn to_v1(&self) -> Value {
        let mut fields = Map::new();
        for (element, owned, below) in self.children() {
            let mut value = below.to_v1();
            if let (true, false, Some(fields)) = (owned, below.is_empty(), value.as_object_mut()) {
                fields.insert(".".to_owned(), Value::Object(Map::new()));
            }
            fields.insert(write(element), value);
        }
        Value::Object(fields)
    }
}

fn read(value: &Value, depth: usize) -> Result<FieldSet, FieldsError> {
    if depth > MAX_DEPTH {
        return Err(FieldsError::Depth);
    }
    let fields = value.as_object().ok_or(FieldsError::NotASet)?;
    let mut set = FieldSet::new();
    for (text, value) in fields.iter().filter(|(text, _)| *text != ".") {
        let below = read(value, depth + 1)?;
        // Nothing below means that the path itself is meant; else the server writes a dot.
        let owned = below.is_empty() || value.get(".").is_some();
        set.graft(element(text)?, owned, below);
    }
    Ok(set)
}

fn element(text: &str) -> Result<Element, FieldsError> {
    let unknown = || FieldsError::Element(text.to_owned());
    let (form, rest) = text.split_once(':').ok_or_else(unknown)?;
    let json = || serde_json::from_str::<Value>(rest).map_err(|_| unknown());
    match form {
        "f" => Ok(Element::Field(rest.to_owned())),
        "v" => Ok(Element::Value(Literal(json()?))),
        "i" => Ok(Element::Index(rest.parse().map_err(|_| unknown())?)),
        "k" => match json()? {
            Value::Object(key) if !key.is_empty() => {
                let key = key.into_iter().map(|(name, value)| (name, Literal(value)));
                Ok(Element::Key(key.collect::<BTreeMap<_, _>>()))
            }
            _ => Err(unknown()),
        },
        _ => Err(unknown()),
    }
}

fn write(element: &Element) -> String {
    match element {
        Element::Field(name) => format!("f:{name}"),
        Element::Key(_) => format!("k:{}", Value::Object(element.key_fields())),
        Element::Value(value) => format!("v:{}", value.0),
        Element::Index(index) => format!("i:{index}"),
    }
}
