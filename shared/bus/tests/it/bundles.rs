//! Bundles over a real server.

use anyhow::Result;
use lockstep_bus::bundle::{BundleError, CHUNK_BYTES};
use lockstep_shared::{
    id::{PipelineName, WorkflowName},
    time::Timestamp,
};

use crate::world::*;

const JANUARY: Timestamp = Timestamp(1_767_225_600_000);
const FEBRUARY: Timestamp = Timestamp(1_770_000_000_000);

fn names() -> (PipelineName, WorkflowName) {
    ("shop".parse().unwrap(), "backend".parse().unwrap())
}

/// Bytes that compress badly and differ in every chunk.
fn content(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|index| (index * 31 + index / 251) as u8).collect()
}

#[tokio::test]
async fn a_bundle_comes_back_as_it_was_whatever_its_size() -> Result<()> {
    let World { bus, server: _server } = World::new().await?;
    let (pipeline, workflow) = names();
    for size in [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES] {
        let content = content(size);
        let digest = bus.put_bundle(&pipeline, &workflow, &content, JANUARY, limit()).await?;
        assert!(digest.starts_with("202601-"), "{digest}");
        let found = bus.get_bundle(&pipeline, &workflow, &digest, limit()).await?;
        assert!(found == content, "{size} bytes came back otherwise");
    }
    Ok(())
}

#[tokio::test]
async fn a_bundle_is_found_again_within_its_month_and_copied_in_the_next() -> Result<()> {
    let World { bus, server: _server } = World::new().await?;
    let (pipeline, workflow) = names();
    let content = content(2 * CHUNK_BYTES + 5);
    let first = bus.put_bundle(&pipeline, &workflow, &content, JANUARY, limit()).await?;
    let stored = bus.inspect_streams(limit()).await?.bundles.messages;
    let again = bus.put_bundle(&pipeline, &workflow, &content, JANUARY, limit()).await?;
    assert_eq!((again, stored), (first.clone(), 3));
    assert_eq!(bus.inspect_streams(limit()).await?.bundles.messages, 3);

    let copy = bus.renew_bundle(&pipeline, &workflow, &first, FEBRUARY, limit()).await?;
    assert_eq!(copy, first.replace("202601", "202602"));
    assert!(bus.get_bundle(&pipeline, &workflow, &copy, limit()).await? == content);
    assert_eq!(bus.inspect_streams(limit()).await?.bundles.messages, 6);
    Ok(())
}

#[tokio::test]
async fn an_interrupted_upload_is_completed_and_a_poisoned_slot_is_never_believed() -> Result<()> {
    let world = World::new().await?;
    let (bus, (pipeline, workflow)) = (&world.bus, names());
    let content = content(2 * CHUNK_BYTES);
    let digest = bus.put_bundle(&pipeline, &workflow, &content, JANUARY, limit()).await?;
    let earlier = digest.replace("202601", "202512");
    let client = world.client().await?;
    let put = |digest: &str, chunk: u32, bytes: &[u8]| {
        let subject = bus.subjects().bundle(&pipeline, &workflow, digest, chunk);
        client.request(subject, bytes.to_vec().into())
    };
    // Only the first chunk got there.
    put(&earlier, 1, &content[..CHUNK_BYTES]).await?;
    let december = Timestamp(JANUARY.0 - 1000);
    let short = bus.get_bundle(&pipeline, &workflow, &earlier, limit()).await.unwrap_err();
    assert!(matches!(short, BundleError::Missing { chunk: 2, .. }), "{short:?}");
    assert_eq!(bus.put_bundle(&pipeline, &workflow, &content, december, limit()).await?, earlier);
    assert!(bus.get_bundle(&pipeline, &workflow, &earlier, limit()).await? == content);

    let poisoned = digest.replace("202601", "202602");
    put(&poisoned, 1, b"something else").await?;
    put(&poisoned, 2, b"").await?;
    let read = bus.get_bundle(&pipeline, &workflow, &poisoned, limit()).await.unwrap_err();
    assert!(matches!(read, BundleError::Corrupt { .. }), "{read:?}");
    let written = bus.put_bundle(&pipeline, &workflow, &content, FEBRUARY, limit()).await;
    assert!(matches!(written.unwrap_err(), BundleError::Corrupt { .. }));
    Ok(())
}

#[tokio::test]
async fn what_is_missing_too_large_or_no_digest_is_named() -> Result<()> {
    let World { bus, server: _server } = World::new().await?;
    let (pipeline, workflow) = names();
    let digest = format!("202601-{}", "a".repeat(64));
    let missing = bus.get_bundle(&pipeline, &workflow, &digest, limit()).await.unwrap_err();
    assert!(matches!(missing, BundleError::Missing { chunk: 1, .. }), "{missing:?}");
    let wrong = bus.get_bundle(&pipeline, &workflow, "latest.>", limit()).await.unwrap_err();
    assert!(matches!(wrong, BundleError::NoDigest(_)), "{wrong:?}");
    let large = vec![0; lockstep_bus::bundle::MAX_BUNDLE_BYTES + 1];
    let large = bus.put_bundle(&pipeline, &workflow, &large, JANUARY, limit()).await.unwrap_err();
    assert!(matches!(large, BundleError::TooLarge { .. }), "{large:?}");
    Ok(())
}
