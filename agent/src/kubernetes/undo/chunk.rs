//! What is needed to undo, packed into pieces that fit into Secrets.

use std::io::{Read, Write};

use base64::{Engine, prelude::BASE64_STANDARD};
use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use lockstep_shared::id::{RunKey, WorkflowName};
use sha2::{Digest, Sha256};

use super::{Body, Head};

/// The most that one chunk holds, in bytes: a Secret holds 1 MiB.
pub const CHUNK_BYTES: usize = 900 * 1024;

/// The most that is unpacked, in bytes: far more than the objects of one workflow.
const MAX_BYTES: u64 = 256 * 1024 * 1024;

/// How much of the digest names a chunk.
const NAMED_DIGITS: usize = 12;

/// The name of a chunk's Secret: content of another preparation has another name.
pub(super) fn name(key: &RunKey, workflow: &WorkflowName, body: &Body, number: usize) -> String {
    format!("{}.{number}", stem(key, workflow, body))
}

/// Whether a Secret of this name holds a chunk of this record.
pub(super) fn is_of(head: &Head, name: &str) -> bool {
    let stem = stem(&head.key, &head.workflow, &head.body);
    name.rsplit_once('.').is_some_and(|(named, _)| named == stem)
}

fn stem(key: &RunKey, workflow: &WorkflowName, body: &Body) -> String {
    let digits = &body.digest[..NAMED_DIGITS.min(body.digest.len())];
    format!("{}.{digits}", super::head::name(key, workflow))
}

/// Packs content; each chunk as a Secret holds it.
pub(super) fn pack(content: &[u8]) -> (Body, Vec<String>) {
    let mut packer = GzEncoder::new(Vec::new(), Compression::default());
    packer.write_all(content).expect("memory takes what is written");
    let packed = packer.finish().expect("memory takes what is written");
    let chunks: Vec<String> =
        packed.chunks(CHUNK_BYTES).map(|chunk| BASE64_STANDARD.encode(chunk)).collect();
    (Body { digest: digest(content), chunks: chunks.len() }, chunks)
}

/// Unpacks what was packed, or says what is wrong with it.
pub(super) fn unpack(body: &Body, chunks: &[String]) -> Result<Vec<u8>, String> {
    let mut packed = Vec::new();
    for chunk in chunks {
        packed.extend(BASE64_STANDARD.decode(chunk).map_err(|error| error.to_string())?);
    }
    let mut content = Vec::new();
    let read = GzDecoder::new(packed.as_slice()).take(MAX_BYTES).read_to_end(&mut content);
    read.map_err(|error| error.to_string())?;
    if digest(&content) == body.digest {
        Ok(content)
    } else {
        Err("its chunks are not what its digest says".to_owned())
    }
}

fn digest(content: &[u8]) -> String {
    Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Content that no packer makes smaller.
    fn noise(length: usize) -> Vec<u8> {
        let mut state = 1_u64;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[0]
        };
        (0..length).map(|_| next()).collect()
    }

    #[test]
    fn what_is_larger_than_a_secret_comes_back_from_several() {
        let content = noise(2 * CHUNK_BYTES + 5);
        let (body, chunks) = pack(&content);
        assert_eq!((body.chunks, chunks.len()), (3, 3));
        assert_eq!(unpack(&body, &chunks), Ok(content));
    }

    #[test]
    fn a_missing_or_changed_chunk_is_noticed() {
        let (body, mut chunks) = pack(&noise(CHUNK_BYTES + 5));
        assert!(unpack(&body, &chunks[..1]).is_err());
        chunks[1] = BASE64_STANDARD.encode(b"other");
        assert!(unpack(&body, &chunks).is_err());
        let (other, _) = pack(b"other");
        let (_, chunks) = pack(b"this");
        assert!(unpack(&other, &chunks).unwrap_err().contains("digest"));
    }
}
