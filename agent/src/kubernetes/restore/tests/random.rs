//! Any object, any write of ours, anything that others do since: the way back ends, with the
//! pre-image wherever nobody else has a say.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::model::Server;
use crate::kubernetes::{
    adopt::{Adopt, before_apply},
    fields::{Entry, FieldSet, Path, compare, entries, get, shape},
    object::MANAGER,
    restore::{Residue, Restoration, Step},
};

/// More steps than any way back takes.
const MAX_STEPS: usize = 12;

fn maybe(value: impl Strategy<Value = Value> + 'static) -> BoxedStrategy<Option<Value>> {
    prop::option::of(value).boxed()
}

fn scalar() -> impl Strategy<Value = Value> {
    (0..3i64).prop_map(|n| json!(n))
}

fn object(fields: Vec<(&'static str, BoxedStrategy<Option<Value>>)>) -> BoxedStrategy<Value> {
    let (names, values): (Vec<_>, Vec<_>) = fields.into_iter().unzip();
    let named = move |values: Vec<Option<Value>>| {
        let present = |value: &Value| *value != json!({}) && *value != json!([]);
        let fields = names.iter().zip(values);
        let fields = fields.filter_map(|(n, v)| Some(((*n).to_owned(), v.filter(present)?)));
        Value::Object(fields.collect::<Map<_, _>>())
    };
    values.prop_map(named).boxed()
}

/// A list of items with these names, each at most once, in any order.
fn list(names: &'static [&'static str], item: BoxedStrategy<Value>) -> BoxedStrategy<Value> {
    let names = prop::sample::subsequence(names, 0..=names.len()).prop_shuffle();
    (names, prop::collection::vec(item, 3))
        .prop_map(|(names, items)| {
            let named = names.into_iter().zip(items).map(|(name, mut item)| {
                item["name"] = json!(name);
                item
            });
            named.collect::<Value>()
        })
        .boxed()
}

fn spec() -> BoxedStrategy<Value> {
    let env = list(&["e", "f"], object(vec![("v", maybe(scalar()))]));
    let item = object(vec![
        ("x", scalar().prop_map(Some).boxed()),
        ("y", maybe(scalar())),
        ("env", maybe(env)),
    ]);
    let pair = object(vec![("p", scalar().prop_map(Some).boxed()), ("q", maybe(scalar()))]);
    let set = prop::sample::subsequence(vec!["s", "t", "u"], 1..=2).prop_map(|set| json!(set));
    let spec = object(vec![
        ("a", maybe(scalar())),
        ("b", maybe(scalar())),
        ("deep", maybe(object(vec![("c", maybe(scalar())), ("d", maybe(scalar()))]))),
        ("map", maybe(object(vec![("k", maybe(scalar())), ("l", maybe(scalar()))]))),
        ("list", maybe(list(&["i", "j", "k"], item))),
        ("atomic", maybe(prop::collection::vec(0..2i64, 1..3).prop_map(|list| json!(list)))),
        ("set", maybe(set)),
        ("pairs", maybe(object(vec![("m", maybe(pair.clone())), ("n", maybe(pair))]))),
    ]);
    let not_empty = |spec| if spec == json!({}) { json!({"a": 0}) } else { spec };
    spec.prop_map(move |spec| json!({"spec": not_empty(spec)})).boxed()
}

