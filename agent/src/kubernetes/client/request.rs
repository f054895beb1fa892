//! Requests, each with its time-out.

use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use kube::{
    api::{
        DeleteParams, GetParams, ListParams, Patch, PatchParams, PostParams, Preconditions,
        PropagationPolicy, ValidationDirective,
    },
    core::Request,
};
use serde_json::{Value, json};

use super::{Cluster, Place, READ_LIMIT, Reason, Refusal, Resource};
use crate::{error_text, kubernetes::object::MANAGER};

/// How long a write may take: below the 10 s that are allowed, so that a Lease of 15 s that is
/// renewed every 5 s is always valid for longer.
pub const WRITE_LIMIT: Duration = Duration::from_secs(8);

/// How many objects one answer of a list may have.
const PAGE: u32 = 250;

/// How many pages are read: more than a namespace of any use has.
const MAX_PAGES: usize = 400;

/// How many times a question is asked that was not answered, and how long is waited between.
const ASKED_AGAIN: usize = 3;
const FIRST_PAUSE: Duration = Duration::from_millis(200);

/// Leave to send one write, now.
///
/// Given out by the fence for the user's objects; what the agent keeps for itself needs no leave.
#[derive(Debug)]
pub struct Pass(());

impl Pass {
    /// For a write that the fence has let through.
    pub(in crate::kubernetes) fn fenced() -> Self {
        Self(())
    }

    /// For the agent's own Lease and Secrets.
    pub(in crate::kubernetes) fn bookkeeping() -> Self {
        Self(())
    }
}

/// How to apply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Apply {
    /// Fields of others are not taken.
    #[default]
    Plain,
    /// Fields of others are taken.
    Force,
}

/// How to delete.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Delete {
    /// Only if it is this object.
    pub uid: Option<String>,
    /// Only if it is in this version.
    pub resource_version: Option<String>,
    /// Whether what it owns goes first, and it is there until then.
    pub foreground: bool,
}

impl Cluster {
    /// The object, if it is there; asked again a few times while the server does not answer.
    ///
    /// # Errors
    /// [`Refusal`] if the server does not say.
    pub async fn get(&self, place: &Place) -> Result<Option<Value>, Refusal> {
        let what = format!("read {place}");
        let path = Request::new(place.resource.path(place.namespace.as_deref()));
        let ask = || async {
            let asked = async {
                let request = path.get(&place.name, &GetParams::default()).map_err(built)?;
                self.client.request_text(request).await
            };
            self.send(&what, READ_LIMIT, asked).await
        };
        match patiently(ask).await {
            Ok(object) => Ok(Some(object)),
            Err(refusal) if refusal.reason == Reason::NotFound => Ok(None),
            Err(refusal) => Err(refusal),
        }
    }

    /// The objects of a kind that bear these labels, each with its kind and version.
    ///
    /// # Errors
    /// [`Refusal`] if the server does not say, or there are too many.
    pub async fn list(
        &self,
        resource: &Resource,
        namespace: Option<&str>,
        labels: &str,
    ) -> Result<Vec<Value>, Refusal> {
        self.list_by(resource, namespace, ListParams::default().labels(labels)).await
    }

    /// The events for which a field selector holds.
    ///
    /// # Errors
    /// [`Refusal`] if the server does not say.
    pub async fn list_events(
        &self,
        namespace: Option<&str>,
        fields: &str,
    ) -> Result<Vec<Value>, Refusal> {
        let events = Resource::built_in("v1", "Event", "events");
        self.list_by(&events, namespace, ListParams::default().fields(fields)).await
    }

    async fn list_by(
        &self,
        resource: &Resource,
        namespace: Option<&str>,
        wanted: ListParams,
    ) -> Result<Vec<Value>, Refusal> {
        let what = format!("list {} in {}", resource.plural, namespace.unwrap_or("the cluster"));
        let path = Request::new(resource.path(namespace));
        let mut wanted = wanted.limit(PAGE);
        let mut found = Vec::new();
        for _ in 0..MAX_PAGES {
            let ask = || async {
                let asked =
                    async { self.client.request_text(path.list(&wanted).map_err(built)?).await };
                self.send(&what, READ_LIMIT, asked).await
            };
            let mut page = patiently(ask).await?;
            if let Some(Value::Array(items)) = page.get_mut("items").map(Value::take) {
                found.extend(items.into_iter().map(|item| with_kind(item, resource)));
            }
            match page.pointer("/metadata/continue").and_then(Value::as_str) {
                Some(next) if !next.is_empty() => wanted.continue_token = Some(next.to_owned()),
                _ => return Ok(found),
            }
        }
        Err(Refusal::other(&what, "there are too many of them".to_owned()))
    }

