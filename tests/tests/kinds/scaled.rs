//! Deployments that an autoscaler scales: the manifests' number of replicas never gets through.

use std::{fs, process::Stdio};

use anyhow::{Context, Result, ensure};
use lockstep_tests::cluster::tool;
use tokio::process::{Child, Command};

use super::{HELD, Scene};

const DEPLOYMENT: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: { name: NAME }
spec:
  replicas: COUNT
  selector: { matchLabels: { app: NAME } }
  template:
    metadata: { labels: { app: NAME } }
    spec: { containers: [ { name: app, image: "shop/NAME:TAG" } ] }
"#;

const AUTOSCALER: &str = r#"
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: { name: NAME }
spec:
  scaleTargetRef: { apiVersion: apps/v1, kind: Deployment, name: NAME }
  minReplicas: LEAST
  maxReplicas: MOST
  metrics: [ { type: Resource, resource: { name: cpu, target: { type: Utilization, averageUtilization: 50 } } } ]
"#;

fn deployment(name: &str, count: u32, tag: &str) -> String {
    let text = DEPLOYMENT.replace("NAME", name).replace("COUNT", &count.to_string());
    text.replace("TAG", tag)
}

fn autoscaler(name: &str, least: u32, most: u32) -> String {
    let text = AUTOSCALER.replace("NAME", name).replace("LEAST", &least.to_string());
    text.replace("MOST", &most.to_string())
}

/// Sees every number of replicas that a Deployment is given.
struct Counting {
    seen: std::path::PathBuf,
    _watch: Child,
}

impl Counting {
    fn of(scene: &Scene, name: &str) -> Result<Self> {
        let cluster = scene.stage.cluster;
        let seen = scene.stage.folder().join(format!("replicas-of-{name}"));
        let _watch = Command::new(tool("kubernetes", "kubectl")?)
            .arg("--kubeconfig")
            .arg(cluster.kubeconfig())
            .args(["get", "deployment", name, "-n", &scene.namespace, "--watch"])
            .args(["-o", "jsonpath={.spec.replicas}{\"\\n\"}"])
            .stdin(Stdio::null())
            .stdout(fs::File::create(&seen)?)
            .kill_on_drop(true)
            .spawn()?;
        Ok(Self { seen, _watch })
    }

    fn all(&self) -> Result<Vec<u32>> {
        let text = fs::read_to_string(&self.seen)?;
        text.lines().map(|line| line.parse().with_context(|| text.clone())).collect()
    }
}

#[tokio::test]
async fn replicas_that_an_autoscaler_decides_never_follow_the_manifests() -> Result<()> {
    let scene = Scene::new(HELD).await?;
    // `late`: an earlier run of ours owns its replicas, and its autoscaler came after that.
    scene.stage.write("all.yaml", &deployment("late", 3, "1"))?;
    let mut agent = scene.agent().await?;
    scene.stage.run(&[]).await?.expect(0).with_context(|| agent.tail())?;
    agent.kill()?;
    // `old`: a person has applied both. `new`: its autoscaler comes with the run.
    let by_hand = [
        autoscaler("late", 2, 5),
        deployment("old", 3, "1"),
        autoscaler("old", 3, 5),
        deployment("new", 3, "1"),
    ];
    scene.apply(&by_hand.join("---")).await?;
    let next = [
        deployment("late", 1, "2"),
        deployment("old", 1, "2"),
        autoscaler("old", 3, 6),
        deployment("new", 1, "2"),
        autoscaler("new", 4, 6),
    ];
    scene.stage.write("all.yaml", &next.join("---"))?;
    scene.quiet().await?;
    let agent = scene.agent().await?;
    scene.fails_when_told()?;
    let before = scene.objects().await?;
    let counting = ["late", "old", "new"].map(|name| (name, Counting::of(&scene, name)));
    let meanwhile = async {
        scene.held().await?;
        let new = ["deployment", "new", "-n", &scene.namespace];
        scene
            .stage
            .cluster
            .sees("is scaled up", &new, |seen| (seen["spec"]["replicas"] == 4).then_some(()))
            .await?;
        scene.go_on()
    };
    let output = scene.run_while(meanwhile).await.with_context(|| agent.tail())?;
    let text = output.expect(4).with_context(|| agent.tail())?;
    ensure!(super::left(&text).is_empty(), "{text}");
    scene.quiet().await?;
    scene.objects().await?.must_be(&before)?;
    for (name, counting) in counting {
        let all = counting?.all()?;
        // Seen at all, and more than once: before and after the template changed.
        ensure!(all.len() > 2 && all.iter().all(|count| *count >= 3), "{name}: {all:?}");
    }
    Ok(())
}
