//! What people and their tools do by habit while a run is held: scale, drain, restart, apply again.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::{SERVICE, Service, Tester, nothing};

/// An autoscaler of the service. There are no metrics here: it sees to the least number only.
fn autoscaler(least: u32) -> String {
    json!({
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
        "metadata": { "name": "web" },
        "spec": {
            "scaleTargetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "web" },
            "minReplicas": least, "maxReplicas": 9,
        },
    })
    .to_string()
}

/// An object without its number of replicas and whoever owns that.
fn without_replicas(object: Option<&Value>) -> Result<Value> {
    let mut object = object.context("it is there")?.clone();
    let spec = object["spec"].as_object_mut().context("a spec")?;
    spec.remove("replicas");
    for entry in object["metadata"]["managedFields"].as_array_mut().context("owners")? {
        let spec = entry.pointer_mut("/fieldsV1/f:spec").and_then(Value::as_object_mut);
        spec.and_then(|spec| spec.remove("f:replicas"));
    }
    Ok(object)
}

impl Service {
    /// Waits until so many pods are wanted and available, and no others there.
    async fn has(&self, replicas: u32) -> Result<()> {
        let web = ["deployment", "web", "-n", &self.namespace];
        let whole = |seen: &Value| {
            let status = &seen["status"];
            let all =
                [&seen["spec"]["replicas"], &status["replicas"], &status["availableReplicas"]];
            let observed = status["observedGeneration"] == seen["metadata"]["generation"];
            (observed && all.iter().all(|count| **count == replicas)).then_some(())
        };
        self.stage.cluster.sees(&format!("has {replicas} pods"), &web, whole).await
    }
}

#[tokio::test]
async fn an_autoscaler_that_scales_and_pods_that_are_drained_meanwhile_abort_nothing() -> Result<()>
{
    let (service, _agent) = Service::open().await?;
    let cluster = service.stage.cluster;
    let node = format!("drained-{}", service.namespace);
    cluster.add_node(&node).await?;
    let scale_to = async |replicas: u32| {
        service.apply(&autoscaler(replicas)).await?;
        service.has(replicas).await
    };
    scale_to(2).await?;
    let name = format!("{}: Deployment web", service.namespace);
    let before = without_replicas(service.objects().await?.get(&name))?;
    // It scales before the first write as well as after it.
    let said =
        service.play("aborts", scale_to(3), scale_to(4), Tester::Refuses).await?.expect(4)?;
    ensure!(!said.contains("backend failed"), "only the tester said no: {said}");
    ensure!(!said.contains("spec.replicas"), "the number is no residue: {said}");
    service.has(4).await?;
    assert_eq!(without_replicas(service.objects().await?.get(&name))?, before);

    let meddle = async {
        scale_to(5).await?;
        // The scheduler spreads what is made anew.
        service.kubectl("delete pods -l app=web --wait=false").await?;
        let pods = ["pods", "-n", &service.namespace, "-l", "app=web"];
        let there = |pods: &Value| -> Option<usize> {
            let pods = pods["items"].as_array()?.iter();
            Some(pods.filter(|pod| pod["spec"]["nodeName"] == node.as_str()).count())
        };
        cluster.sees("are there", &pods, |pods| (there(pods)? > 0).then_some(())).await?;
        let drain = ["drain", &node, "--pod-selector", "app=web", "--force", "--timeout=60s"];
        cluster.kubectl(&drain).await?;
        cluster.sees("are elsewhere", &pods, |pods| (there(pods)? == 0).then_some(())).await?;
        service.has(5).await
    };
    service.play("commits", nothing(), meddle, Tester::Lets).await?.expect(0)?;
    service.has(5).await?;
    service.steady("2").await?;
    cluster.kubectl(&["delete", "node", &node]).await.map(drop)
}

