//! While a run is held after its deployment: what breaks it, what does not, and what others wrote.

use anyhow::{Result, ensure};
use lockstep_tests::{
    cluster::{BEHAVE, Cluster},
    stage::{FILE, Objects, Played, Seat, Stage},
    world::{Process, SOON, Signal},
};
use serde_json::{Value, json};

use super::{SERVICE, Service, Tester, nothing};

/// The backend is through at once, the frontend only after the gate and a slow deployment.
const PAIR: &str = r#"
apiVersion: lockstep.dev/v1alpha1
kind: Pipeline
metadata: { name: shop }
spec:
  barriers: { BE: {}, gate: { parties: [tester] } }
  workflows:
    - name: backend
      target: { kubernetes: { namespace: BACKEND } }
      steps:
        - deploy: { manifests: [backend.yaml], timeout: 2m, settle: 0s }
        - barrier: BE
    - name: frontend
      target: { kubernetes: { namespace: FRONTEND } }
      steps:
        - barrier: FIRST
        - barrier: SECOND
        - deploy: { manifests: [frontend.yaml], timeout: 2m, settle: 0s }
"#;

/// The pipeline with the frontend's two barriers in this order.
fn pair([backend, frontend]: &[String; 2], first: &str, second: &str) -> String {
    let pipeline = PAIR.replace("BACKEND", backend).replace("FRONTEND", frontend);
    pipeline.replace("FIRST", first).replace("SECOND", second)
}

/// Two workflows in a namespace each; `web` is at version 1 in both.
struct Pair {
    stage: Stage,
    namespaces: [String; 2],
    backend: Process,
    _frontend: Process,
}

impl Pair {
    async fn open() -> Result<Self> {
        let cluster = Cluster::shared().await?;
        let stage = Stage::new(cluster).await?;
        let namespaces =
            [cluster.namespace("backend").await?, cluster.namespace("frontend").await?];
        for namespace in &namespaces {
            cluster.apply(namespace, &SERVICE.replace("TAG", "1")).await?;
        }
        stage.write("backend.yaml", &SERVICE.replace("TAG", "2"))?;
        stage.write("frontend.yaml", &SERVICE.replace("TAG", "2-slow"))?;
        stage.write(FILE, &pair(&namespaces, "BE", "gate"))?;
        let seat = async |workflow: &str, namespace: &str| {
            let kubeconfig = &stage.account(workflow, namespace).await?;
            let (called, more) = (workflow, &["--degrade-grace", "1s"]);
            stage.seat(&Seat { workflow, namespace, kubeconfig, called, more }).await
        };
        let backend = seat("backend", &namespaces[0]).await?;
        let _frontend = seat("frontend", &namespaces[1]).await?;
        let pair = Self { stage, namespaces, backend, _frontend };
        pair.steady("1").await?;
        Ok(pair)
    }

    /// Writes the pipeline with the frontend's two barriers in this order.
    fn order(&self, first: &str, second: &str) -> Result<()> {
        self.stage.write(FILE, &pair(&self.namespaces, first, second))
    }

    async fn objects(&self) -> Result<Objects> {
        let [backend, frontend] = &self.namespaces;
        Objects::live(self.stage.cluster, &[backend, frontend]).await
    }

    async fn steady(&self, tag: &str) -> Result<()> {
        for namespace in &self.namespaces {
            self.stage.steady(namespace, "web", &format!("shop/web:{tag}")).await?;
        }
        Ok(())
    }

    /// Has the backend's pods be ready no more.
    async fn break_the_backend(&self) -> Result<()> {
        let behave = format!("{BEHAVE}=unready");
        let annotate = ["annotate", "pods", "-l", "app=web", &behave, "-n", &self.namespaces[0]];
        self.stage.cluster.kubectl(&annotate).await.map(drop)
    }

    /// Runs the pipeline beside something else.
    async fn beside(&self, run: &str, other: impl Future<Output = Result<()>>) -> Result<Played> {
        let (played, ()) = tokio::try_join!(self.stage.run_as(run), other)?;
        Ok(played)
    }
}

#[tokio::test]
async fn parity_34_a_backend_that_degrades_at_a_barrier_or_before_the_last_arrival_takes_all_back()
-> Result<()> {
    let pair = Pair::open().await?;
    let before = pair.objects().await?;
    // The backend waits at BE in the first run, and at the commit barrier in the second.
    for (run, first, second, stands_at) in
        [("parked", "gate", "BE", "BE"), ("committing", "BE", "gate", "_commit")]
    {
        pair.order(first, second)?;
        let meddle = async {
            pair.stage.stands(run, "backend", stands_at).await?;
            pair.stage.stands(run, "frontend", "gate").await?;
            pair.break_the_backend().await
        };
        let said = pair.beside(run, meddle).await?.expect(4)?;
        for words in ["backend failed", "degraded after it was finished", "0/2 available"] {
            ensure!(said.contains(words), "{run}: {words:?} is not in {said}");
        }
        pair.steady("1").await?;
        pair.objects().await?.must_be(&before)?;
    }
    Ok(())
}

