//! Other managers of fields, who write by server-side apply.
//!
//! `kubectl apply --server-side` is none of them: it also takes over what `kubectl apply` had written.

use anyhow::{Context, Result};
use kube::api::PatchParams;
use serde_json::Value;

use super::Cluster;

/// Who makes what tests need and do not look at.
const STAGEHAND: &str = "stagehand";

impl Cluster {
    /// Applies objects of a namespace as a manager, without force.
    ///
    /// # Errors
    /// If one is refused.
    pub async fn apply_as(&self, manager: &str, namespace: &str, objects: &[Value]) -> Result<()> {
        for object in objects {
            let applied = self.looker.apply(PatchParams::apply(manager), namespace, object).await;
            let name =
                || format!("{manager} applies {} {}", object["kind"], object["metadata"]["name"]);
            applied.with_context(name)?;
        }
        Ok(())
    }

    /// Makes an object that a test needs, or makes it so.
    pub(crate) async fn make(&self, namespace: &str, object: &Value) -> Result<()> {
        let params = PatchParams::apply(STAGEHAND).force();
        let made = self.looker.apply(params, namespace, object).await;
        made.with_context(|| format!("making {} {}", object["kind"], object["metadata"]["name"]))
    }
}
