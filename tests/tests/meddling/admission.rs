//! Webhooks that refuse writes, and webhooks that change what is written.

use anyhow::{Result, ensure};
use lockstep_tests::{
    cluster::Cluster,
    world::{Process, SOON, until},
};
use serde_json::{Value, json};

use super::{
    SERVICE, Service, Tester, nothing,
    webhook::{Admission, Judge, Webhook},
};

/// A webhook of the service's namespace, in force.
struct House {
    service: Service,
    webhook: Webhook,
    kind: &'static str,
    agent: Process,
}

impl House {
    async fn open(kind: &'static str) -> Result<Self> {
        let (service, agent) = Service::open_in(Cluster::local().await?, &["apply"]).await?;
        let webhook = Webhook::serve(deny_all)?;
        let configuration = webhook.configuration(kind, &service.namespace).to_string();
        service.apply(&configuration).await?;
        until("the webhook is in force", SOON, || async {
            match service.kubectl("annotate configmap web probe=1 --dry-run=server").await {
                Err(error) if error.to_string().contains("nobody may do anything") => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await?;
        Ok(Self { service, webhook, kind, agent })
    }

    async fn close(self) -> Result<()> {
        let kind = format!("{}WebhookConfiguration", self.kind);
        let delete = ["delete", &kind, &self.service.namespace];
        self.service.stage.cluster.kubectl(&delete).await.map(drop)
    }

    /// Plays a run with this judge from its first gate on.
    async fn play(&self, run: &str, judge: Judge, tester: Tester, code: i32) -> Result<String> {
        let switch = async {
            self.webhook.judge(judge);
            Ok(())
        };
        self.service.play(run, switch, nothing(), tester).await?.expect(code)
    }
}

fn is_dry(request: &Value) -> bool {
    request["dryRun"] == true
}

fn image(request: &Value) -> Option<&str> {
    request.pointer("/object/spec/template/spec/containers/0/image")?.as_str()
}

fn deny_all(_: &Value) -> Admission {
    Admission::Denied("nobody may do anything")
}

fn allow_all(_: &Value) -> Admission {
    Admission::Allowed
}

fn deny_version_2(request: &Value) -> Admission {
    match image(request) {
        Some("shop/web:2") => Admission::Denied("version 2 is not signed"),
        _ => Admission::Allowed,
    }
}

fn deny_version_2_in_earnest(request: &Value) -> Admission {
    if is_dry(request) { Admission::Allowed } else { deny_version_2(request) }
}

fn deny_dry_runs(request: &Value) -> Admission {
    match is_dry(request) {
        true => Admission::Denied("house.example.com does not support dry run"),
        false => Admission::Allowed,
    }
}

#[tokio::test]
async fn a_webhook_that_refuses_fails_the_plan_or_the_run_with_its_words() -> Result<()> {
    let house = House::open("Validating").await?;
    let service = &house.service;
    let before = service.objects().await?;

    house.webhook.judge(deny_version_2);
    let said = house.play("planned", deny_version_2, Tester::Lets, 4).await?;
    let words =
        r#"admission webhook "house.example.com" denied the request: version 2 is not signed"#;
    ensure!(said.contains(words) && said.contains("the server refuses it"), "{said}");
    ensure!(said.contains("nothing had been written") || said.contains("wrote nothing"), "{said}");
    service.objects().await?.must_be(&before)?;

    house.webhook.judge(allow_all);
    let said = house.play("earnest", deny_version_2_in_earnest, Tester::Lets, 4).await?;
    ensure!(said.contains(words), "{said}");
    service.objects().await?.must_be(&before)?;
    service.steady("1").await?;

    house.webhook.judge(deny_dry_runs);
    let plan = ["plan", "--live", lockstep_tests::stage::FILE];
    let said = service.stage.lockstep(&plan).await?.expect(0)?;
    ensure!(said.contains("does not support dry runs"), "{said}");
    house.play("undone", deny_dry_runs, Tester::Refuses, 4).await?;
    service.objects().await?.must_be(&before)?;
    house.play("unplanned", deny_dry_runs, Tester::Lets, 0).await?;
    service.steady("2").await?;
    house.close().await
}

fn hang_up(_: &Value) -> Admission {
    Admission::Silent
}

#[tokio::test]
async fn a_webhook_that_does_not_answer_is_waited_for_by_a_deployment_and_by_a_rollback()
-> Result<()> {
    let house = House::open("Validating").await?;
    let service = &house.service;
    let before = service.objects().await?;
    house.webhook.judge(allow_all);
    let put_off = || {
        let output = house.agent.output();
        let words = ["trying again", "failed calling webhook"];
        output.lines().filter(|line| words.iter().all(|word| line.contains(word))).count()
    };
    // It is away until a write has been put off for that.
    let away_after = async |so_far: usize| {
        until("a write is put off", SOON, || async {
            if put_off() > so_far { Ok(()) } else { Err(house.agent.tail()) }
        })
        .await?;
        house.webhook.judge(allow_all);
        anyhow::Ok(())
    };
    let deploy = async {
        service.stage.stands("r1", "backend", "start").await?;
        house.webhook.judge(hang_up);
        service.stage.open("r1", "start").await?;
        away_after(0).await?;
        service.stage.stands("r1", "backend", "end").await?;
        let so_far = put_off();
        house.webhook.judge(hang_up);
        service.stage.refuse("r1", "end").await?;
        away_after(so_far).await
    };
    let (played, ()) = tokio::try_join!(service.stage.run_as("r1"), deploy)?;
    played.expect(4)?;
    service.objects().await?.must_be(&before)?;
    house.close().await
}

/// Adds an annotation, a label and a container to version 2.
fn dress_version_2(request: &Value) -> Admission {
    if image(request) == Some("shop/web:2") { dress(request) } else { Admission::Allowed }
}

/// Adds an annotation, a label and a container to what has an image.
fn dress(request: &Value) -> Admission {
    let dressed = request.pointer("/object/spec/template/spec/containers/1").is_some();
    if image(request).is_none() || dressed {
        return Admission::Allowed;
    }
    let beside = json!({ "name": "beside", "image": "shop/beside:1" });
    Admission::Patched(json!([
        { "op": "add", "path": "/spec/template/spec/containers/-", "value": beside },
        { "op": "add", "path": "/spec/template/metadata/annotations", "value": { "dressed": "yes" } },
        { "op": "add", "path": "/metadata/labels/dressed", "value": "yes" },
    ]))
}

/// Writes into every object that it has seen it, once.
fn stamp(request: &Value) -> Admission {
    if request.pointer("/object/metadata/annotations/seen").is_some() {
        return Admission::Allowed;
    }
    let at = "/metadata/annotations";
    let patch = match request["object"].pointer(at).is_some() {
        true => json!([{ "op": "add", "path": format!("{at}/seen"), "value": "yes" }]),
        false => json!([{ "op": "add", "path": at, "value": { "seen": "yes" } }]),
    };
    Admission::Patched(patch)
}

#[tokio::test]
async fn what_a_webhook_adds_goes_with_a_rollback_or_is_told_as_kept_by_admission() -> Result<()> {
    let house = House::open("Mutating").await?;
    let service = &house.service;
    let before = service.objects().await?;

    // What it adds to the new version only goes with that.
    house.webhook.judge(dress_version_2);
    let said = house.play("dressed", dress_version_2, Tester::Refuses, 4).await?;
    ensure!(!said.contains("left:"), "verified: {said}");
    service.objects().await?.must_be(&before)?;
    service.steady("1").await?;

    // What it insists on stays, and is told.
    house.webhook.judge(stamp);
    let said = house.play("stamped", stamp, Tester::Refuses, 4).await?;
    for object in ["ConfigMap", "Deployment"] {
        let name = format!("{object} {}/web", service.namespace);
        let kept = ".metadata.annotations.seen does not go back to what it was";
        ensure!(said.contains(&format!("{name}: {kept}")), "{name}: {kept}, in {said}");
    }
    service.steady("1").await?;
    house.webhook.judge(allow_all);
    service.kubectl("annotate deployment,configmap web seen-").await?;
    service.objects().await?.must_be(&before)?;

    house.webhook.judge(dress_version_2);
    house.play("commits", dress_version_2, Tester::Lets, 0).await?;
    let web = service.object("deployment").await?;
    assert_eq!(web.pointer("/spec/template/spec/containers/1/name"), Some(&json!("beside")));
    assert_eq!(web["metadata"]["labels"]["dressed"], "yes");

    // And the next run leaves it where it is.
    house.play("again", dress_version_2, Tester::Lets, 0).await?;
    let next = service.object("deployment").await?;
    assert_eq!(next["spec"], web["spec"]);
    assert_eq!(next["metadata"]["generation"], web["metadata"]["generation"], "no new rollout");
    house.close().await
}

#[tokio::test]
async fn what_a_webhook_had_added_to_the_former_owners_objects_is_given_back_as_it_was()
-> Result<()> {
    let house = House::open("Mutating").await?;
    let service = &house.service;
    house.webhook.judge(dress);
    service
        .apply(
            &SERVICE.replace("TAG", "1.1").replace("name: web }", "name: web, labels: { a: b } }"),
        )
        .await?;
    service.steady("1.1").await?;
    let before = service.objects().await?;
    let web = service.object("deployment").await?;
    assert_eq!(web.pointer("/spec/template/spec/containers/1/name"), Some(&json!("beside")));

    let said = house.play("aborts", dress, Tester::Refuses, 4).await?;
    ensure!(!said.contains("left:"), "verified: {said}");
    service.objects().await?.must_be(&before)?;
    service.steady("1.1").await?;

    house.play("commits", dress, Tester::Lets, 0).await?;
    service.steady("2").await?;
    let web = service.object("deployment").await?;
    assert_eq!(web.pointer("/spec/template/spec/containers/1/name"), Some(&json!("beside")));
    house.close().await
}
