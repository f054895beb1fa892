//! More than one place: crossed barriers before namespaces, regions in two clusters.

use anyhow::{Result, ensure};
use lockstep_tests::{
    cluster::Cluster,
    stage::{FILE, Objects, Seat, Stage},
    world::Process,
};

/// Two workflows that meet at the same barriers in another order, before they deploy.
const CROSSED: &str = r#"
apiVersion: lockstep.dev/v1alpha1
kind: Pipeline
metadata: { name: shop }
spec:
  barriers: { BE: { timeout: 10m }, FE: { timeout: 10m } }
  workflows:
    - name: backend
      target: { kubernetes: { namespace: BACKEND } }
      steps:
        - barrier: BE
        - deploy: { manifests: [app.yaml], timeout: 2m, settle: 0s }
        - barrier: FE
    - name: frontend
      target: { kubernetes: { namespace: FRONTEND } }
      steps:
        - barrier: FE
        - deploy: { manifests: [app.yaml], timeout: 2m, settle: 0s }
        - barrier: BE
"#;

/// One workflow a region; a region's cluster is the one that its agent says it stands in.
const REGIONS: &str = r#"
apiVersion: lockstep.dev/v1alpha1
kind: Pipeline
metadata: { name: shop }
spec:
  barriers: { deployed: {} }
  workflows:
    - name: deploy-${{ matrix.region }}
      matrix:
        include:
          - { region: eu, cluster: one, namespace: EU, tag: "2" }
          - { region: us, cluster: one, namespace: US, tag: "2" }
          - { region: ap, cluster: two, namespace: AP, tag: "${{ params.tag }}" }
      target: { kubernetes: { namespace: "${{ matrix.namespace }}", cluster: "${{ matrix.cluster }}" } }
      steps:
        - deploy:
            manifests: [app.yaml]
            images: { shop/app: "shop/app:${{ matrix.tag }}" }
            timeout: 2m
            settle: 0s
        - barrier: deployed
  params: { tag: { default: "2" } }
"#;

/// What every place has.
const APP: &str = r#"
apiVersion: v1
kind: ConfigMap
metadata: { name: app }
data: { version: "VERSION" }
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: app }
spec:
  replicas: 2
  selector: { matchLabels: { app: app } }
  template:
    metadata: { labels: { app: app } }
    spec: { containers: [{ name: app, image: "shop/app:VERSION" }] }
"#;

/// What tells whether anybody has written an object, also the same again.
async fn versions(cluster: &Cluster, namespace: &str) -> Result<Vec<(String, String)>> {
    let list = cluster.get(&["configmaps,deployments", "-n", namespace]).await?;
    let items = list["items"].as_array().cloned().unwrap_or_default();
    let told = |it: serde_json::Value| {
        (it["metadata"]["name"].to_string(), it["metadata"]["resourceVersion"].to_string())
    };
    Ok(items.into_iter().map(told).collect())
}

