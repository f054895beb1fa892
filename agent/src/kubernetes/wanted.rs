//! What a workflow is to bring to its namespace: the objects of its bundle, as they are applied.

use std::{collections::BTreeMap, time::Duration};

use lockstep_bus::Bus;
use lockstep_shared::{
    id::{RunKey, StepIndex, WorkflowName},
    manifest::{Bundle, Manifest, Scope, name_generated, settle_namespace},
    plan::{Action, KubernetesTarget, Workflow},
};
use serde_json::Value;
use tokio::time::Instant;

use super::{
    client::{Cluster, Place, Refusal, Resource},
    object::ObjectKey,
    secret,
};
use crate::error_text;

/// How long fetching a bundle may take.
const FETCH_LIMIT: Duration = Duration::from_secs(60);

/// One object that a step brings.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    /// Which.
    pub(crate) key: ObjectKey,
    /// Where its manifest is, for people.
    pub(crate) source: String,
    /// What is applied, but for the marks.
    pub(crate) body: Value,
}

/// The objects of each step.
pub(crate) type Steps = BTreeMap<StepIndex, Vec<Wanted>>;

/// Who wants it, and where.
pub(crate) struct Origin<'a> {
    pub(crate) bus: &'a Bus,
    pub(crate) key: &'a RunKey,
    pub(crate) name: &'a WorkflowName,
    pub(crate) workflow: &'a Workflow,
    pub(crate) target: &'a KubernetesTarget,
}

impl Origin<'_> {
    /// The objects that each `deploy` step brings.
    ///
    /// # Errors
    /// Why they are not known, for a person.
    pub(crate) async fn steps(&self, cluster: &Cluster) -> Result<Steps, String> {
        let deploys = |action: &Action| matches!(action, Action::Deploy(_));
        if !self.workflow.steps.iter().any(|step| deploys(&step.action)) {
            return Ok(Steps::new());
        }
        let mut steps = Steps::new();
        for (step, manifests) in self.bundle().await?.steps {
            let mut wanted = Vec::new();
            for (position, manifest) in manifests.into_iter().enumerate() {
                let source = manifest.source.clone();
                let found = self.wanted(cluster, step, position, manifest).await;
                wanted.push(found.map_err(|why| format!("{source}: {why}"))?);
            }
            steps.insert(step, wanted);
        }
        Ok(steps)
    }

    async fn bundle(&self) -> Result<Bundle, String> {
        let Some(digest) = &self.workflow.bundle else {
            return Err("the plan names no manifests for it; submit the pipeline again with \
                        `lockstep run`"
                .to_owned());
        };
        let until = Instant::now() + FETCH_LIMIT;
        let pipeline = &self.key.pipeline;
        let bytes = self.bus.get_bundle(pipeline, self.name, digest, until).await;
        let bytes = bytes.map_err(|error| error_text(&error))?;
        Bundle::from_json(&bytes).map_err(|error| error_text(&error))
    }

    async fn wanted(
        &self,
        cluster: &Cluster,
        step: StepIndex,
        position: usize,
        manifest: Manifest,
    ) -> Result<Wanted, String> {
        let Manifest { source, object: mut body } = manifest;
        name_generated(&mut body, self.key, self.name, step, position);
        secret::encode(&mut body);
        let text =
            |name: &str| body.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (version, kind) = (text("apiVersion"), text("kind"));
        // A kind that is not served yet is settled by its definition, once that is there.
        let resource =
            cluster.resource(&version, &kind).await.map_err(|error| error.to_string())?;
        let namespaced = resource.is_none_or(|resource| resource.namespaced);
        let scope = if namespaced { Scope::Namespaced } else { Scope::Cluster };
        settle_namespace(&mut body, scope, self.target).map_err(|error| error_text(&error))?;
        let key = ObjectKey::of(&body).map_err(|error| error_text(&error))?;
        Ok(Wanted { key, source, body })
    }
}

/// Where an object stands; `None` if its kind is not served (yet).
///
/// # Errors
/// [`Refusal`] if the server does not say.
pub(crate) async fn place(cluster: &Cluster, key: &ObjectKey) -> Result<Option<Place>, Refusal> {
    let resource = cluster.resource(&key.api_version, &key.kind).await?;
    Ok(resource.map(|resource| Place::new(resource, key.namespace.as_deref(), &key.name)))
}

/// The horizontal autoscalers of a namespace, and those that are to be brought there.
///
/// # Errors
/// [`Refusal`] if they cannot be listed.
pub(crate) async fn autoscalers(
    cluster: &Cluster,
    namespace: &str,
    steps: &Steps,
) -> Result<Vec<Value>, Refusal> {
    const KIND: &str = "HorizontalPodAutoscaler";
    let resource = Resource::built_in("autoscaling/v2", KIND, "horizontalpodautoscalers");
    let mut found = cluster.list(&resource, Some(namespace), "").await?;
    let wanted = steps.values().flatten().filter(|wanted| wanted.key.kind == KIND);
    found.extend(wanted.map(|wanted| wanted.body.clone()));
    Ok(found)
}
