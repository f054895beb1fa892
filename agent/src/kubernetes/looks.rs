//! Looking at what was applied: again and again until it is healthy, or is not any more.

use std::time::Duration;

use futures::{StreamExt, stream};
use lockstep_agent_core::Told;
use lockstep_shared::{fold::listed, time::Timestamp};
use serde_json::Value;

use super::{
    client::{Cluster, Refusal, Resource},
    evidence::{self, Evidence},
    health::{Lookup, Related, Sight, StepHealth, StepVerdict, images, lookups},
    object::ObjectKey,
    pace::{Ended, Pace},
    progress::Progress,
    target::Failure,
    wanted::place,
};
use crate::run::Clock;

/// How many objects are looked at side by side.
const AT_ONCE: usize = 8;

/// How many objects that are not healthy in time are told of in full.
const MAX_TOLD: usize = 3;

/// The pause between two looks while something is waited for.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// Looks at the objects of one step.
pub(crate) struct Looks {
    cluster: Cluster,
    clock: Clock,
    evidence: Evidence,
    pub(crate) health: StepHealth,
}

/// What was fetched of one object.
pub(super) struct Fetched {
    pub(super) object: Option<Value>,
    pub(super) related: Related,
}

impl Fetched {
    pub(super) fn sight(&self) -> Sight<'_> {
        Sight { object: self.object.as_ref(), related: &self.related }
    }
}

impl Looks {
    pub(crate) fn new(
        cluster: &Cluster,
        clock: Clock,
        evidence: Evidence,
        health: StepHealth,
    ) -> Self {
        Self { cluster: cluster.clone(), clock, evidence, health }
    }

    /// Looks until everything has been healthy for long enough.
    ///
    /// # Errors
    /// [`Failure`] with what failed, or what is not healthy when the time is over.
    pub(crate) async fn until_healthy(
        &mut self,
        pace: &Pace,
        progress: &Progress,
    ) -> Result<(), Failure> {
        let mut unseen: Option<String>;
        loop {
            match self.look().await {
                Ok(StepVerdict::Healthy | StepVerdict::Settled) => return Ok(()),
                Ok(StepVerdict::Failed { object, why }) => {
                    return Err(self.failed(object, why, evidence::LIMIT).await);
                }
                Ok(StepVerdict::InProgress(line) | StepVerdict::Degraded(line)) => {
                    unseen = None;
                    progress.tell(&line);
                }
                Err(refusal) if refusal.reason.is_transient() => {
                    tracing::warn!(%refusal, "looking again");
                    progress.tell("the API server does not answer");
                    unseen = Some(refusal.to_string());
                }
                Err(refusal) => return Err(refusal.into()),
            }
            match pace.pause(LOOK_AGAIN).await {
                Ok(()) => {}
                Err(ended) => return Err(self.ended(ended, unseen).await),
            }
        }
    }

    /// One look at every object that is not done for good.
    ///
    /// # Errors
    /// [`Refusal`] if one of them cannot be seen: then nothing was looked at.
    pub(crate) async fn look(&mut self) -> Result<StepVerdict, Refusal> {
        let wanted: Vec<ObjectKey> = self.health.wanted().cloned().collect();
        let fetching = wanted.iter().cloned().map(|key| fetch(self.cluster.clone(), key));
        let fetching: Vec<_> = fetching.collect();
        let fetched: Vec<Result<Fetched, Refusal>> =
            stream::iter(fetching).buffered(AT_ONCE).collect().await;
        let fetched: Vec<Fetched> = fetched.into_iter().collect::<Result<_, _>>()?;
        let now = self.now();
        for (key, found) in wanted.iter().zip(&fetched) {
            self.health.see(key, found.sight(), now);
        }
        Ok(self.health.verdict())
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// What failed, with what there is to see of it within this time.
    pub(crate) async fn failed(
        &self,
        object: ObjectKey,
        error: String,
        limit: Duration,
    ) -> Failure {
        let output = evidence::gather(&self.cluster, &[object], self.evidence, limit).await;
        Failure { error, output }
    }

    async fn ended(&self, ended: Ended, unseen: Option<String>) -> Failure {
        let Ended::TimedOut(limit) = ended else { return ended.into() };
        let lines = self.health.lines();
        let what = unseen.unwrap_or_else(|| listed(&lines));
        let error = format!("not healthy after {} s: {what}", limit.as_secs_f64());
        let objects: Vec<ObjectKey> = self.health.wanted().take(MAX_TOLD).cloned().collect();
        let output =
            evidence::gather(&self.cluster, &objects, self.evidence, evidence::LIMIT).await;
        Failure { error, output }
    }

    /// The images that run, by digest, one line for each; best effort, since all is well.
    pub(crate) async fn images(&self, keys: &[ObjectKey]) -> Told {
        let mut told = Told::default();
        for key in keys {
            let Ok(found) = fetch(self.cluster.clone(), key.clone()).await else { continue };
            for (image, digests) in images(found.sight()) {
                let listed: Vec<&str> = digests.iter().map(String::as_str).collect();
                told.output.push_str(&format!("{key}: {image} runs as {}\n", listed.join(", ")));
                told.images.entry(image).or_default().extend(digests);
            }
        }
        told
    }
}

pub(super) async fn fetch(cluster: Cluster, key: ObjectKey) -> Result<Fetched, Refusal> {
    let mut related = Related::default();
    let object = match place(&cluster, &key).await? {
        Some(place) => cluster.get(&place).await?,
        None => None,
    };
    if let Some(object) = &object {
        related = self::related(&cluster, object).await?;
    }
    Ok(Fetched { object, related })
}

/// What else has to be looked at for judging an object.
///
/// # Errors
/// [`Refusal`] if it cannot be read.
pub(crate) async fn related(cluster: &Cluster, object: &Value) -> Result<Related, Refusal> {
    let mut related = Related::default();
    for Lookup { kind, namespace, selector } in lookups(object) {
        let resource = Resource::built_in(kind.api_version(), kind.kind(), kind.plural());
        related.add(kind, cluster.list(&resource, Some(&namespace), &selector).await?);
    }
    Ok(related)
}
