//! What a rollback owes that the server does not let through: told, remembered, settled.

use std::time::Duration;

use anyhow::{Result, ensure};
use lockstep_tests::{
    cluster::Cluster,
    stage::FILE,
    world::{Process, until},
};
use serde_json::{Value, json};

use super::{Contexts, House};

/// How long a cluster may take until a new policy is in force.
const IN_FORCE: Duration = Duration::from_secs(60);

/// A policy of the whole cluster, which has to be taken away.
struct Policy {
    cluster: &'static Cluster,
    name: String,
}

impl Policy {
    async fn withdraw(self) -> Result<()> {
        let kind = "validatingadmissionpolicybindings,validatingadmissionpolicies";
        self.cluster.kubectl(&["delete", kind, &self.name]).await.map(drop)
    }
}

/// A house whose last run, `r2`, brought version 2 and cannot be taken back to version 1 while the
/// policy is there; the next run is refused and says what to do.
async fn stuck() -> Result<(House, Process, Policy)> {
    let house = House::open().await?;
    let agent = house.agent(&[]).await?;
    let policy = house.get_stuck().await?;
    Ok((house, agent, policy))
}

impl House {
    /// Has the API server refuse whatever would bring version 2 back to version 1.
    async fn refuse_the_way_back(&self) -> Result<Policy> {
        let name = format!("no-way-back-{}", self.namespace);
        let policy = json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
            "metadata": { "name": name },
            "spec": {
                "failurePolicy": "Fail",
                "matchConstraints": { "resourceRules": [{
                    "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"],
                    "operations": ["UPDATE"],
                }] },
                "validations": [{
                    "expression": "!(oldObject.data.version == '2' && object.data.version == '1')",
                    "message": "nobody goes back to version 1 here",
                }],
            },
        });
        let binding = json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingAdmissionPolicyBinding",
            "metadata": { "name": name },
            "spec": {
                "policyName": name, "validationActions": ["Deny"],
                "matchResources": { "namespaceSelector": { "matchLabels": {
                    "kubernetes.io/metadata.name": self.namespace,
                } } },
            },
        });
        let probe = |version: &str| {
            json!({
                "apiVersion": "v1", "kind": "ConfigMap",
                "metadata": { "name": "probe" }, "data": { "version": version },
            })
            .to_string()
        };
        self.cluster().apply(&self.namespace, &probe("2")).await?;
        let made = Policy { cluster: self.cluster(), name };
        for object in [policy, binding] {
            self.cluster().apply(&self.namespace, &object.to_string()).await?;
        }
        let (probe, namespace) = (&probe("1"), &self.namespace);
        until("the policy is in force", IN_FORCE, || async move {
            let arguments = ["apply", "-n", namespace, "--dry-run=server", "-f", "-"];
            let admin = self.cluster().kubeconfig();
            match self.cluster().kubectl_as(admin, &arguments, probe).await {
                Err(error) if error.to_string().contains("nobody goes back") => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await?;
        Ok(made)
    }

    /// Resumes the rollback of `r2` once the policy is withdrawn.
    async fn resume(&self) -> Result<()> {
        let resume = ["rollback", "resume", "r2", "--reason", "the policy is gone", "--wait"];
        // A policy is in force for a moment longer than it is there.
        until("the rollback is resumed", IN_FORCE, || async {
            self.lockstep(&resume, 0).await.map_err(|error| format!("{error:#}"))
        })
        .await
        .map(drop)
    }

    async fn get_stuck(&self) -> Result<Policy> {
        let house = self;
        house.bring("1", false)?;
        house.run("r1", 0).await?;
        let policy = house.refuse_the_way_back().await?;
        house.bring("2", true)?;
        let text = house.run("r2", 5).await?;
        ensure!(text.contains("nobody goes back to version 1 here"), "the server's words: {text}");
        ensure!(text.contains("lockstep rollback resume shop/r2"), "what to do: {text}");
        assert_eq!(house.version().await?, "2");
        house.bring("3", false)?;
        let text = house.run("r3", 4).await?;
        ensure!(text.contains("lockstep rollback resume r2"), "the next run is refused: {text}");
        assert_eq!(house.version().await?, "2", "the refused run has written nothing");
        Ok(policy)
    }
}

#[tokio::test]
async fn parity_21_a_stuck_rollback_is_resumed_once_the_server_lets_it_through() -> Result<()> {
    let (house, _agent, policy) = stuck().await?;
    let again = ["rollback", "resume", "r2", "--reason", "too early", "--wait"];
    let text = house.lockstep(&again, 5).await?;
    ensure!(text.contains("could not be undone again"), "{text}");
    policy.withdraw().await?;
    house.resume().await?;
    assert_eq!(house.version().await?, "1");
    assert_eq!(house.object("configmaps", "of-2").await?, None, "what r2 created is gone");
    assert!(house.object("configmaps", "of-1").await?.is_some(), "and nothing else");
    let status = house.lockstep(&["status", "r2", "-o", "json"], 0).await?;
    let status: Value = serde_json::from_str(&status)?;
    let backend = &status["workflows"][0];
    assert_eq!(backend["settled"]["how"], "rolled-back", "{backend}");
    assert_eq!(backend["left"], Value::Null, "verified: {backend}");
    house.run("r4", 0).await?;
    assert_eq!(house.version().await?, "3");
    Ok(())
}

#[tokio::test]
async fn parity_21_what_a_stuck_rollback_left_in_a_cluster_can_be_kept() -> Result<()> {
    let (house, _agent, policy) = stuck().await?;
    let accept = ["rollback", "accept", "r2", "--reason", "version 2 is as good", "--wait"];
    house.lockstep(&accept, 0).await?;
    assert_eq!(house.version().await?, "2", "it was to be kept");
    assert!(house.object("configmaps", "of-2").await?.is_some(), "all of it");
    house.run("r4", 0).await?;
    assert_eq!(house.version().await?, "3");
    policy.withdraw().await
}

#[tokio::test]
async fn what_is_owed_in_another_context_is_found_by_the_next_agent() -> Result<()> {
    let house = House::open().await?;
    let Contexts { agent: kubeconfig, home, .. } = house.contexts().await?;
    house.target("context: eu")?;
    let mut agent = house.agent_with("agent", &kubeconfig, &[]).await?;
    let policy = house.get_stuck().await?;
    assert!(house.kept(&home).await?.contains(&"lockstep.shop.backend.r2".to_owned()));
    agent.kill()?;
    let _again = house.agent_with("again", &kubeconfig, &[]).await?;
    policy.withdraw().await?;
    house.resume().await?;
    assert_eq!(house.version().await?, "1");
    Ok(())
}

#[tokio::test]
async fn dev_takes_a_clusters_name_for_a_context_and_finds_there_what_it_left() -> Result<()> {
    let house = House::open().await?;
    let Contexts { agent: kubeconfig, admin, home } = house.contexts().await?;
    house.target("cluster: eu")?;
    house.bring("1", false)?;
    house.dev(&kubeconfig, &[], 0).await?;
    let policy = house.refuse_the_way_back().await?;
    house.bring("2", true)?;
    house.dev(&kubeconfig, &["--run-id", "r2"], 5).await?;
    house.bring("3", false)?;
    let text = house.dev(&kubeconfig, &[], 5).await?;
    ensure!(text.contains("backend (run r2)") && text.contains("--settle resume"), "{text}");
    let text = house.with(&admin, &["destroy", FILE, "--yes"], 8).await?;
    ensure!(text.contains("run r2 of backend is not settled") && text.contains(&home), "{text}");
    assert_eq!(house.version().await?, "2", "nothing was destroyed");
    policy.withdraw().await?;
    until("what is left is settled", IN_FORCE, || async {
        let settle = ["--settle", "resume"];
        house.dev(&kubeconfig, &settle, 0).await.map_err(|error| format!("{error:#}"))
    })
    .await?;
    assert_eq!(house.version().await?, "3");
    let text = house.with(&admin, &["destroy", FILE, "--yes"], 0).await?;
    ensure!(text.contains("deleted Service") && !text.contains("Endpoint"), "{text}");
    assert_eq!(house.object("configmaps", "settings").await?, None);
    assert_eq!(house.kept(&home).await?, Vec::<String>::new(), "nothing is kept");
    Ok(())
}