#[tokio::test]
async fn who_scales_or_restarts_a_service_meanwhile_aborts_nothing_and_is_not_overruled()
-> Result<()> {
    let (service, _agent) = Service::open().await?;
    // Pods that take their time: the agent looks several times before all is whole again.
    let surge = "replicas: 2\n  strategy: { rollingUpdate: { maxSurge: 100% } }";
    service.brings(&SERVICE.replace("TAG", "2-slow").replace("replicas: 2", surge))?;
    let scale = async |replicas: u32| {
        service.kubectl(&format!("scale deployment web --replicas={replicas}")).await?;
        service.has(replicas).await
    };
    let restart = async || {
        scale(3).await?;
        service.kubectl("rollout restart deployment web").await?;
        service.kubectl("rollout status deployment web --timeout=60s").await.map(drop)
    };
    let said = service.play("aborts", scale(1), restart(), Tester::Refuses).await?.expect(4)?;
    ensure!(!said.contains("backend failed"), "only the tester said no: {said}");
    service.steady("1").await?;
    let web = service.object("deployment").await?;
    assert_eq!(web["spec"]["replicas"], 3, "the number is theirs");

    service.play("commits", nothing(), restart(), Tester::Lets).await?.expect(0)?;
    service.steady("2-slow").await?;
    let web = service.object("deployment").await?;
    assert_eq!(web["spec"]["replicas"], 3, "the number is theirs");
    Ok(())
}

#[tokio::test]
async fn who_applies_the_old_version_again_meanwhile_fails_the_run_and_finds_all_as_it_was()
-> Result<()> {
    let (service, _agent) = Service::open().await?;
    let before = service.objects().await?;
    let again = async { service.apply(&SERVICE.replace("TAG", "1")).await };
    let said = service.play("applied", nothing(), again, Tester::Waits).await?.expect(4)?;
    ensure!(said.contains("was changed by kubectl-client-side-apply after our apply"), "{said}");
    service.steady("1").await?;
    service.objects().await?.must_be(&before)?;

    let undo = async { service.kubectl("rollout undo deployment web").await.map(drop) };
    let said = service.play("undone", nothing(), undo, Tester::Waits).await?.expect(4)?;
    ensure!(said.contains("after our apply"), "{said}");
    service.steady("1").await
}

#[tokio::test]
async fn what_others_did_while_no_agent_looked_is_noticed_by_the_next_one() -> Result<()> {
    let (service, mut agent) = Service::open().await?;
    let config = format!("{}: ConfigMap web", service.namespace);
    for (run, words, told) in [
        ("hotfix", "set image deployment/web app=shop/web:1.1", "was changed by kubectl-set"),
        ("deleted", "delete configmap web", "is gone"),
    ] {
        let mut next = None;
        let meddle = async {
            agent.kill()?;
            service.kubectl(words).await?;
            next = Some(service.stage.agent("backend", &service.namespace).await?);
            Ok(())
        };
        let said = service.play(run, nothing(), meddle, Tester::Waits).await?.expect(4)?;
        ensure!(said.contains(told), "{run}: {told:?} is not in {said}");
        agent = next.context("there is a next one")?;
        if run == "hotfix" {
            service.steady("1.1").await?;
            service.apply(&SERVICE.replace("TAG", "1")).await?;
        }
        service.steady("1").await?;
    }
    assert_eq!(service.objects().await?.get(&config), None, "it is not brought back");
    Ok(())
}

#[tokio::test]
async fn what_the_run_made_is_deleted_whoever_wrote_into_it_but_not_what_another_made() -> Result<()>
{
    let (service, _agent) = Service::open().await?;
    let before = service.objects().await?;
    let extra =
        "---\napiVersion: v1\nkind: ConfigMap\nmetadata: { name: extra }\ndata: { a: ours }\n";
    service.brings(&format!("{}{extra}", SERVICE.replace("TAG", "2")))?;
    let edit = async {
        service.kubectl(r#"patch configmap extra -p {"data":{"b":"theirs"}}"#).await.map(drop)
    };
    service.play("edited", nothing(), edit, Tester::Refuses).await?.expect(4)?;
    service.objects().await?.must_be(&before)?;

    let remake = async {
        service.kubectl("delete configmap extra").await?;
        service.kubectl("create configmap extra --from-literal=a=theirs").await.map(drop)
    };
    let said = service.play("remade", nothing(), remake, Tester::Waits).await?.expect(4)?;
    for words in ["was deleted and made again by somebody else", "does not bear its mark"] {
        ensure!(said.contains(words), "{words:?} is not in {said}");
    }
    let kept = format!("{}: ConfigMap extra", service.namespace);
    let objects = service.objects().await?;
    objects.must_be_with(&before, &[&kept])?;
    assert_eq!(objects.get(&kept).map(|extra| &extra["data"]), Some(&json!({ "a": "theirs" })));
    Ok(())
}
