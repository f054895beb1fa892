//! An object reduced to the paths of a set: the body of an apply.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{Element, FieldSet, Path, list::name_items};

/// What of an object is at the paths of `set`, list items with their key fields and in the object's
/// order. Paths that name nothing (or a null) are left out, and so is what would be empty without
/// them.
///
/// A path with nothing of the set below it brings its whole value, unless `shape` has paths below
/// it: then its owner owned it as empty, and it stays a shell.
pub fn project(object: &Value, set: &FieldSet, shape: &FieldSet) -> Value {
    part(object, false, set, shape).unwrap_or_else(|| Value::Object(Map::new()))
}

fn part(value: &Value, owned: bool, set: &FieldSet, shape: &FieldSet) -> Option<Value> {
    match value {
        Value::Null => None,
        value if set.is_empty() && shape.is_empty() => owned.then(|| value.clone()),
        Value::Object(fields) => {
            let fields = object_part(fields, set, shape);
            (owned || !fields.is_empty()).then_some(Value::Object(fields))
        }
        Value::Array(items) => {
            let items = list_part(items, set, shape);
            (owned || !items.is_empty()).then_some(Value::Array(items))
        }
        // A scalar where paths lie below: they are of another version of the kind.
        value => owned.then(|| value.clone()),
    }
}

fn object_part(
    fields: &Map<String, Value>,
    set: &FieldSet,
    shape: &FieldSet,
) -> Map<String, Value> {
    let mut kept = Map::new();
    for (element, owned, below) in set.children() {
        let Element::Field(name) = element else { continue };
        let value =
            fields.get(name).and_then(|value| part_below(value, element, owned, below, shape));
        if let Some(value) = value {
            kept.insert(name.clone(), value);
        }
    }
    kept
}

fn list_part(items: &[Value], set: &FieldSet, shape: &FieldSet) -> Vec<Value> {
    let mut kept = BTreeMap::new();
    for (element, owned, below) in set.children() {
        // An apply may not name one item twice: of several, the last counts.
        let last = items.iter().enumerate().rfind(|(index, item)| element.names(item, *index));
        let Some((index, item)) = last else { continue };
        let Some(mut value) = part_below(item, element, owned, below, shape) else { continue };
        if let Value::Object(fields) = &mut value {
            fields.extend(element.key_fields());
        }
        kept.insert(index, value);
    }
    kept.into_values().collect()
}

fn part_below(
    value: &Value,
    element: &Element,
    owned: bool,
    below: &FieldSet,
    shape: &FieldSet,
) -> Option<Value> {
    let nothing = FieldSet::new();
    part(value, owned, below, shape.child(element).unwrap_or(&nothing))
}

/// The set of all that an object has, as fine as `shape` tells: its leaves, the items of its lists,
/// and what is empty.
pub fn leaves(object: &Value, shape: &FieldSet) -> FieldSet {
    let mut found = FieldSet::new();
    collect(object, shape, &Path::default(), &mut found);
    found
}

fn collect(value: &Value, shape: &FieldSet, at: &Path, found: &mut FieldSet) {
    let nothing = FieldSet::new();
    let below = |element: &Element| shape.child(element).unwrap_or(&nothing);
    match value {
        Value::Object(fields)
            if !fields.is_empty() && (at.is_taken_apart() || !shape.is_empty()) =>
        {
            for (name, value) in fields {
                let element = Element::field(name);
                collect(value, below(&element), &at.join(element), found);
            }
        }
        Value::Array(items) if !items.is_empty() => match name_items(items, shape) {
            Some(elements) => {
                for (element, item) in elements.into_iter().zip(items) {
                    found.insert(&at.join(element.clone()));
                    collect(item, below(&element), &at.join(element), found);
                }
            }
            None => found.insert(at),
        },
        Value::Null => {}
        _ => found.insert(at),
    }
}
