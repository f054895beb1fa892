//! Services whose type changes: what the server had given them is asked for again.

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::{HELD, Scene, left};

/// Services of every type.
const BEFORE: &str = r#"
apiVersion: v1
kind: List
items:
  - { apiVersion: v1, kind: Service, metadata: { name: up }, spec: { selector: { app: a }, ports: [ { port: 80 } ] } }
  - { apiVersion: v1, kind: Service, metadata: { name: down }, spec: { type: NodePort, selector: { app: a }, ports: [ { port: 80 } ] } }
  - { apiVersion: v1, kind: Service, metadata: { name: moved }, spec: { type: NodePort, selector: { app: a }, ports: [ { name: a, port: 80 }, { name: b, port: 81 } ] } }
  - { apiVersion: v1, kind: Service, metadata: { name: away }, spec: { selector: { app: a }, ports: [ { port: 80 } ] } }
  - { apiVersion: v1, kind: Service, metadata: { name: home }, spec: { type: ExternalName, externalName: a.example } }
  - { apiVersion: v1, kind: Service, metadata: { name: in }, spec: { type: LoadBalancer, externalTrafficPolicy: Local, selector: { app: a }, ports: [ { port: 80 } ] } }
  - { apiVersion: v1, kind: Service, metadata: { name: kept }, spec: { type: NodePort, selector: { app: a }, ports: [ { port: 80 } ] } }
"#;

/// The same, each of another type, or with other ports.
const AFTER: &str = r#"
apiVersion: v1
kind: List
items:
  - { apiVersion: v1, kind: Service, metadata: { name: up }, spec: { type: NodePort, selector: { app: a }, ports: [ { port: 80 } ] } }
  - { apiVersion: v1, kind: Service, metadata: { name: down }, spec: { selector: { app: a }, ports: [ { port: 80 } ] } }
  - { apiVersion: v1, kind: Service, metadata: { name: moved }, spec: { type: NodePort, selector: { app: a }, ports: [ { name: b, port: 81 }, { name: c, port: 82 } ] } }
  - { apiVersion: v1, kind: Service, metadata: { name: away }, spec: { type: ExternalName, externalName: b.example } }
  - { apiVersion: v1, kind: Service, metadata: { name: home }, spec: { selector: { app: a }, ports: [ { port: 80 } ] } }
  - { apiVersion: v1, kind: Service, metadata: { name: in }, spec: { selector: { app: a }, ports: [ { port: 80 } ] } }
  - { apiVersion: v1, kind: Service, metadata: { name: kept }, spec: { type: NodePort, selector: { app: b }, ports: [ { port: 80 } ] } }
"#;

const PLANNED: &[(&str, &str)] = &[
    ("Service away", "update, costly"),
    ("Service down", "update, costly"),
    ("Service home", "update, exact"),
    ("Service in", "update, costly"),
    ("Service kept", "update, exact"),
    ("Service moved", "update, costly"),
    ("Service up", "update, exact"),
];

/// One that becomes a balancer's, and gets no address.
const OUT: &str = "apiVersion: v1\nkind: Service\nmetadata: { name: out }\n\
    spec: { selector: { app: a }, ports: [ { port: 80 } ] }\n";

#[tokio::test]
async fn services_get_back_the_type_and_the_addresses_that_they_had() -> Result<()> {
    let scene = Scene::new(
        "        - deploy: { manifests: [all.yaml], timeout: 2m, settle: 0s }
        - deploy: { manifests: [out.yaml], timeout: 3s, settle: 0s }\n",
    )
    .await?;
    scene.stage.write("all.yaml", AFTER)?;
    let balanced = OUT.replace("spec: {", "spec: { type: LoadBalancer,");
    scene.stage.write("out.yaml", &balanced)?;
    scene.apply(&format!("{BEFORE}\n---\n{OUT}")).await?;
    let agent = scene.agent().await?;
    let before = scene.objects().await?;
    let planned = scene.planned(0).await?;
    let planned: Vec<(&str, &str)> =
        planned.iter().map(|(object, what)| (object.as_str(), what.as_str())).collect();
    assert_eq!(planned, PLANNED);
    let text = scene.stage.run(&[]).await?.expect(4).with_context(|| agent.tail())?;
    ensure!(text.contains("its load balancer has no address yet"), "{text}");
    ensure!(left(&text).is_empty(), "{text}");
    scene.objects().await?.must_be(&before)
}

#[tokio::test]
async fn a_freed_port_that_somebody_else_has_got_is_told_and_all_else_is_given_back() -> Result<()>
{
    let scene = Scene::new(HELD).await?;
    scene.stage.write("all.yaml", AFTER)?;
    scene.apply(BEFORE).await?;
    let agent = scene.agent().await?;
    scene.fails_when_told()?;
    let before = scene.objects().await?;
    let down = before.get(&scene.named("Service down")).context("Service down")?;
    let port = &down["spec"]["ports"][0]["nodePort"];
    let thief = format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{ name: thief }}\n\
         spec: {{ type: NodePort, ports: [ {{ port: 80, nodePort: {port} }} ] }}\n"
    );
    let meanwhile = async {
        scene.held().await?;
        scene.apply(&thief).await?;
        scene.go_on()
    };
    let output = scene.run_while(meanwhile).await.with_context(|| agent.tail())?;
    let text = output.expect(4).with_context(|| agent.tail())?;
    let told = |line: &str| {
        line.contains("Service") && line.contains("/down: ") && line.contains("nodePort had been")
    };
    ensure!(matches!(left(&text)[..], [only] if told(only)), "{text}");
    let service = ["service", "down", "-n", &scene.namespace];
    let now = scene.stage.cluster.get(&service).await?;
    assert_eq!(now["spec"]["type"], "NodePort");
    let given: &Value = &now["spec"]["ports"][0]["nodePort"];
    ensure!(given.is_u64() && given != port, "{now}");
    scene.stage.cluster.kubectl(&["delete", "service", "thief", "-n", &scene.namespace]).await?;
    let after = scene.objects().await?;
    let differs = after.must_be(&before).err().context("one port is another")?.to_string();
    let lines: Vec<&str> = differs.lines().skip(1).collect();
    ensure!(
        matches!(lines[..], [only] if only.contains("Service down .spec .ports[0] .nodePort")),
        "{differs}"
    );
    Ok(())
}
