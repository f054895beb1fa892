//! What the API server says when it does not do what it was asked.
//!
//! The server's answers differ in code, reason and wording by who refuses: the fields' other
//! owners, the schema, the authorizer, a quota, a webhook. Each needs another thing done, so each
//! is told apart here, once; the server's own words are kept.

use kube::core::{Status, response::StatusCause};
use serde_json::Value;

use crate::kubernetes::class::is_unreadable;

/// How much of the server's words is kept, in bytes: a webhook may say anything.
const MAX_WORDS: usize = 1024;

/// Why a request did not do what it should.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot {what}: {words}{}", reason.advice())]
pub struct Refusal {
    /// What was asked, such as "apply Deployment backend/web".
    pub what: String,
    /// What kind of refusal it is.
    pub reason: Reason,
    /// The server's words, or the connection's.
    pub words: String,
    /// The server's whole answer, if it gave one.
    pub status: Option<Box<Value>>,
}

/// Who or what stands in the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// Other managers own fields that were to be set.
    Conflict(Vec<FieldConflict>),
    /// The object is not the one that was meant any more: another version, or another uid.
    Stale,
    /// It was to be created, and is there.
    Exists,
    /// There is no such object.
    NotFound,
    /// There is no such namespace.
    NoNamespace(String),
    /// The server knows no such kind, or not in this version.
    NoKind,
    /// What was asked for was there and is not kept any more.
    Gone,
    /// A field can never be changed.
    Immutable(Vec<String>),
    /// The object is not valid: the fields, and what is wrong with each.
    Invalid(Vec<(String, String)>),
    /// The agent may not do this.
    Forbidden,
    /// The agent is not known to the server.
    Unauthorized,
    /// A quota does not leave room.
    Quota,
    /// The namespace is being deleted.
    Terminating,
    /// A policy of the cluster does not allow it.
    Policy,
    /// A webhook said no.
    Webhook {
        /// Whether it only does not take part in dry runs.
        refuses_dry_run: bool,
    },
    /// The server is there and cannot answer now, or a webhook that it asks.
    Busy,
    /// The server was not reached, or did not answer in time: a write may have been done.
    Unreachable,
    /// Anything else.
    Other,
}

/// A field that somebody else owns.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct FieldConflict {
    /// Who.
    pub manager: String,
    /// Which, as the server writes it: `.spec.replicas`.
    pub path: String,
}

impl Reason {
    /// Whether asking again later may be answered otherwise although nobody changes anything.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Busy | Self::Unreachable)
    }

    /// What to do next, where the server's words do not say it.
    fn advice(&self) -> &'static str {
        match self {
            Self::Forbidden => {
                "; give the agent this right (`lockstep doctor --kube FILE` shows the whole Role)"
            }
            Self::Unauthorized => "; see that the agent's credentials are valid",
            Self::NoKind => "; see that the kind and its version are served by this cluster",
            Self::Immutable(_) => "; give the object a new name",
            Self::Unreachable => "; see that the API server can be reached from here",
            _ => "",
        }
    }
}

impl Refusal {
    /// What the server's status means.
    pub(super) fn of_status(what: &str, status: &Status) -> Self {
        let words = if status.message.is_empty() { &status.reason } else { &status.message };
        let words = lockstep_shared::fold::cut(without_value(words).trim(), MAX_WORDS);
        let shown = Status { message: without_value(&status.message).to_owned(), ..status.clone() };
        let whole = serde_json::to_value(shown).ok().map(Box::new);
        Self { what: what.to_owned(), reason: reason(status), words, status: whole }
    }

    /// No answer that could be read.
    pub(super) fn unreachable(what: &str, words: String) -> Self {
        Self { what: what.to_owned(), reason: Reason::Unreachable, words, status: None }
    }

    /// Anything that is not the server's doing.
    pub(in crate::kubernetes) fn other(what: &str, words: String) -> Self {
        Self { what: what.to_owned(), reason: Reason::Other, words, status: None }
    }
}

/// Words up to where the server prints the value that does not fit its schema: it may be a Secret's.
fn without_value(words: &str) -> &str {
    words.split(", got ").next().unwrap_or(words)
}

