//! How an agent is started: its flags, and the same as a library.

use std::{path::PathBuf, time::Duration};

use lockstep_shared::{
    id::{PipelineName, WorkflowName},
    pipeline::duration::of_flag,
};

use crate::{
    kubernetes::{client::Access, evidence::Evidence},
    state::StateDirectory,
};

/// For how long what a finished step brought up may be unhealthy before its workflow fails.
pub const DEGRADE_GRACE: Duration = Duration::from_secs(60);

/// Of how many settled runs the undo records are kept, if nobody says otherwise.
pub const UNDO_HISTORY: usize = 3;

/// The most that may be asked for: each is a Secret or more in the cluster.
const MAX_HISTORY: usize = 100;

/// What an agent is, whatever it takes part in.
#[derive(Debug, Clone)]
pub struct Options {
    /// The pipeline.
    pub pipeline: PipelineName,
    /// The workflows that it carries out, side by side.
    pub workflows: Vec<WorkflowName>,
    /// Where it keeps its locks and undo records.
    pub state_dir: PathBuf,
    /// What it calls itself; by default the host's name and an id kept in `state_dir`.
    pub instance: Option<String>,
    /// Whether it runs commands at all: whoever may submit a plan could run anything.
    pub allow_commands: bool,
    /// Where commands run.
    pub workdir: PathBuf,
    /// The name of the cluster that it stands in.
    pub cluster: Option<String>,
    /// How the cluster is found, for workflows with a Kubernetes target.
    pub kubernetes: Access,
    /// For how long what a finished step brought up may be unhealthy before its workflow fails.
    pub degrade_grace: Duration,
    /// What of failed pods it may tell.
    pub evidence: Evidence,
    /// Of how many settled runs the undo records are kept.
    pub undo_history: usize,
    /// The trace that its runs belong to.
    pub traceparent: Option<String>,
    /// The build that it says it is, for people who look at a run.
    pub version: String,
}

/// The version of this build.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The flags that every way of starting an agent takes.
#[derive(Debug, Clone, clap::Args)]
pub struct AgentArgs {
    /// Where locks and undo records are kept; it must outlive the agent
    /// [default: $XDG_STATE_HOME/lockstep]
    #[arg(long, env = "LOCKSTEP_STATE_DIR", value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// What this agent calls itself [default: host name and an id kept in the state directory]
    #[arg(long, env = "LOCKSTEP_INSTANCE", value_name = "NAME")]
    pub instance: Option<String>,
    /// Run the commands of plans; whoever may submit a plan can then run anything here
    #[arg(long, env = "LOCKSTEP_ALLOW_COMMANDS", value_parser = clap::builder::FalseyValueParser::new())]
    pub allow_commands: bool,
    /// Where commands run [default: the working directory]
    #[arg(long, env = "LOCKSTEP_WORKDIR", value_name = "DIR")]
    pub workdir: Option<PathBuf>,
    /// The name of the cluster that this agent stands in
    #[arg(long, env = "LOCKSTEP_CLUSTER", value_name = "NAME")]
    pub cluster: Option<String>,
    /// How the cluster is found.
    #[command(flatten)]
    pub kubernetes: Access,
    /// For how long what a finished step brought up may be unhealthy before its workflow fails
    #[arg(
        long,
        env = "LOCKSTEP_DEGRADE_GRACE",
        value_name = "DURATION",
        default_value = "60s",
        value_parser = of_flag
    )]
    pub degrade_grace: Duration,
    /// What it keeps and tells.
    #[command(flatten)]
    pub keeping: KeepingArgs,
}

/// The flags on what an agent keeps and tells; `lockstep dev` takes them too.
#[derive(Debug, Clone, clap::Args)]
pub struct KeepingArgs {
    /// What of failed pods goes into the log of a run, where its parties can read it: events, or
    /// also the ends of their logs
    #[arg(long, env = "LOCKSTEP_EVIDENCE", value_name = "WHAT", value_enum, default_value_t)]
    pub evidence: Evidence,
    /// Of how many runs that owe nothing the undo records are kept, for people who look into what
    /// happened; those of others are always kept
    #[arg(
        long,
        env = "LOCKSTEP_UNDO_HISTORY",
        value_name = "N",
        default_value_t = UNDO_HISTORY,
        value_parser = parse_history
    )]
    pub undo_history: usize,
}

/// Why the flags make no agent.
#[derive(Debug, thiserror::Error)]
pub enum OptionsError {
    /// No place for the state.
    #[error(
        "no folder for the agent's state is known, because neither XDG_STATE_HOME nor HOME is set; \
         choose one with --state-dir"
    )]
    NoStateDirectory,
    /// The working directory cannot be used.
    #[error("the working directory {} cannot be used; choose another with --workdir", path.display())]
    Workdir {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl AgentArgs {
    /// The agent that these flags describe.
    ///
    /// # Errors
    /// [`OptionsError`] if a folder is missing.
    pub fn options(
        self,
        pipeline: PipelineName,
        workflows: Vec<WorkflowName>,
    ) -> Result<Options, OptionsError> {
        let state_dir = self
            .state_dir
            .or_else(StateDirectory::default_path)
            .ok_or(OptionsError::NoStateDirectory)?;
        let workdir = self.workdir.unwrap_or_else(|| PathBuf::from("."));
        let workdir = workdir
            .canonicalize()
            .map_err(|source| OptionsError::Workdir { path: workdir, source })?;
        Ok(Options {
            pipeline,
            workflows,
            state_dir,
            instance: self.instance,
            allow_commands: self.allow_commands,
            workdir,
            cluster: self.cluster,
            kubernetes: self.kubernetes,
            degrade_grace: self.degrade_grace,
            evidence: self.keeping.evidence,
            undo_history: self.keeping.undo_history,
            traceparent: std::env::var("TRACEPARENT").ok().filter(|text| is_traceparent(text)),
            version: VERSION.to_owned(),
        })
    }
}

fn parse_history(text: &str) -> Result<usize, String> {
    let wanted = text.parse().ok().filter(|wanted| (1..=MAX_HISTORY).contains(wanted));
    wanted.ok_or_else(|| format!("it has to be a number from 1 to {MAX_HISTORY}"))
}

/// The W3C form: it is passed on in headers, where nothing else may go.
fn is_traceparent(text: &str) -> bool {
    let lengths: Vec<usize> = text.split('-').map(str::len).collect();
    lengths == [2, 32, 16, 2] && text.bytes().all(|b| b == b'-' || b.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_trace_in_the_standard_form_is_passed_on() {
        assert!(is_traceparent("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"));
        assert!(!is_traceparent("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\nx: y"));
        assert!(!is_traceparent(""));
    }

    #[test]
    fn a_history_of_nothing_or_of_everything_is_refused() {
        assert_eq!(parse_history("1"), Ok(1));
        assert!(parse_history("0").is_err(), "the last run's is looked at while it ends");
        assert!(parse_history("101").unwrap_err().contains("from 1 to 100"));
        assert!(parse_history("-1").is_err());
    }
}
