//! How a list's items are told apart. Nothing of a schema is known here: the paths that managers
//! own tell it.

use serde_json::Value;

use super::{Element, FieldSet, Literal, Path};

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
    let mut sorted: Vec<&Element> = elements.iter().collect();
    sorted.sort();
    match sorted.windows(2).any(|pair| pair[0] == pair[1]) {
        true => None,
        false => Some(elements),
    }
}
