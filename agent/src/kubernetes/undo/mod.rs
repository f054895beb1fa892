//! Undo records of Kubernetes workflows: Secrets in the agent's own namespace.
//!
//! A record is one small *head*, whose label says how far the debt has come, and immutable *chunks*
//! with what is needed to undo. The chunks are written first; the head makes them a record. So a
//! record is either whole or not there, and pre-images never leave their cluster. Deliberately does
//! not know what a record's content means.

mod chunk;
mod head;

use std::{
    collections::BTreeSet,
    time::{Duration, SystemTime},
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use lockstep_shared::id::{Epoch, PipelineName, RunId, RunKey, WorkflowName};
use serde::Deserialize;
use serde_json::{Value, json};

pub use chunk::CHUNK_BYTES;
pub use head::{Body, Head};

use super::client::{Cluster, Delete, Pass, Place, Reason, Refusal, Resource};
use crate::state::Mark;

/// The labels of heads and chunks.
const PIPELINE: &str = "lockstep.dev/pipeline";
const WORKFLOW: &str = "lockstep.dev/workflow";
const RUN: &str = "lockstep.dev/run";
const PART: &str = "lockstep.dev/undo";

/// How often a head that somebody else changed meanwhile is read again.
const TRIES: usize = 5;

/// When a chunk that no head names counts as left behind: no preparation takes as long.
const ORPHANED: Duration = Duration::from_secs(24 * 60 * 60);

/// Why an undo record cannot be read or written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UndoError {
    /// The server said no, or nothing.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The record is not what was written.
    #[error(
        "the undo record in Secret {secret} is damaged ({why}), so what it says cannot be relied \
         on; restore the Secret from a backup, or, if you have made sure by hand that nothing of \
         that run is left to undo, delete it"
    )]
    Damaged {
        /// The Secret.
        secret: String,
        /// What is wrong with it.
        why: String,
    },
    /// The record was written by a newer build.
    #[error(
        "the undo record in Secret {secret} is of format {found}, and this build knows {known}; \
         use the newer build"
    )]
    Format {
        /// The Secret.
        secret: String,
        /// Its format.
        found: u32,
        /// The newest that this build knows.
        known: u32,
    },
    /// A newer incarnation goes by the record.
    #[error(
        "epoch {found} of the workflow has taken over the undo record in Secret {secret} from \
         epoch {known}, which changes nothing more"
    )]
    Superseded {
        /// The Secret.
        secret: String,
        /// The incarnation that goes by it.
        found: Epoch,
        /// The one that asked.
        known: Epoch,
    },
    /// There is no such record.
    #[error("the undo record is lost: Secret {0} is not there, so nothing may be written")]
    Lost(String),
}

/// The undo records that one agent keeps in a cluster.
#[derive(Debug, Clone)]
pub struct UndoSecrets {
    cluster: Cluster,
}

impl UndoSecrets {
    /// The records in the agent's namespace of a cluster.
    pub fn new(cluster: Cluster) -> Self {
        Self { cluster }
    }

    /// The cluster.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// The heads of a workflow's records, the oldest run first.
    ///
    /// # Errors
    /// [`UndoError`] if they cannot be read: each might be a debt.
    pub async fn heads(
        &self,
        pipeline: &PipelineName,
        workflow: &WorkflowName,
    ) -> Result<Vec<Head>, UndoError> {
        let labels = format!("{PART}=head,{PIPELINE}={pipeline},{WORKFLOW}={workflow}");
        let found = self.list(&labels).await?;
        let mut heads: Vec<Head> = found.iter().map(head::read).collect::<Result<_, _>>()?;
        heads.sort_by(|a, b| (a.prepared_at, &a.key).cmp(&(b.prepared_at, &b.key)));
        Ok(heads)
    }