    /// What the object would be if the body were applied; writes nothing.
    ///
    /// # Errors
    /// [`Refusal`] as the apply would be refused.
    pub async fn dry_apply(
        &self,
        place: &Place,
        body: &Value,
        how: Apply,
    ) -> Result<Value, Refusal> {
        let what = format!("apply {place} (dry run)");
        let params = params(how).dry_run();
        let ask = || async { self.patch(&what, place, &params, &Patch::Apply(body)).await };
        patiently(ask).await
    }

    /// Applies the body (server-side apply); the object as it is then.
    ///
    /// # Errors
    /// [`Refusal`]; after [`Reason::Unreachable`] it may have been done, or be done still.
    pub async fn apply(
        &self,
        _pass: Pass,
        place: &Place,
        body: &Value,
        how: Apply,
    ) -> Result<Value, Refusal> {
        let what = format!("apply {place}");
        self.patch(&what, place, &params(how), &Patch::Apply(body)).await
    }

    /// Creates an object that must not be there yet.
    ///
    /// # Errors
    /// [`Refusal`]; [`Reason::Exists`] if it is there.
    pub async fn create(&self, _pass: Pass, place: &Place, body: &Value) -> Result<Value, Refusal> {
        let what = format!("create {place}");
        let path = Request::new(place.resource.path(place.namespace.as_deref()));
        let params = PostParams { dry_run: false, field_manager: Some(MANAGER.to_owned()) };
        let asked = async {
            let request = path.create(&params, body.to_string().into_bytes()).map_err(built)?;
            self.client.request_text(request).await
        };
        self.send(&what, WRITE_LIMIT, asked).await
    }

    /// Changes what the patch names (JSON merge patch); a `metadata.resourceVersion` in it makes it
    /// a change of that version only.
    ///
    /// # Errors
    /// [`Refusal`]; [`Reason::Stale`] if it is another version.
    pub async fn merge(&self, _pass: Pass, place: &Place, patch: &Value) -> Result<Value, Refusal> {
        let what = format!("change {place}");
        let params =
            PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
        self.patch(&what, place, &params, &Patch::Merge(patch)).await
    }

    /// Whether such a change would be let through; writes nothing.
    ///
    /// # Errors
    /// [`Refusal`] as the change would be refused.
    pub async fn dry_merge(&self, place: &Place, patch: &Value) -> Result<Value, Refusal> {
        let what = format!("change {place} (dry run)");
        let params = PatchParams {
            dry_run: true,
            field_manager: Some(MANAGER.to_owned()),
            ..PatchParams::default()
        };
        patiently(|| async { self.patch(&what, place, &params, &Patch::Merge(patch)).await }).await
    }

    /// Carries out the operations of a JSON patch, all or none.
    ///
    /// # Errors
    /// [`Refusal`]; [`Reason::Invalid`] or [`Reason::Other`] if a `test` does not hold.
    pub async fn json_patch(
        &self,
        _pass: Pass,
        place: &Place,
        operations: &Value,
    ) -> Result<Value, Refusal> {
        let what = format!("change {place}");
        let params =
            PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
        let path = Request::new(place.resource.path(place.namespace.as_deref()));
        let asked = async {
            let patch = Patch::Merge(operations);
            let mut request = path.patch(&place.name, &params, &patch).map_err(built)?;
            let kind = "application/json-patch+json".parse().expect("a media type is text");
            request.headers_mut().insert("content-type", kind);
            self.client.request_text(request).await
        };
        self.send(&what, WRITE_LIMIT, asked).await
    }

    /// Deletes an object; whether it was there. It may take until it is gone.
    ///
    /// # Errors
    /// [`Refusal`]; [`Reason::Stale`] if it is another object or version than was meant.
    pub async fn delete(&self, _pass: Pass, place: &Place, how: Delete) -> Result<bool, Refusal> {
        let what = format!("delete {place}");
        let conditions = Preconditions { uid: how.uid, resource_version: how.resource_version };
        let policy = if how.foreground {
            PropagationPolicy::Foreground
        } else {
            PropagationPolicy::Background
        };
        let params = DeleteParams {
            propagation_policy: Some(policy),
            preconditions: Some(conditions),
            ..DeleteParams::default()
        };
        let path = Request::new(place.resource.path(place.namespace.as_deref()));
        let asked = async {
            let request = path.delete(&place.name, &params).map_err(built)?;
            self.client.request_text(request).await
        };
        match self.send(&what, WRITE_LIMIT, asked).await {
            Ok(_) => Ok(true),
            Err(refusal) if matches!(refusal.reason, Reason::NotFound | Reason::Gone) => Ok(false),
            Err(refusal) => Err(refusal),
        }
    }

