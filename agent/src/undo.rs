//! A workflow's undo records, wherever they are kept: on the agent's disk for commands, in Secrets
//! for Kubernetes.
//!
//! Decides nothing: a mark goes where the run's target has its records, and what cannot be read is
//! never guessed at.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use lockstep_agent_core::{UndoMark, debt::Known};
use lockstep_shared::{
    id::{Epoch, PipelineName, RunKey, WorkflowName},
    plan::Workflow,
    time::Timestamp,
};
use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, watch};

use crate::{
    error_text,
    kubernetes::undo::{Body, Head, UndoError, UndoSecrets},
    state::{Mark, StateDirectory, StateError, UndoRecord},
};

/// How long bringing a record in a cluster to a mark may take: nothing else is done meanwhile.
const SAVE_LIMIT: Duration = Duration::from_secs(10);

/// The records of one workflow's runs at one target; clones share what was prepared.
#[derive(Debug, Clone)]
pub(crate) enum UndoStore {
    /// In the state directory.
    Disk(StateDirectory),
    /// In the agent's namespace.
    Secrets {
        /// All of them.
        secrets: UndoSecrets,
        /// What this run's preparation stored, until a record names it.
        fresh: Fresh,
        /// What is known of all of them.
        noted: Noted,
    },
}

/// What is known of a workflow's records in clusters, without asking again: nobody else changes
/// them while this agent has the workflow. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Noted(watch::Sender<Records>);

/// Each run's record, by the cluster and namespace that it is in.
pub(crate) type Records = BTreeMap<(Whereabouts, RunKey), Known>;

/// A cluster's address and a namespace.
type Whereabouts = (String, String);

fn whereabouts(secrets: &UndoSecrets) -> Whereabouts {
    let cluster = secrets.cluster();
    (cluster.url().to_owned(), cluster.namespace().to_owned())
}

impl Noted {
    /// Follows what is known.
    pub(crate) fn watch(&self) -> watch::Receiver<Records> {
        self.0.subscribe()
    }

    fn all(&self) -> Vec<Known> {
        let mut all: Vec<Known> = self.0.borrow().values().cloned().collect();
        all.sort_by(|a, b| (a.prepared_at, &a.run).cmp(&(b.prepared_at, &b.run)));
        all
    }

    /// All that one place holds.
    fn replace(&self, at: &Whereabouts, all: &[Known]) {
        let known = all.iter().map(|known| ((at.clone(), known.run.clone()), known.clone()));
        self.0.send_if_modified(|noted| {
            let elsewhere = noted.iter().filter(|((place, _), _)| place != at);
            let elsewhere = elsewhere.map(|(key, known)| (key.clone(), known.clone()));
            let all: Records = elsewhere.chain(known).collect();
            let changed = *noted != all;
            *noted = all;
            changed
        });
    }

    fn advance(&self, at: Whereabouts, run: &RunKey, mark: UndoMark, prepared_at: Timestamp) {
        self.0.send_modify(|noted| {
            let fresh = || Known { run: run.clone(), mark, prepared_at };
            let known = noted.entry((at, run.clone())).or_insert_with(fresh);
            known.mark = known.mark.max(mark);
        });
    }
}

/// What a preparation stored.
pub(crate) type Fresh = Arc<Mutex<Option<Body>>>;

/// One run's record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Owed {
    pub(crate) mark: UndoMark,
    pub(crate) plan: Workflow,
    pub(crate) params: BTreeMap<String, String>,
}

/// What is needed to undo without the log's plan, in whatever form the rest of it is stored.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct PlanPart {
    pub(crate) plan: Workflow,
    pub(crate) params: BTreeMap<String, String>,
}

/// Why records cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    #[error(transparent)]
    Disk(#[from] StateError),
    #[error(transparent)]
    Secrets(#[from] UndoError),
}

impl StoreError {
    /// Whether asking again may help although nobody changes anything.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Self::Secrets(UndoError::Refused(refusal)) => refusal.reason.is_transient(),
            _ => false,
        }
    }
}

/// The record that is made when a run is prepared.
pub(crate) struct Prepared {
    pub(crate) epoch: Epoch,
    pub(crate) prepared_at: Timestamp,
    pub(crate) params: BTreeMap<String, String>,
    pub(crate) plan: Workflow,
}

impl UndoStore {
    /// The records in a cluster.
    pub(crate) fn secrets(secrets: UndoSecrets, noted: Noted) -> Self {
        Self::Secrets { secrets, fresh: Fresh::default(), noted }
    }

    /// One run's record, if there is one, after a look at all of the workflow's.
    ///
    /// # Errors
    /// [`StoreError`] if one of them cannot be read.
    pub(crate) async fn look(
        &self,
        key: &RunKey,
        workflow: &WorkflowName,
    ) -> Result<Option<Owed>, StoreError> {
        self.known(&key.pipeline, workflow).await?;
        self.owed(key, workflow).await
    }

