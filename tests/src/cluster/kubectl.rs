//! What a test says to its cluster, in kubectl's words.

use std::{path::Path, process::Stdio, time::Duration};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tokio::{io::AsyncWriteExt, process::Command};

use super::Cluster;
use crate::world::{SOON, until};

/// How long one kubectl may take; what waits longer is polled for.
const LIMIT: Duration = Duration::from_secs(120);

/// How long it takes at least until one looks again.
const PACE: Duration = Duration::from_millis(100);

impl Cluster {
    /// Runs kubectl as administrator, and gives what it printed.
    ///
    /// # Errors
    /// If it fails; the error shows what it said.
    pub async fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        self.kubectl_as(self.kubeconfig(), arguments, "").await
    }

    /// Runs kubectl with another kubeconfig and an input.
    ///
    /// # Errors
    /// If it fails; the error shows what it said.
    pub async fn kubectl_as(
        &self,
        kubeconfig: &Path,
        arguments: &[&str],
        input: &str,
    ) -> Result<String> {
        let mut command = Command::new(&self.kubectl);
        command
            .arg("--kubeconfig")
            .arg(kubeconfig)
            .arg("--cache-dir")
            .arg(self.folder().join("kubectl-cache"))
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let run = async {
            let mut child = command.spawn().context("starting kubectl")?;
            let mut stdin = child.stdin.take().context("its input is a pipe")?;
            // One that does not read its input says why itself.
            stdin.write_all(input.as_bytes()).await.ok();
            drop(stdin);
            child.wait_with_output().await.context("waiting for kubectl")
        };
        let output = tokio::time::timeout(LIMIT, run).await;
        let output = output.with_context(|| format!("kubectl {arguments:?} did not end"))??;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "kubectl {}: {}", arguments.join(" "), said.trim());
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// What `kubectl get` with these arguments gives, as JSON.
    ///
    /// # Errors
    /// If there is no such thing, or the server does not say.
    pub async fn get(&self, arguments: &[&str]) -> Result<Value> {
        let answer = tokio::time::timeout(LIMIT, self.looker.get(arguments)).await;
        let answer = answer.with_context(|| format!("get {arguments:?} did not end"))?;
        answer.with_context(|| format!("get {}", arguments.join(" ")))
    }

    /// All kinds with namespaces that can be listed now, as [`get`](Self::get) takes them.
    ///
    /// # Errors
    /// If the server does not say.
    pub async fn kinds(&self) -> Result<Vec<String>> {
        tokio::time::timeout(LIMIT, self.looker.kinds()).await.context("which kinds there are")?
    }

    /// The kubeconfig's current context alone, with its files in it.
    ///
    /// # Errors
    /// If it cannot be read.
    pub async fn view(&self) -> Result<&Value> {
        let view = async || {
            let view = ["config", "view", "--raw", "--minify", "--flatten", "-o", "json"];
            anyhow::Ok(serde_json::from_str(&self.kubectl(&view).await?)?)
        };
        self.view.get_or_try_init(view).await
    }

    /// `kubectl apply` of manifests in a namespace, as a person does it.
    ///
    /// # Errors
    /// If it fails.
    pub async fn apply(&self, namespace: &str, manifests: &str) -> Result<()> {
        let arguments = ["apply", "-n", namespace, "-f", "-"];
        self.kubectl_as(self.kubeconfig(), &arguments, manifests).await.map(drop)
    }

    /// Waits until an object, named as for `kubectl get`, looks as wanted.
    ///
    /// # Errors
    /// If it does not within a minute; the error shows its status.
    pub async fn sees<T>(
        &self,
        what: &str,
        object: &[&str],
        probe: impl Fn(&Value) -> Option<T>,
    ) -> Result<T> {
        let probe = &probe;
        until(&format!("{}: {what}", object.join(" ")), SOON, || async move {
            let seen = match self.get(object).await {
                Ok(seen) => match probe(&seen) {
                    Some(found) => return Ok(found),
                    None => seen.get("status").unwrap_or(&seen).to_string(),
                },
                Err(error) => format!("{error:#}"),
            };
            tokio::time::sleep(PACE).await;
            Err(seen)
        })
        .await
    }

    /// A new namespace whose name begins so, ready for pods.
    ///
    /// # Errors
    /// If it cannot be made.
    pub async fn namespace(&self, prefix: &str) -> Result<String> {
        let name = format!("{prefix}-{:08x}", rand::random::<u32>());
        let namespace = serde_json::json!({
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": { "name": name, "labels": { super::LABEL: self.id } },
        });
        self.make(&name, &namespace).await?;
        // Pods are refused until the controllers have made this one.
        let account = ["serviceaccount", "default", "-n", &name];
        self.sees("is there", &account, |_| Some(())).await?;
        Ok(name)
    }
}
