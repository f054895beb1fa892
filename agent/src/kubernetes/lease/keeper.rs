//! Asking for the Lease, and renewing it for as long as it is needed.

use std::{sync::Arc, time::Duration};

use lockstep_shared::{
    id::{PipelineName, RunId},
    time::{Span, Timestamp},
};
use serde_json::{Value, json};
use tokio::{
    sync::{Mutex, watch},
    task::JoinSet,
};

use super::{LASTS, Move, Seen, decide};
use crate::{
    error_text,
    kubernetes::{
        client::{Cluster, Delete, Pass, Place, Reason, Refusal, Resource, WRITE_LIMIT},
        object::{RunMark, resource_version},
        undo::UndoSecrets,
    },
    run::Clock,
};

/// How often it is renewed.
const RENEW: Duration = Duration::from_secs(5);

/// How soon it is looked at again while somebody else has it, or the server does not answer.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// How long one look may take: several have to fit into the time that it lasts.
const TURN_LIMIT: Duration = Duration::from_secs(4);

/// How often it is tried to give it up.
const TRIES: usize = 3;

/// The annotation that says whose instance holds it.
const INSTANCE: &str = "lockstep.dev/instance";

/// Whether this agent has the Lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Nobody asked for it.
    Unasked,
    /// It is being asked for.
    Asked,
    /// Not now: who has it, or why not.
    NotHeld(String),
    /// Until then, by our own clock, unless it is renewed.
    Held(Timestamp),
}

/// The Lease of one workflow in one run; clones share it.
#[derive(Clone)]
pub(crate) struct Lease {
    state: watch::Sender<State>,
    keeping: Arc<Mutex<Option<Keeping>>>,
    clock: Clock,
}

/// What is kept, by a task that ends with this.
struct Keeping {
    keeper: Arc<Keeper>,
    task: JoinSet<()>,
}

/// What it takes to keep a Lease.
struct Keeper {
    cluster: Cluster,
    place: Place,
    holder: RunMark,
    instance: String,
    pipeline: PipelineName,
    undo: UndoSecrets,
    clock: Clock,
    state: watch::Sender<State>,
    /// The version of the Lease that we wrote last.
    version: Mutex<Option<String>>,
}

/// Who wants a Lease, and where.
pub(crate) struct Wish<'a> {
    /// The namespace of the objects.
    pub(crate) namespace: &'a str,
    /// Who.
    pub(crate) holder: RunMark,
    /// This agent.
    pub(crate) instance: &'a str,
    /// The workflow's pipeline.
    pub(crate) pipeline: &'a PipelineName,
}

impl Lease {
    pub(crate) fn new(clock: Clock) -> Self {
        Self { state: watch::Sender::new(State::Unasked), keeping: Arc::default(), clock }
    }

    /// Follows whether it is held.
    pub(crate) fn watch(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }

    /// Has it kept from now on for this holder.
    pub(crate) async fn keep(&self, cluster: &Cluster, undo: &UndoSecrets, wish: Wish<'_>) {
        let mut keeping = self.keeping.lock().await;
        if keeping.as_ref().is_some_and(|kept| kept.keeper.holder == wish.holder) {
            return;
        }
        let name = format!("lockstep.{}.{}", wish.pipeline, wish.holder.workflow);
        let keeper = Arc::new(Keeper {
            cluster: cluster.clone(),
            place: Place::new(Resource::lease(), Some(wish.namespace), &name),
            holder: wish.holder,
            instance: wish.instance.to_owned(),
            pipeline: wish.pipeline.clone(),
            undo: undo.clone(),
            clock: self.clock,
            state: self.state.clone(),
            version: Mutex::new(None),
        });
        self.state.send_replace(State::Asked);
        let mut task = JoinSet::new();
        task.spawn(keep(keeper.clone()));
        *keeping = Some(Keeping { keeper, task });
    }

