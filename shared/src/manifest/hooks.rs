//! Hooks of a Helm chart: rendered, but not meant to be applied with the rest.

use serde_json::Value;

use super::{Identity, object};
use crate::diagnostics::Findings;

/// What makes an object of a chart a hook, with the events that it is for.
const HOOK: &str = "helm.sh/hook";

/// The hooks in what `helm template` prints, each as a message names it: its object and its
/// events. What cannot be read is no hook: whoever reads the objects says what is wrong.
pub fn hooks(rendered: &str) -> Vec<String> {
    let written = object::objects(rendered, &mut Findings::default());
    written.iter().filter_map(|written| hook(&written.object)).collect()
}

fn hook(object: &Value) -> Option<String> {
    let events = object["metadata"]["annotations"].get(HOOK)?.as_str()?;
    Some(format!("{} ({events})", Identity::of(object)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hooks_are_told_with_their_events_and_other_objects_are_not() {
        let rendered = "kind: ConfigMap\napiVersion: v1\nmetadata: { name: a }\n---\n\
                        apiVersion: batch/v1\nkind: Job\nmetadata:\n  name: migrate\n  \
                        annotations: { helm.sh/hook: 'pre-install,pre-upgrade' }\n";
        assert_eq!(hooks(rendered), ["Job migrate (pre-install,pre-upgrade)"]);
        assert!(hooks("a: [").is_empty());
    }
}
