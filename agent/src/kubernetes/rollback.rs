//! Giving a step's objects back what they were (rules 23 to 30).
//!
//! What would be in the way goes before anything else: webhooks and policies of the run's own, and an
//! autoscaler of its own before what it scales. Then everything that existed is restored, config
//! before workloads; then what the run created is deleted, last first; then what was restored has to
//! be healthy. Every part looks at the objects as they are, so it may be cut off anywhere and begun
//! again. What to ask for is decided in `restore`.

use std::time::Duration;

use lockstep_shared::{fold::listed, plan::Deploy, time::Timestamp};
use serde_json::Value;
use tokio::time::Instant;

use super::{
    adopt::targets,
    class,
    client::{Apply, Place, Reason, Refusal, Resource},
    evidence::Evidence,
    health::{Limits, Pin, Rules, StepHealth, StepVerdict},
    looks::Looks,
    object::{ObjectKey, RunMark, uid},
    order,
    pace::Ended,
    progress::Progress,
    record::Before,
    restore::{
        Restoration, Step,
        created::{self, Created},
    },
    stuck::stuck_pods,
    writer::{Unwritten, Writer},
};
use crate::{error_text, run::Clock};

/// The pause before an object is looked at again that is being deleted or was changed meanwhile.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// What came of undoing a step.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Undone {
    /// What is not as it was, or kept on purpose; each a sentence.
    pub(crate) residue: Vec<String>,
    /// What was done, for a person.
    pub(crate) output: String,
}

/// A step that could not be undone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stuck {
    /// Why, for a person.
    pub(crate) error: String,
    /// What is left; each a sentence.
    pub(crate) left: Vec<String>,
}

/// One step on its way back.
pub(crate) struct Rollback<'a> {
    pub(crate) writer: &'a Writer,
    pub(crate) progress: &'a Progress,
    pub(crate) clock: Clock,
    /// What the step did: its objects are healthy again by the same rules.
    pub(crate) deploy: &'a Deploy,
    pub(crate) limits: Limits,
    /// The autoscalers that the run has made: each goes before what it scales is restored, whichever
    /// step it came with, and what it did is undone like what the run did itself.
    pub(crate) autoscalers: Vec<&'a Before>,
    /// The webhooks and policies that the run has made: they may refuse what is to be restored, so
    /// they go before it, whichever step they came with.
    pub(crate) gates: Vec<&'a Before>,
}

/// What has come of restoring an object.
#[derive(Debug, Default)]
struct Back {
    /// What is not as it was; each a sentence.
    residue: Vec<String>,
    /// The server's time of the last write, if one was needed: a failure before it was the run's.
    since: Option<Timestamp>,
    /// Whether a later run has written it.
    is_another_runs: bool,
}

/// What has come of deleting an object.
enum Deleted {
    /// It is gone; what it leaves on purpose, if anything.
    Gone(Option<String>),
    /// It is left; why.
    Left(String),
    /// It goes, and has not gone within the time.
    Leaving,
}

/// How long the next objects wait for those before to go: what a finalizer holds must not keep the
/// others, nor take the time in which what was restored gets healthy.
const PATIENCE: Duration = Duration::from_secs(30);

