//! Conditions of a status, whatever the kind.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use lockstep_shared::time::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use super::look::short;

/// One entry of `status.conditions`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Condition<'a>(&'a Value);

impl<'a> Condition<'a> {
    /// The condition of this type, if the object has it.
    pub(super) fn of(object: &'a Value, kind: &str) -> Option<Self> {
        let all = object.pointer("/status/conditions")?.as_array()?;
        let named = |entry: &&Value| entry.get("type").and_then(Value::as_str) == Some(kind);
        all.iter().find(named).map(Self)
    }

    pub(super) fn is_true(self) -> bool {
        self.get("status") == "True"
    }

    pub(super) fn is_false(self) -> bool {
        self.get("status") == "False"
    }

    pub(super) fn reason(self) -> &'a str {
        self.get("reason")
    }

    /// Its reason and message in one line.
    pub(super) fn text(self) -> String {
        match (self.get("reason"), short(self.get("message"))) {
            ("", message) if message.is_empty() => "no reason is given".to_owned(),
            ("", message) => message,
            (reason, message) if message.is_empty() => reason.to_owned(),
            (reason, message) => format!("{reason}: {message}"),
        }
    }

    /// When it was last written, by the server's clock, if it says so.
    pub(super) fn written_at(self) -> Option<Timestamp> {
        let times = ["lastUpdateTime", "lastTransitionTime"];
        times.iter().filter_map(|key| self.0.get(key)).filter_map(timestamp).max()
    }

    /// The generation that it tells of, if it says so.
    pub(super) fn generation(self) -> Option<i64> {
        self.0.get("observedGeneration")?.as_i64()
    }

    fn get(self, key: &str) -> &'a str {
        self.0.get(key).and_then(Value::as_str).unwrap_or_default()
    }
}

/// A time as Kubernetes writes it.
pub(super) fn timestamp(value: &Value) -> Option<Timestamp> {
    Time::deserialize(value).ok().as_ref().and_then(instant)
}

/// The instant, if it is not before 1970.
pub(super) fn instant(time: &Time) -> Option<Timestamp> {
    u64::try_from(time.0.as_millisecond()).ok().map(Timestamp)
}