    /// The head of one run's record, if there is one.
    ///
    /// # Errors
    /// [`UndoError`] if it cannot be read.
    pub async fn head(
        &self,
        key: &RunKey,
        workflow: &WorkflowName,
    ) -> Result<Option<Head>, UndoError> {
        let found = self.cluster.get(&self.place(&head::name(key, workflow))).await?;
        found.as_ref().map(head::read).transpose()
    }

    /// Whether something of a run may have been written and is not settled.
    ///
    /// # Errors
    /// [`UndoError`] if that cannot be seen.
    pub async fn owes(
        &self,
        pipeline: &PipelineName,
        workflow: &WorkflowName,
        run: &RunId,
    ) -> Result<bool, UndoError> {
        let key = RunKey { pipeline: pipeline.clone(), run: run.clone() };
        let head = self.head(&key, workflow).await?;
        Ok(head.is_some_and(|head| head.mark == Mark::Started))
    }

    /// Stores what is needed to undo, in chunks that no record names yet.
    ///
    /// # Errors
    /// [`UndoError`] if a chunk cannot be stored; a quota that refuses it is named.
    pub async fn store_body(
        &self,
        key: &RunKey,
        workflow: &WorkflowName,
        content: &[u8],
    ) -> Result<Body, UndoError> {
        let (body, chunks) = chunk::pack(content);
        for (number, chunk) in chunks.iter().enumerate() {
            let place = self.place(&chunk::name(key, workflow, &body, number));
            let mut secret = self.secret(&place, key, workflow, "chunk");
            secret["immutable"] = true.into();
            secret["data"] = json!({ "chunk": chunk });
            match self.cluster.create(Pass::bookkeeping(), &place, &secret).await {
                Ok(_) => {}
                // Named by its content: an earlier try stored it.
                Err(refusal) if refusal.reason == Reason::Exists => {}
                Err(refusal) => return Err(refusal.into()),
            }
        }
        Ok(body)
    }

    /// What is needed to undo, as it was stored.
    ///
    /// # Errors
    /// [`UndoError::Damaged`] if it is not that any more.
    pub async fn body(&self, head: &Head) -> Result<Vec<u8>, UndoError> {
        let mut chunks = Vec::new();
        for number in 0..head.body.chunks {
            let name = chunk::name(&head.key, &head.workflow, &head.body, number);
            let damaged = |why: &str| UndoError::Damaged { secret: name.clone(), why: why.into() };
            let secret = self.cluster.get(&self.place(&name)).await?;
            let secret = secret.ok_or_else(|| damaged("it is not there"))?;
            let data = secret.pointer("/data/chunk").and_then(Value::as_str);
            chunks.push(data.ok_or_else(|| damaged("it has no chunk"))?.to_owned());
        }
        chunk::unpack(&head.body, &chunks).map_err(|why| {
            let secret = head::name(&head.key, &head.workflow);
            UndoError::Damaged { secret, why }
        })
    }

    /// Makes a record of a stored body.
    ///
    /// # Errors
    /// [`UndoError`] if it cannot be stored; [`UndoError::Superseded`] if a newer incarnation has.
    pub async fn create(&self, head: &Head) -> Result<(), UndoError> {
        let place = self.place(&head::name(&head.key, &head.workflow));
        let mut secret = self.secret(&place, &head.key, &head.workflow, "head");
        head::write(head, &mut secret);
        match self.cluster.create(Pass::bookkeeping(), &place, &secret).await {
            Ok(_) => Ok(()),
            Err(refusal) if refusal.reason == Reason::Exists => {
                self.change_in(head.epoch, &head.key, &head.workflow, |known| {
                    // A preparation that was repeated; what was begun is undone by what it knew.
                    if known.mark == Mark::Prepared {
                        known.body = head.body.clone();
                    }
                })
                .await
            }
            Err(refusal) => Err(refusal.into()),
        }
    }

