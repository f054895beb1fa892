//! Accounts of agents: each may do what `lockstep doctor --kube` says that its workflow needs, for
//! the pipeline and the manifests as they are written, and nothing else.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{FILE, Stage};
use crate::{
    cluster::{CONTEXT, Cluster, OF_ACCOUNT},
    world::{SOON, until},
};

/// An account of agents, and which Roles it has.
#[derive(Debug, Clone)]
pub(super) struct Account {
    workflows: Vec<String>,
    name: String,
    /// The namespace of the account and of the agents' records.
    home: String,
    kubeconfig: PathBuf,
    given: Vec<Value>,
    /// What was written when these were given.
    given_for: Option<Written>,
}

/// What stands for all files of a stage, and for what a verb says of them.
type Written = [u8; 32];

impl Stage {
    /// The kubeconfig of the account of a workflow's agent that keeps its records in a namespace. Its
    /// rights are those that the doctor shows, now and before each run.
    ///
    /// # Errors
    /// If the doctor shows no Roles for what is written, or they are not enough for it.
    pub async fn account(&self, workflow: &str, home: &str) -> Result<PathBuf> {
        self.account_of(&[workflow], home).await
    }

    /// The same of somebody who acts for several workflows at once.
    ///
    /// # Errors
    /// As [`account`](Self::account).
    pub async fn account_of(&self, workflows: &[&str], home: &str) -> Result<PathBuf> {
        let mut accounts = self.accounts.lock().await;
        let is_this = |known: &Account| known.workflows == workflows && known.home == home;
        let place = match accounts.iter().position(is_this) {
            Some(place) => place,
            None => {
                accounts.push(Account::make(self.cluster, workflows, home).await?);
                accounts.len() - 1
            }
        };
        let account = &mut accounts[place];
        self.give(self.cluster, account, &[]).await?;
        Ok(account.kubeconfig.clone())
    }

    /// An account in a cluster of its own, with what it needs for what is written now.
    ///
    /// # Errors
    /// As [`account`](Self::account).
    pub async fn account_in(
        &self,
        cluster: &Cluster,
        workflow: &str,
        home: &str,
    ) -> Result<PathBuf> {
        let mut account = Account::make(cluster, &[workflow], home).await?;
        self.give(cluster, &mut account, &[]).await?;
        Ok(account.kubeconfig)
    }

    /// Gives every account what it needs for the pipeline as it is written now, with the inputs among
    /// a verb's arguments. A pipeline that is not valid needs nothing.
    ///
    /// # Errors
    /// As [`account`](Self::account).
    pub async fn grant(&self, arguments: &[&str]) -> Result<()> {
        let inputs = &inputs(arguments);
        let mut accounts = self.accounts.lock().await;
        let written = self.written(inputs)?;
        let validate = [&["validate", FILE], inputs.as_slice()].concat();
        if accounts.iter().any(|account| account.given_for != Some(written))
            && self.lockstep(&validate).await?.code == Some(0)
        {
            for account in accounts.iter_mut() {
                self.give(self.cluster, account, inputs).await?;
            }
        }
        Ok(())
    }

    /// Makes the doctor's Roles, as an administrator does, and sees that the doctor is content then.
    async fn give(&self, cluster: &Cluster, account: &mut Account, inputs: &[&str]) -> Result<()> {
        let written = self.written(inputs)?;
        if account.given_for == Some(written) {
            return Ok(());
        }
        let context = cluster.view().await?["current-context"].as_str().context("a context")?;
        let admin = (cluster.kubeconfig(), context);
        let mut roles = Vec::new();
        for workflow in &account.workflows {
            let (_, look) = self.doctor(admin, (workflow, &account.home), inputs).await?;
            let shown = look["roles"].as_array().filter(|roles| !roles.is_empty());
            roles.extend(shown.with_context(|| format!("no Role is shown: {look}"))?.clone());
        }
        account.given_for = Some(written);
        if roles == account.given {
            return Ok(());
        }
        for role in &roles {
            account.bind(cluster, role).await?;
        }
        account.given = roles;
        let (account, user) = (&*account, (account.kubeconfig.as_path(), CONTEXT));
        until("the doctor's Roles are enough for the doctor", SOON, || async move {
            for workflow in &account.workflows {
                let look = self.doctor(user, (workflow, &account.home), inputs).await;
                let (code, look) = look.map_err(|error| format!("{error:#}"))?;
                if code != Some(0) {
                    return Err(look.to_string());
                }
            }
            Ok(())
        })
        .await
    }

