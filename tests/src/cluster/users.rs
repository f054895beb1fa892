//! Users who may not do everything: service accounts, which every cluster has.

use std::path::PathBuf;

use anyhow::{Context, Result};

use super::{Cluster, authority::write_kubeconfig};

/// The label of accounts and of what they may do: no part of what a test deploys.
pub const OF_ACCOUNT: &str = "test.lockstep.dev/account";

impl Cluster {
    /// A kubeconfig with the token of a service account, which is made if it is not there. It may
    /// do what Roles and RoleBindings that the test applies say, and nothing else.
    ///
    /// # Errors
    /// If the account or its token cannot be made.
    pub async fn service_account(&self, namespace: &str, name: &str) -> Result<PathBuf> {
        let account = serde_json::json!({
            "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": name, "labels": { OF_ACCOUNT: name } },
        });
        self.make(namespace, &account).await?;
        let token = self.looker.token(namespace, name).await?;
        let config = self.view().await?;
        let authority = config.pointer("/clusters/0/cluster/certificate-authority-data");
        let authority = authority.and_then(serde_json::Value::as_str);
        let authority = authority.context("the kubeconfig has no certificate-authority-data")?;
        let path = self.folder().join(format!("{namespace}-{name}.kubeconfig"));
        let credentials = serde_json::json!({ "token": token });
        write_kubeconfig(&path, self.server(), authority, &credentials)?;
        Ok(path)
    }
}
