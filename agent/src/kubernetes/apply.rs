//! Writing a step's objects (rules 8 to 13).
//!
//! The objects are the journal: what was written is seen on them, so after a crash a step is simply
//! applied again. An object that this run has not written yet must still be what was prepared for.

use std::time::Duration;

use lockstep_shared::fold::listed;
use serde_json::Value;

use super::{
    adopt::{Adopt, before_apply, is_scaled, replicas},
    changed::{self, Since},
    class::{self, Answer, Impossible, Outcome, Terms},
    client::{Apply, Place, Reason, Refusal},
    fields::{FieldSet, remove},
    object::{RunMark, mark, resource_version, uid},
    record::Before,
    target::Failure,
    wanted::{Wanted, place},
    writer::{Unwritten, Writer},
};
use crate::error_text;

/// The pause before an object is looked at again that was changed meanwhile, or whose kind is not
/// served yet.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// A version that no object has: the store's own first one, before anything was stored. An apply
/// that names it creates what is not there and never changes what is, however late it comes.
const NOT_THERE: &str = "1";

/// Writes objects of one step.
pub(crate) struct Applying<'a> {
    pub(crate) writer: &'a Writer,
    /// Paths that are taken from whoever owns them.
    pub(crate) force: &'a [String],
    /// The horizontal autoscalers of the namespace and of the manifests.
    pub(crate) autoscalers: &'a [Value],
}

/// What came of one object.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Applied {
    /// It is as the manifest says: as the server gave it back, or as it was.
    Done(Value),
    /// Somebody has changed it where we do not write: this is its new pre-image, to be stored
    /// before it is written.
    Moved(Value),
}

