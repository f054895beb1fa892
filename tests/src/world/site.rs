//! The shop example in a folder of its own: two services on free ports, asked over HTTP.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

use super::{World, free_port};

/// A copy of `examples/shop` with its services; they are stopped when it is dropped.
pub struct Site {
    folder: PathBuf,
    ports: [u16; 2],
}

impl Site {
    /// A copy in the world's folder, nothing deployed yet.
    ///
    /// # Errors
    /// If it cannot be copied.
    pub fn new(world: &World) -> Result<Self> {
        Ok(Self { folder: world.example("shop")?, ports: [free_port()?, free_port()?] })
    }

    /// Where the pipeline file is, and where the agents have to work.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Deploys a version of both services by hand, as what a run finds.
    ///
    /// # Errors
    /// If a deploy fails.
    pub fn deploy_by_hand(&self, version: &str) -> Result<()> {
        for (service, port) in ["backend", "frontend"].into_iter().zip(self.ports) {
            let release = format!("releases/{service}/{version}");
            let port = port.to_string();
            self.site(&["deploy", service, &release, "--port", &port])?;
        }
        Ok(())
    }

    fn site(&self, arguments: &[&str]) -> Result<()> {
        let output = Command::new("python3")
            .arg("../site.py")
            .args(arguments)
            .current_dir(&self.folder)
            .env("LOCKSTEP_RUN", "by-hand")
            .output()?;
        let printed = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "site.py {arguments:?} failed: {printed}");
        Ok(())
    }

    /// The `--param` arguments that a run of this copy needs, for these versions.
    pub fn params(&self, backend: &str, frontend: &str) -> Vec<String> {
        let [backend_port, frontend_port] = self.ports;
        [
            format!("backend_port={backend_port}"),
            format!("frontend_port={frontend_port}"),
            format!("backend_version={backend}"),
            format!("frontend_version={frontend}"),
        ]
        .into_iter()
        .flat_map(|param| ["--param".to_owned(), param])
        .collect()
    }

    /// The versions that backend and frontend serve now; an error's text where one does not.
    pub async fn served(&self) -> [Result<String, String>; 2] {
        [served(self.ports[0]).await, served(self.ports[1]).await]
    }

    /// The versions that both serve.
    ///
    /// # Errors
    /// If one of them does not answer.
    pub async fn versions(&self) -> Result<[String; 2]> {
        let [backend, frontend] = self.served().await;
        let backend = backend.map_err(anyhow::Error::msg).context("backend")?;
        let frontend = frontend.map_err(anyhow::Error::msg).context("frontend")?;
        Ok([backend, frontend])
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        // Nothing to stop is as good.
        let _ = self.site(&["stop"]);
    }
}

async fn served(port: u16) -> Result<String, String> {
    let url = format!("http://127.0.0.1:{port}/version");
    let limit = std::time::Duration::from_secs(3);
    let answer = async { reqwest::get(url).await?.error_for_status()?.text().await };
    match tokio::time::timeout(limit, answer).await {
        Ok(Ok(text)) => Ok(text.trim().to_owned()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no answer within {limit:?}")),
    }
}
