//! Rubbish in every kind of slot: whoever may publish anything at all can make the server publish
//! to any subject by way of a reply subject. Everybody skips it, and the run ends as it should.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use async_nats::{Client, HeaderMap};
use lockstep_bus::Bus;
use lockstep_shared::{
    id::RunKey,
    record::RunResult,
    subject::{Family, Slot},
};
use lockstep_tests::world::{Ended, Process, SOON, World, key, until};

const SPEC: &str = "apiVersion: lockstep.dev/v1alpha1\nkind: Pipeline\nmetadata: { name: shop }\nspec:\n  \
    params: { end: { default: 'true' } }\n  barriers: { BE: {}, FE: {} }\n  workflows:\n    \
    - name: backend\n      target: { command: {} }\n      steps:\n        \
    - run: { command: echo backend >> done, undo: rm -f done }\n        - barrier: BE\n        - barrier: FE\n    \
    - name: frontend\n      target: { command: {} }\n      steps:\n        - barrier: BE\n        \
    - run: { command: '${{ params.end }}', undo: 'true' }\n        - barrier: FE\n";

fn shop(world: &World) -> Result<PathBuf> {
    let folder = world.folder().join("shop");
    std::fs::create_dir(&folder)?;
    std::fs::write(folder.join("pipeline.yaml"), SPEC)?;
    Ok(folder)
}

/// Every family that a run of the shop uses, but its plan.
fn families() -> Result<Vec<Family>> {
    let mut families =
        vec![Family::Admission, Family::Verdict, Family::Clock, Family::Request, Family::Closed];
    for workflow in ["backend", "frontend"] {
        families.push(Family::Workflow(workflow.parse()?));
        for barrier in ["_prepare", "_commit", "BE", "FE"] {
            families.push(Family::Party(barrier.parse()?, workflow.parse()?));
        }
    }
    for barrier in ["_prepare", "BE", "FE"] {
        families.push(Family::BarrierVerdict(barrier.parse()?));
    }
    Ok(families)
}

/// The ways in which rubbish comes.
#[derive(Clone, Copy)]
enum Way {
    /// The server's acknowledgement of another publish.
    PubAck,
    /// The server's answer to a direct get: a whole foreign record with its headers.
    DirectGet,
    /// A plain publish of bytes.
    Bytes,
    /// A copy of a valid record with a position of its own choosing.
    Forged,
}

const WAYS: [Way; 4] = [Way::PubAck, Way::DirectGet, Way::Bytes, Way::Forged];

async fn litter(client: &Client, subject: String, way: Way, number: usize) -> Result<()> {
    match way {
        Way::PubAck => {
            let elsewhere = format!("lockstep.run.other.x{number}.request.1");
            client.publish_with_reply(elsewhere, subject, "nothing".into()).await?;
        }
        Way::DirectGet => {
            let ask = r#"{"last_by_subj":"lockstep.run.other.seed.request.1"}"#;
            let api = "$JS.API.DIRECT.GET.LOCKSTEP".to_owned();
            client.publish_with_reply(api, subject, ask.into()).await?;
        }
        Way::Bytes => client.publish(subject, "{\"kind\":\"Committed\"".into()).await?,
        Way::Forged => {
            let mut headers = HeaderMap::new();
            headers.insert("Nats-Sequence", "1");
            headers.insert("ce-id", "forged");
            let body =
                format!("{{\"kind\":\"Admitted\",\"protocol\":1,\"subject\":\"{subject}\"}}");
            client.publish_with_headers(subject, headers, body.into()).await?;
        }
    }
    Ok(())
}

async fn stored(bus: &Bus, key: &RunKey, slot: &Slot) -> Result<()> {
    let subject = bus.subjects().slot(key, slot);
    until(&format!("{subject} holds rubbish"), SOON, || async {
        let end = tokio::time::Instant::now() + SOON;
        match bus.get_one(&subject, end).await {
            Ok(Some(entry)) if entry.content.is_err() => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await
}

async fn littered_run(
    world: &World,
    folder: &std::path::Path,
    run: &str,
    end: &str,
) -> Result<Process> {
    let bus = world.bus().await?;
    let client = async_nats::connect(world.nats.url()).await?;
    let key = key("shop", run)?;
    client.publish("lockstep.run.other.seed.request.1", "seed".into()).await?;
    let mut number = 0;
    for family in families()? {
        // Two slots from the first, and one out of turn.
        for slot in [1, 2, 4].map(|slot| family.clone().slot(slot)) {
            let subject = bus.subjects().slot(&key, &slot);
            number += 1;
            let way = WAYS[number % WAYS.len()];
            litter(&client, subject, way, number + 1000 * usize::from(run == "r2")).await?;
            client.flush().await?;
            stored(&bus, &key, &slot).await.with_context(|| format!("rubbish {number}"))?;
        }
    }
    let end = format!("end={end}");
    let arguments = ["run", "pipeline.yaml", "--run-id", run, "--param", &end];
    world.start(&format!("run-{run}"), "lockstep", &arguments, folder)
}

#[tokio::test]
async fn rubbish_in_every_slot_kind_changes_no_outcome() -> Result<()> {
    let world = World::new().await?;
    let folder = shop(&world)?;
    let coordinator = world.ready_coordinator("coordinator").await?;
    let agent = world.agent("shop", &["backend", "frontend"], &folder, "state")?;
    let bus = world.bus().await?;
    until("the stream exists", SOON, || async {
        let end = tokio::time::Instant::now() + SOON;
        bus.read(&["lockstep.run.none.none.plan".to_owned()], 0, end)
            .await
            .map_err(|e| e.to_string())
    })
    .await?;
    for (run, end, result, code) in
        [("r1", "true", RunResult::Succeeded, 0), ("r2", "exit 7", RunResult::RolledBack, 4)]
    {
        let mut running = littered_run(&world, &folder, run, end).await?;
        let ended = running
            .end(2 * SOON)
            .await
            .with_context(|| format!("{}{}", agent.tail(), coordinator.tail()))?;
        ensure!(ended == Ended::Code(code), "{ended:?}\n{}{}", running.tail(), agent.tail());
        let key = key("shop", run)?;
        ensure!(world.closed(&bus, &key, SOON).await? == result);
        let fold = world.fold(&bus, &key).await?;
        ensure!(fold.alarm().is_none(), "{:?}", fold.alarm());
        let epoch = fold.workflows()[&"backend".parse()?].epoch;
        ensure!(epoch == 3, "joined in slot {epoch}, though two hold rubbish");
        ensure!(folder.join("done").exists() == (code == 0));
    }
    Ok(())
}
