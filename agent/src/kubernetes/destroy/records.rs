//! What a workflow's agents have kept about one namespace, wherever they kept it.
//!
//! An agent keeps its records in its own namespace: that of its pod, that of a context, or another.
//! Runs for other namespaces may have left theirs there too, which are none of our business.

use std::collections::BTreeSet;

use lockstep_shared::{
    id::{PipelineName, RunId, WorkflowName},
    plan::{Target, Workflow},
};
use serde::Deserialize;

use super::{
    super::{
        client::{Cluster, Reason, Resource},
        inventory,
        undo::{Head, UndoError, UndoSecrets},
    },
    DestroyError,
};
use crate::state::Mark;

/// Whose records, about which namespace.
#[derive(Debug, Clone, Copy)]
pub(super) struct About<'a> {
    pub(super) namespace: &'a str,
    pub(super) pipeline: &'a PipelineName,
    pub(super) workflow: &'a WorkflowName,
}

/// What is kept at one place.
pub(super) struct Kept {
    secrets: UndoSecrets,
    /// The runs whose records are about the namespace.
    runs: BTreeSet<RunId>,
    /// Whether the workflow was run for other namespaces as well.
    pub(super) others: bool,
    /// The kinds, by group, of what its last committed run has brought.
    kinds: BTreeSet<(String, String)>,
}

impl Kept {
    /// Whether objects of a kind were brought.
    pub(super) fn has(&self, resource: &Resource) -> bool {
        let group = resource.api_version.split_once('/').map_or("", |(group, _)| group);
        self.kinds.contains(&(group.to_owned(), resource.kind.clone()))
    }
}

/// What counts in a record here.
#[derive(Deserialize)]
struct Planned {
    plan: Workflow,
}

impl About<'_> {
    /// All that is kept, unless a run may still have to be undone. `place`: the namespace where it
    /// is, if that is known.
    pub(super) async fn find(
        self,
        cluster: &Cluster,
        place: Option<&str>,
    ) -> Result<Vec<Kept>, DestroyError> {
        let mut all = Vec::new();
        for place in self.places(cluster, place).await? {
            let secrets = UndoSecrets::new(cluster.keeping_in(&place));
            let (runs, kinds) = (BTreeSet::new(), BTreeSet::new());
            let mut kept = Kept { secrets, runs, others: false, kinds };
            let heads = kept.secrets.heads(self.pipeline, self.workflow).await;
            for head in
                heads.map_err(|source| DestroyError::Place { place: place.clone(), source })?
            {
                if !self.is_meant(&kept.secrets, &head).await? {
                    kept.others = true;
                    continue;
                }
                if head.mark == Mark::Started {
                    let (workflow, run) = (self.workflow.clone(), head.key.run.to_string());
                    return Err(DestroyError::Owed { workflow, run, place });
                }
                kept.runs.insert(head.key.run);
            }
            let owner = self.inventory_owner();
            let others = inventory::has_others(kept.secrets.cluster(), owner).await;
            kept.others |= others.map_err(UndoError::from)?;
            match inventory::read(kept.secrets.cluster(), owner).await {
                // What cannot be read names nothing that would have to be found.
                Ok(None) | Err(UndoError::Damaged { .. }) => {}
                Ok(Some(inventory)) => {
                    let keys = inventory.objects.iter().map(|item| &item.key);
                    let kinds = keys.map(|key| (key.group().to_owned(), key.kind.clone()));
                    kept.kinds.extend(kinds);
                }
                Err(error) => return Err(error.into()),
            }
            all.push(kept);
        }
        Ok(all)
    }

    /// Where records may be: everywhere, or, for who may not look there, where agents usually are.
    async fn places(
        self,
        cluster: &Cluster,
        place: Option<&str>,
    ) -> Result<BTreeSet<String>, UndoError> {
        if let Some(place) = place {
            return Ok([place.to_owned()].into());
        }
        match UndoSecrets::namespaces(cluster, self.pipeline, self.workflow).await {
            Ok(found) => Ok(found),
            Err(refusal) if refusal.reason == Reason::Forbidden => {
                Ok([self.namespace, cluster.namespace()].map(str::to_owned).into())
            }
            Err(refusal) => Err(refusal.into()),
        }
    }

    /// Whether a record is about this namespace. What is settled owes nothing to anybody, so it
    /// may be damaged.
    async fn is_meant(self, secrets: &UndoSecrets, head: &Head) -> Result<bool, UndoError> {
        let body = match secrets.body(head).await {
            Err(UndoError::Damaged { .. }) if head.mark == Mark::Settled => return Ok(true),
            body => body?,
        };
        Ok(match serde_json::from_slice::<Planned>(&body).map(|record| record.plan.target) {
            Ok(Target::Kubernetes(target)) => target.namespace == self.namespace,
            _ => true,
        })
    }

    /// Removes it.
    pub(super) async fn forget(self, kept: Kept) -> Result<(), UndoError> {
        let owner = self.inventory_owner();
        let others = inventory::forget(kept.secrets.cluster(), owner).await? || kept.others;
        kept.secrets.forget(self.pipeline, self.workflow, &kept.runs, !others).await
    }

    fn inventory_owner(&self) -> inventory::Owner<'_> {
        let Self { namespace, pipeline, workflow } = *self;
        inventory::Owner { pipeline, workflow, namespace }
    }
}
