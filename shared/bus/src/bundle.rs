//! Bundles: manifests, files and views of plans, in chunks of write-once slots (PROTOCOL section 2).

use lockstep_shared::{
    id::{PipelineName, WorkflowName},
    time::Timestamp,
};
use tokio::time::Instant;

use crate::connect::Bus;

/// The largest bundle, in bytes.
pub const MAX_BUNDLE_BYTES: usize = 64 * 1024 * 1024;

/// Why a bundle cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// x
    #[error("x")]
    X,
}

impl Bus {
    /// Stores a bundle, or finds it stored this month already; its digest, `<yyyymm>-<sha256 hex>`.
    ///
    /// # Errors
    /// [`BundleError`].
    pub async fn put_bundle(
        &self,
        _pipeline: &PipelineName,
        _workflow: &WorkflowName,
        _content: &[u8],
        _now: Timestamp,
        _until: Instant,
    ) -> Result<String, BundleError> {
        panic!("being written")
    }

    /// Reads a bundle and verifies it.
    ///
    /// # Errors
    /// [`BundleError`].
    pub async fn get_bundle(
        &self,
        _pipeline: &PipelineName,
        _workflow: &WorkflowName,
        _digest: &str,
        _until: Instant,
    ) -> Result<Vec<u8>, BundleError> {
        panic!("being written")
    }

    /// Copies a bundle of an earlier month to this month's digest, so that it lives long enough.
    ///
    /// # Errors
    /// [`BundleError`].
    pub async fn renew_bundle(
        &self,
        _pipeline: &PipelineName,
        _workflow: &WorkflowName,
        _digest: &str,
        _now: Timestamp,
        _until: Instant,
    ) -> Result<String, BundleError> {
        panic!("being written")
    }
}
