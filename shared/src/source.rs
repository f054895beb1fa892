//! Who wrote a record, by role: the value of `ce-source`.
//!
//! Names inside records are for people; who may write a subject is decided by the server's
//! permissions alone. A source that does not fit its slot marks a record that went astray.

use std::{fmt, str::FromStr};

use crate::{
    id::{PartyName, PipelineName, WorkflowName},
    subject::Family,
};

/// A writer of records.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// `/lockstep/coordinator/<instance>`
    Coordinator(String),
    /// `/lockstep/agent/<pipeline>/<workflow>/<instance>`
    Agent(PipelineName, WorkflowName, String),
    /// `/lockstep/party/<pipeline>/<party>/<who>`
    Party(PipelineName, PartyName, String),
    /// `/lockstep/submitter/<who>`
    Submitter(String),
    /// `/lockstep/operator/<who>`
    Operator(String),
}

impl Source {
    /// Whether this role writes this family.
    pub fn fits(&self, pipeline: &PipelineName, family: &Family) -> bool {
        match (self, family) {
            (Self::Submitter(_), Family::Plan) | (Self::Operator(_), Family::Request) => true,
            (Self::Agent(own, workflow, _), Family::Workflow(of)) => {
                own == pipeline && workflow == of
            }
            (Self::Agent(own, workflow, _), Family::Party(_, party)) => {
                own == pipeline && workflow.as_str() == party.as_str()
            }
            (Self::Party(own, name, _), Family::Party(_, party)) => {
                own == pipeline && name == party
            }
            (
                Self::Coordinator(_),
                Family::Admission
                | Family::BarrierVerdict(_)
                | Family::Verdict
                | Family::Outcome(_)
                | Family::Clock
                | Family::Closed,
            ) => true,
            _ => false,
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Coordinator(instance) => {
                write!(formatter, "/lockstep/coordinator/{}", clean(instance))
            }
            Self::Agent(pipeline, workflow, instance) => {
                write!(formatter, "/lockstep/agent/{pipeline}/{workflow}/{}", clean(instance))
            }
            Self::Party(pipeline, party, who) => {
                write!(formatter, "/lockstep/party/{pipeline}/{party}/{}", clean(who))
            }
            Self::Submitter(who) => write!(formatter, "/lockstep/submitter/{}", clean(who)),
            Self::Operator(who) => write!(formatter, "/lockstep/operator/{}", clean(who)),
        }
    }
}

/// A header value must be one line, and a source one path; nothing here is ever compared.
fn clean(text: &str) -> String {
    let safe = |c: char| if c.is_ascii_graphic() && c != '/' { c } else { '-' };
    text.chars().take(128).map(safe).collect()
}

/// The text is no source that this protocol knows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a source of records")]
pub struct UnknownSource;

impl FromStr for Source {
    type Err = UnknownSource;

    fn from_str(text: &str) -> Result<Self, UnknownSource> {
        let path = text.strip_prefix("/lockstep/").ok_or(UnknownSource)?;
        let parts: Vec<&str> = path.split('/').collect();
        match *parts.as_slice() {
            ["coordinator", instance] => Ok(Self::Coordinator(instance.to_owned())),
            ["agent", pipeline, workflow, instance] => Ok(Self::Agent(
                pipeline.parse().map_err(|_| UnknownSource)?,
                workflow.parse().map_err(|_| UnknownSource)?,
                instance.to_owned(),
            )),
            ["party", pipeline, party, who] => Ok(Self::Party(
                pipeline.parse().map_err(|_| UnknownSource)?,
                party.parse().map_err(|_| UnknownSource)?,
                who.to_owned(),
            )),
            ["submitter", who] => Ok(Self::Submitter(who.to_owned())),
            ["operator", who] => Ok(Self::Operator(who.to_owned())),
            _ => Err(UnknownSource),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_read_back_and_fits_only_its_own_slots() {
        let shop: PipelineName = "shop".parse().unwrap();
        let backend: WorkflowName = "backend".parse().unwrap();
        let source = Source::Agent(shop.clone(), backend.clone(), "host-1".to_owned());
        assert_eq!(source.to_string().parse(), Ok(source.clone()));
        assert!(source.fits(&shop, &Family::Workflow(backend)));
        assert!(!source.fits(&shop, &Family::Workflow("frontend".parse().unwrap())));
        assert!(
            !source.fits(&"other".parse().unwrap(), &Family::Workflow("backend".parse().unwrap()))
        );
        assert!(!source.fits(&shop, &Family::Verdict));
    }

    #[test]
    fn what_a_person_is_called_cannot_break_the_path() {
        let source = Source::Operator("a/b\r\nc d".to_owned());
        assert_eq!(source.to_string(), "/lockstep/operator/a-b--c-d");
    }
}
