//! How the streams have to be configured, and what differs from it.

use lockstep_shared::{
    subject::{BUNDLE_STREAM, Subjects},
    time::Span,
};
use serde_json::{Value, json};

use super::StreamOptions;

/// The shortest `max_age` that is accepted: a run and its rollback take under a third of it.
const SHORTEST_AGE: Span = Span::minutes(3 * 24 * 60);

const LOG_AGE: Span = Span::minutes(30 * 24 * 60);
const BUNDLE_AGE: Span = Span::minutes(70 * 24 * 60);

/// One field of a stream's configuration that is not as it has to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The field, as the server spells it.
    pub field: String,
    /// What it has to be.
    pub expected: String,
    /// What it is.
    pub found: String,
}

/// The fields that the protocol fixes; those that are null have to be absent, false or zero.
fn fixed(subjects: &Subjects, stream: &str) -> Vec<(&'static str, Value)> {
    let is_log = stream != BUNDLE_STREAM;
    let captured = if is_log { subjects.all_runs() } else { subjects.all_bundles() };
    let republish = json!({ "src": subjects.all_runs(), "dest": subjects.all_live() });
    vec![
        ("subjects", json!([captured])),
        ("storage", json!("file")),
        ("max_msgs_per_subject", json!(1)),
        ("discard", json!("new")),
        ("discard_new_per_subject", json!(true)),
        ("max_msg_size", json!(1024 * 1024)),
        ("duplicate_window", json!(10 * 60 * 1_000_000_000_u64)),
        ("allow_direct", json!(true)),
        ("deny_delete", json!(true)),
        ("deny_purge", json!(true)),
        ("allow_rollup_hdrs", Value::Null),
        ("allow_msg_ttl", Value::Null),
        ("allow_msg_schedules", Value::Null),
        ("allow_msg_counter", Value::Null),
        ("max_consumers", json!(10_000)),
        ("republish", if is_log { republish } else { Value::Null }),
    ]
}

pub(super) fn max_bytes(stream: &str, options: &StreamOptions) -> u64 {
    if stream == BUNDLE_STREAM { options.bundle_max_bytes } else { options.log_max_bytes }
}

/// The configuration that a new stream is given.
pub(super) fn wanted(subjects: &Subjects, stream: &str, options: &StreamOptions) -> Value {
    let age = if stream == BUNDLE_STREAM { BUNDLE_AGE } else { LOG_AGE };
    let mut config = json!({
        "name": stream,
        "retention": "limits",
        "num_replicas": options.replicas,
        "max_msgs": -1,
        "max_bytes": max_bytes(stream, options),
        "max_age": age.0 * 1_000_000,
    });
    for (field, value) in fixed(subjects, stream) {
        if !value.is_null() {
            config[field] = value;
        }
    }
    config
}

/// Everything about a found configuration that is not as it has to be.
pub(super) fn compare(subjects: &Subjects, stream: &str, found: &Value) -> Vec<Difference> {
    let mut differences = Vec::new();
    let mut differs = |field: &str, expected: String, found: String| {
        differences.push(Difference { field: field.to_owned(), expected, found });
    };
    for (field, expected) in fixed(subjects, stream) {
        let is = without_defaults(found.get(field).unwrap_or(&Value::Null));
        if is != expected {
            differs(field, shown(&expected), shown(&is));
        }
    }
    let number = |field: &str| found.get(field).and_then(Value::as_i64).unwrap_or(0);
    if number("max_bytes") <= 0 {
        differs("max_bytes", "a limit".to_owned(), "none".to_owned());
    }
    let age = number("max_age");
    let shortest = i64::try_from(SHORTEST_AGE.0 * 1_000_000).unwrap_or(i64::MAX);
    if age > 0 && age < shortest {
        let found = Span(u64::try_from(age / 1_000_000).unwrap_or(0));
        differs("max_age", format!("at least {SHORTEST_AGE}"), found.to_string());
    }
    differences
}

/// How long a stream keeps a message; a server writes "without limit" as zero.
pub(super) fn max_age(config: &Value) -> Span {
    match config.get("max_age").and_then(Value::as_u64).unwrap_or(0) {
        0 => Span(u64::MAX),
        nanos => Span(nanos / 1_000_000),
    }
}

