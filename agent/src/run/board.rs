//! How each run of one workflow stands, where its other runs can see it.

use std::collections::BTreeMap;

use lockstep_agent_core::{
    Standing, UndoMark,
    debt::{self, Debt, Known},
};
use lockstep_shared::id::{RunKey, WorkflowName};
use tokio::sync::watch;

use crate::{
    error_text,
    state::{Mark, StateDirectory},
};

/// What a run sees of the others.
pub(crate) type Standings = watch::Receiver<BTreeMap<RunKey, Standing>>;

/// The standings of a workflow's runs in this process.
#[derive(Debug, Clone)]
pub(crate) struct Board(watch::Sender<BTreeMap<RunKey, Standing>>);

impl Board {
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(BTreeMap::new()))
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

    /// Whether an earlier run's debt stands in the way of `wanted`.
    pub(super) fn debt(
        &self,
        state: &StateDirectory,
        workflow: &WorkflowName,
        wanted: &RunKey,
    ) -> Debt {
        let records = match state.undo_records(&wanted.pipeline, workflow) {
            Ok(records) => records,
            // Not to know whether something is owed is no reason to write over it.
            Err(error) => {
                return Debt::Stuck { run: wanted.clone(), why: error_text(&error) };
            }
        };
        let mut known: Vec<Known> = records
            .into_iter()
            .map(|record| Known {
                run: record.key,
                mark: undo_mark(record.mark),
                prepared_at: record.prepared_at,
            })
            .collect();
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

/// The mark as the core knows it.
pub(super) fn undo_mark(mark: Mark) -> UndoMark {
    match mark {
        Mark::Prepared => UndoMark::Prepared,
        Mark::Started => UndoMark::Started,
        Mark::Settled => UndoMark::Settled,
    }
}
