//! Every subject of the protocol; no other file spells one.
//!
//! The table is in PROTOCOL section 2 (docs/protocol.md, "Subjects"). Slots are numbered from 1.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::id::{BarrierId, PartyName, PipelineName, RunId, RunKey, WorkflowName};

/// The stream that holds every run.
pub const STREAM: &str = "LOCKSTEP";

/// The stream that holds manifests, files and agents' views of plans.
pub const BUNDLE_STREAM: &str = "LOCKSTEP_BUNDLES";

/// A family of write-once slots within a run.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Family {
    /// `plan`, the only one without numbered slots.
    Plan,
    /// `admission.<n>`.
    Admission,
    /// `workflow.<workflow>.<n>`.
    Workflow(WorkflowName),
    /// `barrier.<barrier>.party.<party>.<n>`.
    Party(BarrierId, PartyName),
    /// `barrier.<barrier>.verdict.<n>`.
    BarrierVerdict(BarrierId),
    /// `verdict.<n>`.
    Verdict,
    /// `outcome.<workflow>.<n>`.
    Outcome(WorkflowName),
    /// `clock.<n>`.
    Clock,
    /// `request.<n>`.
    Request,
    /// `closed.<n>`.
    Closed,
}

impl Family {
    /// The slot of this number; `plan` has only the one, number 1.
    pub fn slot(self, number: u32) -> Slot {
        Slot { family: self, number }
    }
}

/// One write-once place in a run.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Slot {
    /// What it is for.
    pub family: Family,
    /// Its place in its family, counted from 1.
    pub number: u32,
}

impl fmt::Display for Slot {
    /// The part of the subject behind the run's id.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.number;
        match &self.family {
            Family::Plan => formatter.write_str("plan"),
            family => write!(formatter, "{family}.{number}"),
        }
    }
}

impl fmt::Display for Family {
    /// The part of the subject behind the run's id and before the slot's number.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plan => formatter.write_str("plan"),
            Self::Admission => formatter.write_str("admission"),
            Self::Workflow(workflow) => write!(formatter, "workflow.{workflow}"),
            Self::Party(barrier, party) => write!(formatter, "barrier.{barrier}.party.{party}"),
            Self::BarrierVerdict(barrier) => write!(formatter, "barrier.{barrier}.verdict"),
            Self::Verdict => formatter.write_str("verdict"),
            Self::Outcome(workflow) => write!(formatter, "outcome.{workflow}"),
            Self::Clock => formatter.write_str("clock"),
            Self::Request => formatter.write_str("request"),
            Self::Closed => formatter.write_str("closed"),
        }
    }
}

/// Why a text cannot be the prefix of all subjects.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a valid subject prefix: use letters, digits, '_' and '-', in parts joined by '.'"
)]
pub struct InvalidPrefix(pub String);

/// The subjects below one prefix.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Subjects {
    prefix: String,
}

impl Default for Subjects {
    fn default() -> Self {
        Self { prefix: "lockstep".to_owned() }
    }
}

impl FromStr for Subjects {
    type Err = InvalidPrefix;

    fn from_str(prefix: &str) -> Result<Self, InvalidPrefix> {
        let valid = prefix.split('.').all(|token| {
            !token.is_empty()
                && token.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
        });
        if valid {
            Ok(Self { prefix: prefix.to_owned() })
        } else {
            Err(InvalidPrefix(prefix.to_owned()))
        }
    }
}

impl Subjects {
    /// The prefix itself.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// What the stream captures: every slot of every run.
    pub fn all_runs(&self) -> String {
        format!("{}.run.>", self.prefix)
    }

    /// Where the server republishes what the stream stored.
    pub fn all_live(&self) -> String {
        format!("{}.live.run.>", self.prefix)
    }

    /// What the bundle stream captures.
    pub fn all_bundles(&self) -> String {
        format!("{}.bundle.>", self.prefix)
    }

    /// Every plan.
    pub fn all_plans(&self) -> String {
        format!("{}.run.*.*.plan", self.prefix)
    }

    /// Every Closed.
    pub fn all_closed(&self) -> String {
        format!("{}.run.*.*.closed.*", self.prefix)
    }

    /// Everything of one run.
    pub fn run(&self, key: &RunKey) -> String {
        format!("{}.run.{}.{}.>", self.prefix, key.pipeline, key.run)
    }