/// What a server may leave out counts as left out, at every depth.
fn without_defaults(value: &Value) -> Value {
    let is_default =
        |value: &Value| matches!(value, Value::Null | Value::Bool(false)) || *value == json!(0);
    match value {
        value if is_default(value) => Value::Null,
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| (name.clone(), without_defaults(value)))
            .filter(|(_, value)| !value.is_null())
            .collect(),
        value => value.clone(),
    }
}

fn shown(value: &Value) -> String {
    if value.is_null() { "nothing".to_owned() } else { value.to_string() }
}

/// What the operator chose, or the server cannot promise, that weakens the guarantees.
pub(super) fn warnings(stream: &str, config: &Value) -> Vec<String> {
    let mut warnings = Vec::new();
    if config.get("num_replicas").and_then(Value::as_u64).unwrap_or(1) < 3 {
        warnings.push(format!(
            "{stream} has fewer than 3 replicas: if its server's disk is lost, open runs are lost with it"
        ));
    }
    if config.get("persist_mode").and_then(Value::as_str) == Some("async") {
        warnings.push(format!(
            "{stream} acknowledges before it stores (persist_mode async): a crash can take acknowledged records back"
        ));
    }
    for (field, expected) in [("retention", json!("limits")), ("no_ack", Value::Null)] {
        let found = without_defaults(config.get(field).unwrap_or(&Value::Null));
        if found != expected {
            warnings.push(format!(
                "{stream} has {field} {}: records can vanish or go unacknowledged",
                shown(&found)
            ));
        }
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockstep_shared::subject::STREAM;

    fn config(stream: &str) -> Value {
        wanted(&Subjects::default(), stream, &StreamOptions::default())
    }

    fn fields(stream: &str, found: &Value) -> Vec<String> {
        let differences = compare(&Subjects::default(), stream, found);
        differences.into_iter().map(|difference| difference.field).collect()
    }

    #[test]
    fn what_we_create_is_what_we_need() {
        for stream in [STREAM, BUNDLE_STREAM] {
            assert_eq!(fields(stream, &config(stream)), Vec::<String>::new(), "{stream}");
        }
        assert_ne!(fields(STREAM, &config(BUNDLE_STREAM)), Vec::<String>::new());
    }

    #[test]
    fn every_field_of_the_protocol_is_compared() {
        for (field, expected) in fixed(&Subjects::default(), STREAM) {
            let mut found = config(STREAM);
            found[field] = if expected.is_null() { json!(true) } else { json!("other") };
            assert_eq!(fields(STREAM, &found), [field]);
        }
    }

    #[test]
    fn sizes_ages_and_replicas_are_the_operators_within_limits() {
        let mut found = config(STREAM);
        found["num_replicas"] = json!(5);
        found["max_bytes"] = json!(1);
        found["max_age"] = json!(0);
        found["placement"] = json!({ "cluster": "x" });
        found["description"] = json!("ours");
        assert_eq!(fields(STREAM, &found), Vec::<String>::new());
        found["max_bytes"] = json!(-1);
        found["max_age"] = json!(60_000_000_000_u64);
        assert_eq!(fields(STREAM, &found), ["max_bytes", "max_age"]);
    }

    #[test]
    fn a_stream_without_an_age_limit_has_room_for_every_plan() {
        let mut found = config(STREAM);
        assert_eq!(max_age(&found), LOG_AGE);
        found["max_age"] = json!(0);
        let kept = max_age(&found);
        let timeouts = lockstep_shared::plan::Timeouts::default();
        assert!(lockstep_shared::check::retention(&timeouts, kept).is_ok());
        assert_eq!(Span(kept.0 / 3), Span(u64::MAX / 3), "no run waits for its turn too long");
    }

    #[test]
    fn what_a_server_writes_out_as_false_is_as_good_as_absent() {
        let mut found = config(STREAM);
        found["allow_msg_ttl"] = json!(false);
        found["republish"]["headers_only"] = json!(false);
        assert_eq!(fields(STREAM, &found), Vec::<String>::new());
        found["republish"]["headers_only"] = json!(true);
        assert_eq!(fields(STREAM, &found), ["republish"]);
    }

    #[test]
    fn what_weakens_the_guarantees_is_said() {
        let mut found = config(STREAM);
        assert_eq!(warnings(STREAM, &found).len(), 1);
        found["num_replicas"] = json!(3);
        assert_eq!(warnings(STREAM, &found), Vec::<String>::new());
        found["persist_mode"] = json!("async");
        found["retention"] = json!("interest");
        assert_eq!(warnings(STREAM, &found).len(), 2);
    }
}
