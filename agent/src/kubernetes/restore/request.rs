//! The requests that restore an object: the body of an apply, and patches with tests.

use std::cmp::Reverse;

use serde_json::{Value, json};

use super::{
    super::{
        fields::{Element, FieldSet, Path, exists, get, pointer, project, put},
        object::{resource_version, uid},
    },
    facts::Facts,
};

/// The body of the apply: the pre-image, reduced to what our entry or an adopted one owned before
/// and what we wrote that existed before, without what others have taken since (rule 25), and with
/// the paths `given_back` that nobody owned, such as a nodePort.
///
/// It carries uid and resourceVersion: it changes nothing but the object that was looked at, and
/// creates none.
pub(super) fn apply_body(facts: &Facts<'_>, given_back: &FieldSet) -> Value {
    let mut fields = facts.mine_before.union(&facts.written).difference(&facts.taken());
    fields.extend(given_back);
    let mut source = facts.before.clone();
    for item in facts.held.paths() {
        if let Some(value) = get(facts.live, &item) {
            put(&mut source, &item, value.clone());
            fields.extend(&facts.ours.within(&item));
            fields.insert(&item);
        }
    }
    fields = fields.without(&Path::of_fields(&["status"]));
    let mut body = project(&source, &fields, &facts.shape);
    for name in ["apiVersion", "kind"] {
        body[name] = facts.live[name].clone();
    }
    for name in ["name", "namespace"] {
        if let Some(value) = facts.live["metadata"].get(name) {
            body["metadata"][name] = value.clone();
        }
    }
    body["metadata"]["uid"] = json!(uid(facts.live));
    body["metadata"]["resourceVersion"] = json!(resource_version(facts.live));
    body
}

/// The patch that removes paths which nobody owns, with a test on each value and on the
/// resourceVersion (rule 26). What would be left empty and was not there before goes with them.
pub(super) fn removal(facts: &Facts<'_>, vanishing: &FieldSet) -> Value {
    let whole = |path: &Path| {
        !exists(facts.before, path)
            && !facts.is_held_inside(path)
            && !facts.ours.contains(path)
            && !facts.ours.has_below(path)
    };
    let outermost: FieldSet = vanishing
        .paths()
        .iter()
        .filter_map(|path| path.and_ancestors().find(|ancestor| whole(ancestor)))
        .collect();
    let mut places: Vec<(Vec<Place>, String, &Value)> = outermost
        .paths()
        .iter()
        .filter_map(|path| {
            let pointer = pointer(facts.live, path)?;
            Some((places(path, &pointer), pointer, get(facts.live, path)?))
        })
        .collect();
    // From the end of every list, so that no removal moves what is still to be removed.
    places.sort_by(|a, b| Reverse(&a.0).cmp(&Reverse(&b.0)));
    let tests =
        places.iter().map(|(_, at, value)| json!({"op": "test", "path": at, "value": value}));
    let removals = places.iter().map(|(_, at, _)| json!({"op": "remove", "path": at}));
    let mut patch = vec![test_version(facts.live)];
    patch.extend(tests);
    patch.extend(removals);
    Value::Array(patch)
}

/// One token of a pointer, so that places in a list compare as numbers.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Index(usize),
    Name(String),
}

fn places(path: &Path, pointer: &str) -> Vec<Place> {
    let tokens = pointer.split('/').skip(1).zip(path.elements());
    let place = |(token, element): (&str, &Element)| match (element.is_item(), token.parse()) {
        (true, Ok(index)) => Place::Index(index),
        _ => Place::Name(token.to_owned()),
    };
    tokens.map(place).collect()
}

/// The patch that gives paths their former values, whoever owns them: they are ours then.
pub(super) fn replacement(facts: &Facts<'_>, paths: &FieldSet) -> Value {
    let mut patch = vec![test_version(facts.live)];
    for path in paths.paths() {
        if let (Some(place), Some(value)) = (pointer(facts.live, &path), get(facts.before, &path)) {
            patch.push(json!({"op": "replace", "path": place, "value": value}));
        }
    }
    Value::Array(patch)
}

/// The patch that puts the common items of lists into their former order, leaving each item as it
/// is (rule 26: order counts in `env` and `containers`).
pub(super) fn reordering(facts: &Facts<'_>, lists: &FieldSet) -> Value {
    let mut patch = vec![test_version(facts.live)];
    let mut result = facts.live.clone();
    // Inner lists first: an outer one takes them along when it moves its items.
    let mut paths = lists.paths();
    paths.sort_by_key(|path| Reverse(path.elements().len()));
    for path in paths {
        let list = |object| get(object, &path).and_then(Value::as_array);
        let place = pointer(&result, &path);
        if let (Some(before), Some(now), Some(place)) = (list(facts.before), list(&result), place) {
            let ordered = Value::Array(in_former_order(facts, &path, before, now));
            put(&mut result, &path, ordered.clone());
            patch.push(json!({"op": "replace", "path": place, "value": ordered}));
        }
    }
    Value::Array(patch)
}

/// The patch that brings lists back as they were, with what an apply cannot name (rule 26: by JSON
/// patch, for the version that was looked at).
pub(super) fn whole_lists(facts: &Facts<'_>, lists: &FieldSet) -> Value {
    let mut patch = vec![test_version(facts.live)];
    for path in lists.paths() {
        let parent = path.and_ancestors().rev().nth(1);
        let parent = parent.and_then(|parent| pointer(facts.live, &parent));
        let name = path.elements().last().and_then(Element::name);
        if let (Some(parent), Some(name), Some(list)) = (parent, name, get(facts.before, &path)) {
            // To add a member that is there replaces it.
            patch.push(json!({"op": "add", "path": format!("{parent}/{name}"), "value": list}));
        }
    }
    Value::Array(patch)
}

fn in_former_order(facts: &Facts<'_>, at: &Path, before: &[Value], live: &[Value]) -> Vec<Value> {
    let rank = |item: &Value| {
        let is_same = |former: &&Value| facts.is_same_item(at, former, item);
        before.iter().enumerate().find(|(_, former)| is_same(former)).map(|(place, _)| place)
    };
    let mut common: Vec<&Value> = live.iter().filter(|item| rank(item).is_some()).collect();
    common.sort_by_key(|item| rank(item));
    let mut common = common.into_iter();
    let next = |item| if rank(item).is_some() { common.next() } else { Some(item) };
    live.iter().filter_map(next).cloned().collect()
}

fn test_version(live: &Value) -> Value {
    json!({"op": "test", "path": "/metadata/resourceVersion", "value": resource_version(live)})
}