/// What somebody does to an object.
#[derive(Debug, Clone)]
enum Act {
    /// Applies a manifest, taking what is others'.
    Apply(&'static str, Value),
    /// Writes these fields on top of what is there.
    Overlay(&'static str, Value),
    /// Removes one of the fields or items, by its place among all of them.
    Remove(&'static str, usize),
}

fn act(managers: &'static [&'static str]) -> impl Strategy<Value = Act> {
    let who = prop::sample::select(managers);
    prop_oneof![
        2 => (who.clone(), spec()).prop_map(|(who, spec)| Act::Apply(who, spec)),
        2 => (who.clone(), spec()).prop_map(|(who, spec)| Act::Overlay(who, spec)),
        1 => (who, 0..40usize).prop_map(|(who, place)| Act::Remove(who, place)),
    ]
}

fn acts(managers: &'static [&'static str], most: usize) -> impl Strategy<Value = Vec<Act>> {
    prop::collection::vec(act(managers), 0..=most)
}

fn perform(server: &mut Server, act: &Act) {
    match act {
        Act::Apply(who, body) => server.apply(who, body, true).expect("forced"),
        Act::Overlay(who, body) => {
            let mut other = server.clone();
            other.apply("overlay", body, true).expect("forced");
            server.update(who, other.value);
        }
        Act::Remove(who, place) => {
            let object = server.read();
            let all = super::model::all_fields(&server.value);
            // A list item never loses what makes it valid.
            let all = all.filter(|path| !is_required(path)).paths();
            if let Some(path) = all.get(place % all.len().max(1)) {
                let mut value = json!({"spec": object["spec"]});
                crate::kubernetes::fields::remove(&mut value, path);
                server.update(who, value);
            }
        }
    }
}

fn is_required(path: &Path) -> bool {
    let last = path.elements().last().and_then(|element| element.name());
    matches!(last, Some("name" | "x"))
}

/// Drives the way back to its end.
fn restore(server: &mut Server, before: &Value, planned: Option<&Value>) -> Vec<Residue> {
    let adopt = Adopt::default();
    let mut restoration = Restoration::new(before, planned, &adopt);
    for _ in 0..MAX_STEPS {
        let live = server.read();
        match restoration.next(Some(&live)).expect("readable") {
            Step::Apply(body) => {
                assert_eq!(
                    body["metadata"]["resourceVersion"],
                    live["metadata"]["resourceVersion"]
                );
                server.apply(MANAGER, &body, false).expect("a restoring apply never conflicts");
            }
            Step::Patch(patch) => server.patch(&patch),
            Step::Done(residue) => return residue,
        }
        restoration.carried_out();
    }
    panic!("no end after {MAX_STEPS} steps: {:#}", server.read());
}

/// What a forced dry run shows: the entries of adopted managers are not folded for it.
fn dry_run(server: &Server, manifest: &Value) -> Value {
    let mut server = server.clone();
    server.apply(MANAGER, manifest, true).expect("forced");
    server.read()
}

/// Our write: folds what is adopted, and applies a manifest.
fn write(server: &mut Server, manifest: &Value, force: bool) -> bool {
    let fold = before_apply(&server.read(), &Adopt::default(), &FieldSet::new()).expect("readable");
    if let Some(patch) = fold {
        server.patch(&patch);
    }
    server.apply(MANAGER, manifest, force).is_ok()
}

fn differences(server: &Server, before: &Value) -> Vec<Path> {
    let live = server.read();
    let shape = shape([before, &live]).unwrap();
    let found = compare(before, &live, &shape);
    found.paths.union(&found.reordered).paths()
}

/// Every list item has what makes it valid.
fn is_valid(value: &Value) -> bool {
    let items = value.pointer("/spec/list").and_then(Value::as_array);
    items.into_iter().flatten().all(|item| !item["x"].is_null())
}

const FORMER: &[&str] = &["kubectl", "lockstep", "person", "helm"];
const OTHERS: &[&str] = &["person", "helm", "kubectl"];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn when_nobody_else_writes_all_is_as_before(
        history in acts(FORMER, 3), manifest in spec(), planned in any::<bool>()
    ) {
        let mut server = Server::new();
        history.iter().for_each(|act| perform(&mut server, act));
        let (before, owners) = (server.read(), server.owners.clone());
        let answer = dry_run(&server, &manifest);
        prop_assume!(write(&mut server, &manifest, true));
        let residue = restore(&mut server, &before, planned.then_some(&answer));
        prop_assert_eq!(residue, Vec::new());
        prop_assert_eq!(differences(&server, &before), Vec::new());
        // Who shared a path with us and lost it to our force is known from the dry run alone.
        prop_assert!(!planned || server.owners == owners, "{:?}", server.owners);
    }

