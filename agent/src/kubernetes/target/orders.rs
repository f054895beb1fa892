//! What each order does, from its first request to its last.

use std::{sync::Arc, time::Duration};

use lockstep_agent_core::Told;
use lockstep_shared::{
    id::{Epoch, StepIndex},
    plan::{Action, Deploy},
    time::Timestamp,
};
use serde_json::Value;

use super::{
    super::{
        adopt::unfolded,
        apply::{Applied, Applying},
        claim::{Claimed, Way, claim},
        health::{Pin, Rules, StepHealth, StepVerdict},
        inventory::{self, Inventory, Item},
        looks::Looks,
        object::{ObjectKey, owner_label},
        order::sort_for_install,
        pace::{Ended, Pace},
        prepare::Preparing,
        preview::Preview,
        prune,
        record::{Before, Record, is_admission, is_autoscaler},
        rollback::{Rollback, Stuck, Undone},
        wanted::{Steps, Wanted, autoscalers, place},
        writer::Writer,
    },
    Failure, Inner,
};
use crate::error_text;

/// The pause between two looks at what is deployed.
const WATCH: Duration = Duration::from_secs(2);

/// How long what there is to see of a finished step that failed may be gathered.
const AT_ONCE: Duration = Duration::from_secs(2);

impl Inner {
    pub(super) async fn prepare(&self, epoch: Epoch, plan_only: bool) -> Result<Preview, Failure> {
        let work = &self.work;
        self.progress.tell("looking at the cluster");
        let preparing = Preparing {
            cluster: &work.cluster,
            target: &work.target,
            workflow: &work.workflow,
            mark: self.mark(epoch),
            owner: owner_label(&work.key.pipeline, &work.name),
            progress: &self.progress,
        };
        preparing.find_namespace().await?;
        if !plan_only {
            self.take_lease(epoch).await?;
        }
        let steps = self.steps().await?;
        let prepared = preparing.steps(&steps).await?;
        if !plan_only {
            let record = Record { plan: self.plan_part(), objects: prepared.objects };
            self.store(&record).await?;
            self.known.lock().await.record = Some(Arc::new(record));
        }
        let mut preview = Preview { steps: prepared.previews, dropped: Vec::new() };
        if plan_only {
            let known = inventory::read(&work.cluster, self.inventory_owner()).await;
            let dropped = dropped(known.map_err(|error| error_text(&error))?.as_ref(), &steps);
            preview.dropped = prune::preview(&work.cluster, &preparing.owner, &dropped).await;
        }
        Ok(preview)
    }

