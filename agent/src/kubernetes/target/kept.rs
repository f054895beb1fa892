//! What orders keep for each other, and read again after a crash: the step's objects, the undo
//! record, the Lease.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use lockstep_shared::{
    id::{Epoch, StepIndex},
    plan::Deploy,
    time::Span,
};

use tokio::time::Instant;

use super::{
    super::{
        claim::Way,
        health::Limits,
        lease::Wish,
        looks::Looks,
        object::{RunMark, owner_label},
        pace::Pace,
        record::Record,
        undo::{UndoError, UndoSecrets},
        wanted::{Origin, Steps},
        writer::Writer,
    },
    Failure, Inner,
};
use crate::{
    error_text,
    undo::{PlanPart, UndoStore},
};

/// How long another holder of the Lease is waited for before an order fails.
const LEASE_LIMIT: Duration = Duration::from_secs(60);

/// The pause before the API server is asked again that did not answer.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// How long a rollback tries to take the undo record over: it is read all the same.
const PATIENCE: Duration = Duration::from_secs(30);

/// What one order leaves for the next.
#[derive(Default)]
pub(super) struct Known {
    pub(super) steps: Option<Arc<Steps>>,
    pub(super) record: Option<Arc<Record>>,
    pub(super) looks: BTreeMap<StepIndex, Looks>,
    /// The incarnation that has put its mark on all that an earlier one may write, and up to which
    /// step.
    pub(super) claimed: Option<(Epoch, StepIndex)>,
}

impl Inner {
    pub(super) async fn writer(&self, epoch: Epoch, pace: Pace) -> Result<Writer, Failure> {
        pace.within(self.take_lease(epoch)).await??;
        self.late.taken_over(epoch);
        Ok(Writer {
            cluster: self.work.cluster.clone(),
            fence: self.fence.clone(),
            pace,
            late: self.late.clone(),
            mark: self.mark(epoch),
            owner: owner_label(&self.work.key.pipeline, &self.work.name),
        })
    }

    pub(super) async fn take_lease(&self, epoch: Epoch) -> Result<(), String> {
        self.keep_lease(epoch).await;
        self.work.lease.held(LEASE_LIMIT).await
    }

    pub(super) async fn keep_lease(&self, epoch: Epoch) {
        let Some(secrets) = self.secrets() else { return };
        let wish = Wish {
            namespace: &self.work.target.namespace,
            holder: self.mark(epoch),
            instance: &self.work.instance,
            pipeline: &self.work.key.pipeline,
        };
        self.work.lease.keep(&self.work.cluster, secrets, wish).await;
    }

    /// What the steps bring, fetched once.
    pub(super) async fn steps(&self) -> Result<Arc<Steps>, Failure> {
        if let Some(steps) = self.known.lock().await.steps.clone() {
            return Ok(steps);
        }
        let work = &self.work;
        let origin = Origin {
            bus: &work.bus,
            key: &work.key,
            name: &work.name,
            workflow: &work.workflow,
            target: &work.target,
        };
        let steps = Arc::new(origin.steps(&work.cluster).await?);
        self.known.lock().await.steps = Some(steps.clone());
        Ok(steps)
    }

    /// What undoes the run, read once.
    pub(super) async fn record(&self) -> Result<Arc<Record>, Failure> {
        self.known_record(None).await
    }

    /// The same, asked for while the API server does not answer and the order has time.
    pub(super) async fn record_within(&self, pace: &Pace) -> Result<Arc<Record>, Failure> {
        self.known_record(Some(pace)).await
    }

    async fn known_record(&self, pace: Option<&Pace>) -> Result<Arc<Record>, Failure> {
        if let Some(record) = self.known.lock().await.record.clone() {
            return Ok(record);
        }
        let read = Arc::new(self.read_record(pace).await?);
        // Whoever stored one meanwhile knows better.
        Ok(self.known.lock().await.record.get_or_insert(read).clone())
    }