    #[test]
    fn what_others_have_written_since_stays_and_the_rest_is_as_before(
        history in acts(FORMER, 3), manifest in spec(), since in acts(OTHERS, 3)
    ) {
        let mut server = Server::new();
        history.iter().for_each(|act| perform(&mut server, act));
        let before = server.read();
        let planned = dry_run(&server, &manifest);
        prop_assume!(write(&mut server, &manifest, true));
        since.iter().for_each(|act| perform(&mut server, act));
        let met = server.clone();
        let residue = restore(&mut server, &before, Some(&planned));
        let end = server.read();

        for (writer, fields) in met.owners.iter().filter(|((who, _), _)| who != MANAGER) {
            let now = server.owners.get(writer).cloned().unwrap_or_default();
            prop_assert!(fields.difference(&now).is_empty(), "{writer:?} lost {:?}",
                fields.difference(&now).paths().iter().map(Path::to_string).collect::<Vec<_>>());
            let all = super::model::all_fields(&met.value);
            let is_presence = |path: &&Path| {
                all.has_below(path) || get(&met.value, path).is_none_or(Value::is_object)
            };
            for path in fields.paths().iter().filter(|path| !is_presence(path)) {
                prop_assert_eq!(get(&end, path), get(&met.value, path), "{} of {:?}", path, writer);
            }
        }
        let theirs = entries(&end).unwrap();
        let shape = shape([&before, &end]).unwrap();
        for path in differences(&server, &before) {
            let is_told = residue.iter().any(|r| match r {
                Residue::Taken { path: told, .. }
                | Residue::Removed { path: told }
                | Residue::Held { path: told, .. } => path.starts_with(told),
                _ => false,
            });
            let is_theirs = theirs.iter().any(|e| !e.is_ours() && e.fields.touches(&path, &shape));
            let touches = |entry: &Entry| entry.fields.touches(&path, &shape);
            let was_theirs = entries(&before).unwrap().iter().any(touches);
            prop_assert!(is_told || is_theirs || was_theirs, "{path} differs: {residue:?}");
        }
        let was_valid = is_valid(&before) && is_valid(&met.value);
        prop_assert!(!was_valid || is_valid(&end), "{end}");

        let again = restore(&mut server, &before, Some(&planned));
        prop_assert_eq!(&again, &residue);
        let owners = |object: &Value| object["metadata"]["managedFields"].clone();
        prop_assert_eq!(owners(&server.read()), owners(&end));
        prop_assert_eq!(&server.value["spec"], &end["spec"]);
    }

    #[test]
    fn a_crash_between_any_two_steps_changes_nothing(
        history in acts(FORMER, 2), manifest in spec(), crash_after in 0..4usize
    ) {
        let mut server = Server::new();
        history.iter().for_each(|act| perform(&mut server, act));
        let (before, owners) = (server.read(), server.owners.clone());
        let (planned, adopt) = (dry_run(&server, &manifest), Adopt::default());
        prop_assume!(write(&mut server, &manifest, true));
        let mut first = Restoration::new(&before, Some(&planned), &adopt);
        for _ in 0..crash_after {
            match first.next(Some(&server.read())).unwrap() {
                Step::Apply(body) => server.apply(MANAGER, &body, false).unwrap(),
                Step::Patch(patch) => server.patch(&patch),
                Step::Done(_) => break,
            }
            first.carried_out();
        }
        prop_assert_eq!(restore(&mut server, &before, Some(&planned)), Vec::new());
        prop_assert_eq!(differences(&server, &before), Vec::new());
        prop_assert_eq!(&server.owners, &owners);
    }
}