    /// Brings a record to a mark, never back.
    ///
    /// # Errors
    /// [`UndoError`] if that cannot be stored; [`UndoError::Lost`] if there is no record.
    pub async fn mark(
        &self,
        key: &RunKey,
        workflow: &WorkflowName,
        mark: Mark,
    ) -> Result<(), UndoError> {
        let advance = |head: &mut Head| {
            head.mark = head.mark.max(mark);
            Ok(())
        };
        self.change(key, workflow, advance).await
    }

    /// Has a record name another body.
    ///
    /// # Errors
    /// [`UndoError`] if that cannot be stored; [`UndoError::Superseded`] if a newer incarnation
    /// goes by the record.
    pub async fn replace_body(
        &self,
        epoch: Epoch,
        key: &RunKey,
        workflow: &WorkflowName,
        body: &Body,
    ) -> Result<(), UndoError> {
        self.change_in(epoch, key, workflow, |head| head.body = body.clone()).await
    }

    /// Takes a record over: no incarnation before this one gives it another body any more.
    ///
    /// # Errors
    /// As [`replace_body`](Self::replace_body).
    pub async fn take_over(
        &self,
        epoch: Epoch,
        key: &RunKey,
        workflow: &WorkflowName,
    ) -> Result<(), UndoError> {
        self.change_in(epoch, key, workflow, |_| {}).await
    }

    /// A change by one incarnation, unless a newer one has the record.
    async fn change_in(
        &self,
        epoch: Epoch,
        key: &RunKey,
        workflow: &WorkflowName,
        change: impl Fn(&mut Head),
    ) -> Result<(), UndoError> {
        let change = |head: &mut Head| {
            if head.epoch > epoch {
                let secret = head::name(key, workflow);
                return Err(UndoError::Superseded { secret, found: head.epoch, known: epoch });
            }
            head.epoch = epoch;
            change(head);
            Ok(())
        };
        self.change(key, workflow, change).await
    }

    async fn change(
        &self,
        key: &RunKey,
        workflow: &WorkflowName,
        change: impl Fn(&mut Head) -> Result<(), UndoError>,
    ) -> Result<(), UndoError> {
        let place = self.place(&head::name(key, workflow));
        let mut last = None;
        for _ in 0..TRIES {
            let found = self.cluster.get(&place).await?;
            let found = found.ok_or_else(|| UndoError::Lost(place.name.clone()))?;
            let mut head = head::read(&found)?;
            let known = head.clone();
            change(&mut head)?;
            if head == known {
                return Ok(());
            }
            let version = found.pointer("/metadata/resourceVersion").cloned();
            let mut patch = json!({ "metadata": { "resourceVersion": version } });
            head::write(&head, &mut patch);
            match self.cluster.merge(Pass::bookkeeping(), &place, &patch).await {
                Ok(_) => return Ok(()),
                Err(refusal) if refusal.reason == Reason::Stale => last = Some(refusal),
                Err(refusal) => return Err(refusal.into()),
            }
        }
        Err(last.map_or(UndoError::Lost(place.name), UndoError::Refused))
    }

    /// Removes the records of all but the latest `kept` runs that owe nothing, and the chunks that
    /// no record names.
    ///
    /// # Errors
    /// [`UndoError`] if a record cannot be read or removed.
    pub async fn prune(
        &self,
        pipeline: &PipelineName,
        workflow: &WorkflowName,
        kept: usize,
    ) -> Result<(), UndoError> {
        let heads = self.heads(pipeline, workflow).await?;
        let settled: Vec<&Head> = heads.iter().filter(|head| head.mark == Mark::Settled).collect();
        let surplus = &settled[..settled.len().saturating_sub(kept)];
        for head in surplus {
            self.remove(&head::name(&head.key, &head.workflow)).await?;
        }
        // Chunks are stored before a head names them: of a run that goes on, or that never had a
        // head, only what is old goes; of a settled one what the head does not name; of those whose
        // head went, all.
        let labels = format!("{PART}=chunk,{PIPELINE}={pipeline},{WORKFLOW}={workflow}");
        for chunk in self.list(&labels).await? {
            let text = |pointer: &str| chunk.pointer(pointer).and_then(Value::as_str);
            let run = text("/metadata/labels/lockstep.dev~1run").unwrap_or_default();
            let name = text("/metadata/name").unwrap_or_default();
            let is_of = |head: &&Head| head.key.run.as_str() == run;
            let went = surplus.iter().any(&is_of);
            let head = heads.iter().find(is_of);
            let is_named = head.is_some_and(|head| chunk::is_of(head, name));
            let is_settled = head.is_some_and(|head| head.mark == Mark::Settled);
            if went || (!is_named && (is_settled || is_old(&chunk))) {
                self.remove(name).await?;
            }
        }
        Ok(())
    }

