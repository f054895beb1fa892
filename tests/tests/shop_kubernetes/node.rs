//! The example on a real node: real pods, whose pages are fetched before, between and after.

use std::{future::Future, time::Duration};

use anyhow::{Context, Result, ensure};
use lockstep_tests::{
    cluster::Cluster,
    world::{SOON, until},
};

use crate::{
    line_with,
    stage::{CRASHES, GOOD, MISSING, Stage},
};

/// How long a page may take.
const ANSWER: Duration = Duration::from_secs(3);

#[tokio::test]
async fn parity_01_parity_02_parity_03_on_a_real_node_the_pages_say_what_runs() -> Result<()> {
    let images = [
        "shop/backend:v1",
        "shop/backend:v2",
        "shop/backend:v3",
        "shop/frontend:v1",
        "shop/frontend:v2",
        "shop/frontend:v3-crashloop",
    ];
    let cluster = Cluster::with_node(&images).await?;
    let played = play_on_a_node(&cluster).await;
    played.with_context(|| cluster.logs())
}

async fn play_on_a_node(cluster: &Cluster) -> Result<()> {
    let stage = Stage::new(cluster).await?;
    stage.expect(0, GOOD, "--param backend_version=v1 --param frontend_version=v1").await?;
    let pages = Pages::of(&stage).await?;
    pages.show(&["v1", "v1"]).await?;

    // Both arrive; the frontend is deployed when the backend is whole.
    let (_, seen) = pages.during(stage.expect(0, GOOD, "")).await?;
    ensure!(seen.contains(&said(["v2", "v1"])), "the new backend first: {seen:?}");
    ensure!(!seen.contains(&said(["v1", "v2"])), "never the frontend first: {seen:?}");
    pages.show(&["v2", "v2"]).await?;
    let before = stage.objects().await?;

    for (fails, says) in [(CRASHES, "CrashLoopBackOff"), (MISSING, "ImagePull")] {
        let (text, seen) = pages.during(stage.expect(4, fails, "")).await?;
        line_with(&text, &["backend", "frontend", says])?;
        ensure!(seen.contains(&said(["v3", "v2"])), "the new backend, for a while: {seen:?}");
        let old = |[_, frontend]: &[String; 2]| *frontend == said(["v2", "v2"])[1];
        ensure!(seen.iter().all(old), "the old frontend all the time: {seen:?}");
        stage.objects().await?.must_be(&before)?;
        for name in ["backend", "frontend"] {
            stage.runs(name, "v2").await?;
        }
        pages.show(&["v2", "v2"]).await?;
    }
    Ok(())
}

/// What the pages of a backend and a frontend say.
fn said([backend, frontend]: [&str; 2]) -> [String; 2] {
    [format!("<h1>backend {backend}</h1>\n"), format!("<h1>frontend {frontend}</h1>\n")]
}

/// Where the machine reaches both Services of a real node.
struct Pages([String; 2]);

impl Pages {
    async fn of(stage: &Stage<'_>) -> Result<Self> {
        let mut urls = [String::new(), String::new()];
        let services = [("backend", &stage.backend), ("frontend", &stage.frontend)];
        for (url, (name, namespace)) in urls.iter_mut().zip(services) {
            let service = stage.cluster.get(&["service", name, "-n", namespace]).await?;
            let address = service["spec"]["clusterIP"].as_str().context("it has an address")?;
            *url = format!("http://{}/", stage.cluster.reach(format!("{address}:80").parse()?)?);
        }
        Ok(Self(urls))
    }

    /// Waits until both say this: who replaces pods tells the network a moment later.
    async fn show(&self, versions: &[&str; 2]) -> Result<()> {
        let wanted = said(*versions);
        until("the pages are as wanted", SOON, || async {
            match self.ask().await {
                Ok(now) if now == wanted => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await
    }

    /// What a command says, and what both pages say meanwhile, without repetitions.
    async fn during(
        &self,
        play: impl Future<Output = Result<String>>,
    ) -> Result<(String, Vec<[String; 2]>)> {
        let mut seen = Vec::new();
        let watch = async {
            loop {
                // While pods are replaced a connection may be refused; that is not what is shown here.
                match self.ask().await {
                    Ok(now) if seen.last() != Some(&now) => seen.push(now),
                    _ => tokio::time::sleep(Duration::from_millis(100)).await,
                }
            }
        };
        let text = tokio::select! {
            played = play => played?,
            () = watch => anyhow::bail!("watching does not end"),
        };
        Ok((text, seen))
    }

    /// What both say now; the frontend first, which must never be the newer one.
    async fn ask(&self) -> Result<[String; 2]> {
        let [backend, frontend] = &self.0;
        let ask = async |url: &str| {
            let client = reqwest::Client::builder().timeout(ANSWER).build()?;
            let answer = client.get(url).send().await?.error_for_status()?;
            anyhow::Ok(answer.text().await?)
        };
        let frontend = ask(frontend).await?;
        Ok([ask(backend).await?, frontend])
    }
}
