//! One step of a path: a field, a keyed list item, an item of a set, an index.

use std::{cmp::Ordering, collections::BTreeMap, fmt};

use serde_json::{Map, Value};

/// One step from a value into a part of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Element {
    /// `f:name`: a field of a struct or an entry of a map.
    Field(String),
    /// `k:{...}`: the item of a keyed list whose key fields have these values.
    Key(BTreeMap<String, Literal>),
    /// `v:...`: an item of a set, by its value.
    Value(Literal),
    /// `i:...`: an item by its place, counted from 0.
    Index(usize),
}

impl Element {
    /// The field of that name.
    pub fn field(name: &str) -> Self {
        Self::Field(name.to_owned())
    }

    /// The field's name, if this is a field.
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Field(name) => Some(name),
            _ => None,
        }
    }

    /// Whether `item` is what this element names in a list; never true for a field.
    pub(super) fn names(&self, item: &Value, index: usize) -> bool {
        match self {
            Self::Field(_) => false,
            Self::Key(key) => key.iter().all(|(name, value)| item.get(name) == Some(&value.0)),
            Self::Value(value) => value.0 == *item,
            Self::Index(wanted) => *wanted == index,
        }
    }

    /// The key fields as an object, for a keyed list item.
    pub(super) fn key_fields(&self) -> Map<String, Value> {
        match self {
            Self::Key(key) => key.iter().map(|(k, v)| (k.clone(), v.0.clone())).collect(),
            _ => Map::new(),
        }
    }

    /// Whether this names an item of a list rather than a field.
    pub fn is_item(&self) -> bool {
        self.name().is_none()
    }
}

/// As the API server prints it in a conflict: `.image`, `[name="web"]`, `[="a"]`, `[0]`.
impl fmt::Display for Element {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(name) => write!(formatter, ".{name}"),
            Self::Key(key) => {
                formatter.write_str("[")?;
                for (place, (name, value)) in key.iter().enumerate() {
                    let comma = if place == 0 { "" } else { "," };
                    write!(formatter, "{comma}{name}={value}")?;
                }
                formatter.write_str("]")
            }
            Self::Value(value) => write!(formatter, "[={value}]"),
            Self::Index(index) => write!(formatter, "[{index}]"),
        }
    }
}

/// A value inside of a path, with the total order that [`Value`] lacks.
#[derive(Debug, Clone)]
pub struct Literal(pub Value);

impl Literal {
    fn rank(&self) -> u8 {
        match self.0 {
            Value::Null => 0,
            Value::Bool(_) => 1,
            Value::Number(_) => 2,
            Value::String(_) => 3,
            Value::Array(_) => 4,
            Value::Object(_) => 5,
        }
    }
}

impl PartialEq for Literal {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Literal {}

impl PartialOrd for Literal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Literal {
    fn cmp(&self, other: &Self) -> Ordering {
        match (&self.0, &other.0) {
            (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
            (Value::String(a), Value::String(b)) => a.cmp(b),
            (Value::Number(a), Value::Number(b)) => match (a.as_i64(), b.as_i64()) {
                (Some(a), Some(b)) => a.cmp(&b),
                // What is no i64 is compared by its text: keys are never fractions in practice.
                _ => a.to_string().cmp(&b.to_string()),
            },
            (a, b) if self.rank() == other.rank() => a.to_string().cmp(&b.to_string()),
            _ => self.rank().cmp(&other.rank()),
        }
    }
}

impl fmt::Display for Literal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Value::String(text) => write_quoted(formatter, text),
            Value::Array(items) => {
                let items: Vec<String> =
                    items.iter().map(|v| Literal(v.clone()).to_string()).collect();
                write!(formatter, "[{}]", items.join(","))
            }
            Value::Object(fields) => {
                let fields = fields.iter().map(|(k, v)| format!("{k}={}", Literal(v.clone())));
                write!(formatter, "{{{}}}", fields.collect::<Vec<_>>().join(";"))
            }
            other => write!(formatter, "{other}"),
        }
    }
}

/// Quotes as Go's `%q` does, since that is what the server prints.
fn write_quoted(formatter: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    formatter.write_str("\"")?;
    for character in text.chars() {
        match character {
            '"' | '\\' => write!(formatter, "\\{character}")?,
            '\n' => formatter.write_str("\\n")?,
            '\r' => formatter.write_str("\\r")?,
            '\t' => formatter.write_str("\\t")?,
            c if c.is_control() => write!(formatter, "\\x{:02x}", u32::from(c))?,
            c => write!(formatter, "{c}")?,
        }
    }
    formatter.write_str("\"")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn literals_of_any_two_types_have_an_order() {
        let values = [json!(null), json!(true), json!(2), json!(10), json!("1"), json!([1])];
        for pair in values.windows(2) {
            assert!(Literal(pair[0].clone()) < Literal(pair[1].clone()), "{pair:?}");
        }
        assert_eq!(Literal(json!(80)), Literal(json!(80)));
    }

    #[test]
    fn an_element_is_printed_as_the_server_prints_it() {
        let key = |fields: Value| {
            let fields = fields.as_object().unwrap().clone();
            Element::Key(fields.into_iter().map(|(k, v)| (k, Literal(v))).collect())
        };
        assert_eq!(Element::field("image").to_string(), ".image");
        assert_eq!(
            key(json!({"protocol": "TCP", "containerPort": 80})).to_string(),
            r#"[containerPort=80,protocol="TCP"]"#
        );
        assert_eq!(Element::Value(Literal(json!("a\"b"))).to_string(), r#"[="a\"b"]"#);
        assert_eq!(Element::Index(2).to_string(), "[2]");
    }
}
