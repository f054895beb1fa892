//! What undoes a run is more than one Secret holds (rule 7).

use anyhow::{Context, Result, ensure};
use base64::{Engine, prelude::BASE64_STANDARD};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};

use crate::site::{RUN, Site};

const GATE: &str = "  barriers: { end: { parties: [tester], timeout: 5m } }\n";

const STEPS: [&str; 2] =
    ["deploy: { manifests: [big.yaml], timeout: 2m, settle: 0s }", "barrier: end"];

const NAMES: [&str; 3] = ["first", "second", "third"];

/// How much a ConfigMap holds that nothing can pack, in bytes.
const RANDOM: usize = 450 * 1024;

/// The most that one chunk holds.
const CHUNK: usize = 900 * 1024;

/// All of them, each with a large text or a small one.
fn manifests(text: impl Fn(usize) -> String) -> Result<String> {
    let of = |(number, name)| {
        json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": { "name": name }, "data": { "text": text(number) },
        })
    };
    let items: Vec<Value> = NAMES.into_iter().enumerate().map(of).collect();
    Ok(serde_json::to_string(&json!({ "apiVersion": "v1", "kind": "List", "items": items }))?)
}

#[tokio::test]
async fn an_undo_record_of_several_chunks_gives_everything_back_and_nobody_can_change_it()
-> Result<()> {
    let site = Site::empty().await?;
    let (stage, cluster, namespace) = (&site.stage, site.stage.cluster, site.namespace.as_str());
    let large = manifests(|number| {
        let mut bytes = vec![0; RANDOM];
        StdRng::seed_from_u64(number as u64).fill(bytes.as_mut_slice());
        BASE64_STANDARD.encode(bytes)
    })?;
    // A client-side apply would keep a copy in an annotation, which has no room for it.
    let apply = ["apply", "--server-side", "-n", namespace, "-f", "-"];
    cluster.kubectl_as(cluster.kubeconfig(), &apply, &large).await?;
    stage.write("big.yaml", &manifests(|_| "small".to_owned())?)?;
    site.pipeline(&STEPS, (GATE, ""))?;
    let before = site.objects().await?;
    let mut agent = site.agent().await?;

    let follow = async {
        stage.stands(RUN, "web", "end").await?;
        is_stored_in_chunks(&site).await?;
        // Whoever goes back has to read what is stored.
        agent.kill()?;
        let again = site.agent().await?;
        stage.refuse(RUN, "end").await?;
        anyhow::Ok(again)
    };
    let (run, again) = tokio::join!(stage.run_as(RUN), follow);
    let again = again.with_context(|| site.told(&[&agent]))?;
    let ended = async {
        run?.expect(4)?;
        site.objects().await?.must_be(&before)?;
        site.settled().await
    };
    site.explained(ended.await, &[&again])
}

/// Sees that there are several chunks, none of which is too large or can be changed.
async fn is_stored_in_chunks(site: &Site) -> Result<()> {
    let (cluster, namespace) = (site.stage.cluster, site.namespace.as_str());
    let chunks = ["secrets", "-n", namespace, "-l", "lockstep.dev/undo=chunk"];
    let chunks = cluster.get(&chunks).await?;
    let chunks = chunks["items"].as_array().context("a list")?;
    ensure!(chunks.len() > 1, "there are {} chunks", chunks.len());
    for chunk in chunks {
        let name = chunk["metadata"]["name"].as_str().context("a name")?;
        let text = chunk["data"]["chunk"].as_str().context("a chunk")?;
        let bytes = BASE64_STANDARD.decode(text)?.len();
        ensure!(bytes <= CHUNK, "{name} has {bytes} bytes");
        ensure!(chunk["immutable"] == true, "{name} can be changed");
        let other = r#"{"data":{"chunk":"AAAA"}}"#;
        let patch = ["patch", "secret", name, "-n", namespace, "--type=merge", "-p", other];
        let refused = cluster.kubectl(&patch).await.err().context("it was changed")?;
        ensure!(format!("{refused:#}").contains("immutable"), "{refused:#}");
    }
    Ok(())
}
