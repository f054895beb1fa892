//! A small model of server-side apply: who owns what after an apply, an update and a patch, with
//! the server's way of removing items. One fixed kind, with every form of field.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::kubernetes::fields::{Element, FieldSet, Literal, Path, get};

/// What a field of the modelled kind is made of.
pub(super) enum Schema {
    /// A scalar, or a list or map that is one value.
    Atomic,
    /// A list of scalars without order.
    Set,
    /// Named fields.
    Struct(&'static [(&'static str, Schema)]),
    /// Any names.
    Map(&'static Schema),
    /// A list of structs with this key field.
    List(&'static str, &'static Schema),
}

use Schema::{Atomic, List, Set, Struct};

const ENV: Schema = Struct(&[("name", Atomic), ("v", Atomic)]);
const ITEM: Schema =
    Struct(&[("name", Atomic), ("x", Atomic), ("y", Atomic), ("env", List("name", &ENV))]);
const PAIR: Schema = Struct(&[("p", Atomic), ("q", Atomic)]);
const SPEC: Schema = Struct(&[
    ("a", Atomic),
    ("b", Atomic),
    ("deep", Struct(&[("c", Atomic), ("d", Atomic)])),
    ("map", Schema::Map(&Atomic)),
    ("list", List("name", &ITEM)),
    ("atomic", Atomic),
    ("set", Set),
    ("pairs", Schema::Map(&PAIR)),
]);
const ROOT: Schema = Struct(&[("spec", SPEC)]);

/// A manager and how it wrote.
pub(super) type Writer = (String, String);

/// An object on the modelled server.
#[derive(Debug, Clone)]
pub(super) struct Server {
    /// Its fields, without metadata.
    pub(super) value: Value,
    /// Who owns what.
    pub(super) owners: BTreeMap<Writer, FieldSet>,
    version: u64,
}

/// What an apply without force meets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Conflict(pub(super) String);

fn writer(manager: &str, operation: &str) -> Writer {
    (manager.to_owned(), operation.to_owned())
}

impl Server {
    pub(super) fn new() -> Self {
        Self { value: json!({}), owners: BTreeMap::new(), version: 1 }
    }

    /// The object as a client reads it.
    pub(super) fn read(&self) -> Value {
        let entry = |((manager, operation), fields): (&Writer, &FieldSet)| {
            json!({"manager": manager, "operation": operation, "apiVersion": "model/v1",
                "fieldsType": "FieldsV1", "fieldsV1": fields.to_v1()})
        };
        let entries: Vec<Value> = self.owners.iter().map(entry).collect();
        let mut object = self.value.clone();
        object["apiVersion"] = json!("model/v1");
        object["kind"] = json!("Thing");
        object["metadata"] = json!({"name": "thing", "uid": "u",
            "resourceVersion": self.version.to_string(), "managedFields": entries});
        object
    }

    pub(super) fn apply(
        &mut self,
        manager: &str,
        body: &Value,
        force: bool,
    ) -> Result<(), Conflict> {
        let body = json!({"spec": body.get("spec").cloned().unwrap_or(json!({}))});
        let own = writer(manager, "Apply");
        let wanted = fields_of(&body, &ROOT);
        let merged = merge(Some(&self.value), Some(&body), &ROOT).expect("a body");
        let changed = changed(&self.value, &merged);
        for (other, fields) in self.owners.iter_mut().filter(|(other, _)| **other != own) {
            let conflicting = fields.intersection(&changed).intersection(&wanted);
            if !conflicting.is_empty() && !force {
                let texts: Vec<String> = conflicting.paths().iter().map(Path::to_string).collect();
                return Err(Conflict(format!("{other:?}: {}", texts.join(", "))));
            }
            *fields = fields.difference(&conflicting);
        }
        let last = self.owners.insert(own, wanted).unwrap_or_default();
        self.store(self.pruned(merged, &last));
        Ok(())
    }

    /// What is left when what the applier owned last goes, and what anybody owns now comes back.
    fn pruned(&self, merged: Value, last: &FieldSet) -> Value {
        let last = with_named(last, &ROOT);
        let pruned = without(&merged, &last, &ROOT).unwrap_or_else(|| json!({}));
        let mut kept = with_named(&fields_of(&pruned, &ROOT), &ROOT);
        for fields in self.owners.values() {
            kept.extend(&with_named(fields, &ROOT));
        }
        let all = with_named(&fields_of(&merged, &ROOT), &ROOT);
        let gone = all.difference(&kept).intersection(&last);
        without(&merged, &gone, &ROOT).unwrap_or_else(|| json!({}))
    }