    fn written(&self, inputs: &[&str]) -> Result<Written> {
        let mut hash = Sha256::new();
        hash.update(inputs.join("\0"));
        let mut folders = vec![self.folder().to_owned()];
        while let Some(folder) = folders.pop() {
            let entries = fs::read_dir(folder)?.map(|entry| Ok(entry?.path()));
            let mut paths = entries.collect::<Result<Vec<_>>>()?;
            paths.sort_unstable();
            for path in paths {
                hash.update(path.as_os_str().as_encoded_bytes());
                match path.is_dir() {
                    true => folders.push(path),
                    false => hash.update(fs::read(path)?),
                }
            }
        }
        Ok(hash.finalize().into())
    }

    /// How the doctor ends, and what it says of a workflow whose agent keeps its records in a
    /// namespace, with a kubeconfig and its context.
    ///
    /// # Errors
    /// If it says nothing.
    pub async fn doctor(
        &self,
        (kubeconfig, context): (&Path, &str),
        (workflow, home): (&str, &str),
        inputs: &[&str],
    ) -> Result<(Option<i32>, Value)> {
        let kubeconfig = kubeconfig.to_str().context("a path of text")?;
        let mut doctor = vec!["doctor", "--kube", FILE, "-o", "json", "--kubeconfig", kubeconfig];
        doctor.extend(["--kube-context", context, "--kube-namespace", home]);
        doctor.extend(["--workflow", workflow]);
        doctor.extend(inputs);
        let output = self.output(&doctor).await?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let looks: Value = serde_json::from_slice(&output.stdout).context(said)?;
        Ok((output.status.code(), looks[1].clone()))
    }
}

impl Account {
    async fn make(cluster: &Cluster, workflows: &[&str], home: &str) -> Result<Self> {
        let name = format!("agent-{}", workflows.join("-"));
        let kubeconfig = cluster.service_account(home, &name).await?;
        let workflows = workflows.iter().map(|&workflow| workflow.to_owned()).collect();
        Ok(Self {
            workflows,
            name,
            home: home.to_owned(),
            kubeconfig,
            given: Vec::new(),
            given_for: None,
        })
    }

    /// Makes a Role and binds it to the account. What is the whole cluster's goes with the namespace.
    async fn bind(&self, cluster: &Cluster, role: &Value) -> Result<()> {
        let Self { name: account, home, .. } = self;
        let (kind, name) = (&role["kind"], &role["metadata"]["name"]);
        let namespace = role["metadata"]["namespace"].as_str();
        let mut metadata = json!({ "name": name, "labels": { OF_ACCOUNT: account } });
        if namespace.is_none() {
            let owner = cluster.get(&["namespace", home]).await?;
            metadata["ownerReferences"] = json!([{
                "apiVersion": "v1", "kind": "Namespace", "name": home,
                "uid": owner["metadata"]["uid"],
            }]);
        }
        let mut role = role.clone();
        role["metadata"] = metadata.clone();
        let binding = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": format!("{}Binding", kind.as_str().context("a kind")?),
            "metadata": metadata,
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name },
            "subjects": [{ "kind": "ServiceAccount", "name": account, "namespace": home }],
        });
        let namespace = namespace.unwrap_or(home);
        cluster.make(namespace, &role).await?;
        cluster.make(namespace, &binding).await
    }
}

/// Those of a verb's arguments that say what its pipeline is.
fn inputs<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
    let is_input = |pair: &&[&str]| matches!(pair[0], "--param" | "-p" | "--skip-check");
    arguments.windows(2).filter(is_input).flatten().copied().collect()
}
