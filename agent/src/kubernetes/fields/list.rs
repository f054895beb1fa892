//! How a list's items are told apart. Nothing of a schema is known here: the paths that managers
//! own tell it.

use serde_json::Value;

use super::{Element, FieldSet, Literal, Path, get};

/// What names one item of the list at `list`, if `shape` tells.
pub fn item_name(item: &Value, list: &Path, shape: &FieldSet) -> Option<Element> {
    let below = list.elements().iter().try_fold(shape, |set, element| set.child(element))?;
    name_items(std::slice::from_ref(item), below)?.pop()
}

/// One element for each item of a list, if `shape` (what is known right below the list) tells how
/// they are named and each item can be named so. `None` means: take the list as one value.
///
/// With two items of one name, which the server allows outside of apply, a list is one value.
pub(super) fn name_items(list: &[Value], shape: &FieldSet) -> Option<Vec<Element>> {
    let (sample, ..) = shape.children().next()?;
    let elements = elements(list, sample)?;
    (!has_twice(&elements)).then_some(elements)
}

/// Whether the list at a path has two items of one name, so that no apply can bring it as a whole.
pub fn has_item_twice(object: &Value, list: &Path, shape: &FieldSet) -> bool {
    let found = get(object, list).and_then(Value::as_array);
    let below = list.elements().iter().try_fold(shape, |set, element| set.child(element));
    let sample = below.and_then(|below| below.children().next());
    let (Some(items), Some((sample, ..))) = (found, sample) else { return false };
    // Sets and what goes by its place have no names.
    matches!(sample, Element::Key(_)) && elements(items, sample).is_some_and(|all| has_twice(&all))
}

fn has_twice(elements: &[Element]) -> bool {
    let mut sorted: Vec<&Element> = elements.iter().collect();
    sorted.sort();
    sorted.windows(2).any(|pair| pair[0] == pair[1])
}

/// The items' names, of the same form as a known one.
fn elements(list: &[Value], sample: &Element) -> Option<Vec<Element>> {
    let mut elements = Vec::with_capacity(list.len());
    for (index, item) in list.iter().enumerate() {
        elements.push(match sample {
            Element::Field(_) => return None,
            Element::Key(key) => {
                let field = |name: &String| Some((name.clone(), Literal(item.get(name)?.clone())));
                Element::Key(key.keys().map(field).collect::<Option<_>>()?)
            }
            Element::Value(_) => Element::Value(Literal(item.clone())),
            Element::Index(_) => Element::Index(index),
        });
    }
    Some(elements)
}
