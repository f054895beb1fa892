//! The Roles that `lockstep doctor --kube` shows are exact: they are enough for an agent, each right
//! in them is missed when it is taken away, and they give nothing else.
//!
//! That they are enough is also shown by all other tests with a cluster: their agents have nothing
//! but them, unless a test says what else and why.

use std::{collections::BTreeSet, path::Path};

use anyhow::{Context, Result, ensure};
use lockstep_tests::{
    cluster::{CONTEXT, Cluster},
    stage::{FILE, Stage},
    world::{SOON, until},
};
use serde_json::{Value, json};

const PIPELINE: &str = r#"
apiVersion: lockstep.dev/v1alpha1
kind: Pipeline
metadata: { name: shop }
spec:
  workflows:
    - name: backend
      target: { kubernetes: { namespace: NAMESPACE, allowClusterScoped: true } }
      steps: [ { deploy: { manifests: [all.yaml], timeout: 2m, settle: 0s, irreversible: accept } } ]
"#;

/// One object for each way in which a right comes about.
const MANIFESTS: &str = r#"
apiVersion: v1
kind: ConfigMap
metadata: { name: settings }
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: { name: data }
spec: { accessModes: [ ReadWriteOnce ], resources: { requests: { storage: 1Gi } } }
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: web }
spec:
  selector: { matchLabels: { app: web } }
  template:
    metadata: { labels: { app: web } }
    spec: { containers: [ { name: app, image: "shop/web:1" } ] }
---
apiVersion: apps/v1
kind: StatefulSet
metadata: { name: store }
spec:
  serviceName: store
  selector: { matchLabels: { app: store } }
  template:
    metadata: { labels: { app: store } }
    spec: { containers: [ { name: app, image: "shop/store:1" } ] }
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: { name: reader }
rules:
  - { apiGroups: [ "" ], resources: [ configmaps ], verbs: [ list, watch ] }
  - { apiGroups: [ "" ], resources: [ endpoints ], resourceNames: [ web ], verbs: [ get, watch ] }
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: { name: readers }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: Role, name: reader }
subjects: [ { kind: ServiceAccount, name: default } ]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: { name: NAMESPACE-probe }
rules:
  - { nonResourceURLs: [ /metrics ], verbs: [ get ] }
  - { apiGroups: [ "" ], resources: [ nodes ], verbs: [ get ] }
"#;

/// A pipeline for one namespace, and an agent that lives in another.
struct Scene {
    stage: Stage,
    target: String,
    home: String,
}

impl Scene {
    async fn new(manifests: &str) -> Result<Self> {
        let cluster = Cluster::shared().await?;
        let stage = Stage::new(cluster).await?;
        let (target, home) = (cluster.namespace("target").await?, cluster.namespace("home").await?);
        stage.write(FILE, &PIPELINE.replace("NAMESPACE", &target))?;
        let scene = Self { stage, target, home };
        scene.brings(manifests)?;
        Ok(scene)
    }

    fn brings(&self, manifests: &str) -> Result<()> {
        self.stage.write("all.yaml", &manifests.replace("NAMESPACE", &self.target))
    }

    async fn apply(&self, object: &Value) -> Result<()> {
        let namespace = object["metadata"]["namespace"].as_str().unwrap_or(&self.target);
        self.stage.cluster.apply(namespace, &object.to_string()).await
    }

    /// How the doctor ends with a kubeconfig, and what it says of the workflow.
    async fn doctor(&self, kubeconfig: &Path, context: &str) -> Result<(Option<i32>, Value)> {
        self.stage.doctor((kubeconfig, context), ("backend", &self.home), &[]).await
    }

    /// What it says to an administrator.
    async fn shown(&self) -> Result<Value> {
        let cluster = self.stage.cluster;
        let context = cluster.kubectl(&["config", "current-context"]).await?;
        Ok(self.doctor(cluster.kubeconfig(), context.trim()).await?.1)
    }