#[tokio::test]
async fn parity_34_a_backend_that_degrades_after_the_last_arrival_is_committed_and_told()
-> Result<()> {
    let pair = Pair::open().await?;
    pair.order("BE", "gate")?;
    let meddle = async {
        pair.stage.stands("r1", "backend", "_commit").await?;
        pair.stage.open("r1", "gate").await?;
        let slow = ["deployment", "web", "-n", &pair.namespaces[1]];
        let image = "/spec/template/spec/containers/0/image";
        let begun = |seen: &Value| (seen.pointer(image)? == "shop/web:2-slow").then_some(());
        pair.stage.cluster.sees("is applied", &slow, begun).await?;
        // Nobody writes the verdict down until the backend has degraded.
        pair.stage.coordinator.signal(Signal::STOP)?;
        pair.stage.stands("r1", "frontend", "_commit").await?;
        pair.break_the_backend().await?;
        pair.backend.prints("degraded after", SOON).await?;
        pair.stage.coordinator.signal(Signal::CONT)
    };
    let said = pair.beside("r1", meddle).await?.expect(0)?;
    ensure!(said.contains("degraded after commit"), "{said}");
    let web = ["deployment", "web", "-n", &pair.namespaces[0]];
    let web = pair.stage.cluster.get(&web).await?;
    let image = web.pointer("/spec/template/spec/containers/0/image");
    assert_eq!(image, Some(&json!("shop/web:2")), "it stands");
    Ok(())
}

#[tokio::test]
async fn what_others_write_beside_us_meanwhile_survives_success_and_abort() -> Result<()> {
    let (service, _agent) = Service::open().await?;
    let before = service.objects().await?;
    let patch = r#"{"metadata":{"labels":{"example.com/team":"blue"}},"spec":{"minReadySeconds":1,"template":{"metadata":{"annotations":{"a":"b"}}}}}"#;
    let back = patch.replace("\"blue\"", "null").replace("\"b\"", "null").replace(":1", ":null");
    let by_other = async |patch: &str| {
        let words = format!("patch deployment web --field-manager=other --type=merge -p {patch}");
        service.kubectl(&words).await.map(drop)
    };
    let edit = async || {
        service.kubectl("annotate deployment,configmap web example.com/on-call=anna").await?;
        by_other(patch).await
    };
    for (run, tester, code, tag) in
        [("aborts", Tester::Refuses, 4, "1"), ("commits", Tester::Lets, 0, "2")]
    {
        let said = service.play(run, nothing(), edit(), tester).await?.expect(code)?;
        ensure!(!said.contains("left:"), "nothing is residue: {said}");
        service.steady(tag).await?;
        let web = service.object("deployment").await?;
        assert_eq!(web["metadata"]["annotations"]["example.com/on-call"], "anna");
        assert_eq!(web["metadata"]["labels"]["example.com/team"], "blue");
        assert_eq!(web["spec"]["minReadySeconds"], 1);
        assert_eq!(web["spec"]["template"]["metadata"]["annotations"]["a"], "b");
        if tester == Tester::Refuses {
            // Without their edits it is what it was.
            service.kubectl("annotate deployment,configmap web example.com/on-call-").await?;
            by_other(&back).await?;
            service.objects().await?.must_be(&before)?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_path_of_ours_that_another_takes_fails_the_run_and_is_left_as_it_is() -> Result<()> {
    let (service, _agent) = Service::open().await?;
    let before = service.objects().await?;
    let hotfix =
        async { service.kubectl("set image deployment/web app=shop/web:1.1").await.map(drop) };
    let said = service.play("hotfix", nothing(), hotfix, Tester::Waits).await?.expect(4)?;
    let image = r#".spec.template.spec.containers[name="app"].image"#;
    for words in ["backend failed", &format!("{image} was changed by kubectl-set after our apply")]
    {
        ensure!(said.contains(words), "{words:?} is not in {said}");
    }
    let residue = format!(r#"{image} was changed by "kubectl-set" after this run had written it"#);
    ensure!(said.contains(&residue), "{residue:?} is not in {said}");
    service.steady("1.1").await?;
    // All else is what it was, and the next apply of its former owner takes the rest back.
    let config = format!("{}: ConfigMap web", service.namespace);
    assert_eq!(service.objects().await?.get(&config), before.get(&config));
    service.apply(&SERVICE.replace("TAG", "1")).await?;
    service.steady("1").await?;

    // The same in what nobody watches for health.
    let edit = async {
        service.kubectl(r#"patch configmap web -p {"data":{"version":"1.1"}}"#).await.map(drop)
    };
    let said = service.play("edit", nothing(), edit, Tester::Refuses).await?.expect(4)?;
    ensure!(said.contains(r#".data.version was changed by "kubectl-patch""#), "{said}");
    assert_eq!(
        service.object("configmap").await?["data"],
        json!({ "version": "1.1", "kept": "1" })
    );
    service.steady("1").await
}

#[tokio::test]
async fn an_object_that_another_deletes_meanwhile_fails_the_run_and_is_not_brought_back()
-> Result<()> {
    let (service, _agent) = Service::open().await?;
    let delete = async { service.kubectl("delete configmap web").await.map(drop) };
    let said = service.play("gone", nothing(), delete, Tester::Waits).await?.expect(4)?;
    ensure!(said.contains("ConfigMap") && said.contains("is gone"), "{said}");
    ensure!(said.contains("it was deleted by somebody else during the run"), "{said}");
    service.steady("1").await?;
    let config = format!("{}: ConfigMap web", service.namespace);
    assert_eq!(service.objects().await?.get(&config), None);
    Ok(())
}
