//! Between the plan and the first write: what was planned for may not be there any more.

use anyhow::{Result, ensure};

use super::{SERVICE, Service, Tester, nothing};

/// Brought besides by some runs.
const EXTRA: &str =
    "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: extra }\ndata: { a: ours }\n";

fn with_extra(tag: &str) -> String {
    format!("{}---\n{EXTRA}", SERVICE.replace("TAG", tag))
}

impl Service {
    /// Plays a run whose step has to fail with these words because of what was done before its first
    /// write; that has to survive, and nothing else to change.
    async fn fails(&self, run: &str, meddle: &[&str], words: &[&str]) -> Result<()> {
        let meddled = async {
            for words in meddle {
                self.kubectl(words).await?;
            }
            anyhow::Ok(())
        };
        let mut as_meddled = None;
        let at_start = async {
            meddled.await?;
            as_meddled = Some(self.objects().await?);
            Ok(())
        };
        let said = self.play(run, at_start, nothing(), Tester::Lets).await?.expect(4)?;
        for words in words {
            ensure!(said.contains(words), "{run}: {words:?} is not in {said}");
        }
        let as_meddled = as_meddled.ok_or_else(|| anyhow::anyhow!("it never got to the gate"))?;
        self.objects().await?.must_be(&as_meddled)
    }
}

#[tokio::test]
async fn a_hotfix_between_the_plan_and_the_first_write_fails_the_run_and_survives() -> Result<()> {
    let (service, _agent) = Service::open().await?;
    let hotfix = "set image deployment/web app=shop/web:1.1";
    let changed = r#".spec.template.spec.containers[name="app"].image changed since the plan"#;
    service.fails("hotfix", &[hotfix], &["Deployment", changed]).await?;
    service.steady("1.1").await?;
    // Whoever plans anew is told whose it is now; its owner's next apply makes it its own again.
    let said = service.stage.run(&[]).await?.expect(4)?;
    ensure!(said.contains(r#"[name="app"].image is "kubectl-set"'s"#), "{said}");
    service.apply(&SERVICE.replace("TAG", "1")).await?;
    service.steady("1").await?;

    let patch = r#"patch configmap web -p {"data":{"version":"1.2"}}"#;
    let changed = ".data.version changed since the plan";
    service.fails("patch", &[patch], &["ConfigMap", changed, "run the pipeline again"]).await?;

    service.apply(&SERVICE.replace("TAG", "1")).await?;
    // What the run was about to take away counts as well: it was the person's to change.
    service.brings(&SERVICE.replace("TAG", "2").replace(", kept: \"1\"", ""))?;
    let patch = r#"patch configmap web -p {"data":{"kept":"2"}}"#;
    service.fails("removal", &[patch], &[".data.kept changed since the plan"]).await?;
    Ok(())
}

#[tokio::test]
async fn an_object_that_came_or_went_between_the_plan_and_the_first_write_fails_the_run()
-> Result<()> {
    let (service, _agent) = Service::open().await?;
    service.brings(&with_extra("2"))?;
    let create = "create configmap extra --from-literal=a=theirs";
    service.fails("came", &[create], &["extra: somebody has made it since the plan"]).await?;
    service
        .fails("went", &["delete configmap extra"], &["extra: it was deleted since the plan"])
        .await?;
    service.kubectl(create).await?;
    let again = ["delete configmap extra", create];
    service.fails("anew", &again, &["extra: it was deleted and made anew since the plan"]).await?;
    // The same that it would have made is not its own all the same.
    service.kubectl("delete configmap extra").await?;
    let same = "create configmap extra --from-literal=a=ours";
    service.fails("same", &[same], &["extra: somebody has made it since the plan"]).await
}

#[tokio::test]
async fn a_change_where_the_run_does_not_write_is_kept_by_its_success_and_by_its_abort()
-> Result<()> {
    let (service, _agent) = Service::open().await?;
    let mut as_edited = None;
    let edit = async {
        service.kubectl("annotate deployment,configmap web example.com/on-call=anna").await?;
        service.kubectl("label configmap web example.com/team=blue").await?;
        service.kubectl(r#"patch configmap web -p {"data":{"theirs":"1"}}"#).await?;
        service.kubectl("set resources deployment web --requests=cpu=100m").await?;
        service.steady("1").await?;
        as_edited = Some(service.objects().await?);
        Ok(())
    };
    service.play("aborts", edit, nothing(), Tester::Refuses).await?.expect(4)?;
    let as_edited = as_edited.ok_or_else(|| anyhow::anyhow!("it never got to the gate"))?;
    service.objects().await?.must_be(&as_edited)?;
    service.steady("1").await?;

    service.kubectl("annotate --overwrite deployment,configmap web example.com/on-call-").await?;
    let edit = async {
        service.kubectl("annotate deployment,configmap web example.com/on-call=bert").await?;
        Ok(())
    };
    service.play("commits", edit, nothing(), Tester::Lets).await?.expect(0)?;
    service.steady("2").await?;
    for kind in ["deployment", "configmap"] {
        let annotations = &service.object(kind).await?["metadata"]["annotations"];
        assert_eq!(annotations["example.com/on-call"], "bert", "of the {kind}");
    }
    let config = service.object("configmap").await?;
    assert_eq!(config["metadata"]["labels"]["example.com/team"], "blue");
    assert_eq!(config["data"]["theirs"], "1");
    Ok(())
}