    /// All that an account may do in a namespace, a line each.
    async fn may(&self, kubeconfig: &Path, namespace: &str) -> Result<BTreeSet<String>> {
        let review = json!({
            "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview",
            "spec": { "namespace": namespace },
        });
        let create = ["create", "--validate=false", "-f", "-", "-o", "json"];
        let cluster = self.stage.cluster;
        let answer = cluster.kubectl_as(kubeconfig, &create, &review.to_string()).await?;
        let answer: Value = serde_json::from_str(&answer)?;
        let rules = ["resourceRules", "nonResourceRules"];
        let rules = rules.iter().filter_map(|rules| answer["status"][rules].as_array());
        Ok(rules.flatten().flat_map(singles).collect())
    }

    async fn close(self) -> Result<()> {
        let probe = format!("{}-probe", self.target);
        let delete = ["delete", "clusterrole", &probe, "--ignore-not-found"];
        self.stage.cluster.kubectl(&delete).await.map(drop)
    }
}

/// Each single thing that a rule allows, as the doctor tells it.
fn singles(rule: &Value) -> Vec<String> {
    let texts = |member: &str| -> Vec<String> {
        let found = rule[member].as_array().into_iter().flatten();
        found.filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let mut named = texts("nonResourceURLs");
    for group in texts("apiGroups") {
        for resource in texts("resources") {
            let dot = if group.is_empty() { "" } else { "." };
            let whole = format!("{resource}{dot}{group}");
            match texts("resourceNames") {
                names if names.is_empty() => named.push(whole),
                names => named.extend(names.iter().map(|name| format!("{whole} {name}"))),
            }
        }
    }
    let verbs = texts("verbs");
    verbs.iter().flat_map(|verb| named.iter().map(move |it| format!("{verb} {it}"))).collect()
}

/// All that some Roles give in a namespace.
fn given(roles: &[Value], namespace: &str) -> BTreeSet<String> {
    let is_there = |role: &&Value| {
        let its = &role["metadata"]["namespace"];
        its.is_null() || its == namespace
    };
    let rules = roles.iter().filter(is_there).filter_map(|role| role["rules"].as_array());
    rules.flatten().flat_map(singles).collect()
}

/// What the doctor says is lacking, a line for each place.
fn lacking(look: &Value) -> Vec<String> {
    let lines = look["found"].as_str().unwrap_or_default().lines();
    lines.filter(|line| line.starts_with("in ")).map(str::to_owned).collect()
}

#[tokio::test]
async fn the_roles_that_are_shown_give_what_is_needed_and_nothing_else() -> Result<()> {
    let scene = Scene::new(MANIFESTS).await?;
    let account = scene.stage.account("backend", &scene.home).await?;
    let roles = scene.shown().await?["roles"].as_array().cloned().context("Roles")?;
    let (code, look) = scene.doctor(&account, CONTEXT).await?;
    ensure!(code == Some(0) && look["state"] == "ok", "{look}");
    ensure!(
        look["roles"] == Value::Array(roles.clone()),
        "they are shown to the agent too: {look}"
    );
    let text = json!(roles).to_string();
    for word in ["\"*\"", "escalate", "\"bind\"", "deletecollection", "update"] {
        ensure!(!text.contains(word), "{word} is in {text}");
    }

    let bare = scene.stage.cluster.service_account(&scene.home, "bare").await?;
    for namespace in [&scene.target, &scene.home] {
        let (may, everyone) =
            (scene.may(&account, namespace).await?, scene.may(&bare, namespace).await?);
        let more: BTreeSet<String> = may.difference(&everyone).cloned().collect();
        assert_eq!(more, given(&roles, namespace), "in {namespace}");
    }
    let elsewhere = scene.stage.cluster.namespace("elsewhere").await?;
    let may = scene.may(&account, &elsewhere).await?;
    let everyone = scene.may(&bare, &elsewhere).await?;
    let more: BTreeSet<String> = may.difference(&everyone).cloned().collect();
    assert_eq!(more, given(&roles, &elsewhere), "elsewhere, only what is the whole cluster's");

    scene.close().await
}

#[tokio::test]
async fn each_right_that_is_taken_away_is_missed_by_name() -> Result<()> {
    let scene = Scene::new(MANIFESTS).await?;
    let account = scene.stage.account("backend", &scene.home).await?;
    let roles = scene.shown().await?["roles"].as_array().cloned().context("Roles")?;
    let mut count = 0;
    for role in &roles {
        let place = match role["metadata"]["namespace"].as_str() {
            Some(namespace) => format!("in namespace {namespace}"),
            None => "in the whole cluster".to_owned(),
        };
        for (n, rule) in role["rules"].as_array().context("rules")?.iter().enumerate() {
            for v in 0..rule["verbs"].as_array().context("verbs")?.len() {
                let mut less = role.clone();
                let verbs = less["rules"][n]["verbs"].as_array_mut().context("verbs")?;
                let verb = verbs.remove(v);
                if verbs.is_empty() {
                    less["rules"].as_array_mut().context("rules")?.remove(n);
                }
                let mut taken = rule.clone();
                taken["verbs"] = json!([verb]);
                let taken = singles(&taken);
                ensure!(taken.len() == 1, "one right at a time: {taken:?}");
                let missed = vec![format!("{place}: {}", taken[0])];
                scene.apply(&less).await?;
                until(&format!("{missed:?}"), SOON, || async {
                    let looked = scene.doctor(&account, CONTEXT).await;
                    let (code, look) = looked.map_err(|error| format!("{error:#}"))?;
                    let is_so = code == Some(8) && lacking(&look) == missed;
                    if is_so { Ok(()) } else { Err(format!("exit code {code:?}, {look}")) }
                })
                .await?;
                count += 1;
            }
        }
        scene.apply(role).await?;
    }
    ensure!(count > 40, "only {count} rights");
    until("all is well again", SOON, || async {
        let looked = scene.doctor(&account, CONTEXT).await;
        let (code, look) = looked.map_err(|error| format!("{error:#}"))?;
        if code == Some(0) { Ok(()) } else { Err(look.to_string()) }
    })
    .await?;
    scene.close().await
}

/// Binds what is not among the manifests, in the namespace and in the cluster.
const BINDINGS: &str = r#"
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: { name: to-role, labels: { version: "1" } }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: Role, name: outside }
subjects: [ { kind: ServiceAccount, name: default } ]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: { name: to-cluster-role, labels: { version: "1" } }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: NAMESPACE-probe }
subjects: [ { kind: ServiceAccount, name: default } ]
"#;

