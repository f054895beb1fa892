//! Objects that kustomize and helm make: deployed, upgraded, taken back.

use std::fs;

use anyhow::{Result, ensure};
use lockstep_tests::stage::Played;
use serde_json::Value;

use super::Scene;

const PIPELINE: &str = r#"
apiVersion: lockstep.dev/v1alpha1
kind: Pipeline
metadata: { name: shop }
spec:
  params: { version: { default: "0" } }
  barriers: { end: { parties: [tester], timeout: 5m } }
  workflows:
    - name: backend
      target: { kubernetes: { namespace: BACKEND } }
      steps:
        - deploy:
            kustomize: overlay
            images: { shop/backend: "shop/backend:${{ params.version }}" }
            timeout: 1m
            settle: 0s
        - barrier: end
    - name: frontend
      target: { kubernetes: { namespace: FRONTEND } }
      steps:
        - deploy:
            helm:
              chart: chart
              release: shop
              values: values-eu.yaml
              set: { image.tag: "${{ params.version }}" }
            timeout: 1m
            settle: 0s
        - barrier: end
"#;

/// An overlay with a generated ConfigMap, whose name is another for each content.
const OVERLAY: &[(&str, &str)] = &[
    (
        "base/web.yaml",
        r#"
apiVersion: apps/v1
kind: Deployment
metadata: { name: backend }
spec:
  selector: { matchLabels: { app: backend } }
  template:
    metadata: { labels: { app: backend } }
    spec:
      containers:
        - { name: app, image: shop/backend, envFrom: [{ configMapRef: { name: settings } }] }
"#,
    ),
    ("base/kustomization.yaml", "resources: [web.yaml]\n"),
    (
        "overlay/kustomization.yaml",
        r#"
resources: [../base]
namePrefix: eu-
configMapGenerator: [{ name: settings, literals: [version=VERSION] }]
"#,
    ),
];

/// A chart with a hook and a test, which nobody runs.
const CHART: &[(&str, &str)] = &[
    ("chart/Chart.yaml", "apiVersion: v2\nname: web\nversion: 0.1.0\n"),
    ("chart/values.yaml", "replicas: 1\nimage: { tag: none }\nregion: none\n"),
    ("values-eu.yaml", "replicas: 2\nregion: eu\n"),
    (
        "chart/templates/web.yaml",
        r#"
apiVersion: v1
kind: ConfigMap
metadata: { name: "{{ .Release.Name }}-settings", namespace: "{{ .Release.Namespace }}" }
data: { region: "{{ .Values.region }}", version: "{{ .Values.image.tag }}" }
---
apiVersion: v1
kind: ConfigMap
metadata: { name: "{{ .Release.Name }}-of-{{ .Values.image.tag }}" }
data: { a: b }
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: "{{ .Release.Name }}", labels: { app.kubernetes.io/managed-by: "{{ .Release.Service }}" } }
spec:
  replicas: {{ .Values.replicas }}
  selector: { matchLabels: { app: "{{ .Release.Name }}" } }
  template:
    metadata: { labels: { app: "{{ .Release.Name }}" } }
    spec: { containers: [{ name: app, image: "shop/frontend:{{ .Values.image.tag }}" }] }
"#,
    ),
    (
        "chart/templates/hooks.yaml",
        r#"
apiVersion: batch/v1
kind: Job
metadata: { name: migrate, annotations: { helm.sh/hook: pre-upgrade } }
spec: { template: { spec: { restartPolicy: Never, containers: [{ name: a, image: "shop/a:1" }] } } }
---
apiVersion: v1
kind: Pod
metadata: { name: try, annotations: { helm.sh/hook: test } }
spec: { restartPolicy: Never, containers: [{ name: a, image: "shop/a:1" }] }
"#,
    ),
];

impl Scene {
    /// Writes files, of this version, and the folders that they are in.
    fn files(&self, files: &[(&str, &str)], version: &str) -> Result<()> {
        for (file, text) in files {
            if let Some(folder) = self.stage.folder().join(file).parent() {
                fs::create_dir_all(folder)?;
            }
            self.stage.write(file, &text.replace("VERSION", version))?;
        }
        Ok(())
    }

    /// Runs a version up to its gate, where the tester lets it commit or refuses it.
    async fn plays(&self, version: &str, commits: bool) -> Result<Played> {
        self.files(OVERLAY, version)?;
        let run = format!("v{version}");
        let tester = async {
            self.stage.stands(&run, "backend", "end").await?;
            self.stage.stands(&run, "frontend", "end").await?;
            match commits {
                true => self.stage.open(&run, "end").await,
                false => self.stage.refuse(&run, "end").await,
            }
        };
        let version = format!("version={version}");
        self.run_with_while(&["--run-id", &run, "--param", &version], tester).await
    }

    async fn runs(&self, version: &str) -> Result<()> {
        let backend = format!("shop/backend:{version}");
        self.stage.steady(&self.backend, "eu-backend", &backend).await?;
        self.stage.steady(&self.frontend, "shop", &format!("shop/frontend:{version}")).await
    }

    /// The names of the ConfigMaps of a namespace.
    async fn maps(&self, namespace: &str) -> Result<Vec<String>> {
        let all = self.stage.cluster.get(&["configmaps", "-n", namespace]).await?;
        let all = all["items"].as_array().cloned().unwrap_or_default();
        let name = |map: &Value| map["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        Ok(all.iter().map(name).filter(|name| name != "kube-root-ca.crt").collect())
    }
}

#[tokio::test]
async fn what_kustomize_and_helm_make_is_deployed_upgraded_and_taken_back() -> Result<()> {
    let mut scene = Scene::open(PIPELINE).await?;
    scene.stage.finds(&[("kubernetes", "kubectl"), ("helm", "helm")])?;
    scene.files(CHART, "")?;
    scene.files(OVERLAY, "0")?;
    let _agents = scene.agents().await?;
    let empty = scene.objects().await?;

    scene.plays("0", false).await?.expect(4)?;
    scene.objects().await?.must_be(&empty)?;

    let text = scene.plays("1", true).await?.expect(0)?;
    ensure!(
        text.contains("Job migrate") && text.contains("Pod try"),
        "what is left out is told: {text}"
    );
    scene.runs("1").await?;
    let first = scene.maps(&scene.backend).await?;
    scene.plays("2", true).await?.expect(0)?;
    scene.runs("2").await?;
    let settings = scene.object(&scene.frontend, "configmaps", "shop-settings").await?;
    let settings = settings.unwrap_or_default();
    assert_eq!(settings["data"]["region"], "eu", "of the file of values: {settings}");
    assert_eq!(settings["data"]["version"], "2", "of `set`: {settings}");
    assert_eq!(scene.maps(&scene.frontend).await?, ["shop-of-2", "shop-settings"], "1 is pruned");
    let second = scene.maps(&scene.backend).await?;
    ensure!(first.len() == 1 && second.len() == 1 && first != second, "{first:?}, {second:?}");

    let before = scene.objects().await?;
    let text = scene.plays("3", false).await?.expect(4)?;
    ensure!(!text.contains("left:"), "{text}");
    scene.runs("2").await?;
    scene.objects().await?.must_be(&before)?;
    for namespace in [&scene.backend, &scene.frontend] {
        let made = scene.stage.cluster.get(&["jobs", "-n", namespace]).await?;
        assert_eq!(made["items"], serde_json::json!([]), "no hook is run");
    }
    Ok(())
}