    /// Every record of a workflow as far as that is known without asking a cluster again.
    ///
    /// # Errors
    /// Why it is not known, for a person.
    pub(crate) fn known_now(
        &self,
        pipeline: &PipelineName,
        workflow: &WorkflowName,
    ) -> Result<Vec<Known>, String> {
        match self {
            Self::Disk(state) => {
                on_disk_known(state, pipeline, workflow).map_err(|error| error_text(&error))
            }
            Self::Secrets { noted, .. } => Ok(noted.all()),
        }
    }

    /// Every record of a workflow, the oldest run first.
    ///
    /// # Errors
    /// [`StoreError`] if one of them cannot be read: it might be a debt.
    pub(crate) async fn known(
        &self,
        pipeline: &PipelineName,
        workflow: &WorkflowName,
    ) -> Result<Vec<Known>, StoreError> {
        Ok(match self {
            Self::Disk(state) => on_disk_known(state, pipeline, workflow)?,
            Self::Secrets { secrets, noted, .. } => {
                let known = |head: Head| Known {
                    run: head.key,
                    mark: undo_mark(head.mark),
                    prepared_at: head.prepared_at,
                };
                let heads = secrets.heads(pipeline, workflow).await?;
                let all: Vec<Known> = heads.into_iter().map(known).collect();
                noted.replace(&whereabouts(secrets), &all);
                all
            }
        })
    }

    /// One run's record, if there is one.
    ///
    /// # Errors
    /// [`StoreError`] if it is there and cannot be read.
    pub(crate) async fn owed(
        &self,
        key: &RunKey,
        workflow: &WorkflowName,
    ) -> Result<Option<Owed>, StoreError> {
        match self {
            Self::Disk(state) => Ok(state.undo(key, workflow)?.map(|record| Owed {
                mark: undo_mark(record.mark),
                plan: record.plan,
                params: record.params,
            })),
            Self::Secrets { secrets, .. } => {
                let Some(head) = secrets.head(key, workflow).await? else { return Ok(None) };
                let body = secrets.body(&head).await?;
                let part: PlanPart = serde_json::from_slice(&body).map_err(|error| {
                    let (secret, why) = (head.key.to_string(), error.to_string());
                    UndoError::Damaged { secret, why }
                })?;
                let mark = undo_mark(head.mark);
                Ok(Some(Owed { mark, plan: part.plan, params: part.params }))
            }
        }
    }

    /// Brings a run's record to a mark, durably. A debt never shrinks but by being settled; then
    /// the records of earlier runs that owe nothing go, but for the latest `history`.
    ///
    /// # Errors
    /// Why it is not stored, for a person.
    pub(crate) async fn advance(
        &self,
        key: &RunKey,
        workflow: &WorkflowName,
        mark: UndoMark,
        fresh: Option<Prepared>,
        history: usize,
    ) -> Result<(), String> {
        match self {
            Self::Disk(state) => {
                on_disk(state.clone(), key, workflow, mark, fresh).await?;
                if mark == UndoMark::Settled {
                    tidy_disk(state.clone(), key, workflow, history).await;
                }
                Ok(())
            }
            Self::Secrets { secrets, fresh: body, noted } => {
                let body = body.lock().await.clone();
                let prepared_at = fresh.as_ref().map(|fresh| fresh.prepared_at);
                let saved = in_secrets(secrets, key, workflow, mark, fresh.zip(body));
                tokio::time::timeout(SAVE_LIMIT, saved)
                    .await
                    .map_err(|_| "the API server does not answer".to_owned())??;
                let prepared_at = prepared_at.unwrap_or(Timestamp(0));
                noted.advance(whereabouts(secrets), key, mark, prepared_at);
                if mark == UndoMark::Settled {
                    tidy(secrets, key, workflow, history).await;
                }
                Ok(())
            }
        }
    }
}

fn on_disk_known(
    state: &StateDirectory,
    pipeline: &PipelineName,
    workflow: &WorkflowName,
) -> Result<Vec<Known>, StateError> {
    let known = |record: UndoRecord| Known {
        run: record.key,
        mark: undo_mark(record.mark),
        prepared_at: record.prepared_at,
    };
    Ok(state.undo_records(pipeline, workflow)?.into_iter().map(known).collect())
}

/// The mark as the core knows it.
pub(crate) fn undo_mark(mark: Mark) -> UndoMark {
    match mark {
        Mark::Prepared => UndoMark::Prepared,
        Mark::Started => UndoMark::Started,
        Mark::Settled => UndoMark::Settled,
    }
}

fn mark_of(mark: UndoMark) -> Mark {
    match mark {
        UndoMark::Prepared => Mark::Prepared,
        UndoMark::Started => Mark::Started,
        UndoMark::Settled => Mark::Settled,
    }
}

