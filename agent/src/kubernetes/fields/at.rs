//! The part of an object that a path names.

use serde_json::{Map, Value};

use super::{Element, Path};

/// The value at a path. Of several list items with one key it is the last, which is the one that
/// counts for the kubelet.
pub fn get<'a>(object: &'a Value, path: &Path) -> Option<&'a Value> {
    path.elements().iter().try_fold(object, |value, element| Some(step(value, element)?.1))
}

/// Whether there is something at a path. An explicit null is nothing, as it is for the server.
pub fn exists(object: &Value, path: &Path) -> bool {
    get(object, path).is_some_and(|value| !value.is_null())
}

/// The path as a JSON pointer (RFC 6901) into this very object: list items by their place in it.
/// Valid for as long as its resourceVersion is; `None` if there is nothing at the path.
pub fn pointer(object: &Value, path: &Path) -> Option<String> {
    let mut pointer = String::new();
    let mut value = object;
    for element in path.elements() {
        let (token, inner) = step(value, element)?;
        pointer.push('/');
        pointer.push_str(&token.replace('~', "~0").replace('/', "~1"));
        value = inner;
    }
    Some(pointer)
}

fn step<'a>(value: &'a Value, element: &Element) -> Option<(String, &'a Value)> {
    if let Element::Field(name) = element {
        return Some((name.clone(), value.get(name)?));
    }
    let items = value.as_array()?.iter().enumerate();
    let mut named = items.filter(|(index, item)| element.names(item, *index));
    let (index, item) = named.next_back()?;
    Some((index.to_string(), item))
}

/// Takes the value at a path out of an object, and says whether there was one.
pub fn remove(object: &mut Value, path: &Path) -> bool {
    let Some((last, way)) = path.elements().split_last() else { return false };
    let mut parent = object;
    for element in way {
        let Some((token, _)) = step(parent, element) else { return false };
        parent = match parent {
            Value::Array(items) => &mut items[token.parse::<usize>().expect("a place in a list")],
            other => &mut other[token],
        };
    }
    let Some((token, _)) = step(parent, last) else { return false };
    match parent {
        Value::Object(fields) => fields.remove(&token).is_some(),
        Value::Array(items) => {
            items.remove(token.parse().expect("a place in a list"));
            true
        }
        _ => false,
    }
}

/// Puts a value at a path, making what it lies in where that is missing: a keyed list item with its
/// key fields, at the end of its list. Where something of another type is in the way, that stays.
pub fn put(object: &mut Value, path: &Path, value: Value) {
    let mut place = object;
    for element in path.elements() {
        let known = step(place, element).map(|(token, _)| token);
        let is_list = element.is_item();
        if place.is_null() {
            *place = if is_list { Value::Array(Vec::new()) } else { Value::Object(Map::new()) };
        }
        place = match (place, element) {
            (Value::Object(fields), Element::Field(name)) => {
                fields.entry(name.clone()).or_insert(Value::Null)
            }
            (Value::Array(items), element) => {
                let index = known.and_then(|token| token.parse().ok()).unwrap_or_else(|| {
                    items.push(new_item(element));
                    items.len() - 1
                });
                &mut items[index]
            }
            _ => return,
        };
    }
    *place = value;
}

fn new_item(element: &Element) -> Value {
    match element {
        Element::Value(value) => value.0.clone(),
        element => Value::Object(element.key_fields()),
    }
}