    /// A write that is no apply: who changes a value owns it.
    pub(super) fn update(&mut self, manager: &str, value: Value) {
        let value = stored(&value, &ROOT);
        let changed = changed(&self.value, &value);
        for fields in self.owners.values_mut() {
            *fields = fields.difference(&changed);
        }
        let own = self.owners.entry(writer(manager, "Update")).or_default();
        own.extend(&changed);
        self.store(value);
    }

    /// A JSON patch, with its tests.
    pub(super) fn patch(&mut self, patch: &Value) {
        let mut object = self.read();
        for operation in patch.as_array().expect("a patch") {
            let (path, value) = (operation["path"].as_str().unwrap(), &operation["value"]);
            match operation["op"].as_str().unwrap() {
                "test" => assert_eq!(object.pointer(path), Some(value), "a test of {patch}"),
                "add" | "replace" => *pointed(&mut object, path) = value.clone(),
                "remove" => remove(&mut object, path),
                other => panic!("{other} is not used"),
            }
        }
        let entries = object["metadata"]["managedFields"].as_array().unwrap();
        self.owners = entries.iter().filter_map(owner).collect();
        self.update("lockstep", json!({"spec": object["spec"]}));
    }

    fn store(&mut self, value: Value) {
        self.value = stored(&value, &ROOT);
        let there = fields_of(&self.value, &ROOT);
        for fields in self.owners.values_mut() {
            *fields = fields.intersection(&there.union(&with_named(&there, &ROOT)));
        }
        self.owners.retain(|_, fields| !fields.is_empty());
        self.version += 1;
    }
}

fn owner(entry: &Value) -> Option<(Writer, FieldSet)> {
    let own = writer(entry["manager"].as_str()?, entry["operation"].as_str()?);
    Some((own, FieldSet::from_v1(&entry["fieldsV1"]).unwrap()))
}

fn pointed<'a>(object: &'a mut Value, pointer: &str) -> &'a mut Value {
    object.pointer_mut(pointer).unwrap_or_else(|| panic!("nothing at {pointer}"))
}

fn remove(object: &mut Value, pointer: &str) {
    let (parent, last) = pointer.rsplit_once('/').unwrap();
    match pointed(object, parent) {
        Value::Array(items) => drop(items.remove(last.parse().unwrap())),
        Value::Object(fields) => assert!(fields.remove(last).is_some(), "nothing at {pointer}"),
        _ => panic!("nothing at {pointer}"),
    }
}

/// As the server stores it: a named field that is empty is not there, an entry of a map is.
fn stored(value: &Value, schema: &'static Schema) -> Value {
    let parts = parts(value, schema).into_iter();
    let parts = parts
        .filter(|(_, value, ..)| !value.is_null())
        .map(|(element, value, schema, named)| (element, stored(value, schema), named));
    let is_empty = |value: &Value| *value == json!({}) || *value == json!([]);
    match schema {
        Struct(_) | Schema::Map(_) => Value::Object(
            parts
                .filter(|(_, value, is_named)| !(*is_named && is_empty(value)))
                .map(|(element, value, _)| (element.name().unwrap().to_owned(), value))
                .collect(),
        ),
        List(..) | Set => parts.map(|(_, value, _)| value).collect(),
        Atomic => value.clone(),
    }
}

/// The parts of a value with the schema of each, and whether a part is a named field.
fn parts<'a>(
    value: &'a Value,
    schema: &'static Schema,
) -> Vec<(Element, &'a Value, &'static Schema, bool)> {
    match (schema, value) {
        (Struct(fields), Value::Object(object)) => {
            let field = |(name, schema): &'static (&'static str, Schema)| {
                Some((Element::field(name), object.get(*name)?, schema, true))
            };
            fields.iter().filter_map(field).collect()
        }
        (Schema::Map(inner), Value::Object(object)) => object
            .iter()
            .map(|(name, value)| (Element::field(name), value, *inner, false))
            .collect(),
        (List(key, inner), Value::Array(items)) => {
            let name = |item: &Value| [((*key).to_owned(), Literal(item[*key].clone()))].into();
            items.iter().map(|item| (Element::Key(name(item)), item, *inner, false)).collect()
        }
        (Set, Value::Array(items)) => items
            .iter()
            .map(|item| (Element::Value(Literal(item.clone())), item, &Atomic, false))
            .collect(),
        _ => Vec::new(),
    }
}

/// What an applier of this value owns.
pub(super) fn fields_of(value: &Value, schema: &'static Schema) -> FieldSet {
    let mut found = FieldSet::new();
    collect(value, schema, &Path::default(), &mut found);
    found
}

