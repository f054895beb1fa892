//! Whether the workflows of a run run the same images: a tag may be moved between two of them, and
//! regions or platforms may have different ones.

use std::collections::{BTreeMap, BTreeSet};

use lockstep_shared::{
    fold::{Decision, OwnDecision, RunFold, listed},
    id::WorkflowName,
};

/// How many images are warned of one by one.
const MAX_TOLD: usize = 3;

/// How much of a digest is told, in characters: enough to tell two from each other.
const TOLD_OF_DIGEST: usize = 19;

/// One warning for each image that runs with several digests. Nothing of what goes back.
pub(super) fn warnings(fold: &RunFold) -> Vec<String> {
    if matches!(fold.decision(), Decision::Aborted(_)) {
        return Vec::new();
    }
    let mut images: BTreeMap<&str, BTreeMap<&str, BTreeSet<&WorkflowName>>> = BTreeMap::new();
    let standing =
        fold.workflows().iter().filter(|(_, state)| !matches!(state.own, OwnDecision::Broken(_)));
    for (name, state) in standing {
        for (image, digests) in &state.images {
            let known = images.entry(image).or_default();
            for digest in digests {
                known.entry(digest).or_default().insert(name);
            }
        }
    }
    images.retain(|_, digests| digests.len() > 1);
    let mut warnings: Vec<String> =
        images.iter().take(MAX_TOLD).map(|(image, digests)| warning(image, digests)).collect();
    if let Some(more) = images.len().checked_sub(MAX_TOLD).filter(|more| *more > 0) {
        warnings
            .push(format!("{more} more images run with different digests; see `lockstep logs`"));
    }
    warnings
}

fn warning(image: &str, digests: &BTreeMap<&str, BTreeSet<&WorkflowName>>) -> String {
    let each = digests.iter().map(|(digest, workflows)| {
        let short: String = digest.chars().take(TOLD_OF_DIGEST).collect();
        format!("{short} in {}", listed(workflows))
    });
    format!(
        "image {image} is not the same everywhere: {}; its tag was moved, or the platforms differ \
         (name images by digest to be sure)",
        listed(each)
    )
}
