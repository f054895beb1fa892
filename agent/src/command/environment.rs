//! What a command finds in its environment.
//!
//! | variable | value |
//! |---|---|
//! | `LOCKSTEP_PIPELINE`, `LOCKSTEP_RUN`, `LOCKSTEP_WORKFLOW` | who it works for |
//! | `LOCKSTEP_STEP` | the step's name |
//! | `LOCKSTEP_ATTEMPT` | the attempt, counted from 1 over all incarnations; 0 while undoing |
//! | `LOCKSTEP_PARAM_<NAME>` | each parameter, its name in capitals and `_` for what is no letter or digit |
//! | `TRACEPARENT` | the trace that the run belongs to, if there is one |
//!
//! The rest is the agent's own, except every variable that begins with `NATS_` or `LOCKSTEP_`: a
//! command has no use for the agent's credentials. The step's `env` is added; it cannot change
//! the variables above.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    path::PathBuf,
};

use lockstep_shared::id::{RunKey, WorkflowName};

/// What is the same for all commands of one workflow in one run.
#[derive(Debug, Clone)]
pub struct Setting {
    /// The run.
    pub key: RunKey,
    /// The workflow.
    pub workflow: WorkflowName,
    /// The run's parameters.
    pub params: BTreeMap<String, String>,
    /// The agent's working directory.
    pub workdir: PathBuf,
    /// The trace that the run belongs to.
    pub traceparent: Option<String>,
}

impl Setting {
    /// The whole environment of a command.
    pub(super) fn environment(
        &self,
        step: &str,
        attempt: u32,
        own: &BTreeMap<String, String>,
    ) -> BTreeMap<OsString, OsString> {
        let mut all: BTreeMap<OsString, OsString> =
            std::env::vars_os().filter(|(name, _)| is_inherited(name)).collect();
        let mut set = |name: &str, value: &str| all.insert(name.into(), value.into());
        for (name, value) in own {
            set(name, value);
        }
        for (name, value) in &self.params {
            set(&format!("LOCKSTEP_PARAM_{}", variable_name(name)), value);
        }
        set("LOCKSTEP_PIPELINE", self.key.pipeline.as_str());
        set("LOCKSTEP_RUN", self.key.run.as_str());
        set("LOCKSTEP_WORKFLOW", self.workflow.as_str());
        set("LOCKSTEP_STEP", step);
        set("LOCKSTEP_ATTEMPT", &attempt.to_string());
        if let Some(traceparent) = &self.traceparent {
            set("TRACEPARENT", traceparent);
        }
        all
    }
}

/// A parameter's name as it stands in a variable's.
pub fn variable_name(parameter: &str) -> String {
    let letter = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    parameter.chars().map(letter).collect()
}

fn is_inherited(name: &OsStr) -> bool {
    let name = name.as_encoded_bytes();
    let own = [&b"NATS_"[..], b"LOCKSTEP_"];
    !own.iter().any(|prefix| name.starts_with(prefix)) && name != b"TRACEPARENT"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_credential_of_the_agent_is_inherited() {
        for name in ["NATS_CREDS", "NATS_PASSWORD", "LOCKSTEP_STATE_DIR", "TRACEPARENT"] {
            assert!(!is_inherited(OsStr::new(name)), "{name}");
        }
        assert!(is_inherited(OsStr::new("PATH")));
        assert!(is_inherited(OsStr::new("MY_NATS_URL")));
    }

    #[test]
    fn a_command_cannot_be_told_by_its_own_step_that_it_is_another_one() {
        let setting = Setting {
            key: RunKey { pipeline: "shop".parse().unwrap(), run: "r1".parse().unwrap() },
            workflow: "backend".parse().unwrap(),
            params: [("image-tag".to_owned(), "v2".to_owned())].into(),
            workdir: "/".into(),
            traceparent: None,
        };
        let own = [("LOCKSTEP_RUN".to_owned(), "r2".to_owned()), ("A".to_owned(), "b".to_owned())];
        let all = setting.environment("deploy", 2, &own.into());
        let get = |name: &str| all.get(OsStr::new(name)).and_then(|value| value.to_str());
        assert_eq!(get("LOCKSTEP_RUN"), Some("r1"));
        assert_eq!(get("LOCKSTEP_ATTEMPT"), Some("2"));
        assert_eq!(get("LOCKSTEP_PARAM_IMAGE_TAG"), Some("v2"));
        assert_eq!(get("A"), Some("b"));
    }
}
