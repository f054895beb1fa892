//! What a submission leaves in the streams, against a real server.

use std::fs;

use lockstep_bus::{Bus, DevServer, StreamOptions};
use lockstep_shared::time::Timestamp;

use super::*;
use crate::{pipeline_file, verbs::again};

const LIMIT: Duration = Duration::from_secs(60);

const PIPELINE: &str = "
apiVersion: lockstep.dev/v1alpha1
kind: Pipeline
metadata: { name: shop }
spec:
  workflows:
    - name: web
      target: { kubernetes: { namespace: web } }
      steps:
        - wait: 1s
        - deploy: { manifests: k8s }
";

const OBJECT: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: a }\n";

struct World {
    server: DevServer,
    folder: tempfile::TempDir,
}

impl World {
    async fn new() -> Self {
        let server = DevServer::start().await.expect("a server starts");
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("pipeline.yaml"), PIPELINE).expect("written");
        fs::create_dir(folder.path().join("k8s")).expect("created");
        fs::write(folder.path().join("k8s/a.yaml"), OBJECT).expect("written");
        let world = Self { server, folder };
        let until = Instant::now() + LIMIT;
        world.bus().await.ensure_streams(&StreamOptions::dev(), until).await.expect("streams");
        world
    }

    async fn bus(&self) -> Bus {
        Bus::connect(&self.server.connection(), "test", LIMIT).await.expect("connected")
    }

    async fn ready(&self) -> Submission {
        let file = self.folder.path().join("pipeline.yaml");
        let checked = pipeline_file::check(&file, &Default::default(), false).await;
        checked.expect("the file is read").expect("the pipeline is good").into()
    }
}

fn web(plan: &Plan) -> &str {
    plan.workflows[&"web".parse().unwrap()].bundle.as_deref().expect("it names a bundle")
}

#[tokio::test]
async fn what_workflows_deploy_is_stored_before_the_plan_that_names_it() {
    let world = World::new().await;
    let bus = world.bus().await;
    let submission = world.ready().await;
    let run: RunId = "r1".parse().unwrap();
    let submitted = submit(&bus, submission.clone(), Some(run.clone())).await.unwrap();
    assert!(!submitted.attached);
    let subject = bus.subjects().slot(&submitted.key, &Family::Plan.slot(1));
    let entry = bus.get_one(&subject, soon()).await.unwrap().expect("the plan is there");
    let Record::Plan { plan, .. } = entry.content.unwrap().record else { panic!("no plan") };
    let workflow: WorkflowName = "web".parse().unwrap();
    let stored = bus.get_bundle(&plan.pipeline, &workflow, web(&plan), soon()).await.unwrap();
    let bundle = Bundle::from_json(&stored).unwrap();
    assert_eq!(bundle.steps[&1][0].source, "k8s/a.yaml:1");
    assert_eq!(bundle.steps[&1][0].object["metadata"]["namespace"], "web");

    // Next month the same manifests have another digest, and are the same plan all the same.
    let mut later = submission;
    let hash = web(&later.plan).split_once('-').unwrap().1.to_owned();
    later.plan.workflows.get_mut(&workflow).unwrap().bundle = Some(format!("299901-{hash}"));
    assert!(submit(&bus, later, Some(run.clone())).await.unwrap().attached);
    fs::write(world.folder.path().join("k8s/a.yaml"), OBJECT.replace("name: a", "name: b"))
        .unwrap();
    let refused = submit(&bus, world.ready().await, Some(run)).await.unwrap_err();
    assert_eq!(refused.exit, Exit::Usage, "{}", refused.text());
}

#[tokio::test]
async fn a_run_submitted_again_takes_its_bundles_into_this_month() {
    let world = World::new().await;
    let bus = world.bus().await;
    let mut submission = world.ready().await;
    let workflow: WorkflowName = "web".parse().unwrap();
    let content = submission.bundles.remove(&workflow).unwrap().to_json();
    let pipeline = submission.plan.pipeline.clone();
    let long_ago = Timestamp(0);
    let old = bus.put_bundle(&pipeline, &workflow, &content, long_ago, soon()).await.unwrap();
    assert!(old.starts_with("197001-"), "{old}");
    submission.plan.workflows.get_mut(&workflow).unwrap().bundle = Some(old.clone());
    let first = submit(&bus, submission, None).await.unwrap();
    let plan = again(&bus, &first.key.to_string()).await.unwrap();
    assert_eq!(plan.from_run, Some(first.key.run));
    assert_ne!(web(&plan), old);
    let stored = bus.get_bundle(&pipeline, &workflow, web(&plan), soon()).await.unwrap();
    assert_eq!(stored, content);
    submit(&bus, Submission::again(plan), None).await.unwrap();
}
