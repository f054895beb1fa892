//! Which run an agent turns to first: what an earlier run left undone comes before a newer one.
//!
//! Closed ends a run for coordinators, not for a target (PROTOCOL section 7, "The undo record is
//! the debt"). The shell asks [`first`] before it lets a run prepare; while there is one, it runs
//! an agent for that earlier run too, and tells the newer run's agent what [`of`] says of it.

use lockstep_shared::{id::RunKey, time::Timestamp};

use crate::{
    decision::UndoMark,
    standing::{Ending, Standing},
};

/// Whether an earlier run's debt stands in a run's way.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Debt {
    /// None does.
    None,
    /// An agent is settling it: the newer run joins, and prepares once it is settled.
    Settling(RunKey),
    /// It cannot be settled without an operator: the newer run fails in prepare, naming it.
    Stuck {
        /// The earlier run.
        run: RunKey,
        /// Why, as a sentence without a full stop.
        why: String,
    },
}

/// An undo record that the state directory holds for the workflow.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Known {
    /// Its run.
    pub run: RunKey,
    /// How far it has come.
    pub mark: UndoMark,
    /// When it was prepared.
    pub prepared_at: Timestamp,
}

/// The run whose debt has to be settled before `wanted` may prepare: the oldest one that may have
/// written to the target and was prepared before `wanted` was.
pub fn first<'a>(known: &'a [Known], wanted: &RunKey) -> Option<&'a RunKey> {
    let own = known.iter().find(|record| record.run == *wanted);
    let started = known.iter().filter(|record| {
        let earlier = own.is_none_or(|own| record.prepared_at < own.prepared_at);
        record.mark == UndoMark::Started && record.run != *wanted && earlier
    });
    started.min_by_key(|record| (record.prepared_at, &record.run)).map(|record| &record.run)
}

/// What the standing of the earlier run's agent means for the newer run. After [`Debt::None`] the
/// shell asks [`first`] again, since there may be another one.
pub fn of(run: &RunKey, standing: &Standing) -> Debt {
    let stuck = |why: &str| Debt::Stuck { run: run.clone(), why: why.to_owned() };
    match standing {
        Standing::Waiting(_) | Standing::StandingBy(_) | Standing::Working => {
            Debt::Settling(run.clone())
        }
        Standing::Holding(_) => Debt::Settling(run.clone()),
        Standing::Owing(why) => stuck(why),
        Standing::Over(ending) => match ending {
            Ending::Finalized { .. }
            | Ending::RolledBack { .. }
            | Ending::NotStarted
            | Ending::Planned
            | Ending::Refused(_)
            | Ending::Closed => Debt::None,
            Ending::TakesNoPart(why) => stuck(why),
            Ending::Superseded { by } => {
                stuck(&format!("another agent (epoch {by}) has taken that run over"))
            }
            Ending::Left => stuck("this agent was asked to end"),
        },
    }
}
