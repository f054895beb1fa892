//! Somebody takes away what lockstep keeps for itself, or the whole namespace, while a run is held.

use anyhow::{Result, ensure};
use lockstep_tests::{
    cluster::Cluster,
    stage::{Objects, Seat},
};

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
    let kubeconfig = cluster.kubeconfig();
    let seat =
        Seat { workflow: "backend", namespace: &home, kubeconfig, called: "home", more: &[] };
    let _agent = service.stage.seat(&seat).await?;
    let delete =
        async { cluster.kubectl(&["delete", "namespace", &service.namespace]).await.map(drop) };
    let said = service.play("gone", nothing(), delete, Tester::Waits).await?.expect(4)?;
    ensure!(said.contains("it was deleted by somebody else during the run"), "{said}");
    let left = Objects::live(cluster, &[&service.namespace]).await?;
    assert_eq!(left.names().next(), None);
    Ok(())
}