    /// In which namespaces of the cluster anything of a workflow's runs is kept.
    ///
    /// # Errors
    /// [`Refusal`] if these credentials may not look into all of them, or the server does not say.
    pub async fn namespaces(
        cluster: &Cluster,
        pipeline: &PipelineName,
        workflow: &WorkflowName,
    ) -> Result<BTreeSet<String>, Refusal> {
        let labels = format!("{PIPELINE}={pipeline},{WORKFLOW}={workflow}");
        let found = cluster.list(&Resource::secret(), None, &labels).await?;
        let namespace = |secret: &Value| {
            secret.pointer("/metadata/namespace").and_then(Value::as_str).map(str::to_owned)
        };
        Ok(found.iter().filter_map(namespace).collect())
    }

    /// Removes the records of these runs, whatever they say; of `all`, also what no record names.
    ///
    /// # Errors
    /// [`UndoError`] if one cannot be removed.
    pub async fn forget(
        &self,
        pipeline: &PipelineName,
        workflow: &WorkflowName,
        runs: &BTreeSet<RunId>,
        all: bool,
    ) -> Result<(), UndoError> {
        // Heads go first: a record is whole or not there.
        for part in ["head", "chunk"] {
            let labels = format!("{PART}={part},{PIPELINE}={pipeline},{WORKFLOW}={workflow}");
            for secret in self.list(&labels).await? {
                let text = |pointer: &str| secret.pointer(pointer).and_then(Value::as_str);
                let run = text("/metadata/labels/lockstep.dev~1run").unwrap_or_default();
                if all || runs.iter().any(|known| known.as_str() == run) {
                    self.remove(text("/metadata/name").unwrap_or_default()).await?;
                }
            }
        }
        Ok(())
    }

    async fn list(&self, labels: &str) -> Result<Vec<Value>, UndoError> {
        let secrets = Resource::secret();
        Ok(self.cluster.list(&secrets, Some(self.cluster.namespace()), labels).await?)
    }

    async fn remove(&self, name: &str) -> Result<(), UndoError> {
        let place = self.place(name);
        self.cluster.delete(Pass::bookkeeping(), &place, Delete::default()).await?;
        Ok(())
    }

    fn place(&self, name: &str) -> Place {
        Place::new(Resource::secret(), Some(self.cluster.namespace()), name)
    }

    fn secret(&self, place: &Place, key: &RunKey, workflow: &WorkflowName, part: &str) -> Value {
        json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "type": "lockstep.dev/undo",
            "metadata": {
                "name": place.name,
                "namespace": place.namespace,
                "labels": {
                    PIPELINE: key.pipeline, WORKFLOW: workflow, RUN: key.run, PART: part,
                },
            },
        })
    }
}

/// Whether a Secret was made so long ago that whoever made it would have named it by now.
fn is_old(secret: &Value) -> bool {
    let made =
        secret.pointer("/metadata/creationTimestamp").and_then(|time| Time::deserialize(time).ok());
    let made = made.map(|made| SystemTime::from(made.0));
    made.and_then(|made| made.elapsed().ok()).is_some_and(|age| age > ORPHANED)
}
