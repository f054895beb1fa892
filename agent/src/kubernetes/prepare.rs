//! Looking at everything before anything is written (rules 2 to 6).
//!
//! Each object is read and applied in a dry run; what cannot be done, or not be undone, is refused
//! here, all of it at once. What was read is the pre-image that a rollback goes back to.

use std::collections::BTreeMap;

use futures::{StreamExt, stream};
use lockstep_shared::{
    fold::listed,
    id::StepIndex,
    plan::{Action, Deploy, KubernetesTarget, Workflow},
    time::Timestamp,
};
use serde_json::{Value, json};

use super::{
    adopt::{Adopt, Keeper, dropped, keeper, replicas},
    apply::leave_replicas,
    class::{self, Answer, Class, Outcome, Terms},
    client::{Apply, Cluster, Place, Reason, Refusal, Resource},
    defaults::defaulted,
    fields::{FieldSet, get, put},
    health::{self, Health, Pin, Related, Rules, Sight},
    looks,
    object::{ObjectKey, RUN_ANNOTATION, RunMark, mark},
    order,
    preview::{self, ObjectPreview, StepPreview},
    progress::Progress,
    record::Before,
    target::Failure,
    wanted::{Steps, Wanted, autoscalers, place},
};
use crate::error_text;

/// How many objects are looked at side by side.
const AT_ONCE: usize = 8;

/// Looks at what a workflow would do.
pub(crate) struct Preparing<'a> {
    pub(crate) cluster: &'a Cluster,
    pub(crate) target: &'a KubernetesTarget,
    pub(crate) workflow: &'a Workflow,
    pub(crate) mark: RunMark,
    pub(crate) owner: String,
    pub(crate) progress: &'a Progress,
}

/// What was found.
pub(crate) struct Prepared {
    /// Every object as it was.
    pub(crate) objects: Vec<Before>,
    /// What each step would do.
    pub(crate) previews: BTreeMap<StepIndex, StepPreview>,
}

impl Preparing<'_> {
    /// Whether the namespace is there.
    pub(crate) async fn find_namespace(&self) -> Result<(), Failure> {
        let namespace = &self.target.namespace;
        let resource =
            Resource { namespaced: false, ..Resource::built_in("v1", "Namespace", "namespaces") };
        match self.cluster.get(&Place::new(resource, None, namespace)).await {
            Ok(Some(_)) => Ok(()),
            Ok(None) => Err(format!(
                "namespace {namespace} is not in the cluster at {}; make it with `kubectl create \
                 namespace {namespace}`",
                self.cluster.url()
            )
            .into()),
            // An agent with rights in its namespace only may not look at namespaces.
            Err(refusal) if refusal.reason == Reason::Forbidden => Ok(()),
            Err(refusal) => Err(refusal.into()),
        }
    }

    /// Looks at every object of every step.
    ///
    /// # Errors
    /// [`Failure`] with everything that stands in the way.
    pub(crate) async fn steps(&self, steps: &Steps) -> Result<Prepared, Failure> {
        let mut prepared = Prepared { objects: Vec::new(), previews: BTreeMap::new() };
        if steps.is_empty() {
            return Ok(prepared);
        }
        let scalers = autoscalers(self.cluster, &self.target.namespace, steps).await?;
        let mut problems = Vec::new();
        for (step, wanted) in steps {
            let Some(planned) = self.workflow.steps.get(*step) else { continue };
            let Action::Deploy(deploy) = &planned.action else { continue };
            if let Err(error) = Rules::compile(&deploy.healthy) {
                problems.push(format!("step {:?}: {}", planned.name, error_text(&error)));
            }
            let mut preview = StepPreview::default();
            let looking = Looking { all: self, steps, step: *step, deploy, scalers: &scalers };
            let looks: Vec<_> = wanted.iter().map(|wanted| looking.object(wanted)).collect();
            let mut looks = stream::iter(looks).buffered(AT_ONCE);
            for wanted in wanted {
                let Some(looked) = looks.next().await else { break };
                match looked {
                    Ok((before, shown)) => {
                        prepared.objects.push(before);
                        preview.objects.push(shown);
                    }
                    Err(Problem::Refused(refusal)) if refusal.reason.is_transient() => {
                        return Err(refusal.into());
                    }
                    Err(problem) => problems.push(format!("{}: {problem}", wanted.source)),
                }
            }
            prepared.previews.insert(*step, preview);
        }
        if problems.is_empty() {
            return Ok(prepared);
        }
        Err(Failure { error: listed(&problems), output: problems.join("\n") })
    }
}