fn collect(value: &Value, schema: &'static Schema, at: &Path, found: &mut FieldSet) {
    let parts = parts(value, schema);
    if parts.is_empty() {
        found.insert(at);
    }
    for (element, value, schema, is_named) in parts {
        let path = at.join(element);
        if !is_named {
            found.insert(&path);
        }
        collect(value, schema, &path, found);
    }
}

/// The set with every named field that has something below.
fn with_named(set: &FieldSet, schema: &'static Schema) -> FieldSet {
    let mut all = set.clone();
    for path in set.paths() {
        let mut schema = schema;
        for ancestor in path.and_ancestors() {
            let element = ancestor.elements().last().unwrap();
            let (is_named, inner) = match schema {
                Struct(fields) => {
                    let known = fields.iter().find(|(name, _)| Some(*name) == element.name());
                    (known.is_some(), known.map_or(&Atomic, |(_, schema)| schema))
                }
                Schema::Map(inner) | List(_, inner) => (false, *inner),
                Atomic | Set => (false, &Atomic),
            };
            if is_named {
                all.insert(&ancestor);
            }
            schema = inner;
        }
    }
    all
}

fn merge(live: Option<&Value>, body: Option<&Value>, schema: &'static Schema) -> Option<Value> {
    let (Some(live), Some(body)) = (live, body) else { return body.or(live).cloned() };
    let (old, new) = (parts(live, schema), parts(body, schema));
    if matches!(schema, Atomic) || body.is_null() {
        return Some(body.clone());
    }
    let find = |parts: &[(Element, &Value, &'static Schema, bool)], element: &Element| {
        parts.iter().find(|(other, ..)| other == element).map(|(_, value, ..)| (*value).clone())
    };
    // The body's order, and what only the live list has behind what it followed there.
    let mut order: Vec<(Element, &'static Schema)> = Vec::new();
    new.iter().for_each(|(element, _, schema, _)| order.push((element.clone(), schema)));
    let mut behind = 0;
    for (element, _, schema, _) in &old {
        match order.iter().position(|(other, _)| other == element) {
            Some(place) => behind = behind.max(place + 1),
            None => {
                order.insert(behind, (element.clone(), schema));
                behind += 1;
            }
        }
    }
    let merged = order.into_iter().map(|(element, schema)| {
        let value = merge(find(&old, &element).as_ref(), find(&new, &element).as_ref(), schema);
        (element, value.expect("one of them has it"))
    });
    Some(match schema {
        Struct(_) | Schema::Map(_) => Value::Object(
            merged.map(|(element, value)| (element.name().unwrap().to_owned(), value)).collect(),
        ),
        _ => merged.map(|(_, value)| value).collect(),
    })
}

/// The value without the parts in a set, each with all that is inside; nothing if nothing is left.
fn without(value: &Value, gone: &FieldSet, schema: &'static Schema) -> Option<Value> {
    remaining(value, gone, schema, &Path::default())
}

fn remaining(value: &Value, gone: &FieldSet, schema: &'static Schema, at: &Path) -> Option<Value> {
    let parts = parts(value, schema);
    if parts.is_empty() {
        return Some(value.clone());
    }
    let left = parts.into_iter().filter_map(|(element, value, schema, is_named)| {
        let path = at.join(element.clone());
        if gone.contains(&path) {
            return None;
        }
        // An entry of a map stays, even with nothing inside.
        let emptied = (!is_named).then(|| json!({}));
        Some((element, remaining(value, gone, schema, &path).or(emptied)?))
    });
    let left: Vec<(Element, Value)> = left.collect();
    if left.is_empty() {
        return None;
    }
    Some(match value {
        Value::Object(_) => {
            let named =
                |(element, value): (Element, Value)| (element.name().unwrap().to_owned(), value);
            Value::Object(left.into_iter().map(named).collect::<Map<_, _>>())
        }
        _ => left.into_iter().map(|(_, value)| value).collect(),
    })
}

/// What a writer of `after` owns by having changed it.
fn changed(before: &Value, after: &Value) -> FieldSet {
    let (old, new) = (fields_of(before, &ROOT), fields_of(after, &ROOT));
    let is_leaf = |path: &Path| !new.has_below(path);
    new.filter(|path| {
        !old.contains(path) || (is_leaf(path) && get(before, path) != get(after, path))
    })
}

/// Every field and item of an object of the modelled kind.
pub(super) fn all_fields(value: &Value) -> FieldSet {
    with_named(&fields_of(value, &ROOT), &ROOT)
}