    fn inventory_owner(&self) -> inventory::Owner<'_> {
        inventory::Owner {
            pipeline: &self.work.key.pipeline,
            workflow: &self.work.name,
            namespace: &self.work.target.namespace,
        }
    }

    pub(super) async fn deploy(
        &self,
        step: StepIndex,
        deploy: &Deploy,
        epoch: Epoch,
        pace: Pace,
    ) -> Result<Told, Failure> {
        let rules = Rules::compile(&deploy.healthy).map_err(|error| error_text(&error))?;
        let writer = self.writer(epoch, pace).await?;
        self.claim(&writer, step, Way::Forward).await?;
        let steps = self.steps().await?;
        let mut wanted: Vec<&Wanted> = steps.get(&step).into_iter().flatten().collect();
        sort_for_install(&mut wanted, |wanted| &wanted.key);
        let namespace = &self.work.target.namespace;
        let scalers = writer.ask(|| autoscalers(&self.work.cluster, namespace, &steps)).await?;
        let force: Vec<String> = deploy.force_conflicts.iter().cloned().collect();
        let applying = Applying { writer: &writer, force: &force, autoscalers: &scalers };
        let mut health = StepHealth::new(self.limits(deploy), rules);
        for wanted in &wanted {
            self.progress.tell(&format!("applying {}", wanted.key));
            let object = self.apply(&applying, step, wanted).await?;
            let pin = Pin::of(&object, Timestamp(0)).map_err(|error| error_text(&error))?;
            health.pin(wanted.key.clone(), pin);
        }
        let mut looks = self.looking(health);
        let keys: Vec<ObjectKey> = wanted.iter().map(|wanted| wanted.key.clone()).collect();
        if deploy.wait {
            looks.until_healthy(&writer.pace, &self.progress).await?;
        }
        let mut told = looks.images(&keys).await;
        for key in looks.health.existence_only() {
            told.output.push_str(&format!(
                "{key}: it exists, and nothing else is known of its health; a rule for its kind \
                 in `healthy` would tell more\n"
            ));
        }
        self.known.lock().await.looks.insert(step, looks);
        Ok(told)
    }

    /// Applies one object; a pre-image that has moved on where we do not write is stored first.
    async fn apply(
        &self,
        applying: &Applying<'_>,
        step: StepIndex,
        wanted: &Wanted,
    ) -> Result<Value, Failure> {
        loop {
            applying.writer.pace.check()?;
            let record = self.record().await?;
            let before = record.of_step(step).find(|before| before.key == wanted.key);
            let before = before.ok_or_else(|| {
                format!("{} is not in the undo record, so it is not written", wanted.key)
            })?;
            match applying.object(wanted, before).await? {
                Applied::Done(object) => return Ok(object),
                Applied::Moved(pre_image) => {
                    self.moved(applying.writer.mark.epoch, &wanted.key, pre_image).await?;
                }
            }
        }
    }

    /// Stores what an object is now as what it was before this run's first write to it.
    async fn moved(&self, epoch: Epoch, key: &ObjectKey, pre_image: Value) -> Result<(), Failure> {
        let mut record = (*self.record().await?).clone();
        for before in record.objects.iter_mut().filter(|before| before.key == *key) {
            let moved = match &before.before {
                Some(known) => unfolded(known, pre_image.clone(), &before.adopt()),
                None => Ok(pre_image.clone()),
            };
            before.before = Some(moved.map_err(|error| error_text(&error))?);
        }
        self.replace(epoch, record).await
    }

    pub(super) async fn undo(
        &self,
        step: StepIndex,
        epoch: Epoch,
        pace: Pace,
    ) -> Result<Undone, Stuck> {
        let failed = |failure: Failure| Stuck { error: failure.error, left: Vec::new() };
        let writer = self.writer(epoch, pace).await.map_err(failed)?;
        let known = self.record_within(&writer.pace).await.map_err(failed)?;
        let planned = known.plan.plan.steps.get(step).map(|planned| &planned.action);
        let Some(Action::Deploy(deploy)) = planned else {
            return Err(failed(format!("its undo record has no deploy step {step}").into()));
        };
        let rollback = Rollback {
            writer: &writer,
            progress: &self.progress,
            clock: self.work.clock,
            deploy,
            limits: self.limits(deploy),
            autoscalers: known.created(is_autoscaler).collect(),
            gates: known.created(is_admission).collect(),
        };
        rollback.open().await?;
        self.claim(&writer, step, Way::Back).await.map_err(failed)?;
        let record = self.record_within(&writer.pace).await.map_err(failed)?;
        let in_doubt = self.late.rest().is_some();
        let undone = rollback.step(record.of_step(step).collect()).await?;
        if !in_doubt {
            return Ok(undone);
        }
        // What was sent before may have been carried out meanwhile.
        match writer.pace.pause(self.late.rest().unwrap_or_default()).await {
            Ok(()) => {}
            // What is known is told: another try would find the same, as late.
            Err(Ended::TimedOut(_)) => return Ok(undone),
            Err(ended) => return Err(Stuck { error: ended.to_string(), left: Vec::new() }),
        }
        rollback.open().await?;
        rollback.step(record.of_step(step).collect()).await
    }

    pub(super) async fn watch(
        &self,
        step: StepIndex,
        deploy: &Deploy,
        epoch: Epoch,
    ) -> Option<Failure> {
        if !deploy.wait {
            return None;
        }
        let mut looks = loop {
            match self.looks(step, deploy, epoch).await {
                Ok(looks) => break looks,
                Err(failure) => {
                    let (name, error) = (&self.work.name, failure.error);
                    tracing::warn!(workflow = %name, "its health cannot be watched yet: {error}");
                    tokio::time::sleep(WATCH).await;
                }
            }
        };
        loop {
            match looks.look().await {
                Ok(StepVerdict::Failed { object, why }) => {
                    // Until this is said, everybody may commit: better now than in full.
                    return Some(looks.failed(object, why, AT_ONCE).await);
                }
                Ok(StepVerdict::Settled) => std::future::pending().await,
                Ok(_) => {}
                Err(refusal) => tracing::warn!(%refusal, "looking again"),
            }
            tokio::time::sleep(WATCH).await;
        }
    }

    fn looking(&self, health: StepHealth) -> Looks {
        Looks::new(&self.work.cluster, self.work.clock, self.work.evidence, health)
    }

    /// What looks at a finished step: the looks that saw it finish, or new ones.
    async fn looks(
        &self,
        step: StepIndex,
        deploy: &Deploy,
        epoch: Epoch,
    ) -> Result<Looks, Failure> {
        // Also who only holds keeps others from taking the workflow over.
        self.keep_lease(epoch).await;
        if let Some(looks) = self.known.lock().await.looks.remove(&step) {
            return Ok(looks);
        }
        let rules = Rules::compile(&deploy.healthy).map_err(|error| error_text(&error))?;
        let mut health = StepHealth::finished(self.limits(deploy), rules);
        let steps = self.steps().await?;
        // Health is watched also where the record is lost, and what undoes the run with it.
        let record = self.record().await.ok();
        for wanted in steps.get(&step).into_iter().flatten() {
            let of_it = |before: &&Before| before.key == wanted.key;
            let before = record.as_ref().and_then(|record| record.of_step(step).find(of_it));
            let planned = before.and_then(|before| before.planned.as_ref());
            if let Some(pin) = self.pin_finished(&wanted.key, planned).await? {
                health.pin(wanted.key.clone(), pin);
            }
        }
        Ok(self.looking(health))
    }

    /// What is known of an object that an earlier incarnation saw finished; nothing, if it may be
    /// gone by now and is.
    async fn pin_finished(
        &self,
        key: &ObjectKey,
        planned: Option<&Value>,
    ) -> Result<Option<Pin>, Failure> {
        let Some(place) = place(&self.work.cluster, key).await? else { return Ok(None) };
        let live = self.work.cluster.get(&place).await?;
        let may_be_gone = matches!(key.kind.as_str(), "Job" | "Pod");
        let Some(known) = live.as_ref().or(planned.filter(|_| !may_be_gone)) else {
            return Ok(None);
        };
        let pin = Pin::of(known, Timestamp(0)).and_then(|pin| match planned {
            Some(planned) => pin.as_planned(planned),
            None => Ok(pin),
        });
        Ok(Some(pin.map_err(|error| error_text(&error))?))
    }

    pub(super) async fn finalize(&self, epoch: Epoch, pace: Pace) -> Result<Vec<String>, Failure> {
        let writer = self.writer(epoch, pace).await?;
        let steps = self.steps().await?;
        let cluster = &self.work.cluster;
        let owner = self.inventory_owner();
        let known = inventory::read(cluster, owner).await;
        let known = known.map_err(|error| error_text(&error))?;
        let left = prune::prune(&writer, dropped(known.as_ref(), &steps)).await;
        let mut items = prune::brought(&writer, steps.values().flatten()).await?;
        let told = |(item, why): &(Item, String)| {
            format!("{} was dropped and could not be deleted: {why}", item.key)
        };
        let warnings: Vec<String> = left.iter().map(told).collect();
        items.extend(left.into_iter().map(|(item, _)| item));
        if known.is_some() || !items.is_empty() {
            let inventory = Inventory::new(self.work.key.run.clone(), items);
            inventory::write(&writer, owner, known.as_ref(), &inventory).await?;
        }
        Ok(warnings)
    }

    /// Puts this incarnation's mark on everything that an earlier one wrote or may be about to
    /// write, up to a step that was started: a late request of that one then finds another version
    /// (rule 11).
    async fn claim(&self, writer: &Writer, step: StepIndex, way: Way) -> Result<(), Failure> {
        let wanted = Some((writer.mark.epoch, step));
        if writer.mark.epoch <= 1 || self.known.lock().await.claimed >= wanted {
            return Ok(());
        }
        let record = self.take_record_over(writer, way).await?;
        for before in record.objects.iter().filter(|before| before.step <= step) {
            if let Claimed::Moved(pre_image) = claim(writer, before, step, way).await? {
                self.moved(writer.mark.epoch, &before.key, pre_image.clone()).await?;
                let before = Before { before: Some(pre_image), ..before.clone() };
                claim(writer, &before, step, way).await?;
            }
        }
        self.known.lock().await.claimed = wanted;
        Ok(())
    }
}

/// What an inventory has and the steps do not bring.
fn dropped(known: Option<&Inventory>, steps: &Steps) -> Vec<Item> {
    let keys: Vec<&ObjectKey> = steps.values().flatten().map(|wanted| &wanted.key).collect();
    known.into_iter().flat_map(|known| known.dropped(keys.clone())).cloned().collect()
}