    /// Whether these credentials may do something in a namespace; to the object of a name, or
    /// (without one) to all.
    ///
    /// # Errors
    /// [`Refusal`] if the server does not say.
    pub async fn may(
        &self,
        namespace: &str,
        group: &str,
        resource: &str,
        verb: &str,
        name: &str,
    ) -> Result<bool, Refusal> {
        let what = format!("ask whether one may {verb} {resource}");
        let (resource, part) = resource.split_once('/').unwrap_or((resource, ""));
        let asked = json!({ "resourceAttributes": {
            "namespace": namespace, "group": group, "resource": resource,
            "subresource": part, "verb": verb, "name": name,
        } });
        self.is_allowed(&what, asked).await
    }

    /// Whether these credentials may do something at an address that is no object's.
    ///
    /// # Errors
    /// [`Refusal`] if the server does not say.
    pub async fn may_at(&self, path: &str, verb: &str) -> Result<bool, Refusal> {
        let what = format!("ask whether one may {verb} {path}");
        let asked = json!({ "nonResourceAttributes": { "path": path, "verb": verb } });
        self.is_allowed(&what, asked).await
    }

    async fn is_allowed(&self, what: &str, asked: Value) -> Result<bool, Refusal> {
        let body = json!({
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": asked,
        });
        let path = Request::new("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews");
        let ask = || async {
            let asked = async {
                let params = PostParams::default();
                let request = path.create(&params, body.to_string().into_bytes()).map_err(built)?;
                self.client.request_text(request).await
            };
            self.send(what, READ_LIMIT, asked).await
        };
        let answer = patiently(ask).await?;
        Ok(answer.pointer("/status/allowed").and_then(Value::as_bool).unwrap_or_default())
    }

    async fn patch(
        &self,
        what: &str,
        place: &Place,
        params: &PatchParams,
        patch: &Patch<&Value>,
    ) -> Result<Value, Refusal> {
        let path = Request::new(place.resource.path(place.namespace.as_deref()));
        let asked = async {
            let request = path.patch(&place.name, params, patch).map_err(built)?;
            self.client.request_text(request).await
        };
        self.send(what, WRITE_LIMIT, asked).await
    }

    async fn send(
        &self,
        what: &str,
        limit: Duration,
        asked: impl Future<Output = Result<String, kube::Error>>,
    ) -> Result<Value, Refusal> {
        let text = self.limited(what, limit, asked).await?;
        serde_json::from_str(&text)
            .map_err(|error| Refusal::other(what, format!("the answer is no JSON: {error}")))
    }

    /// An answer within its time, or what stands in its way.
    pub(super) async fn limited<T>(
        &self,
        what: &str,
        limit: Duration,
        asked: impl Future<Output = Result<T, kube::Error>>,
    ) -> Result<T, Refusal> {
        match tokio::time::timeout(limit, asked).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(kube::Error::Api(status))) => Err(Refusal::of_status(what, &status)),
            Ok(Err(error @ (kube::Error::HyperError(_) | kube::Error::Service(_)))) => {
                Err(Refusal::unreachable(what, error_text(&error)))
            }
            Ok(Err(error)) => Err(Refusal::other(what, error_text(&error))),
            Err(_) => {
                let words =
                    format!("{} did not answer within {} s", self.url(), limit.as_secs_f64());
                Err(Refusal::unreachable(what, words))
            }
        }
    }
}

fn built(error: kube::core::request::Error) -> kube::Error {
    kube::Error::BuildRequest(error)
}

fn params(how: Apply) -> PatchParams {
    let mut params = PatchParams::apply(MANAGER);
    params.field_validation = Some(ValidationDirective::Strict);
    params.force = how == Apply::Force;
    params
}

/// Asks again while there is no answer: a question changes nothing.
async fn patiently<T, F, Fut>(ask: F) -> Result<T, Refusal>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, Refusal>>,
{
    let pauses = ExponentialBuilder::default().with_min_delay(FIRST_PAUSE).with_jitter();
    ask.retry(pauses.with_max_times(ASKED_AGAIN))
        .when(|refusal: &Refusal| refusal.reason.is_transient())
        .await
}

/// Items of a list do not say what they are.
fn with_kind(mut item: Value, resource: &Resource) -> Value {
    if let Some(object) = item.as_object_mut() {
        object.insert("apiVersion".to_owned(), resource.api_version.clone().into());
        object.insert("kind".to_owned(), resource.kind.clone().into());
    }
    item
}