fn reason(status: &Status) -> Reason {
    let details = status.details.as_ref();
    let causes: &[StatusCause] = details.map_or(&[], |details| &details.causes);
    if let Some(webhook) = webhook(&status.message) {
        return webhook;
    }
    match (status.reason.as_str(), status.code) {
        ("Conflict", _) => conflict(causes),
        ("AlreadyExists", _) => Reason::Exists,
        ("NotFound", _) => not_found(status),
        ("Gone" | "Expired", _) => Reason::Gone,
        ("Invalid", _) if is_policy(&status.message) => Reason::Policy,
        ("Invalid", _) => invalid(causes),
        ("Forbidden", _) => forbidden(status, causes),
        ("Unauthorized", _) => Reason::Unauthorized,
        ("BadRequest" | "UnsupportedMediaType", _) => invalid(causes),
        // Asked again, it says the same again.
        (_, 500) if is_unreadable(&status.message) => invalid(causes),
        ("Timeout" | "ServerTimeout" | "TooManyRequests" | "ServiceUnavailable", _) => Reason::Busy,
        ("InternalError", _) => Reason::Busy,
        (_, 401) => Reason::Unauthorized,
        (_, 403) => Reason::Forbidden,
        (_, 404) => not_found(status),
        (_, 408 | 429 | 500..=599) => Reason::Busy,
        _ => Reason::Other,
    }
}

fn webhook(message: &str) -> Option<Reason> {
    let dry = message.contains("does not support dry run");
    let refused = message.contains("admission webhook") && message.contains("denied the request");
    if message.contains("failed calling webhook") {
        // It may be about to be started again: a rollback has to wait for it, not to fail.
        return Some(Reason::Busy);
    }
    (dry || refused).then_some(Reason::Webhook { refuses_dry_run: dry })
}

fn is_policy(message: &str) -> bool {
    message.contains("ValidatingAdmissionPolicy") || message.contains("violates PodSecurity")
}

/// A 409 is either a conflict over fields or an object that has moved on.
fn conflict(causes: &[StatusCause]) -> Reason {
    let mut conflicts: Vec<FieldConflict> = causes
        .iter()
        .filter(|cause| cause.reason == "FieldManagerConflict")
        .map(|cause| FieldConflict { manager: quoted(&cause.message), path: cause.field.clone() })
        .collect();
    conflicts.sort();
    conflicts.dedup();
    if conflicts.is_empty() { Reason::Stale } else { Reason::Conflict(conflicts) }
}

/// The first text in quotation marks: `conflict with "kubectl" using apps/v1`.
fn quoted(message: &str) -> String {
    message.split('"').nth(1).unwrap_or(message).to_owned()
}

fn not_found(status: &Status) -> Reason {
    match status.details.as_ref() {
        Some(details) if details.kind == "namespaces" => Reason::NoNamespace(details.name.clone()),
        Some(details) if !details.name.is_empty() => Reason::NotFound,
        _ => Reason::NoKind,
    }
}

fn forbidden(status: &Status, causes: &[StatusCause]) -> Reason {
    let message = &status.message;
    if causes.iter().any(|cause| cause.reason == "NamespaceTerminating") {
        Reason::Terminating
    } else if message.contains("exceeded quota") || message.contains("failed quota") {
        Reason::Quota
    } else if is_policy(message) || message.contains("maximum ") && message.contains("per ") {
        // A LimitRange speaks of "maximum cpu usage per Container".
        Reason::Policy
    } else {
        Reason::Forbidden
    }
}

