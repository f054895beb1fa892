//! What the undo record of a run holds: the objects as they were before its first write.
//!
//! Everything that an undo needs is in here, so that it needs neither the bundle nor the log. How
//! it is stored is `undo`'s business.

use lockstep_shared::id::StepIndex;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{adopt::Adopt, object::ObjectKey};
use crate::undo::PlanPart;

/// A run's undo record.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Record {
    /// The workflow as planned.
    #[serde(flatten)]
    pub(crate) plan: PlanPart,
    /// Every object that a step of it writes.
    pub(crate) objects: Vec<Before>,
}

/// One object before the run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Before {
    /// The step that writes it.
    pub(crate) step: StepIndex,
    /// Which object.
    pub(crate) key: ObjectKey,
    /// Its pre-image; none if it was not there.
    pub(crate) before: Option<Value>,
    /// What the dry run said that it would become; none if there could be none.
    pub(crate) planned: Option<Value>,
    /// The managers whose fields the step takes over; none means the target's default.
    pub(crate) adopt: Option<Vec<String>>,
    /// Why it was not healthy, if it was not: then a rollback does not wait for that.
    pub(crate) unhealthy: Option<String>,
}

impl Before {
    /// The managers whose fields the step takes over.
    pub(crate) fn adopt(&self) -> Adopt {
        match &self.adopt {
            Some(names) => names.iter().collect(),
            None => Adopt::default(),
        }
    }
}

/// Whether objects of this kind decide how many replicas others have.
pub(crate) fn is_autoscaler(key: &ObjectKey) -> bool {
    key.group() == "autoscaling" && key.kind == "HorizontalPodAutoscaler"
}

/// Whether objects of this kind decide what the API server lets in: webhooks and policies.
pub(crate) fn is_admission(key: &ObjectKey) -> bool {
    key.group() == "admissionregistration.k8s.io"
}

impl Record {
    /// The objects of one step.
    pub(crate) fn of_step(&self, step: StepIndex) -> impl Iterator<Item = &Before> {
        self.objects.iter().filter(move |object| object.step == step)
    }

    /// What the run makes, of some kinds.
    pub(crate) fn created(&self, of: fn(&ObjectKey) -> bool) -> impl Iterator<Item = &Before> {
        let is_new = |object: &&Before| object.before.is_none();
        self.objects.iter().filter(is_new).filter(move |object| of(&object.key))
    }

    /// As it is stored.
    pub(crate) fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a record has only string keys")
    }
}
