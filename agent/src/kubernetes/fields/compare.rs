//! Where two states of one object differ.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{Element, FieldSet, Path, list::name_items};

/// Fields of `metadata` that the server keeps for itself.
const SERVERS_METADATA: &[&str] = &[
    "managedFields",
    "resourceVersion",
    "generation",
    "uid",
    "creationTimestamp",
    "selfLink",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
];

/// Annotations that the server itself writes, whatever is applied: how often the template of a
/// DaemonSet was changed.
const SERVERS_ANNOTATIONS: &[&str] = &["deprecated.daemonset.template.generation"];

/// Where two states of one object differ.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Differences {
    /// What only one of them has, or both with another value; as fine as the shape tells.
    pub paths: FieldSet,
    /// Keyed lists and sets whose common items stand in another order.
    pub reordered: FieldSet,
}

impl Differences {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.paths.is_empty() && self.reordered.is_empty()
    }
}

/// Compares two states of one object, as fine as `shape` tells (it knows which lists are keyed).
///
/// Never compared: `status`, `apiVersion`, `kind`, and what the server itself keeps in `metadata`.
/// An explicit null is the same as nothing.
pub fn compare(before: &Value, after: &Value, shape: &FieldSet) -> Differences {
    let mut walk = Walk::default();
    walk.values(Some(&comparable(before)), Some(&comparable(after)), shape, &Path::default());
    walk.0
}

fn comparable(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(fields) = object.as_object_mut() {
        ["status", "apiVersion", "kind"].iter().for_each(|name| drop(fields.remove(*name)));
    }
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        SERVERS_METADATA.iter().for_each(|name| drop(metadata.remove(*name)));
        if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
            SERVERS_ANNOTATIONS.iter().for_each(|name| drop(annotations.remove(*name)));
        }
    }
    drop_nulls(&mut object);
    object
}

fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, value| !value.is_null());
            fields.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

#[derive(Default)]
struct Walk(Differences);

impl Walk {
    /// Notes where the two differ, and says whether they do.
    fn values(
        &mut self,
        before: Option<&Value>,
        after: Option<&Value>,
        shape: &FieldSet,
        at: &Path,
    ) -> bool {
        if before == after {
            return false;
        }
        let noted_inside = match (before, after) {
            _ if shape.is_empty() && !at.is_taken_apart() => false,
            (Some(Value::Object(_)) | None, Some(Value::Object(_)) | None) => {
                self.fields(before, after, shape, at)
            }
            (Some(Value::Array(_)) | None, Some(Value::Array(_)) | None) => {
                self.items(items(before), items(after), shape, at)
            }
            _ => false,
        };
        if !noted_inside {
            self.0.paths.insert(at);
        }
        true
    }

    fn fields(
        &mut self,
        before: Option<&Value>,
        after: Option<&Value>,
        shape: &FieldSet,
        at: &Path,
    ) -> bool {
        let nothing = FieldSet::new();
        let names = |value: Option<&Value>| -> BTreeSet<String> {
            let fields = value.and_then(Value::as_object);
            fields.map(|fields| fields.keys().cloned().collect()).unwrap_or_default()
        };
        let mut noted = false;
        for name in names(before).union(&names(after)) {
            let element = Element::field(name);
            let shape = shape.child(&element).unwrap_or(&nothing);
            let before = before.and_then(|value| value.get(name));
            let after = after.and_then(|value| value.get(name));
            noted |= self.values(before, after, shape, &at.join(element));
        }
        noted
    }

    fn items(&mut self, before: &[Value], after: &[Value], shape: &FieldSet, at: &Path) -> bool {
        let (Some(old), Some(new)) = (named(before, shape), named(after, shape)) else {
            return false;
        };
        let nothing = FieldSet::new();
        let mut noted = false;
        let all: BTreeSet<&Element> = old.keys().chain(new.keys()).collect();
        for element in all {
            let shape = shape.child(element).unwrap_or(&nothing);
            let before = old.get(element).map(|(_, value)| *value);
            let after = new.get(element).map(|(_, value)| *value);
            noted |= self.values(before, after, shape, &at.join(element.clone()));
        }
        if in_order(&old, &new) != in_order(&new, &old) {
            self.0.reordered.insert(at);
            noted = true;
        }
        noted
    }
}

/// A list's items with their places, by what names them.
type Named<'a> = BTreeMap<Element, (usize, &'a Value)>;

fn named<'a>(list: &'a [Value], shape: &FieldSet) -> Option<Named<'a>> {
    let names = name_items(list, shape)?;
    Some(names.into_iter().zip(list.iter().enumerate()).collect())
}

fn items(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// What `list` has in common with `other`, in the order of `list`.
fn in_order<'a>(list: &'a Named<'_>, other: &Named<'_>) -> Vec<&'a Element> {
    let common = list.iter().filter(|(element, _)| other.contains_key(element));
    let mut common: Vec<_> = common.map(|(element, (place, _))| (*place, element)).collect();
    common.sort_unstable();
    common.into_iter().map(|(_, element)| element).collect()
}