#[tokio::test]
async fn a_binding_needs_what_its_role_grants_or_a_persons_leave_to_bind_it() -> Result<()> {
    let scene = Scene::new(BINDINGS).await?;
    let (version, probe) = ("rbac.authorization.k8s.io/v1", format!("{}-probe", scene.target));
    let outside = |kind: &str, name: &str, resource: &str| {
        json!({
            "apiVersion": version, "kind": kind, "metadata": { "name": name },
            "rules": [{ "apiGroups": [""], "resources": [resource], "verbs": ["get"] }],
        })
    };
    scene.apply(&outside("Role", "outside", "endpoints")).await?;
    scene.apply(&outside("ClusterRole", &probe, "services")).await?;
    let agent = scene.stage.agent("backend", &scene.home).await?;
    scene.stage.run(&[]).await?.expect(0).with_context(|| agent.tail())?;

    // Who cannot read them is told what they need.
    let account = scene.stage.account("backend", &scene.home).await?;
    let (code, look) = scene.doctor(&account, CONTEXT).await?;
    ensure!(code == Some(0) && look["state"] == "warn", "{look}");
    for role in ["Role outside".to_owned(), format!("ClusterRole {probe}")] {
        let told =
            format!("the agent needs the rights of {role}, or `bind` on it, given by a person");
        ensure!(
            look["found"].as_str().is_some_and(|found| found.contains(&told)),
            "{told}: {look}"
        );
    }

    // Without them the server refuses, and with the leave to bind it does not.
    let shown = scene.shown().await?;
    let is_target = |role: &&Value| role["metadata"]["namespace"] == scene.target.as_str();
    let role = shown["roles"].as_array().into_iter().flatten().find(is_target);
    let mut role = role.cloned().context("a Role")?;
    let rules = role["rules"].as_array_mut().context("rules")?;
    rules.retain(|rule| {
        !["endpoints", "services"].iter().any(|resource| rule["resources"][0] == *resource)
    });
    scene.apply(&role).await?;
    scene.brings(&BINDINGS.replace("\"1\"", "\"2\""))?;
    let refused = async || scene.stage.lockstep(&["plan", FILE, "--live"]).await;
    let plan = refused().await?.expect(4)?;
    ensure!(plan.contains("RoleBinding") && plan.contains("endpoints"), "{plan}");
    for (resource, name) in [("roles", "outside"), ("clusterroles", &probe)] {
        let rules = role["rules"].as_array_mut().context("rules")?;
        rules.push(json!({
            "apiGroups": ["rbac.authorization.k8s.io"], "resources": [resource],
            "resourceNames": [name], "verbs": ["bind"],
        }));
    }
    scene.apply(&role).await?;
    until("all is well", SOON, || async {
        let looked = scene.doctor(&account, CONTEXT).await;
        let (code, look) = looked.map_err(|error| format!("{error:#}"))?;
        if code == Some(0) && look["state"] == "ok" { Ok(()) } else { Err(look.to_string()) }
    })
    .await?;
    scene.stage.run(&[]).await?.expect(0).with_context(|| agent.tail())?;
    scene.close().await
}