impl Applying<'_> {
    /// Brings one object to what its manifest says.
    pub(crate) async fn object(
        &self,
        wanted: &Wanted,
        before: &Before,
    ) -> Result<Applied, Failure> {
        let place = self.place(wanted).await?;
        loop {
            let live = self.writer.ask(|| self.writer.cluster.get(&place)).await?;
            let (then, planned) = (before.before.as_ref(), before.planned.as_ref());
            let (adopt, run) = (before.adopt(), &self.writer.mark);
            let since = changed::since(then, live.as_ref(), planned, &adopt, run);
            let since = since.map_err(|error| error_text(&error))?;
            let adopt = (since != Since::Written).then_some(adopt);
            match (since, &live) {
                (Since::Same | Since::Written, _) => {}
                (Since::Elsewhere, Some(live)) => return Ok(Applied::Moved(live.clone())),
                (Since::Elsewhere, None) => continue,
                (Since::Otherwise(changed), _) => {
                    return Err(format!("{}: {changed}", wanted.key).into());
                }
            }
            match self.write(wanted, adopt, &place, live).await {
                Ok(object) => return Ok(Applied::Done(object)),
                Err(Unwritten::Stale) => self.writer.pace.pause(LOOK_AGAIN).await?,
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Where it stands, once its kind is served.
    async fn place(&self, wanted: &Wanted) -> Result<Place, Failure> {
        loop {
            let served = self.writer.ask(|| place(&self.writer.cluster, &wanted.key)).await?;
            if let Some(place) = served {
                return Ok(place);
            }
            if let Err(ended) = self.writer.pace.pause(LOOK_AGAIN).await {
                let (kind, version) = (&wanted.key.kind, &wanted.key.api_version);
                return Err(format!("the cluster serves no {kind} of {version}: {ended}").into());
            }
        }
    }

    /// `adopt`: none if this run has written it before. What an adopted manager has taken since is
    /// not taken again.
    async fn write(
        &self,
        wanted: &Wanted,
        adopt: Option<Adopt>,
        place: &Place,
        live: Option<Value>,
    ) -> Result<Value, Unwritten> {
        let mut body = wanted.body.clone();
        mark(&mut body, &self.writer.owner, &self.writer.mark);
        let Some(mut live) = live else {
            let _ = leave_replicas(&mut body, None, self.autoscalers, place)?;
            body["metadata"]["resourceVersion"] = NOT_THERE.into();
            return self.writer.apply(place, &body, Apply::Plain).await;
        };
        let leave = leave_replicas(&mut body, Some(&live), self.autoscalers, place)?;
        let is_written = adopt.is_none();
        let adopt = adopt.unwrap_or_else(Adopt::nobody);
        let fold = before_apply(&live, &adopt, &leave);
        if let Some(patch) = fold.map_err(|error| refused(place, &error_text(&error)))? {
            live = self.own(place, &live, &patch).await?;
        }
        // With the uid it never creates, however late it comes.
        body["metadata"]["uid"] = uid(&live).into();
        body["metadata"]["resourceVersion"] = resource_version(&live).into();
        match self.judge(wanted, &adopt, place, &live, &body).await? {
            Outcome::Unchanged if !is_claimed(&live) => Ok(live),
            // What cannot be tried beforehand is refused by the apply itself, if at all. A mark without
            // a write must not outlast the run.
            Outcome::Unchanged | Outcome::Create | Outcome::Update(_) | Outcome::Unplanned(_) => {
                self.writer.apply(place, &body, Apply::Plain).await
            }
            Outcome::Adopt(_) => self.writer.apply(place, &body, Apply::Force).await,
            Outcome::Impossible(Impossible::Conflicts(taken)) if is_written => {
                let why = "since this run wrote it; run the pipeline again to plan anew";
                Err(refused(place, &format!("{} {why}", listed(&taken))))
            }
            Outcome::Impossible(why) => Err(refused(place, &why.to_string())),
        }
    }

    /// What the write would do, by a dry run.
    async fn judge(
        &self,
        wanted: &Wanted,
        adopt: &Adopt,
        place: &Place,
        live: &Value,
        body: &Value,
    ) -> Result<Outcome, Unwritten> {
        let dry_run = || self.writer.cluster.dry_apply(place, body, Apply::Plain);
        let answered = self.writer.ask(dry_run).await;
        let answer = match &answered {
            Ok(planned) => Answer::Object(planned),
            Err(Unwritten::Refused(Refusal { reason: Reason::Stale, .. })) => {
                return Err(Unwritten::Stale);
            }
            Err(Unwritten::Refused(Refusal { status: Some(status), .. })) => {
                Answer::Refusal(status)
            }
            Err(error) => return Err(error.clone()),
        };
        let owner = &self.writer.owner;
        let terms = Terms { owner, adopt, force: self.force, missing: &[] };
        class::judge(&wanted.key, Some(live), answer, &terms)
            .map_err(|error| refused(place, &error_text(&error)))
    }

    /// Puts the owners of an object right.
    async fn own(&self, place: &Place, live: &Value, patch: &Value) -> Result<Value, Unwritten> {
        match self.writer.patch(place, patch).await {
            Err(Unwritten::Refused(refusal)) => {
                let moved = self.writer.has_moved_on(place, Some(live)).await?;
                Err(if moved { Unwritten::Stale } else { refusal.into() })
            }
            patched => patched,
        }
    }
}

/// Takes the replicas out of what is applied where something else decides how many there are; what
/// then has to leave our entry too.
pub(crate) fn leave_replicas(
    body: &mut Value,
    live: Option<&Value>,
    autoscalers: &[Value],
    place: &Place,
) -> Result<FieldSet, Unwritten> {
    let scalers: Vec<&Value> = autoscalers.iter().collect();
    let unreadable = |error| refused(place, &error_text(&error));
    let scaled = is_scaled(live.unwrap_or(body), &scalers).map_err(unreadable)?;
    let path = replicas();
    if scaled {
        remove(body, &path);
        return Ok([path].into_iter().collect());
    }
    Ok(FieldSet::new())
}

/// Whether an incarnation of a run has marked an object and not written it.
fn is_claimed(live: &Value) -> bool {
    RunMark::of(live).is_some_and(|mark| mark.claimed)
}

fn refused(place: &Place, words: &str) -> Unwritten {
    Refusal::other(&format!("apply {place}"), words.to_owned()).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubernetes::client::Resource;
    use serde_json::json;

    #[test]
    fn replicas_that_an_autoscaler_of_the_manifests_decides_are_not_applied() {
        let place = Place::new(Resource::pod(), Some("shop"), "web");
        let mut body = json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": { "name": "web", "namespace": "shop" }, "spec": { "replicas": 3, "a": 1 },
        });
        let scaler = json!({
            "metadata": { "namespace": "shop" },
            "spec": { "scaleTargetRef": {
                "apiVersion": "apps/v1", "kind": "Deployment", "name": "web",
            } },
        });
        let mut alone = body.clone();
        assert!(leave_replicas(&mut alone, None, &[], &place).unwrap().is_empty());
        assert_eq!(alone, body);
        let leave = leave_replicas(&mut body, None, &[scaler], &place).unwrap();
        assert!(leave.contains(&replicas()));
        assert_eq!(body["spec"], json!({ "a": 1 }));
    }
}
