//! How each run of one workflow stands, where its other runs can see it.

use std::collections::BTreeMap;

use lockstep_agent_core::{
    Standing,
    debt::{self, Debt, Known},
};
use lockstep_shared::id::RunKey;
use tokio::sync::watch;

use crate::undo::Noted;

/// What a run sees of the others.
pub(crate) type Standings = watch::Receiver<BTreeMap<RunKey, Standing>>;

/// The standings of a workflow's runs in this process, and their records in a cluster.
#[derive(Debug, Clone)]
pub(crate) struct Board(watch::Sender<BTreeMap<RunKey, Standing>>, Noted);

impl Board {
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(BTreeMap::new()), Noted::default())
    }

    pub(super) fn publish(&self, run: &RunKey, standing: &Standing) {
        self.0.send_modify(|all| {
            all.insert(run.clone(), standing.clone());
        });
    }

    /// Forgets a run that stands in nobody's way any more.
    pub(crate) fn forget_settled(&self, run: &RunKey) {
        self.0.send_modify(|all| {
            all.retain(|known, standing| known != run || debt::of(run, standing) != Debt::None);
        });
    }

    /// Forgets how a run stood: it is looked at again.
    pub(crate) fn forget(&self, run: &RunKey) {
        self.0.send_modify(|all| {
            all.remove(run);
        });
    }

    pub(crate) fn watch(&self) -> Standings {
        self.0.subscribe()
    }

    /// What is known of the workflow's records in a cluster.
    pub(crate) fn noted(&self) -> Noted {
        self.1.clone()
    }

    /// Whether an earlier run's debt stands in the way of `wanted`, by the workflow's records.
    pub(super) fn debt(&self, records: Result<Vec<Known>, String>, wanted: &RunKey) -> Debt {
        let mut known = match records {
            Ok(known) => known,
            // Not to know whether something is owed is no reason to write over it.
            Err(why) => return Debt::Stuck { run: wanted.clone(), why },
        };
        let standings = self.0.borrow();
        while let Some(run) = debt::first(&known, wanted).cloned() {
            let debt = match standings.get(&run) {
                Some(standing) => debt::of(&run, standing),
                None => Debt::Settling(run.clone()),
            };
            if debt != Debt::None {
                return debt;
            }
            known.retain(|record| record.run != run);
        }
        Debt::None
    }
}
