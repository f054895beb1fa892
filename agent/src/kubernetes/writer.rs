//! Writing one object: with leave, in its order, again while the server is busy.

use std::time::Duration;

use serde_json::Value;

use super::{
    client::{Apply, Cluster, Delete, Pass, Place, Reason, Refusal},
    fence::Fence,
    late::Late,
    object::{ObjectKey, RunMark, resource_version, uid},
    pace::{Ended, Pace},
    wanted::place,
};

/// The pause before a write is tried again that was refused for a reason that passes.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Who writes, and where.
#[derive(Clone)]
pub(crate) struct Writer {
    pub(crate) cluster: Cluster,
    pub(crate) fence: Fence,
    pub(crate) pace: Pace,
    pub(crate) late: Late,
    /// What marks our writes.
    pub(crate) mark: RunMark,
    /// The value of the owner label.
    pub(crate) owner: String,
}

/// Why a write was not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unwritten {
    /// The object moved on since it was read: read it again.
    #[error("it was changed while it was being written")]
    Stale,
    /// The server refuses it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The order ended; what stood in the way last.
    #[error("{ended}{}", last.as_ref().map(|last| format!(": {last}")).unwrap_or_default())]
    Ended {
        /// How.
        ended: Ended,
        /// What stood in the way last.
        last: Option<String>,
    },
}

impl From<Ended> for Unwritten {
    fn from(ended: Ended) -> Self {
        Self::Ended { ended, last: None }
    }
}

impl Writer {
    /// Applies a body that names the version it is meant for, if there is one.
    pub(crate) async fn apply(
        &self,
        place: &Place,
        body: &Value,
        how: Apply,
    ) -> Result<Value, Unwritten> {
        self.write(|pass| self.cluster.apply(pass, place, body, how)).await
    }

    /// Carries out a JSON patch that tests the version it is meant for.
    pub(crate) async fn patch(&self, place: &Place, patch: &Value) -> Result<Value, Unwritten> {
        self.write(|pass| self.cluster.json_patch(pass, place, patch)).await
    }

    /// Deletes an object as it was seen, with all that it owns first: a bare DELETE of a Job would
    /// leave its pods running.
    pub(crate) async fn delete(&self, place: &Place, seen: &Value) -> Result<bool, Unwritten> {
        let how = || Delete {
            uid: uid(seen).map(str::to_owned),
            resource_version: resource_version(seen).map(str::to_owned),
            foreground: true,
        };
        self.write(|pass| self.cluster.delete(pass, place, how())).await
    }

    /// Asks for as long as the server does not answer and the order has time.
    pub(crate) async fn ask<T, F, Fut>(&self, ask: F) -> Result<T, Unwritten>
    where
        F: Fn() -> Fut,
        Fut: Future<Output = Result<T, Refusal>>,
    {
        let mut pause = FIRST_PAUSE;
        loop {
            let refusal = match ask().await {
                Ok(answer) => return Ok(answer),
                Err(refusal) => refusal,
            };
            if !refusal.reason.is_transient() {
                return Err(refusal.into());
            }
            tracing::warn!(%refusal, "asking again until the API server answers");
            self.wait(pause, &refusal).await?;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// The object as it is now; `None` if its kind is not served.
    pub(crate) async fn look(
        &self,
        key: &ObjectKey,
    ) -> Result<Option<(Place, Option<Value>)>, Unwritten> {
        let Some(place) = self.ask(|| place(&self.cluster, key)).await? else { return Ok(None) };
        let live = self.ask(|| self.cluster.get(&place)).await?;
        Ok(Some((place, live)))
    }

    /// Whether an object is in another version than it was seen in. The test of a patch that does
    /// not hold is answered like a wrong request, so that is looked at.
    pub(crate) async fn has_moved_on(
        &self,
        place: &Place,
        seen: Option<&Value>,
    ) -> Result<bool, Unwritten> {
        let now = self.ask(|| self.cluster.get(place)).await?;
        Ok(now.as_ref().and_then(resource_version) != seen.and_then(resource_version))
    }

    /// A write that is sent once it may be. What a time-out leaves in doubt has to be looked at
    /// again, so it counts as stale.
    pub(crate) async fn write<T, F, Fut>(&self, send: F) -> Result<T, Unwritten>
    where
        F: Fn(Pass) -> Fut,
        Fut: Future<Output = Result<T, Refusal>>,
    {
        let mut pause = FIRST_PAUSE;
        loop {
            let pass = self.pass().await?;
            let refusal = match send(pass).await {
                Ok(done) => return Ok(done),
                Err(refusal) => refusal,
            };
            match refusal.reason {
                Reason::Stale => return Err(Unwritten::Stale),
                Reason::Unreachable => {
                    self.late.unanswered();
                    tracing::warn!(%refusal, "looking again at what became of it");
                    self.wait(pause, &refusal).await?;
                    return Err(Unwritten::Stale);
                }
                Reason::Busy => {
                    // A store that did not answer in time may have done it.
                    self.late.unanswered();
                    tracing::warn!(%refusal, "trying again");
                    self.wait(pause, &refusal).await?;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
                _ => return Err(refusal.into()),
            }
        }
    }

    async fn wait(&self, pause: Duration, refusal: &Refusal) -> Result<(), Unwritten> {
        let last = || Some(refusal.to_string());
        self.pace.pause(pause).await.map_err(|ended| Unwritten::Ended { ended, last: last() })
    }

    /// Leave for one write, waited for as long as the order has time.
    async fn pass(&self) -> Result<Pass, Unwritten> {
        loop {
            self.pace.check()?;
            match self.fence.pass().await {
                Ok(pass) => return Ok(pass),
                Err(fenced) => {
                    let last = Some(fenced.to_string());
                    let paused = self.pace.pause(Duration::from_secs(1)).await;
                    paused.map_err(|ended| Unwritten::Ended { ended, last })?;
                }
            }
        }
    }
}
