//! An agent is killed, and nobody starts it again in time: the others go back without it (PARITY 15).

use anyhow::{Context, Result, ensure};
use lockstep_shared::record::CauseSort;
use lockstep_tests::{
    proxy::When,
    stage::Objects,
    world::{SOON, key},
};

use crate::site::{DEPLOY, GOOD, RUN, Site, brings};

const GATE: &str = "  barriers: { gate: {} }\n";

/// A workflow beside the first, in another namespace.
const PEER: &str = "    - name: peer
      target: { kubernetes: { namespace: NAMESPACE } }
      steps:
        - deploy: { manifests: [peer.yaml], timeout: 2m, settle: 0s }
        - barrier: gate
";

const PEERS: &str = r#"
apiVersion: v1
kind: ConfigMap
metadata: { name: peer }
data: { version: "TAG" }
"#;

#[tokio::test]
async fn parity_15_an_agent_that_is_lost_in_its_deployment_takes_all_back_and_gives_back_its_own_when_it_comes()
-> Result<()> {
    let site = Site::empty().await?;
    let peer = site.stage.cluster.namespace("peer").await?;
    site.stage.cluster.apply(&peer, &PEERS.replace("TAG", "1")).await?;
    site.stage.write("peer.yaml", &PEERS.replace("TAG", "2"))?;
    site.brings(GOOD).await?;
    site.pipeline(&[DEPLOY, "barrier: gate"], (GATE, &PEER.replace("NAMESPACE", &peer)))?;
    let (of_web, of_peer) = (site.objects().await?, objects(&site, &peer).await?);
    let held = site.proxy.hold(When::Before, |write, _| brings(write, GOOD));
    let mut agent = site.agent().await?;
    let other = site.stage.agent("peer", &peer).await?;

    let (world, key) = (&site.stage.world, key("shop", RUN)?);
    let lose = async {
        held.reached(SOON).await?;
        site.stage.stands(RUN, "peer", "gate").await?;
        agent.kill()?;
        let bus = world.bus().await?;
        let lost =
            world.wait_for(&bus, &key, "it is lost", SOON, |fold| Some(fold.first_cause()?.sort));
        ensure!(lost.await? == CauseSort::AgentLost);
        let config = ["configmap", "peer", "-n", &peer];
        let back = |seen: &serde_json::Value| (seen["data"]["version"] == "1").then_some(());
        site.stage.cluster.sees("is back", &config, back).await?;
        world
            .wait_for(&bus, &key, "the peer has rolled back", SOON, |fold| {
                let (_, peer) =
                    fold.workflows().iter().find(|(name, _)| name.as_str() == "peer")?;
                peer.ended.as_ref().map(drop)
            })
            .await?;
        objects(&site, &peer).await?.must_be(&of_peer)?;
        ensure!(
            site.objects().await?.must_be(&of_web).is_err(),
            "nobody was there to give it back"
        );
        site.agent().await
    };
    let (run, again) = tokio::join!(site.stage.run_as(RUN), lose);
    let again = again.with_context(|| site.told(&[&agent, &other]))?;
    let ended = async {
        let said = run?.expect(4)?;
        ensure!(said.contains("the agent of web (epoch "), "{said}");
        site.is_as(&of_web).await?;
        objects(&site, &peer).await?.must_be(&of_peer)?;
        site.settled().await
    };
    site.explained(ended.await, &[&again, &other])
}

async fn objects(site: &Site, namespace: &str) -> Result<Objects> {
    Objects::live(site.stage.cluster, &[namespace]).await
}
