//! Bundles: manifests, files and views of plans, in chunks of write-once slots (PROTOCOL section 2).
//!
//! A chunk carries nothing but its bytes. The reader takes chunk after chunk until what it has is
//! what the digest says, so that a bundle needs no table of contents, and nothing in a slot is
//! believed.

pub use lockstep_shared::manifest::MAX_BUNDLE_BYTES;
use lockstep_shared::{
    codec::RawMessage,
    id::{PipelineName, WorkflowName},
    subject::BUNDLE_STREAM,
    time::Timestamp,
};
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use crate::{
    append::AppendError,
    connect::Bus,
    reading::{Query, ReadError},
    slot::{Holds, SlotWrite},
};

/// The largest chunk, in bytes.
pub const CHUNK_BYTES: usize = 512 * 1024;

/// What a chunk leaves free below the server's `max_payload` (PROTOCOL section 2).
const HEADROOM_BYTES: usize = 64 * 1024;

/// How long a missing chunk is looked for: a follower may lag.
const LAG: std::time::Duration = std::time::Duration::from_secs(5);

/// How soon a missing chunk is looked for again.
const ASK_AGAIN: std::time::Duration = std::time::Duration::from_millis(50);

/// Why a bundle cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// It is too large.
    #[error(
        "the bundle of workflow {workflow} has {bytes} bytes, more than the {MAX_BUNDLE_BYTES} that fit; leave files out or split the workflow"
    )]
    TooLarge {
        /// Whose bundle.
        workflow: WorkflowName,
        /// Its size.
        bytes: usize,
    },
    /// The text is no digest.
    #[error("{0:?} is no bundle's digest; it has the form <yyyymm>-<sha256 hex>")]
    NoDigest(String),
    /// A chunk is not there.
    #[error(
        "chunk {chunk} of bundle {digest} of workflow {workflow} is not in the stream; it may have expired: submit the pipeline again"
    )]
    Missing {
        /// Whose bundle.
        workflow: WorkflowName,
        /// The bundle.
        digest: String,
        /// The missing chunk.
        chunk: u32,
    },
    /// The chunks are not what the digest says.
    #[error(
        "bundle {digest} of workflow {workflow} is not what its digest says: somebody else wrote into its slots. Nothing of it is used; submit the pipeline with a change, or next month"
    )]
    Corrupt {
        /// Whose bundle.
        workflow: WorkflowName,
        /// The bundle.
        digest: String,
    },
    /// A chunk could not be stored.
    #[error("cannot store the bundle of workflow {workflow}")]
    Append {
        /// Whose bundle.
        workflow: WorkflowName,
        /// Why.
        source: AppendError,
    },
    /// A chunk could not be asked for.
    #[error("cannot fetch the bundle of workflow {workflow}")]
    Read {
        /// Whose bundle.
        workflow: WorkflowName,
        /// Why.
        source: ReadError,
    },
}

/// One bundle's slots.
struct Place<'a> {
    pipeline: &'a PipelineName,
    workflow: &'a WorkflowName,
    digest: &'a str,
}

impl Bus {
    /// Stores a bundle, or finds it stored this month already; its digest, `<yyyymm>-<sha256 hex>`.
    /// Chunks that an interrupted upload left are used.
    ///
    /// # Errors
    /// [`BundleError`].
    pub async fn put_bundle(
        &self,
        pipeline: &PipelineName,
        workflow: &WorkflowName,
        content: &[u8],
        now: Timestamp,
        until: Instant,
    ) -> Result<String, BundleError> {
        if content.len() > MAX_BUNDLE_BYTES {
            return Err(BundleError::TooLarge { workflow: workflow.clone(), bytes: content.len() });
        }
        let digest = digest_of(content, now);
        let place = Place { pipeline, workflow, digest: &digest };
        let found = self.fetch_bundle(&place, Patience::None, until).await?;
        if found != Fetched::Whole(content.to_vec()) {
            self.upload(&place, content, until).await?;
        }
        Ok(digest)
    }

    /// Reads a bundle and verifies it.
    ///
    /// # Errors
    /// [`BundleError`].
    pub async fn get_bundle(
        &self,
        pipeline: &PipelineName,
        workflow: &WorkflowName,
        digest: &str,
        until: Instant,
    ) -> Result<Vec<u8>, BundleError> {
        if !is_digest(digest) {
            return Err(BundleError::NoDigest(digest.to_owned()));
        }
        let place = Place { pipeline, workflow, digest };
        match self.fetch_bundle(&place, Patience::Lag, until).await? {
            Fetched::Whole(content) => Ok(content),
            Fetched::MissingAt(chunk) => Err(BundleError::Missing {
                workflow: workflow.clone(),
                digest: digest.to_owned(),
                chunk,
            }),
            Fetched::Corrupt => Err(place.corrupt()),
        }
    }

    /// Copies a bundle of an earlier month to this month's digest, so that it lives long enough.
    ///
    /// # Errors
    /// [`BundleError`].
    pub async fn renew_bundle(
        &self,
        pipeline: &PipelineName,
        workflow: &WorkflowName,
        digest: &str,
        now: Timestamp,
        until: Instant,
    ) -> Result<String, BundleError> {
        let content = self.get_bundle(pipeline, workflow, digest, until).await?;
        self.put_bundle(pipeline, workflow, &content, now, until).await
    }