    /// Everything of the runs of this id, whatever their pipeline.
    pub fn run_of_any_pipeline(&self, run: &RunId) -> String {
        format!("{}.run.*.{run}.>", self.prefix)
    }

    /// The plan of the run of this id, whatever its pipeline.
    pub fn plan_of_any_pipeline(&self, run: &RunId) -> String {
        format!("{}.run.*.{run}.plan", self.prefix)
    }

    /// Every plan of one pipeline.
    pub fn plans_of(&self, pipeline: &PipelineName) -> String {
        format!("{}.run.{pipeline}.*.plan", self.prefix)
    }

    /// Every Closed of one pipeline.
    pub fn closed_of(&self, pipeline: &PipelineName) -> String {
        format!("{}.run.{pipeline}.*.closed.*", self.prefix)
    }

    /// One slot.
    pub fn slot(&self, key: &RunKey, slot: &Slot) -> String {
        format!("{}.run.{}.{}.{slot}", self.prefix, key.pipeline, key.run)
    }

    /// All slots of one family.
    pub fn family(&self, key: &RunKey, family: &Family) -> String {
        let run = format!("{}.run.{}.{}", self.prefix, key.pipeline, key.run);
        match family {
            Family::Plan => format!("{run}.plan"),
            family => format!("{run}.{family}.*"),
        }
    }

    /// The admissions of every run of a pipeline.
    pub fn admissions_of(&self, pipeline: &PipelineName) -> String {
        format!("{}.run.{pipeline}.*.admission.*", self.prefix)
    }

    /// Where the server republishes what it stored under `subject` (one subject or a filter).
    pub fn live(&self, subject: &str) -> String {
        let rest = subject.strip_prefix(&self.prefix).unwrap_or(subject);
        format!("{}.live{rest}", self.prefix)
    }

    /// The stored subject whose republished copy came under `live`.
    pub fn stored(&self, live: &str) -> Option<String> {
        let rest = live.strip_prefix(&self.prefix)?.strip_prefix(".live")?;
        Some(format!("{}{rest}", self.prefix))
    }

    /// Where a workflow's agent says that it is alive.
    pub fn beat(&self, key: &RunKey, workflow: &WorkflowName) -> String {
        format!("{}.beat.{}.{}.{workflow}", self.prefix, key.pipeline, key.run)
    }

    /// Every beat.
    pub fn all_beats(&self) -> String {
        format!("{}.beat.*.*.*", self.prefix)
    }

    /// The beats of every workflow of a run.
    pub fn beats_of_run(&self, key: &RunKey) -> String {
        format!("{}.beat.{}.{}.*", self.prefix, key.pipeline, key.run)
    }

    /// Whose beat came under `subject`.
    pub fn parse_beat(&self, subject: &str) -> Option<(RunKey, WorkflowName)> {
        let rest = subject.strip_prefix(&self.prefix)?.strip_prefix(".beat.")?;
        let mut tokens = rest.split('.');
        let key = parse_key(&mut tokens)?;
        let workflow = tokens.next()?.parse().ok()?;
        tokens.next().is_none().then_some((key, workflow))
    }

    /// Where one asks for the open runs of a workflow or foreign party.
    pub fn open(&self, pipeline: &PipelineName, party: &PartyName) -> String {
        format!("{}.open.{pipeline}.{party}", self.prefix)
    }

    /// Every question for open runs.
    pub fn all_open(&self) -> String {
        format!("{}.open.*.*", self.prefix)
    }

    /// What a question under `subject` asks for.
    pub fn parse_open(&self, subject: &str) -> Option<(PipelineName, PartyName)> {
        let rest = subject.strip_prefix(&self.prefix)?.strip_prefix(".open.")?;
        let (pipeline, party) = rest.split_once('.')?;
        Some((pipeline.parse().ok()?, party.parse().ok()?))
    }

    /// Where an event starts a run.
    pub fn trigger(&self, pipeline: &PipelineName) -> String {
        format!("{}.trigger.{pipeline}", self.prefix)
    }

    /// The imported name of the stream's state, for accounts of their own.
    pub fn imported_stream_info(&self, stream: &str) -> String {
        format!("{}.api.STREAM.INFO.{stream}", self.prefix)
    }

    /// The name under which an account without JetStream imports the look at one stored message.
    pub fn imported_message_get(&self, stream: &str) -> String {
        format!("{}.api.STREAM.MSG.GET.{stream}", self.prefix)
    }

