//! What a workflow's agent is given to deploy: the objects of each of its `deploy` steps.
//!
//! Travels as compact JSON in the stream of bundles. The same manifests make the same bytes, so a
//! run that is submitted again finds its bundle there.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::id::StepIndex;

/// The largest bundle, in bytes (PROTOCOL section 2).
pub const MAX_BUNDLE_BYTES: usize = 64 * 1024 * 1024;

/// The version of the format that this build writes and reads.
const VERSION: u32 = 1;

/// The objects of each `deploy` step of one workflow.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Bundle {
    version: u32,
    /// The objects by the index of their step in the plan, in the order of their manifests.
    pub steps: BTreeMap<StepIndex, Vec<Manifest>>,
}

/// One object as it is to be applied.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// Where it was written, for messages: the path from the pipeline file, and the line.
    pub source: String,
    /// The object.
    pub object: Value,
}

/// Why bytes are no bundle of manifests.
#[derive(Debug, thiserror::Error)]
pub enum UnreadableBundle {
    /// It is not in the format.
    #[error("the bundle is not what `lockstep run` writes; submit the pipeline again")]
    Malformed(#[source] serde_json::Error),
    /// A later format.
    #[error(
        "the bundle has format {0}, and this build reads {VERSION}; use an agent of the version that submitted the run"
    )]
    Version(u32),
}

impl Bundle {
    /// A bundle of these steps.
    pub fn new(steps: BTreeMap<StepIndex, Vec<Manifest>>) -> Self {
        Self { version: VERSION, steps }
    }

    /// The bundle as it travels. Whoever stores it refuses more than [`MAX_BUNDLE_BYTES`].
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a bundle has only string and number keys")
    }

    /// Reads a bundle.
    ///
    /// # Errors
    ///
    /// If it is of another format, or none.
    pub fn from_json(bytes: &[u8]) -> Result<Self, UnreadableBundle> {
        #[derive(Deserialize)]
        struct Head {
            version: u32,
        }
        let head: Head = serde_json::from_slice(bytes).map_err(UnreadableBundle::Malformed)?;
        if head.version != VERSION {
            return Err(UnreadableBundle::Version(head.version));
        }
        serde_json::from_slice(bytes).map_err(UnreadableBundle::Malformed)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_bundle_is_read_back_as_it_was_written() {
        let object =
            json!({ "kind": "Deployment", "spec": { "strategy": { "rollingUpdate": null } } });
        let manifest = Manifest { source: "k8s/web.yaml:1".to_owned(), object };
        let bundle = Bundle::new(BTreeMap::from([(3, vec![manifest])]));
        let bytes = bundle.to_json();
        assert_eq!(
            String::from_utf8(bytes.clone()).unwrap(),
            r#"{"version":1,"steps":{"3":[{"source":"k8s/web.yaml:1","object":{"kind":"Deployment","spec":{"strategy":{"rollingUpdate":null}}}}]}}"#
        );
        assert_eq!(Bundle::from_json(&bytes).unwrap(), bundle);
    }

    #[test]
    fn another_format_is_named_and_rubbish_is_refused() {
        let later = Bundle::from_json(br#"{"version":2,"objects":[]}"#).unwrap_err();
        assert!(later.to_string().contains("format 2"), "{later}");
        for rubbish in [&b""[..], b"[]", b"{\"version\":1}", &[0xff]] {
            let refused = Bundle::from_json(rubbish);
            assert!(matches!(refused, Err(UnreadableBundle::Malformed(_))), "{refused:?}");
        }
    }
}
