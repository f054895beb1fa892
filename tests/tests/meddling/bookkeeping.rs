//! Somebody takes away what lockstep keeps for itself, or the whole namespace, while a run is held.

use std::time::Duration;

use anyhow::{Result, anyhow, ensure};
use lockstep_tests::{
    cluster::Cluster,
    stage::{Objects, PIPELINE, Seat},
    world::{SOON, until},
};
use serde_json::json;

use super::{Service, Tester, nothing};

#[tokio::test]
async fn a_lease_that_somebody_deletes_is_taken_again_and_the_run_goes_on() -> Result<()> {
    let (service, _agent) = Service::open().await?;
    let before = service.objects().await?;
    let delete = async || service.kubectl("delete leases --all").await.map(drop);
    service.play("aborts", delete(), delete(), Tester::Refuses).await?.expect(4)?;
    service.objects().await?.must_be(&before)?;
    service.play("commits", delete(), delete(), Tester::Lets).await?.expect(0)?;
    service.steady("2").await
}

#[tokio::test]
async fn a_lease_that_another_run_keeps_is_waited_for_and_its_holder_is_named() -> Result<()> {
    let (service, _agent) = Service::open().await?;
    let before = service.objects().await?;
    let name = format!("lockstep.{PIPELINE}.backend");
    let lease = json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": { "name": name, "annotations": { "lockstep.dev/instance": "elsewhere" } },
        "spec": { "holderIdentity": "r0/backend/1", "leaseDurationSeconds": 15 },
    });
    service.apply(&lease.to_string()).await?;
    let renew = async {
        for turn in 0_u32.. {
            let renewal = format!("annotate lease {name} turn={turn} --overwrite");
            if let Err(error) = service.kubectl(&renewal).await {
                return error;
            }
            tokio::time::sleep(Duration::from_secs(3)).await;
        }
        anyhow!("it was renewed for ever")
    };
    let said = tokio::select! {
        said = service.stage.run_as("held") => said?.expect(4)?,
        error = renew => return Err(error),
    };
    ensure!(said.contains("r0/backend/1 (elsewhere) holds it"), "whose it is: {said}");
    service.objects().await?.must_be(&before)?;

    // Nobody renews it any more, and that run has left nothing to be undone.
    service.play("next", nothing(), nothing(), Tester::Lets).await?.expect(0)?;
    service.steady("2").await
}

#[tokio::test]
async fn an_undo_record_that_somebody_deletes_is_still_known_or_told_as_lost_with_what_to_do()
-> Result<()> {
    let (service, mut agent) = Service::open().await?;
    let before = service.objects().await?;
    let delete = async || service.kubectl("delete secrets -l lockstep.dev/run").await.map(drop);
    service.play("known", nothing(), delete(), Tester::Refuses).await?.expect(4)?;
    service.objects().await?.must_be(&before)?;

    // Who starts anew has only what is stored.
    let mut again = None;
    let delete = async {
        agent.kill()?;
        delete().await?;
        again = Some(service.stage.agent("backend", &service.namespace).await?);
        Ok(())
    };
    let said = service.play("lost", nothing(), delete, Tester::Refuses).await?.expect(5)?;
    ensure!(said.contains("undo record"), "{said}");
    ensure!(said.contains("rollback accept"), "{said}");
    let accept = ["rollback", "accept", "lost", "--reason", "version 2 is as good", "--wait"];
    service.stage.lockstep(&accept).await?.expect(0)?;
    service.steady("2").await?;
    service.brings(&super::SERVICE.replace("TAG", "3"))?;
    service.play("next", nothing(), nothing(), Tester::Lets).await?.expect(0)?;
    service.steady("3").await
}

#[tokio::test]
async fn a_namespace_that_somebody_deletes_fails_the_run_and_leaves_nothing_to_undo() -> Result<()>
{
    let cluster = Cluster::shared().await?;
    let (service, agent) = Service::open().await?;
    drop(agent);
    let home = cluster.namespace("home").await?;
    // What an agent may do in a namespace alone goes with it: this one may do it in all.
    let kubeconfig = &service.stage.account("backend", &home).await?;
    everywhere(&service, &home).await?;
    let seat =
        Seat { workflow: "backend", namespace: &home, kubeconfig, called: "home", more: &[] };
    let _agent = service.stage.seat(&seat).await?;
    let delete =
        async { cluster.kubectl(&["delete", "namespace", &service.namespace]).await.map(drop) };
    let said = service.play("gone", nothing(), delete, Tester::Waits).await?.expect(4)?;
    ensure!(said.contains("it was deleted by somebody else during the run"), "{said}");
    // The namespace's controller may not be through when the run is.
    until("nothing is left", SOON, || async {
        let left = Objects::live(cluster, &[&service.namespace]).await;
        let left = left.map_err(|error| format!("{error:#}"))?;
        if left.names().next().is_none() { Ok(()) } else { Err(format!("{left:?}")) }
    })
    .await
}

/// Gives the agent everywhere what it may do in the service's namespace.
async fn everywhere(service: &Service, home: &str) -> Result<()> {
    let (cluster, name) = (service.stage.cluster, format!("everywhere-{}", service.namespace));
    let role = cluster.get(&["role", "lockstep.shop.backend", "-n", &service.namespace]).await?;
    let version = "rbac.authorization.k8s.io/v1";
    let namespace = cluster.get(&["namespace", home]).await?;
    let metadata = json!({ "name": name, "ownerReferences": [{
        "apiVersion": "v1", "kind": "Namespace", "name": home, "uid": namespace["metadata"]["uid"],
    }] });
    let role = json!({
        "apiVersion": version, "kind": "ClusterRole", "metadata": metadata, "rules": role["rules"],
    });
    let binding = json!({
        "apiVersion": version, "kind": "ClusterRoleBinding", "metadata": metadata,
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name },
        "subjects": [{ "kind": "ServiceAccount", "name": "agent-backend", "namespace": home }],
    });
    let both = json!({ "apiVersion": "v1", "kind": "List", "items": [role, binding] });
    cluster.apply(home, &both.to_string()).await
}