    /// One chunk of a bundle, numbered from 1; `digest` is `<yyyymm>-<sha256 hex>`.
    pub fn bundle(
        &self,
        pipeline: &PipelineName,
        workflow: &WorkflowName,
        digest: &str,
        chunk: u32,
    ) -> String {
        format!("{}.bundle.{pipeline}.{workflow}.{digest}.{chunk}", self.prefix)
    }

    /// The run and slot that a stored subject names, if it is one of ours.
    pub fn parse(&self, subject: &str) -> Option<(RunKey, Slot)> {
        let rest = subject.strip_prefix(&self.prefix)?.strip_prefix(".run.")?;
        let mut tokens = rest.split('.');
        let key = parse_key(&mut tokens)?;
        let slot = parse_slot(&tokens.collect::<Vec<_>>())?;
        Some((key, slot))
    }
}

fn parse_key<'a>(tokens: &mut impl Iterator<Item = &'a str>) -> Option<RunKey> {
    let pipeline = tokens.next()?.parse().ok()?;
    let run = tokens.next()?.parse().ok()?;
    Some(RunKey { pipeline, run })
}

fn parse_slot(tokens: &[&str]) -> Option<Slot> {
    let (family, number) = match *tokens {
        ["plan"] => return Some(Family::Plan.slot(1)),
        ["admission", number] => (Family::Admission, number),
        ["workflow", workflow, number] => (Family::Workflow(workflow.parse().ok()?), number),
        ["barrier", barrier, "party", party, number] => {
            (Family::Party(barrier.parse().ok()?, party.parse().ok()?), number)
        }
        ["barrier", barrier, "verdict", number] => {
            (Family::BarrierVerdict(barrier.parse().ok()?), number)
        }
        ["verdict", number] => (Family::Verdict, number),
        ["outcome", workflow, number] => (Family::Outcome(workflow.parse().ok()?), number),
        ["clock", number] => (Family::Clock, number),
        ["request", number] => (Family::Request, number),
        ["closed", number] => (Family::Closed, number),
        _ => return None,
    };
    // One spelling per slot: "01" or "+1" would be further subjects for the same number.
    let canonical = number.bytes().all(|b| b.is_ascii_digit()) && !number.starts_with('0');
    let number = number.parse().ok().filter(|_| canonical)?;
    Some(family.slot(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> RunKey {
        RunKey { pipeline: "shop".parse().unwrap(), run: "r1".parse().unwrap() }
    }

    #[test]
    fn every_slot_is_read_back_as_it_was_written() {
        let subjects = Subjects::default();
        let workflow: WorkflowName = "backend".parse().unwrap();
        let barrier: BarrierId = "BE".parse().unwrap();
        let families = [
            Family::Plan,
            Family::Admission,
            Family::Workflow(workflow.clone()),
            Family::Party(barrier.clone(), "qa_1".parse().unwrap()),
            Family::BarrierVerdict(BarrierId::prepare()),
            Family::Verdict,
            Family::Outcome(workflow),
            Family::Clock,
            Family::Request,
            Family::Closed,
        ];
        for family in families {
            let slot = family.slot(1);
            assert_eq!(subjects.parse(&subjects.slot(&key(), &slot)), Some((key(), slot)));
        }
    }

    #[test]
    fn a_slot_has_one_spelling() {
        let subjects = Subjects::default();
        for number in ["01", "0", "+1", "x", "", "4294967296"] {
            let subject = format!("lockstep.run.shop.r1.clock.{number}");
            assert_eq!(subjects.parse(&subject), None, "{subject}");
        }
    }

    #[test]
    fn a_republished_copy_names_its_stored_subject() {
        let subjects: Subjects = "team-a.lockstep".parse().unwrap();
        let stored = subjects.slot(&key(), &Family::Verdict.slot(1));
        assert_eq!(subjects.live(&stored), "team-a.lockstep.live.run.shop.r1.verdict.1");
        assert_eq!(subjects.stored(&subjects.live(&stored)), Some(stored));
    }

    #[test]
    fn a_prefix_may_have_parts_but_no_wildcards() {
        let subjects: Subjects = "team-a.lockstep".parse().unwrap();
        assert_eq!(subjects.all_runs(), "team-a.lockstep.run.>");
        for prefix in ["", "a.", ".a", "a.*", ">", "a b"] {
            assert!(prefix.parse::<Subjects>().is_err(), "{prefix:?} was accepted");
        }
    }
}
