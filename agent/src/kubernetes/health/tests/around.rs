//! What is fetched for a look, what is refused beforehand, which images run, which rules are CEL.

use std::collections::BTreeMap;

use lockstep_shared::plan::HealthRule;
use serde_json::{Value, json};

use super::fixtures::{APPLIED, but, deployment, meta, pod, related, replica_set};
use crate::kubernetes::health::{Pin, Rules, Sight, images, judge, lookups, refusal};

fn told(object: &Value) -> Vec<String> {
    lookups(object).iter().map(ToString::to_string).collect()
}

#[test]
fn a_deployment_is_judged_by_its_replica_sets_and_pods() {
    let found = told(&deployment());
    assert_eq!(found, ["replicasets of shop with app=web", "pods of shop with app=web"]);
}

#[test]
fn a_selector_is_asked_for_as_the_api_takes_it() {
    let selector = json!({"matchLabels": {"app": "web", "tier": "front"}, "matchExpressions": [
        {"key": "zone", "operator": "In", "values": ["a", "b"]},
        {"key": "zone", "operator": "NotIn", "values": ["c"]},
        {"key": "live", "operator": "Exists"},
        {"key": "test", "operator": "DoesNotExist"}]});
    let set = json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": meta("db"),
        "spec": {"selector": selector}});
    let query = "pods of shop with app=web,tier=front,zone in (a,b),zone notin (c),live,!test";
    assert_eq!(told(&set), [query]);
}

#[test]
fn nothing_is_listed_for_kinds_that_stand_alone_or_have_no_selector() {
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta("settings")});
    assert_eq!(told(&map), Vec::<String>::new());
    let job = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": meta("migrate"),
        "spec": {"template": {}}});
    assert_eq!(told(&job), Vec::<String>::new());
}

#[test]
fn what_could_never_be_waited_for_is_refused_with_what_to_do() {
    assert_eq!(refusal(&deployment(), true), None);
    let paused = but(deployment(), json!({"spec": {"paused": true}}));
    let told = refusal(&paused, false).unwrap().to_string();
    assert!(told.contains("kubectl rollout resume deployment web"), "{told}");
    for kind in ["StatefulSet", "DaemonSet"] {
        let by_hand = json!({"apiVersion": "apps/v1", "kind": kind, "metadata": meta("db"),
            "spec": {"updateStrategy": {"type": "OnDelete"}}});
        assert_eq!(refusal(&by_hand, false), None);
        let told = refusal(&by_hand, true).unwrap().to_string();
        assert!(told.starts_with(&format!("{kind} db has updateStrategy OnDelete")), "{told}");
    }
}

#[test]
fn the_images_of_the_new_revision_are_told_by_digest() {
    let moved = but(
        pod("w2", "rs-7"),
        json!({"status": {"containerStatuses": [
        {"name": "app", "image": "x", "ready": true, "restartCount": 0,
            "imageID": "docker-pullable://shop/web@sha256:bbbb"},
        {"name": "side", "image": "side:v1", "ready": true, "restartCount": 0, "imageID": "sha256:cccc"},
        {"name": "late", "image": "late:v1", "ready": false, "restartCount": 0, "imageID": ""}]}}),
    );
    let old =
        but(pod("w0", "rs-6"), json!({"spec": {"containers": [{"name": "app", "image": "old"}]}}));
    let all = vec![replica_set("6"), replica_set("7"), pod("w1", "rs-7"), moved, old];
    let object = deployment();
    let found = images(Sight { object: Some(&object), related: &related(all) });
    let want =
        [("shop/web:v2", vec!["sha256:aaaa", "sha256:bbbb"]), ("side:v1", vec!["sha256:cccc"])];
    let want = want.map(|(image, digests)| {
        (image.to_owned(), digests.into_iter().map(str::to_owned).collect())
    });
    assert_eq!(found, BTreeMap::from(want));
}

fn rule(current: &str) -> BTreeMap<String, HealthRule> {
    let rule = HealthRule { current: current.to_owned(), failed: None };
    BTreeMap::from([("Thing".to_owned(), rule)])
}

#[test]
fn a_rule_that_is_not_cel_is_refused_by_name() {
    let error = Rules::compile(&rule("status.phase = 'Up'")).unwrap_err().to_string();
    assert!(error.starts_with("`healthy.Thing.current` is not a CEL expression"), "{error}");
    let long = Rules::compile(&rule(&"a || ".repeat(1000))).unwrap_err().to_string();
    assert!(long.contains("has 5000 bytes"), "{long}");
}

#[test]
fn no_rule_is_too_deep_for_the_stack() {
    let around = |open: &str, close: &str, times| open.repeat(times) + "0" + &close.repeat(times);
    for (text, times) in [("(", 511), ("f(", 341), ("[", 511)] {
        let close = if text == "[" { "]" } else { ")" };
        assert!(Rules::compile(&rule(&around(text, close, times))).is_err(), "{text}");
    }
    let thing = json!({"apiVersion": "shop.dev/v1", "kind": "Thing", "metadata": meta("one")});
    let pin = Pin::of(&thing, APPLIED).unwrap();
    let none = related(Vec::new());
    let text = |text: &str| {
        let rules = Rules::compile(&rule(text)).unwrap();
        judge(Sight { object: Some(&thing), related: &none }, &pin, &rules).text
    };
    assert_eq!(text(&(around("(", ")", 90) + " == 0")), "healthy");
    assert_eq!(text(&format!("{} == 0", around("", "+0", 500))), "healthy");
    assert_eq!(text(&vec!["has(metadata.uid)"; 48].join(" && ")), "healthy");
}

#[test]
fn an_answer_that_was_never_stored_pins_nothing() {
    let mut dry = deployment();
    dry["metadata"]["uid"] = Value::Null;
    let error = Pin::of(&dry, APPLIED).unwrap_err();
    assert!(error.to_string().contains("dry run"), "{error}");
}