/// Why an object cannot be deployed.
#[derive(Debug, thiserror::Error)]
enum Problem {
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("{0}: {1}")]
    Object(ObjectKey, String),
}

/// What a dry run says of an object.
struct Judged {
    outcome: Outcome,
    /// What it would become.
    planned: Option<Value>,
    /// Whose fields it takes over, as a sentence.
    adopted: Option<String>,
}

/// Without the right owners a dry run believes that replicas which left the intent are reset.
fn kept_replicas(mut planned: Value, live: Option<&Value>, leave: &FieldSet) -> Value {
    if let Some(kept) = live.and_then(|live| get(live, &replicas()))
        && !leave.is_empty()
    {
        put(&mut planned, &replicas(), kept.clone());
    }
    planned
}

/// Looks at the objects of one step.
struct Looking<'a> {
    all: &'a Preparing<'a>,
    steps: &'a Steps,
    step: StepIndex,
    deploy: &'a Deploy,
    scalers: &'a [Value],
}

impl Looking<'_> {
    async fn object(&self, wanted: &Wanted) -> Result<(Before, ObjectPreview), Problem> {
        let problem = |why: String| Problem::Object(wanted.key.clone(), why);
        self.all.progress.tell(&format!("dry run of {}", wanted.key));
        let cluster = self.all.cluster;
        let Some(place) = place(cluster, &wanted.key).await? else {
            return self.undefined(wanted).ok_or_else(|| {
                problem(format!(
                    "the cluster serves no {} of {}, and no manifest defines it; install its \
                     definition first",
                    wanted.key.kind, wanted.key.api_version
                ))
            });
        };
        let live = cluster.get(&place).await?;
        if let Some(live) = &live {
            self.refuse_keepers(live).map_err(problem)?;
        }
        let Judged { outcome, planned, adopted } =
            self.judge(wanted, &place, live.as_ref()).await?;
        if let Outcome::Impossible(why) = &outcome {
            return Err(problem(why.to_string()));
        }
        let dropped = match (&live, &planned) {
            (Some(live), Some(planned)) => dropped(live, planned, &self.adopt()),
            _ => Ok(FieldSet::new()),
        };
        let dropped = dropped.map_err(|error| problem(error_text(&error)))?;
        let mut becomes = class::becomes(planned.as_ref().unwrap_or(&wanted.body), &dropped);
        if let Some(live) = live.as_ref().filter(|_| !dropped.is_empty()) {
            let found = defaulted(cluster, &place, live, &becomes).await?;
            becomes = found.unwrap_or(becomes);
        }
        if let Some(refused) = health::refusal(&becomes, self.deploy.wait) {
            return Err(problem(refused.to_string()));
        }
        let class = class::class(&wanted.key, live.as_ref(), &becomes);
        if let Class::OneWay(why) = class
            && outcome != Outcome::Unchanged
            && !self.deploy.accept_irreversible
        {
            return Err(problem(format!(
                "no rollback takes it back: {why}; accept that with `irreversible: accept` at the \
                 step, or take it out"
            )));
        }
        if live.is_some() && outcome != Outcome::Unchanged {
            self.refuse_lost_grants(&wanted.key, &place).await?;
        }
        let unhealthy = self.unhealthy(live.as_ref()).await?;
        let mut shown = ObjectPreview::new(wanted, &outcome, &class);
        if let Some(live) = live.as_ref().filter(|_| planned.is_some()) {
            shown.fields = preview::changes(live, &becomes, &outcome, &dropped);
        }
        shown.notes.extend(adopted);
        if let Some(why) = &unhealthy {
            shown
                .notes
                .push(format!("it is not healthy now, so a rollback is not judged by it: {why}"));
        }
        Ok((self.before(wanted, live, planned, unhealthy), shown))
    }

    fn before(
        &self,
        wanted: &Wanted,
        before: Option<Value>,
        planned: Option<Value>,
        unhealthy: Option<String>,
    ) -> Before {
        let (step, key) = (self.step, wanted.key.clone());
        let adopt = self.deploy.adopt.as_ref().map(|names| names.iter().cloned().collect());
        Before { step, key, before, planned, adopt, unhealthy }
    }

    /// The managers whose fields the step takes over.
    fn adopt(&self) -> Adopt {
        match &self.deploy.adopt {
            Some(names) => names.iter().collect(),
            None => Adopt::default(),
        }
    }

    /// An object whose kind another manifest of this workflow defines.
    fn undefined(&self, wanted: &Wanted) -> Option<(Before, ObjectPreview)> {
        self.set().find(|other| order::defines(&other.body, &wanted.key))?;
        let class = class::class(&wanted.key, None, &wanted.body);
        let outcome = Outcome::Unplanned("its definition is new".to_owned());
        let shown = ObjectPreview::new(wanted, &outcome, &class);
        Some((self.before(wanted, None, None, None), shown))
    }

    /// What is there once this step has begun.
    fn set(&self) -> impl Iterator<Item = &Wanted> {
        self.steps.range(..=self.step).flat_map(|(_, wanted)| wanted)
    }

    /// Refuses what somebody keeps who would put it back.
    fn refuse_keepers(&self, live: &Value) -> Result<(), String> {
        let keeper = keeper(live).map_err(|error| error_text(&error))?;
        let Some(name) = keeper.map(Keeper::as_str) else { return Ok(()) };
        if self.all.target.allow_managed_by.contains(name) {
            return Ok(());
        }
        Err(format!(
            "it is deployed by {name}, which would undo a rollback; take it out of there, or allow \
             it with `allowManagedBy: {name}` at the workflow's target"
        ))
    }

    /// Refuses to change a Role that grants more than the agent holds: whoever gives it back would
    /// have to hold all of that.
    async fn refuse_lost_grants(&self, key: &ObjectKey, place: &Place) -> Result<(), Problem> {
        let is_role = matches!(key.kind.as_str(), "Role" | "ClusterRole");
        if key.group() != "rbac.authorization.k8s.io" || !is_role {
            return Ok(());
        }
        // The server looks at all that a Role grants, whatever is changed in it.
        let mark = self.all.mark.to_string();
        let touch = json!({ "metadata": { "annotations": { RUN_ANNOTATION: mark } } });
        match self.all.cluster.dry_merge(place, &touch).await {
            Err(refusal) if refusal.reason == Reason::Forbidden => Err(Problem::Object(
                key.clone(),
                format!(
                    "a rollback could not give it back, since the agent does not hold all that it \
                     grants now: {}; give the agent these rights, or take the object out",
                    refusal.words
                ),
            )),
            Err(refusal) if refusal.reason.is_transient() => Err(refusal.into()),
            _ => Ok(()),
        }
    }

    async fn judge(
        &self,
        wanted: &Wanted,
        place: &Place,
        live: Option<&Value>,
    ) -> Result<Judged, Problem> {
        let problem = |why: String| Problem::Object(wanted.key.clone(), why);
        let mut body = wanted.body.clone();
        mark(&mut body, &self.all.owner, &self.all.mark);
        let leave = leave_replicas(&mut body, live, self.scalers, place)
            .map_err(|error| problem(error.to_string()))?;
        let missing: Vec<ObjectKey> = self.set().map(|wanted| wanted.key.clone()).collect();
        let force: Vec<String> = self.deploy.force_conflicts.iter().cloned().collect();
        let adopt = self.adopt();
        let terms =
            Terms { owner: &self.all.owner, adopt: &adopt, force: &force, missing: &missing };
        let (mut how, mut adopted) = (Apply::Plain, None);
        loop {
            let answered = self.all.cluster.dry_apply(place, &body, how).await;
            let answer = match &answered {
                Ok(planned) => Answer::Object(planned),
                Err(refusal) if refusal.reason.is_transient() => {
                    return Err(refusal.clone().into());
                }
                Err(Refusal { status: Some(status), .. }) if how == Apply::Force => {
                    Answer::ForcedRefusal(status)
                }
                Err(Refusal { status: Some(status), .. }) => Answer::Refusal(status),
                Err(refusal) => return Err(refusal.clone().into()),
            };
            let outcome = class::judge(&wanted.key, live, answer, &terms)
                .map_err(|error| problem(error_text(&error)))?;
            if let (Outcome::Adopt(conflicts), Apply::Plain) = (&outcome, how) {
                adopted = Some(format!("takes over: {}", listed(conflicts)));
                how = Apply::Force;
                continue;
            }
            let planned = answered.ok().map(|planned| kept_replicas(planned, live, &leave));
            return Ok(Judged { outcome, planned, adopted });
        }
    }

    /// Why an object is not healthy now, if it is there and is not.
    async fn unhealthy(&self, live: Option<&Value>) -> Result<Option<String>, Problem> {
        let Some(live) = live else { return Ok(None) };
        let rules = Rules::compile(&self.deploy.healthy).unwrap_or_default();
        let Ok(pin) = Pin::of(live, Timestamp(0)) else { return Ok(None) };
        let related: Related = looks::related(self.all.cluster, live).await?;
        let look = health::judge(Sight { object: Some(live), related: &related }, &pin, &rules);
        let unhealthy = matches!(look.health, Health::Failed | Health::InProgress);
        Ok(unhealthy.then_some(look.text))
    }
}
