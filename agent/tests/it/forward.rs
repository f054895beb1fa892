//! Runs that succeed, and what a run finds in its way.

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Context, Result};
use lockstep_agent::RunEnd;
use lockstep_shared::{
    id::BarrierId,
    plan::{KubernetesTarget, Target},
    record::{Outcome, RunResult},
    time::Span,
};

use crate::world::{World, barrier, plan, run, verify, wait};

#[tokio::test]
async fn a_workflow_runs_asks_waits_and_is_finalized() -> Result<()> {
    let world = World::new().await?;
    let agent = world.serve(world.options(&["backend"], "state")).await?;
    let steps = vec![
        run("deploy", "echo deployed $LOCKSTEP_PARAM_VERSION >> log; echo done", Some("false")),
        verify("healthy", "grep -q deployed log"),
        wait("pause", Span(200)),
        run("after", "echo after >> log", None),
    ];
    let key = world.submit("r1", plan(&[("backend", steps)])).await?;
    let (result, fold) = world.closed(&key).await?;
    assert_eq!(result, RunResult::Succeeded);
    assert_eq!(world.read("log"), "deployed v2\nafter\n");
    let steps = &fold.workflows()[&"backend".parse()?].steps;
    assert_eq!(steps.len(), 4);
    let waited = steps[&2].finished.context("it waited")?.time.since(steps[&2].started.time);
    assert!(waited >= Span(200), "{waited}");
    agent.stop().await
}

#[tokio::test]
async fn nobody_goes_on_behind_a_barrier_before_all_stand_there() -> Result<()> {
    let world = World::new().await?;
    let agent = world.serve(world.options(&["backend", "frontend"], "state")).await?;
    let backend =
        vec![run("deploy", "sleep 0.5; echo backend >> log", None), barrier("BE"), barrier("FE")];
    let frontend = vec![barrier("BE"), run("deploy", "echo frontend >> log", None), barrier("FE")];
    let both = plan(&[("backend", backend), ("frontend", frontend)]);
    let key = world.submit("r1", both).await?;
    let (result, fold) = world.closed(&key).await?;
    assert_eq!(result, RunResult::Succeeded);
    assert_eq!(world.read("log"), "backend\nfrontend\n");
    let released = fold.barriers()[&"BE".parse()?].recorded.as_ref().context("released")?;
    let started = &fold.workflows()[&"frontend".parse()?].steps[&1].started;
    assert!(started.seq > released.moment.seq);
    agent.stop().await
}

#[tokio::test]
async fn an_agent_for_one_run_ends_with_its_code() -> Result<()> {
    let world = World::new().await?;
    let key = world.submit("r1", plan(&[("backend", vec![run("deploy", "true", None)])])).await?;
    let agent = world.run(world.options(&["backend"], "state"), &key).await?;
    assert_eq!(agent.await??, RunEnd::Done);
    let failing = plan(&[("backend", vec![run("deploy", "exit 3", None)])]);
    let key = world.submit("r2", failing).await?;
    let agent = world.run(world.options(&["backend"], "state"), &key).await?;
    assert_eq!(agent.await??, RunEnd::Failed);
    Ok(())
}

#[tokio::test]
async fn runs_follow_each_other_and_settled_debts_are_kept_for_three() -> Result<()> {
    let world = World::new().await?;
    let agent = world.serve(world.options(&["backend"], "state")).await?;
    for number in 1..=5 {
        let step = run("deploy", &format!("echo {number} >> log"), None);
        let key = world.submit(&format!("r{number}"), plan(&[("backend", vec![step])])).await?;
        assert_eq!(world.closed(&key).await?.0, RunResult::Succeeded);
    }
    agent.stop().await?;
    assert_eq!(world.read("log"), "1\n2\n3\n4\n5\n");
    let kept = std::fs::read_dir(world.folder().join("state/shop.backend/undo"))?.count();
    assert_eq!(kept, 3);
    Ok(())
}

#[tokio::test]
async fn a_plan_only_run_writes_nothing_and_names_the_view() -> Result<()> {
    let world = World::new().await?;
    let agent = world.serve(world.options(&["backend"], "state")).await?;
    let mut only = plan(&[("backend", vec![run("deploy", "echo x >> log", Some("rm log"))])]);
    only.plan_only = true;
    let key = world.submit("r1", only).await?;
    let (result, fold) = world.closed(&key).await?;
    assert_eq!(result, RunResult::Planned);
    assert_eq!(world.read("log"), "");
    assert!(!world.folder().join("state/shop.backend/undo").exists(), "an undo record was stored");
    let arrivals = &fold.barriers()[&BarrierId::prepare()].arrivals;
    let digest = arrivals[&"backend".parse()?].view.clone().context("it names a view")?;
    let until = tokio::time::Instant::now() + Duration::from_secs(10);
    let backend = "backend".parse()?;
    let view = world.bus.get_bundle(&key.pipeline, &backend, &digest, until).await?;
    let view = String::from_utf8(view)?;
    assert!(view.contains("runs `echo x >> log`") && view.contains("rm log"), "{view}");
    agent.stop().await
}

#[tokio::test]
async fn commands_are_refused_in_prepare_unless_the_agent_allows_them() -> Result<()> {
    let world = World::new().await?;
    let mut options = world.options(&["backend"], "state");
    options.allow_commands = false;
    let agent = world.serve(options).await?;
    let steps = vec![run("deploy", "echo x >> log", None)];
    let key = world.submit("r1", plan(&[("backend", steps)])).await?;
    let (result, fold) = world.closed(&key).await?;
    assert_eq!(result, RunResult::RolledBack);
    let closed = fold.closed().context("closed")?;
    let cause = closed.cause.as_ref().context("it has a cause")?;
    assert!(cause.text.contains("--allow-commands"), "{}", cause.text);
    assert_eq!(closed.outcomes[&"backend".parse()?], Outcome::NotStarted);
    assert_eq!(world.read("log"), "");
    agent.stop().await
}

#[tokio::test]
async fn a_target_that_this_agent_does_not_have_is_refused_in_prepare() -> Result<()> {
    let world = World::new().await?;
    let mut options = world.options(&["backend"], "state");
    options.kubernetes.kubeconfig = Some(world.folder().join("no-kubeconfig"));
    let agent = world.serve(options).await?;
    let cluster = |name: Option<&str>| {
        Target::Kubernetes(KubernetesTarget {
            namespace: "shop".to_owned(),
            cluster: name.map(str::to_owned),
            context: None,
            allow_cluster_scoped: false,
            allow_managed_by: BTreeSet::new(),
        })
    };
    let targets = [
        (cluster(None), "no-kubeconfig"),
        (cluster(Some("eu")), "--cluster eu"),
        (Target::External {}, "external target"),
    ];
    for (number, (target, word)) in targets.into_iter().enumerate() {
        let mut foreign = plan(&[("backend", vec![wait("pause", Span(10))])]);
        for workflow in foreign.workflows.values_mut() {
            workflow.target = target.clone();
        }
        let key = world.submit(&format!("r{number}"), foreign).await?;
        let (result, fold) = world.closed(&key).await?;
        assert_eq!(result, RunResult::RolledBack);
        let cause = fold.closed().and_then(|closed| closed.cause.clone()).context("a cause")?;
        assert!(cause.text.contains(word), "{}", cause.text);
    }
    agent.stop().await
}