fn lost(what: &str) -> String {
    format!("the undo record is lost, so {what}")
}

async fn in_secrets(
    secrets: &UndoSecrets,
    key: &RunKey,
    workflow: &WorkflowName,
    mark: UndoMark,
    fresh: Option<(Prepared, Body)>,
) -> Result<(), String> {
    let saved = match (mark, fresh) {
        (UndoMark::Prepared, Some((prepared, body))) => {
            let head = Head {
                key: key.clone(),
                workflow: workflow.clone(),
                mark: Mark::Prepared,
                epoch: prepared.epoch,
                prepared_at: prepared.prepared_at,
                body,
            };
            secrets.create(&head).await
        }
        (UndoMark::Prepared, None) => {
            return Err(lost("what undoes this workflow is not known"));
        }
        (mark, _) => match secrets.mark(key, workflow, mark_of(mark)).await {
            // Nothing is owed and nothing says so: no more is wanted.
            Err(UndoError::Lost(_)) if mark == UndoMark::Settled => return Ok(()),
            saved => saved,
        },
    };
    saved.map_err(|error| error_text(&error))
}

/// Removes old records. The mark is what counts: what is left here is looked at by the next run.
async fn tidy(secrets: &UndoSecrets, key: &RunKey, workflow: &WorkflowName, history: usize) {
    let pruned = secrets.prune(&key.pipeline, workflow, history);
    match tokio::time::timeout(SAVE_LIMIT, pruned).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%error, "old undo records cannot be removed"),
        Err(_) => tracing::warn!("old undo records cannot be removed in time"),
    }
}

/// The same for those on disk.
async fn tidy_disk(state: StateDirectory, key: &RunKey, workflow: &WorkflowName, history: usize) {
    let (key, workflow) = (key.clone(), workflow.clone());
    let work = move || state.prune_undo(&key.pipeline, &workflow, history);
    let pruned = tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
    if let Err(error) = pruned {
        tracing::warn!(error = error_text(&error), "old undo records cannot be removed");
    }
}

async fn on_disk(
    state: StateDirectory,
    key: &RunKey,
    workflow: &WorkflowName,
    mark: UndoMark,
    fresh: Option<Prepared>,
) -> Result<(), String> {
    let (key, workflow) = (key.clone(), workflow.clone());
    let work = move || {
        let fresh = fresh.map(|prepared| {
            UndoRecord::prepared(
                key.clone(),
                workflow.clone(),
                prepared.epoch,
                prepared.prepared_at,
                prepared.params,
                prepared.plan,
            )
        });
        let known = state.undo(&key, &workflow)?;
        match advanced(known, fresh, mark) {
            Ok(Some(record)) => state.save_undo(&record).map(Ok),
            Ok(None) => Ok(Ok(())),
            Err(missing) => Ok(Err(missing)),
        }
    };
    let stored: Result<Result<(), String>, StateError> = tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
    stored.unwrap_or_else(|error| Err(error_text(&error)))
}

/// The record as it is to be stored; nothing if it stands there already.
fn advanced(
    known: Option<UndoRecord>,
    fresh: Option<UndoRecord>,
    mark: UndoMark,
) -> Result<Option<UndoRecord>, String> {
    match (mark, known) {
        (UndoMark::Prepared, None) => {
            fresh.map(Some).ok_or_else(|| lost("what undoes this workflow is not known"))
        }
        (UndoMark::Started, None) => Err(lost("nothing may be written to the target")),
        // Nothing is owed and nothing says so: no more is wanted.
        (UndoMark::Settled, None) => Ok(None),
        (mark, Some(mut record)) => {
            let known = record.mark;
            record.mark = mark_of(mark);
            Ok((known < record.mark).then_some(record))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(run: &str, at: u64) -> Known {
        let run = RunKey { pipeline: "shop".parse().unwrap(), run: run.parse().unwrap() };
        Known { run, mark: UndoMark::Started, prepared_at: Timestamp(at) }
    }

    #[test]
    fn a_look_at_one_cluster_does_not_forget_what_is_owed_in_another() {
        let noted = Noted::default();
        let at = |name: &str| (format!("https://{name}"), "shop".to_owned());
        noted.replace(&at("there"), &[known("r2", 2)]);
        noted.replace(&at("here"), &[known("r1", 1)]);
        assert_eq!(noted.all(), [known("r1", 1), known("r2", 2)], "the oldest first");
        noted.replace(&at("here"), &[]);
        assert_eq!(noted.all(), [known("r2", 2)]);
        noted.advance(at("there"), &known("r2", 2).run, UndoMark::Settled, Timestamp(9));
        assert_eq!(noted.all()[0].mark, UndoMark::Settled);
    }
}