    /// Ends once it is held for longer than a write may take.
    ///
    /// # Errors
    /// Who has it, or why it is not held, once `limit` is over.
    pub(crate) async fn held(&self, limit: Duration) -> Result<(), String> {
        let mut state = self.state.subscribe();
        let until = tokio::time::Instant::now() + limit;
        loop {
            let found = state.borrow_and_update().clone();
            if self.covers_a_write(&found) {
                return Ok(());
            }
            if tokio::time::timeout_at(until, state.changed()).await.is_err() {
                return Err(not_held(&found, limit));
            }
        }
    }

    fn covers_a_write(&self, state: &State) -> bool {
        let write = Span(u64::try_from(WRITE_LIMIT.as_millis()).unwrap_or(u64::MAX));
        matches!(state, State::Held(until) if self.clock.now().after(write) < *until)
    }

    /// Gives it up, so that the next holder need not wait; at the latest it runs out by itself.
    pub(crate) async fn release(&self) {
        let mut keeping = self.keeping.lock().await;
        let Some(kept) = keeping.as_mut() else { return };
        kept.task.shutdown().await;
        self.state.send_replace(State::Unasked);
        let keeper = kept.keeper.clone();
        if let Err(refusal) = keeper.give_up().await {
            tracing::warn!(%refusal, "the Lease runs out by itself");
        }
        // Only now: who is cut off here tries again.
        *keeping = None;
    }
}

fn not_held(state: &State, limit: Duration) -> String {
    let limit = limit.as_secs_f64();
    match state {
        State::NotHeld(why) => format!("the workflow's Lease is not held after {limit} s: {why}"),
        _ => format!("the workflow's Lease was not renewed within {limit} s"),
    }
}

async fn keep(keeper: Arc<Keeper>) {
    let mut sight = None;
    loop {
        let asked = keeper.clock.now();
        let turn = tokio::time::timeout(TURN_LIMIT, keeper.turn(&mut sight, asked)).await;
        let held = match turn {
            Ok(Ok(None)) => true,
            Ok(Ok(Some(why))) => {
                keeper.tell(State::NotHeld(why));
                false
            }
            Ok(Err(refusal)) => keeper.failed(refusal.to_string()),
            Err(_) => keeper.failed("the API server does not answer".to_owned()),
        };
        if held {
            keeper.tell(State::Held(asked.after(LASTS)));
        }
        tokio::time::sleep(if held { RENEW } else { LOOK_AGAIN }).await;
    }
}

/// Which version of a Lease was first seen when.
type Sight = Option<(String, Timestamp)>;

impl Keeper {
    fn tell(&self, state: State) {
        self.state.send_if_modified(|known| {
            let changed = *known != state;
            *known = state;
            changed
        });
    }

    /// It is held until it runs out, whatever failed.
    fn failed(&self, why: String) -> bool {
        let is_held =
            matches!(&*self.state.borrow(), State::Held(until) if self.clock.now() < *until);
        if is_held {
            tracing::warn!(lease = %self.place, why, "not renewed; trying again");
        } else {
            self.tell(State::NotHeld(why));
        }
        false
    }

    /// Renews or takes it; who has it, if that may not be.
    async fn turn(&self, sight: &mut Sight, now: Timestamp) -> Result<Option<String>, Refusal> {
        let mut version = self.version.lock().await;
        if let Some(known) = version.clone() {
            match self.write(Some(&known), now).await {
                Ok(written) => {
                    *version = written;
                    return Ok(None);
                }
                Err(refusal) if matches!(refusal.reason, Reason::Stale | Reason::NotFound) => {
                    *version = None;
                }
                Err(refusal) => return Err(refusal),
            }
        }
        let found = self.cluster.get(&self.place).await?;
        let seen = found.as_ref().map(|found| self.see(found, sight));
        let wait = match decide(&self.holder, &self.instance, seen.as_ref()) {
            Move::Take => None,
            Move::TakeIfSettled(run) => self.owing(&run).await,
            Move::Wait(whom) => Some(format!("{whom} holds it")),
            Move::Superseded(epoch) => Some(format!("epoch {epoch} has taken over")),
        };
        if wait.is_some() {
            return Ok(wait);
        }
        *version = self.write(found.as_ref().and_then(resource_version), now).await?;
        Ok(None)
    }

