//! Looking for what a workflow owes in a cluster, when its agent starts.

use std::time::Duration;

use lockstep_shared::id::WorkflowName;

use super::Base;
use crate::{
    error_text,
    kubernetes::undo::UndoSecrets,
    state::Home,
    undo::{Noted, UndoStore},
};

/// The pause before the cluster is asked again.
const ASK_AGAIN: Duration = Duration::from_secs(5);

/// Notes the runs that something may still be owed from: in the agent's own cluster, or where it
/// kept records earlier. Asks for as long as the cluster does not answer; an agent that may not look
/// there has no Kubernetes workflow, or hears of it in prepare.
pub(super) async fn in_cluster(
    base: Base,
    workflow: WorkflowName,
    home: Option<Home>,
    noted: Noted,
) {
    let (pipeline, access) = (&base.options.pipeline, &base.options.kubernetes);
    let context = home.as_ref().map(|home| home.context.as_str());
    let found = match &home {
        Some(home) => access.home(home).await,
        None => access.cluster_at_last(None).await,
    };
    let cluster = match found {
        Ok(cluster) => cluster,
        Err(error) => {
            tracing::warn!(
                %workflow, context, "what is owed in the cluster cannot be seen: {error}"
            );
            return;
        }
    };
    let store = UndoStore::secrets(UndoSecrets::new(cluster), noted);
    loop {
        match store.known(pipeline, &workflow).await {
            Ok(_) => return,
            Err(error) => {
                let transient = error.is_transient();
                tracing::warn!(
                    %workflow, context, "what is owed in the cluster cannot be seen: {}",
                    error_text(&error)
                );
                if !transient {
                    return;
                }
            }
        }
        tokio::time::sleep(ASK_AGAIN).await;
    }
}