#[tokio::test]
async fn no_role_is_shown_by_which_an_agent_could_give_itself_more() -> Result<()> {
    for verb in ["escalate", "bind", "'*'"] {
        let boss = format!(
            "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {{ name: boss }}\n\
             rules: [ {{ apiGroups: [ rbac.authorization.k8s.io ], resources: [ roles ], \
             verbs: [ {verb} ] }} ]\n"
        );
        let scene = Scene::new(&boss).await?;
        let look = scene.shown().await?;
        ensure!(look["state"] == "warn", "{look}");
        let said = look["found"].as_str().context("something is said")?;
        ensure!(said.contains("Role boss grants `escalate` or `bind`"), "{said}");
        let rights = given(look["roles"].as_array().context("Roles")?, &scene.target);
        let verb = verb.trim_matches('\'');
        let more = rights.iter().find(|right| right.starts_with(&format!("{verb} ")));
        ensure!(more.is_none(), "{more:?}");
        let bare = scene.stage.cluster.service_account(&scene.home, "bare").await?;
        let (code, look) = scene.doctor(&bare, CONTEXT).await?;
        ensure!(code == Some(8), "who does not hold it is told so: {look}");
    }
    Ok(())
}

#[tokio::test]
async fn what_the_manifests_have_no_more_may_still_be_pruned_and_nothing_else() -> Result<()> {
    let config = |name: &str| {
        format!("---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{ name: {name} }}\n")
    };
    let service = "---\napiVersion: v1\nkind: Service\nmetadata: { name: web }\n\
                   spec: { selector: { app: web }, ports: [ { port: 80 } ] }\n";
    let scene = Scene::new(&(config("one") + service)).await?;
    let agent = scene.stage.agent("backend", &scene.home).await?;
    scene.stage.run(&[]).await?.expect(0).with_context(|| agent.tail())?;
    scene.brings(&config("two"))?;
    let look = scene.shown().await?;
    let rights = given(look["roles"].as_array().context("Roles")?, &scene.target);
    let of_services: Vec<&String> =
        rights.iter().filter(|right| right.ends_with(" services")).collect();
    assert_eq!(of_services, ["delete services", "get services"]);
    scene.stage.run(&[]).await?.expect(0).with_context(|| agent.tail())?;
    let gone = ["services,configmaps", "-n", &scene.target];
    let is_so = |seen: &Value| {
        let names = seen["items"].as_array()?.iter();
        let names = names.filter_map(|it| it["metadata"]["name"].as_str());
        let names: Vec<&str> = names.filter(|name| *name != "kube-root-ca.crt").collect();
        (names == ["two"]).then_some(())
    };
    scene.stage.cluster.sees("what was dropped is gone", &gone, is_so).await
}