    /// Deletes it, unless somebody else has taken it meanwhile.
    async fn give_up(&self) -> Result<(), Refusal> {
        let mut version = self.version.lock().await;
        // Whoever was cut off here tries again: it is known until it is gone.
        let mut known = match version.clone() {
            Some(version) => Some(version),
            None => self.held().await?,
        };
        for _ in 0..TRIES {
            let Some(known_version) = known else { break };
            let only_ours = Delete { resource_version: Some(known_version), ..Delete::default() };
            match self.cluster.delete(Pass::bookkeeping(), &self.place, only_ours).await {
                // A renewal whose answer was not waited for has made it another version.
                Err(refusal) if refusal.reason == Reason::Stale => known = self.held().await?,
                Err(refusal) => return Err(refusal),
                Ok(_) => break,
            }
        }
        *version = None;
        Ok(())
    }

    /// The version in which we hold it, if we do.
    async fn held(&self) -> Result<Option<String>, Refusal> {
        let found = self.cluster.get(&self.place).await?;
        let holder = found.as_ref().and_then(|found| found.pointer("/spec/holderIdentity"));
        let is_ours = holder.and_then(Value::as_str) == Some(&self.holder.to_string());
        let version = found.as_ref().and_then(resource_version);
        Ok(version.filter(|_| is_ours).map(str::to_owned))
    }

    async fn owing(&self, run: &RunId) -> Option<String> {
        match self.undo.owes(&self.pipeline, &self.holder.workflow, run).await {
            Ok(false) => None,
            Ok(true) => Some(format!(
                "run {run} held it last and left something to be undone; settle it with `lockstep \
                 rollback resume {run}` or `lockstep rollback accept {run} --reason TEXT`"
            )),
            Err(error) => Some(format!(
                "run {run} held it last, and whether it left something to be undone cannot be \
                 seen: {}",
                error_text(&error)
            )),
        }
    }

    fn see(&self, found: &Value, sight: &mut Sight) -> Seen {
        let now = self.clock.now();
        let version = resource_version(found).unwrap_or_default();
        let since = match sight {
            Some((known, since)) if known == version => *since,
            _ => {
                *sight = Some((version.to_owned(), now));
                now
            }
        };
        let text = |pointer: &str| {
            found.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        let lasts = found.pointer("/spec/leaseDurationSeconds").and_then(Value::as_u64);
        Seen {
            holder: text("/spec/holderIdentity"),
            instance: text("/metadata/annotations/lockstep.dev~1instance"),
            lasts: lasts.map_or(LASTS, Span::seconds),
            unchanged_for: now.since(since),
        }
    }

    /// Writes our name into it, over the version that was seen; the version that it has then.
    async fn write(&self, over: Option<&str>, now: Timestamp) -> Result<Option<String>, Refusal> {
        // The API wants microseconds.
        let time = now.to_string().replace('Z', "000Z");
        let mut body = json!({
            "metadata": { "annotations": { INSTANCE: self.instance } },
            "spec": {
                "holderIdentity": self.holder.to_string(),
                "leaseDurationSeconds": LASTS.0 / 1000,
                "renewTime": time,
            },
        });
        let written = match over {
            Some(version) => {
                body["metadata"]["resourceVersion"] = version.into();
                self.cluster.merge(Pass::bookkeeping(), &self.place, &body).await?
            }
            None => {
                body["apiVersion"] = self.place.resource.api_version.clone().into();
                body["kind"] = self.place.resource.kind.clone().into();
                body["metadata"]["name"] = self.place.name.clone().into();
                self.cluster.create(Pass::bookkeeping(), &self.place, &body).await?
            }
        };
        Ok(resource_version(&written).map(str::to_owned))
    }
}