#[tokio::test]
async fn parity_05_crossed_barriers_are_refused_or_a_deadlock_at_once_and_nothing_is_touched()
-> Result<()> {
    let cluster = Cluster::shared().await?;
    let stage = Stage::new(cluster).await?;
    let namespaces = [cluster.namespace("backend").await?, cluster.namespace("frontend").await?];
    let mut before = Vec::new();
    let all: Vec<&str> = namespaces.iter().map(String::as_str).collect();
    for namespace in &all {
        cluster.apply(namespace, &APP.replace("VERSION", "1")).await?;
        stage.steady(namespace, "app", "shop/app:1").await?;
        before.push(versions(cluster, namespace).await?);
    }
    let objects = Objects::live(cluster, &all).await?;
    let crossed = CROSSED.replace("BACKEND", all[0]).replace("FRONTEND", all[1]);
    stage.write(FILE, &crossed)?;
    stage.write("app.yaml", &APP.replace("VERSION", "2"))?;

    let said = stage.run(&[]).await?.expect(3)?;
    ensure!(said.contains("barrier-order") && said.contains("circular wait"), "{said}");

    // What the agents need is asked of a plan that is valid.
    let deployed = "        - deploy: { manifests: [app.yaml], timeout: 2m, settle: 0s }\n";
    let crossing = format!("        - barrier: FE\n{deployed}        - barrier: BE\n");
    let straight = format!("        - barrier: BE\n{deployed}        - barrier: FE\n");
    stage.write(FILE, &crossed.replace(&crossing, &straight))?;
    let _agents = [stage.agent("backend", all[0]).await?, stage.agent("frontend", all[1]).await?];
    stage.write(FILE, &crossed)?;
    // The barriers' own clocks of 10 minutes would outlast the command's limit.
    let said = stage.run(&["--skip-check", "barrier-order"]).await?.expect(4)?;
    // Told from whoever arrived last.
    for words in
        ["circular wait", "backend waits at BE for frontend", "frontend waits at FE for backend"]
    {
        ensure!(said.contains(words), "{words:?} is not in {said}");
    }
    ensure!(said.contains("failed before anything was written"), "{said}");
    let mut after = Vec::new();
    for namespace in &all {
        after.push(versions(cluster, namespace).await?);
    }
    assert_eq!(before, after, "nobody has written there");
    Objects::live(cluster, &all).await?.must_be(&objects)
}

#[tokio::test]
async fn parity_20_three_regions_in_two_clusters_go_back_together() -> Result<()> {
    let (one, two) = (Cluster::shared().await?, Cluster::private().await?);
    let stage = Stage::new(one).await?;
    let places = [
        ("eu", "one", one, one.namespace("eu").await?),
        ("us", "one", one, one.namespace("us").await?),
        ("ap", "two", &two, two.namespace("ap").await?),
    ];
    for (_, _, cluster, namespace) in &places {
        cluster.apply(namespace, &APP.replace("VERSION", "1")).await?;
    }
    for (_, _, cluster, namespace) in &places {
        stage.steady_in(cluster, namespace, "app", "shop/app:1").await?;
    }
    let mut regions = REGIONS.to_owned();
    for (region, _, _, namespace) in &places {
        regions = regions.replace(&region.to_uppercase(), namespace);
    }
    stage.write(FILE, &regions)?;
    stage.write("app.yaml", &APP.replace("VERSION", "2"))?;
    let mut agents = Vec::<Process>::new();
    for (region, name, cluster, namespace) in &places {
        let workflow = &format!("deploy-{region}");
        let more = &["--cluster", name][..];
        let kubeconfig = &stage.account_in(cluster, workflow, namespace).await?;
        let seat = Seat { workflow, namespace, kubeconfig, called: workflow, more };
        agents.push(stage.seat(&seat).await?);
    }
    let look = async || {
        let first = Objects::live(one, &[&places[0].3, &places[1].3]).await?;
        anyhow::Ok((first, Objects::live(&two, &[&places[2].3]).await?))
    };
    let before = look().await?;

    let written = async {
        for (_, _, cluster, namespace) in &places {
            let object = ["deployment", "app", "-n", namespace];
            let is_next = |app: &serde_json::Value| {
                let image = &app["spec"]["template"]["spec"]["containers"][0]["image"];
                (*image != "shop/app:1").then_some(())
            };
            cluster.sees("is written", &object, is_next).await?;
        }
        anyhow::Ok(())
    };
    let arguments = ["--param", "tag=2-crashloop"];
    let (said, written) = tokio::join!(stage.run(&arguments), written);
    written?;
    let said = said?.expect(4)?;
    ensure!(said.contains("deploy-ap") && said.contains("CrashLoopBackOff"), "{said}");
    let after = look().await?;
    after.0.must_be(&before.0)?;
    after.1.must_be(&before.1)?;

    stage.run(&[]).await?.expect(0)?;
    for (_, _, cluster, namespace) in &places {
        stage.steady_in(cluster, namespace, "app", "shop/app:2").await?;
    }
    Ok(())
}