impl Rollback<'_> {
    /// Deletes the webhooks and policies that the run has made. What is left of them is told with
    /// their own step.
    pub(crate) async fn open(&self) -> Result<(), Stuck> {
        let until = Instant::now() + PATIENCE;
        for gate in &self.gates {
            self.delete(&gate.key, Some(until)).await.map_err(|why| stuck(&gate.key, &why))?;
        }
        Ok(())
    }

    /// Undoes a step, however much of it was done.
    pub(crate) async fn step(&self, objects: Vec<&Before>) -> Result<Undone, Stuck> {
        let mut undone = Undone::default();
        let began = self.clock.now();
        let order = order::undo(objects, |before| &before.key, |before| before.before.is_some());
        let (mut restored, mut sets) = (Vec::new(), Vec::new());
        for before in &order.restore {
            let mut is_rescaled = false;
            for autoscaler in self.autoscalers.iter().filter(|it| scales(it, before)) {
                let until = Instant::now() + PATIENCE;
                let deleted = self.delete(&autoscaler.key, Some(until)).await;
                // One that somebody else has made is not ours to answer for.
                is_rescaled |= !matches!(
                    deleted.map_err(|why| stuck(&autoscaler.key, &why))?,
                    Deleted::Left(_)
                );
            }
            self.progress.tell(&format!("restoring {}", before.key));
            let back = self.restore(before, is_rescaled).await;
            let Back { residue, since, is_another_runs } =
                back.map_err(|why| stuck(&before.key, &why))?;
            if !is_another_runs && before.key.kind == "StatefulSet" && before.key.group() == "apps"
            {
                sets.push(*before);
            }
            if residue.is_empty() {
                restored.push((*before, since.unwrap_or(began)));
            }
            undone.residue.extend(residue);
        }
        let (mut leaving, until) = (Vec::new(), Instant::now() + PATIENCE);
        for before in &order.delete {
            self.progress.tell(&format!("deleting {}", before.key));
            let deleted = self.delete(&before.key, Some(until)).await;
            match deleted.map_err(|why| stuck(&before.key, &why))? {
                Deleted::Gone(kept) => undone.residue.extend(kept),
                Deleted::Left(why) => undone.residue.push(why),
                Deleted::Leaving => leaving.push(&before.key),
            }
        }
        self.until_healthy(&restored, &sets, &mut undone).await?;
        for key in leaving {
            let deleted = self.delete(key, None).await.map_err(|why| stuck(key, &why))?;
            if let Deleted::Left(why) | Deleted::Gone(Some(why)) = deleted {
                undone.residue.push(why);
            }
        }
        let (back, gone) = (restored.len(), order.delete.len());
        undone.output.push_str(&format!("{back} restored and verified, {gone} deleted\n"));
        Ok(undone)
    }

    /// Gives an object back what it was.
    async fn restore(&self, before: &Before, is_rescaled: bool) -> Result<Back, Unwritten> {
        let mut back = Back::default();
        let Some(pre_image) = &before.before else { return Ok(back) };
        let adopt = before.adopt();
        let way = Restoration::new(pre_image, before.planned.as_ref(), &adopt);
        let mut way = way.rescaled(is_rescaled);
        loop {
            let Some((place, live)) = self.writer.look(&before.key).await? else {
                let gone = format!("{}: its kind is not served any more", before.key);
                return Ok(Back { residue: vec![gone], ..back });
            };
            if let Some(later) = live.as_ref().and_then(|live| self.later(pre_image, live)) {
                let (key, run) = (&before.key, later.run);
                let left = format!("{key}: run {run} has written it since, so it was left");
                return Ok(Back { residue: vec![left], is_another_runs: true, ..back });
            }
            let grown = live.as_ref().and_then(|live| class::grown(&before.key, pre_image, live));
            way = way.leaving(grown.iter().cloned().collect());
            let step = way.next(live.as_ref()).map_err(|error| unreadable(&before.key, &error))?;
            let sent = match &step {
                Step::Done(residue) => {
                    let told = |residue| format!("{}: {residue}", before.key);
                    let kept = grown.map(|path| {
                        format!("{}: {path}: kept on purpose: {}", before.key, class::GROWN)
                    });
                    back.residue = residue.iter().map(told).chain(kept).collect();
                    return Ok(back);
                }
                Step::Apply(body) => self.writer.apply(&place, body, Apply::Plain).await,
                Step::Patch(patch) => self.writer.patch(&place, patch).await,
            };
            match sent {
                Ok(object) => {
                    way.carried_out();
                    let written = Pin::of(&object, Timestamp(0)).ok().map(|pin| pin.since());
                    back.since = back.since.max(written);
                }
                Err(Unwritten::Stale) => self.writer.pace.pause(LOOK_AGAIN).await?,
                Err(Unwritten::Refused(refusal)) => {
                    if self.writer.has_moved_on(&place, live.as_ref()).await? {
                        continue;
                    }
                    tracing::warn!(%refusal, "trying a milder way");
                    if !way.refused() {
                        return Err(refusal.into());
                    }
                }
                Err(ended) => return Err(ended),
            }
        }
    }

    /// The mark of another run on an object, if it was not there before this one.
    fn later(&self, pre_image: &Value, live: &Value) -> Option<RunMark> {
        let mark = RunMark::of(live)?;
        let is_later = !mark.is_same_work(&self.writer.mark)
            && RunMark::of(pre_image).is_none_or(|known| known != mark);
        is_later.then_some(mark)
    }

    /// Deletes an object that the run created, and waits until then for it to be gone; or for as long
    /// as there is time, and then says what holds it.
    async fn delete(&self, key: &ObjectKey, until: Option<Instant>) -> Result<Deleted, Unwritten> {
        let mut claims = None;
        loop {
            let is_over = until.is_some_and(|until| Instant::now() >= until);
            // A kind that went with its definition has no objects.
            let Some((place, live)) = self.writer.look(key).await? else {
                return Ok(Deleted::Gone(claims));
            };
            let found = created::undo(key, live.as_ref(), &self.writer.mark)
                .map_err(|error| unreadable(key, &error))?;
            claims = live.as_ref().and_then(|live| created::claims_left(key, live)).or(claims);
            match found {
                Created::Gone => return Ok(Deleted::Gone(claims)),
                Created::Kept => {
                    return Ok(Deleted::Left(format!(
                        "{key}: kept on purpose: a rollback never deletes a {}",
                        key.kind
                    )));
                }
                Created::NotOurs(why) => return Ok(Deleted::Left(format!("{key}: {why}"))),
                Created::Leaving(_) if is_over => return Ok(Deleted::Leaving),
                Created::Leaving(finalizers) => match self.writer.pace.pause(LOOK_AGAIN).await {
                    Err(Ended::TimedOut(_)) if !finalizers.is_empty() => {
                        return Ok(Deleted::Left(format!(
                            "{key}: it is being deleted and held by {}",
                            listed(finalizers)
                        )));
                    }
                    paused => paused?,
                },
                Created::Delete => {
                    match self.writer.delete(&place, live.as_ref().unwrap_or(&Value::Null)).await {
                        Ok(_) | Err(Unwritten::Stale) => {}
                        Err(error) => return Err(error),
                    }
                }
            }
        }
    }

    /// Waits until what was restored is healthy, if the step waits at all, and until no pod keeps a
    /// set from going back; what was not healthy before cannot be judged.
    async fn until_healthy(
        &self,
        restored: &[(&Before, Timestamp)],
        sets: &[&Before],
        undone: &mut Undone,
    ) -> Result<(), Stuck> {
        // Prepare has refused what does not compile.
        let rules = Rules::compile(&self.deploy.healthy).unwrap_or_default();
        let mut health = StepHealth::new(self.limits, rules);
        for (before, since) in restored.iter().filter(|_| self.deploy.wait) {
            if let Some(why) = &before.unhealthy {
                let line =
                    format!("{}: not waited for, since it was not healthy before", before.key);
                undone.output.push_str(&format!("{line} ({why})\n"));
                continue;
            }
            let found =
                self.writer.look(&before.key).await.map_err(|why| stuck(&before.key, &why))?;
            let Some((_, Some(live))) = found else { continue };
            let pin =
                Pin::of(&live, *since).map_err(|why| stuck_text(&before.key, &error_text(&why)))?;
            health.pin(before.key.clone(), pin);
        }
        let mut looks = Looks::new(&self.writer.cluster, self.clock, Evidence::default(), health);
        loop {
            let mut is_free = true;
            for set in sets {
                is_free &= self.free(set).await.map_err(|why| stuck(&set.key, &why))?;
            }
            match looks.look().await {
                Ok(StepVerdict::Healthy | StepVerdict::Settled) if is_free => return Ok(()),
                Ok(StepVerdict::Failed { object, why }) => return Err(stuck_text(&object, &why)),
                Ok(StepVerdict::InProgress(line) | StepVerdict::Degraded(line)) => {
                    self.progress.tell(&format!("rolled back, and not healthy yet: {line}"));
                }
                Ok(StepVerdict::Healthy | StepVerdict::Settled) => {}
                Err(refusal) if refusal.reason.is_transient() => {
                    tracing::warn!(%refusal, "looking again");
                }
                Err(refusal) => {
                    return Err(Stuck { error: refusal.to_string(), left: Vec::new() });
                }
            }
            if let Err(ended) = self.writer.pace.pause(LOOK_AGAIN).await {
                let lines = looks.health.lines();
                let error = format!("restored, and not healthy again: {ended}");
                return Err(Stuck { error, left: lines });
            }
        }
    }

    /// Deletes the pods that keep a StatefulSet from going back; whether none does.
    async fn free(&self, before: &Before) -> Result<bool, Unwritten> {
        let key = &before.key;
        let Some((_, Some(set))) = self.writer.look(key).await? else { return Ok(true) };
        if uid(&set) != before.before.as_ref().and_then(uid) {
            return Ok(true);
        }
        let lookups = super::health::lookups(&set);
        let Some(lookup) = lookups.first() else { return Ok(true) };
        let (pods, namespace) = (Resource::pod(), Some(lookup.namespace.as_str()));
        let cluster = &self.writer.cluster;
        let found = self.writer.ask(|| cluster.list(&pods, namespace, &lookup.selector)).await?;
        let Some(stuck) = stuck_pods(&set, &found) else { return Ok(false) };
        for pod in &stuck {
            let name = pod.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
            tracing::warn!(pod = name, set = %key, "deleting a pod that keeps the set from going back");
            let place = Place::new(Resource::pod(), namespace, name);
            match self.writer.delete(&place, pod).await {
                Ok(_) | Err(Unwritten::Stale) => {}
                Err(Unwritten::Refused(refusal)) if refusal.reason == Reason::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(stuck.is_empty())
    }
}

/// Whether an autoscaler, as it was planned, decides how many replicas an object has.
fn scales(autoscaler: &Before, object: &Before) -> bool {
    let both = autoscaler.planned.as_ref().zip(object.before.as_ref());
    both.is_some_and(|(autoscaler, object)| targets(autoscaler, object))
}

fn stuck(key: &ObjectKey, why: &Unwritten) -> Stuck {
    stuck_text(key, &error_text(why))
}

fn stuck_text(key: &ObjectKey, why: &str) -> Stuck {
    Stuck { error: format!("{key}: {why}"), left: vec![format!("{key} is not as it was")] }
}

/// Who owns what cannot be read, so nothing can be decided.
fn unreadable(key: &ObjectKey, error: &dyn std::error::Error) -> Unwritten {
    Refusal::other(&format!("restore {key}"), error_text(error)).into()
}