    async fn read_record(&self, pace: Option<&Pace>) -> Result<Record, Failure> {
        let Some(secrets) = self.secrets() else {
            return Err("its undo record is not in a cluster".to_owned().into());
        };
        let read = async || match secrets.head(&self.work.key, &self.work.name).await? {
            Some(head) => secrets.body(&head).await.map(Some),
            None => Ok(None),
        };
        let body = loop {
            match (read().await, pace) {
                (Err(UndoError::Refused(refusal)), Some(pace)) if refusal.reason.is_transient() => {
                    tracing::warn!(%refusal, "asking for the undo record again");
                    pace.pause(ASK_AGAIN).await?;
                }
                (read, _) => break read.map_err(|error| error_text(&error))?,
            }
        };
        let body = body.ok_or("the undo record is lost, so nothing may be written".to_owned())?;
        serde_json::from_slice(&body)
            .map_err(|error| format!("the undo record cannot be read: {error}").into())
    }

    /// Takes what undoes the run over from the incarnation before, and reads it anew.
    pub(super) async fn take_record_over(
        &self,
        writer: &Writer,
        way: Way,
    ) -> Result<Arc<Record>, Failure> {
        let Some(secrets) = self.secrets() else { return self.record().await };
        let until = Instant::now() + PATIENCE;
        loop {
            let taken = secrets.take_over(writer.mark.epoch, &self.work.key, &self.work.name).await;
            match taken {
                Ok(()) => break,
                Err(UndoError::Refused(refusal))
                    if refusal.reason.is_transient()
                        && (way == Way::Forward || Instant::now() < until) =>
                {
                    tracing::warn!(%refusal, "trying again");
                    writer.pace.pause(ASK_AGAIN).await?;
                }
                // On the way back it is only read: what refuses it must not be in the way, and a
                // log that was restored counts from less again.
                Err(error @ (UndoError::Superseded { .. } | UndoError::Refused(_)))
                    if way == Way::Back =>
                {
                    tracing::warn!(%error, "the undo record is not taken over");
                    break;
                }
                Err(error) => return Err(error_text(&error).into()),
            }
        }
        let record = Arc::new(self.read_record(Some(&writer.pace)).await?);
        self.known.lock().await.record = Some(record.clone());
        Ok(record)
    }

    /// Stores a record, which the mark `prepared` will name.
    pub(super) async fn store(&self, record: &Record) -> Result<(), Failure> {
        let UndoStore::Secrets { secrets, fresh, .. } = &self.work.undo else { return Ok(()) };
        let stored = secrets.store_body(&self.work.key, &self.work.name, &record.to_json()).await;
        let body = stored.map_err(|error| {
            format!("what undoes this run cannot be stored: {}", error_text(&error))
        })?;
        *fresh.lock().await = Some(body);
        Ok(())
    }

    /// Stores a record in place of the one that was prepared.
    pub(super) async fn replace(&self, epoch: Epoch, record: Record) -> Result<(), Failure> {
        let Some(secrets) = self.secrets() else { return Ok(()) };
        let (key, name) = (&self.work.key, &self.work.name);
        let replaced = async {
            let body = secrets.store_body(key, name, &record.to_json()).await?;
            secrets.replace_body(epoch, key, name, &body).await
        };
        replaced.await.map_err(|error| {
            format!("what undoes this run cannot be stored: {}", error_text(&error))
        })?;
        self.known.lock().await.record = Some(Arc::new(record));
        Ok(())
    }

    pub(super) fn secrets(&self) -> Option<&UndoSecrets> {
        match &self.work.undo {
            UndoStore::Secrets { secrets, .. } => Some(secrets),
            UndoStore::Disk(_) => None,
        }
    }

    pub(super) fn mark(&self, epoch: Epoch) -> RunMark {
        let (run, workflow) = (self.work.key.run.clone(), self.work.name.clone());
        RunMark { run, workflow, epoch, claimed: false }
    }

    pub(super) fn plan_part(&self) -> PlanPart {
        PlanPart { plan: (*self.work.workflow).clone(), params: self.work.params.clone() }
    }

    pub(super) fn limits(&self, deploy: &Deploy) -> Limits {
        let grace = u64::try_from(self.work.degrade_grace.as_millis()).unwrap_or(u64::MAX);
        Limits { settle: deploy.settle, grace: Span(grace), ..Limits::default() }
    }
}