fn invalid(causes: &[StatusCause]) -> Reason {
    let never_changes = |cause: &StatusCause| {
        let message = &cause.message;
        message.contains("field is immutable")
            || message.contains("is immutable after creation")
            || message.contains("may not change once set")
            || message.contains("may not be changed")
            || message.contains("cannot change roleRef")
            || message.contains("updates to statefulset spec for fields other than")
            || message.contains("pod updates may not change fields")
    };
    if causes.iter().any(never_changes) {
        let fields = causes.iter().filter(|cause| never_changes(cause));
        return Reason::Immutable(fields.map(|cause| cause.field.clone()).collect());
    }
    let wrong = |cause: &StatusCause| (cause.field.clone(), cause.message.clone());
    Reason::Invalid(causes.iter().map(wrong).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn refusal(status: serde_json::Value) -> Refusal {
        Refusal::of_status("apply Deployment web", &serde_json::from_value(status).unwrap())
    }

    #[test]
    fn a_value_that_does_not_fit_is_not_shown() {
        let refused = refusal(json!({ "reason": "InternalError", "code": 500, "message":
            "failed to create typed patch object (shop/a; /v1, Kind=Secret): .stringData.pin: \
             expected string, got &value.valueUnstructured{Value:123456}" }));
        let told = format!("{refused} {:?}", refused.status);
        assert!(told.contains(".stringData.pin: expected string"), "{told}");
        assert!(!told.contains("123456"), "{told}");
        for got in ["&{123456}", "&[123456]", "&map[pin:123456]"] {
            let message =
                format!("failed to create typed patch object: .data: expected map, got {got}");
            let refused = refusal(json!({ "reason": "InternalError", "code": 500,
                "message": message }));
            let told = format!("{refused} {:?}", refused.status);
            assert!(!told.contains("123456"), "{told}");
        }
    }

    #[test]
    fn what_cannot_be_decoded_is_wrong_and_not_the_servers_trouble() {
        let message = "failed to convert new object (shop/a; /v1, Kind=Secret) to proper version: \
                       unable to convert unstructured object to /v1, Kind=Secret: error decoding \
                       from json: illegal base64 data at input byte 14";
        let refused = refusal(json!({ "code": 500, "message": message }));
        assert!(matches!(refused.reason, Reason::Invalid(_)), "{refused:?}");
    }

    #[test]
    fn a_conflict_over_fields_names_each_manager_and_path() {
        let refused = refusal(json!({
            "reason": "Conflict", "code": 409, "message": "Apply failed with 2 conflicts",
            "details": { "causes": [
                { "reason": "FieldManagerConflict", "field": ".spec.replicas",
                  "message": "conflict with \"hpa\" with subresource \"scale\" using apps/v1" },
                { "reason": "FieldManagerConflict", "field": ".spec.paused",
                  "message": "conflict with \"kubectl\" using apps/v1" },
            ] },
        }));
        let Reason::Conflict(conflicts) = refused.reason else { panic!("{refused:?}") };
        let found: Vec<(&str, &str)> =
            conflicts.iter().map(|it| (it.manager.as_str(), it.path.as_str())).collect();
        assert_eq!(found, [("hpa", ".spec.replicas"), ("kubectl", ".spec.paused")]);
    }

    #[test]
    fn another_version_of_the_object_is_no_conflict_over_fields() {
        let message = "Operation cannot be fulfilled on deployments.apps \"web\": the object has \
                       been modified";
        let refused = refusal(json!({ "reason": "Conflict", "code": 409, "message": message }));
        assert_eq!(refused.reason, Reason::Stale);
        assert!(refused.to_string().contains("the object has been modified"));
    }

    #[test]
    fn a_missing_object_namespace_and_kind_are_told_apart() {
        let missing = |details: serde_json::Value| {
            let status =
                json!({ "reason": "NotFound", "code": 404, "message": "no", "details": details });
            refusal(status).reason
        };
        assert_eq!(missing(json!({ "name": "web", "kind": "deployments" })), Reason::NotFound);
        assert_eq!(
            missing(json!({ "name": "shop", "kind": "namespaces" })),
            Reason::NoNamespace("shop".to_owned())
        );
        assert_eq!(missing(json!({})), Reason::NoKind);
    }

    #[test]
    fn what_can_never_be_changed_is_told_apart_from_what_is_wrong() {
        let refused = |message: &str| {
            refusal(json!({
                "reason": "Invalid", "code": 422, "message": "is invalid",
                "details": { "causes": [{ "field": "spec.selector", "message": message }] },
            }))
            .reason
        };
        assert_eq!(
            refused("Invalid value: {}: field is immutable"),
            Reason::Immutable(vec!["spec.selector".to_owned()])
        );
        assert!(matches!(refused("Required value"), Reason::Invalid(_)));
    }

    #[test]
    fn rights_quotas_policies_and_webhooks_are_told_apart() {
        let forbidden = |message: &str| {
            refusal(json!({ "reason": "Forbidden", "code": 403, "message": message }))
        };
        let cases = [
            ("deployments.apps \"web\" is forbidden: User \"x\" cannot patch", Reason::Forbidden),
            ("pods \"web\" is forbidden: exceeded quota: small, requested: pods=1", Reason::Quota),
            (
                "pods \"web\" is forbidden: violates PodSecurity \"restricted:latest\"",
                Reason::Policy,
            ),
            (
                "admission webhook \"x.y\" denied the request: no",
                Reason::Webhook { refuses_dry_run: false },
            ),
        ];
        for (message, reason) in cases {
            assert_eq!(forbidden(message).reason, reason, "{message}");
        }
        let message = "Internal error occurred: failed calling webhook \"x.y\": EOF";
        let away = refusal(json!({ "reason": "InternalError", "code": 500, "message": message }));
        assert!(away.reason.is_transient(), "{away:?}");
        let message = "admission webhook \"x.y\" does not support dry run";
        let dry = refusal(json!({ "reason": "BadRequest", "code": 400, "message": message }));
        assert_eq!(dry.reason, Reason::Webhook { refuses_dry_run: true });
    }

    #[test]
    fn a_refusal_says_what_failed_and_what_to_do_next() {
        let text =
            refusal(json!({ "reason": "Forbidden", "code": 403, "message": "no" })).to_string();
        assert_eq!(
            text,
            "cannot apply Deployment web: no; give the agent this right (`lockstep doctor --kube \
             FILE` shows the whole Role)"
        );
    }
}