    async fn upload(
        &self,
        place: &Place<'_>,
        content: &[u8],
        until: Instant,
    ) -> Result<(), BundleError> {
        let size = CHUNK_BYTES.min(self.max_payload().saturating_sub(HEADROOM_BYTES)).max(1);
        let chunks: Vec<&[u8]> =
            if content.is_empty() { vec![content] } else { content.chunks(size).collect() };
        let headers = [("Nats-Expected-Stream".to_owned(), BUNDLE_STREAM.to_owned())];
        for (number, chunk) in (1..).zip(chunks) {
            let write = SlotWrite {
                stream: BUNDLE_STREAM,
                subject: &place.slot(self, number),
                event: &uuid::Uuid::now_v7().to_string(),
                headers: &headers,
                payload: chunk,
            };
            let ours = |stored: &RawMessage| stored.payload == chunk;
            match self.fill_slot(&write, ours, until).await {
                Ok(Holds::Ours(_)) => {}
                Ok(Holds::Other(_)) => return Err(place.corrupt()),
                Err(source) => {
                    return Err(BundleError::Append { workflow: place.workflow.clone(), source });
                }
            }
        }
        Ok(())
    }

    async fn fetch_bundle(
        &self,
        place: &Place<'_>,
        patience: Patience,
        until: Instant,
    ) -> Result<Fetched, BundleError> {
        let mut content = Vec::new();
        let mut hash = Sha256::new();
        for number in 1.. {
            let Some(chunk) = self.fetch_chunk(place, number, patience, until).await? else {
                return Ok(Fetched::MissingAt(number));
            };
            // A chunk without content is the whole of an empty bundle, or none of ours.
            let stray = chunk.is_empty() && number > 1;
            hash.update(&chunk);
            content.extend_from_slice(&chunk);
            if place.digest.ends_with(&hex(&hash.clone().finalize())) {
                return Ok(Fetched::Whole(content));
            }
            if stray || chunk.is_empty() || content.len() > MAX_BUNDLE_BYTES {
                return Ok(Fetched::Corrupt);
            }
        }
        Ok(Fetched::Corrupt)
    }

    async fn fetch_chunk(
        &self,
        place: &Place<'_>,
        number: u32,
        patience: Patience,
        until: Instant,
    ) -> Result<Option<Vec<u8>>, BundleError> {
        let subject = place.slot(self, number);
        let long_enough = until.min(Instant::now() + LAG);
        loop {
            let found = self.direct_get(BUNDLE_STREAM, &Query::InSubject(&subject), until).await;
            let read = |source| BundleError::Read { workflow: place.workflow.clone(), source };
            if let Some(stored) = found.map_err(read)? {
                return Ok(Some(stored.payload));
            }
            if patience == Patience::None || Instant::now() + ASK_AGAIN >= long_enough {
                return Ok(None);
            }
            tokio::time::sleep(ASK_AGAIN).await;
        }
    }
}

/// Whether a chunk that is not there may be on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Patience {
    None,
    Lag,
}

/// What a bundle's slots hold.
#[derive(Debug, PartialEq, Eq)]
enum Fetched {
    Whole(Vec<u8>),
    MissingAt(u32),
    Corrupt,
}

impl Place<'_> {
    fn slot(&self, bus: &Bus, chunk: u32) -> String {
        bus.subjects().bundle(self.pipeline, self.workflow, self.digest, chunk)
    }

    fn corrupt(&self) -> BundleError {
        let (workflow, digest) = (self.workflow.clone(), self.digest.to_owned());
        BundleError::Corrupt { workflow, digest }
    }
}

/// The digest under which a bundle is stored: `<yyyymm>-<sha256 hex>`, with the month of `now` in
/// UTC.
pub fn digest_of(content: &[u8], now: Timestamp) -> String {
    let shown = now.to_string();
    let month: String = shown.chars().filter(char::is_ascii_digit).take(6).collect();
    format!("{month}-{}", hex(&Sha256::digest(content)))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Anything else could lead to other subjects.
fn is_digest(text: &str) -> bool {
    let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    text.split_once('-').is_some_and(|(month, hash)| {
        month.len() == 6
            && month.bytes().all(|byte| byte.is_ascii_digit())
            && hash.len() == 64
            && hash.bytes().all(is_hex)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_names_the_month_of_upload_and_the_content() {
        let digest = digest_of(b"", Timestamp(1_767_225_600_007));
        assert_eq!(
            digest,
            "202601-e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
        assert!(is_digest(&digest));
    }

    #[test]
    fn what_could_lead_elsewhere_is_no_digest() {
        let good = digest_of(b"x", Timestamp(0));
        for text in
            ["", "*", ">", "202601-", &good[1..], &good.replace('-', "."), &format!("{good}.1")]
        {
            assert!(!is_digest(text), "{text:?} was accepted");
        }
    }
}
