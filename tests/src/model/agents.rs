//! Calling an agent's real core, and carrying its decisions out on its cell.

use std::sync::Arc;

use lockstep_agent_core::{
    Act, Agent, Decisions, Event, Lock, PlanFound, Reading, Setup, UndoMark, Watched, debt::Debt,
};
use lockstep_shared::{
    fold::{RunFold, SharedPlan},
    id::{RunKey, WorkflowName},
    record::Record,
    time::{Span, Timestamp},
};

use super::{
    cell::{Cell, Held, Sent},
    intern::{Interned, Recent},
    ledger::{Ledger, writer},
};
use crate::sim::{
    Sabotage, Violation,
    judge::{Judged, may_order},
};

/// When everything happens, but for what pauses and clocks add.
pub(super) const NOW: Timestamp = Timestamp(1_000_000_000);

/// How far a pause moves an agent's clock: beyond what a core waits after an append in doubt, and
/// after a first failure.
const PAUSE: Span = Span(2_000);

/// How many answers of cores are kept, about 1 KiB each.
const KEPT_ANSWERS: usize = 200_000;

/// How many readings an agent may want in a row before something is wrong with it.
const MAX_READINGS: usize = 8;

/// The cores' answers: asked once for each state and event.
pub(super) struct Agents {
    pub(super) key: RunKey,
    pub(super) workflows: Vec<WorkflowName>,
    plan: SharedPlan,
    sabotage: Option<Sabotage>,
    states: Interned<Agent>,
    answers: Recent<(u32, Event, u8), (u32, Arc<Decisions>)>,
}

impl Agents {
    pub(super) fn new(
        key: RunKey,
        plan: lockstep_shared::plan::Plan,
        sabotage: Option<Sabotage>,
    ) -> Self {
        let workflows = plan.active().map(|(workflow, _)| workflow.clone()).collect();
        Self {
            key,
            workflows,
            plan: plan.into(),
            sabotage,
            states: Interned::new(),
            answers: Recent::new(KEPT_ANSWERS),
        }
    }

    pub(super) fn count(&self) -> usize {
        self.states.count()
    }

    pub(super) fn core(&self, number: u32) -> Arc<Agent> {
        self.states.of(number)
    }

    pub(super) fn steps(&self, index: usize) -> usize {
        self.plan.workflows[&self.workflows[index]].steps.len()
    }

    /// An agent begins, for the first time or again: the same code path.
    pub(super) fn start(&mut self, cell: &mut Cell, fold: &RunFold) -> Judged {
        let index = cell.index;
        let planned = fold.planned().map_or(0, |moment| moment.seq);
        let core = Agent::new(Setup {
            key: self.key.clone(),
            workflow: self.workflows[index].clone(),
            instance: format!("host-{index}"),
            version: "1".to_owned(),
            plan: PlanFound::Planned { seq: planned, plan: self.plan.clone() },
            undo: cell.mark,
            debt: Debt::None,
        });
        cell.core = Some(self.states.number(core));
        cell.pauses = 0;
        self.tell(cell, Event::Woke, fold)
    }

    /// An agent reads its whole filter, as often as that shows it that there is more to ask for.
    pub(super) fn read(&mut self, cell: &mut Cell, log: &Ledger, fold: &RunFold) -> Judged {
        let index = cell.index;
        let upto = log.end_for(writer(index));
        cell.read = upto;
        for _ in 0..MAX_READINGS {
            let Some(number) = cell.core else { return Ok(()) };
            cell.wants_reading = false;
            let asked = self.core(number).filter();
            let matches = |entry: &&lockstep_shared::codec::Entry| {
                asked.iter().any(|watched| match watched {
                    Watched::Family(family) => entry.slot.family == *family,
                    Watched::Slot(slot) => entry.slot == *slot,
                })
            };
            let entries = log.entries().filter(matches).cloned().collect();
            let asked_at = now(cell.pauses);
            let reading = Reading { asked: asked.clone(), asked_at, upto, entries };
            self.tell(cell, Event::Reading(reading), fold)?;
            if !cell.wants_reading {
                return Ok(());
            }
        }
        let text = format!("{} wants to read again and again", self.workflows[index]);
        Err(Violation::of(crate::sim::Invariant::EveryRunCloses, text))
    }

    /// Tells a core what happened, and carries out what it decides.
    pub(super) fn tell(&mut self, cell: &mut Cell, event: Event, fold: &RunFold) -> Judged {
        let Some(number) = cell.core else { return Ok(()) };
        let (after, decisions) = self.ask(number, event, cell.pauses);
        cell.core = Some(after);
        cell.wants_reading |= decisions.read;
        for mark in &decisions.save {
            cell.mark = cell.mark.max(Some(*mark));
        }
        for append in &decisions.send {
            let (slot, record) = (append.slot.clone(), append.record.clone());
            cell.sent.push(Sent { slot, record, awaited: true });
        }
        for act in &decisions.act {
            self.order(cell, act, fold)?;
        }
        Ok(())
    }

    fn ask(&mut self, number: u32, event: Event, pauses: u8) -> (u32, Arc<Decisions>) {
        let question = (number, event, pauses);
        if let Some(answer) = self.answers.get(&question) {
            return answer;
        }
        let mut core = (*self.core(number)).clone();
        let mut decisions = core.step(question.1.clone(), now(pauses));
        if let Some(sabotage) = self.sabotage {
            sabotage.decided(&mut decisions);
        }
        let after = self.states.number(core);
        let decisions = Arc::new(decisions);
        // A reading is large, and asked again only by agents that differ in what they sent.
        if !matches!(question.1, Event::Reading(_)) {
            self.answers.insert(question, (after, decisions.clone()));
        }
        (after, decisions)
    }

    fn order(&mut self, cell: &mut Cell, act: &Act, fold: &RunFold) -> Judged {
        match act {
            Act::TakeLock => return self.tell(cell, Event::Lock(Lock::Held), fold),
            Act::Recall => return self.tell(cell, Event::Recalled(cell.mark), fold),
            Act::Prepare | Act::Finalize | Act::Undo { .. } | Act::Start { .. } => {
                may_order(fold, &self.workflows[cell.index], act, cell.mark)?;
                if let Act::Start { step, .. } = act {
                    cell.hold(*step, Held::Half);
                }
                cell.order = Some((act.clone(), false));
            }
            Act::Stop => {
                if let Some((_, stopped)) = &mut cell.order {
                    *stopped = true;
                }
            }
            Act::DropLock | Act::Watch { .. } | Act::Unwatch => {}
        }
        Ok(())
    }

    /// Whether nothing is left to do for an agent.
    pub(super) fn is_over(&self, cell: &Cell) -> bool {
        let standing = cell.core.map(|number| self.core(number).standing(NOW));
        matches!(standing, Some(lockstep_agent_core::Standing::Over(_)))
            && cell.mark != Some(UndoMark::Started)
    }

    /// Whether a workflow's last word is true of its target.
    pub(super) fn check_report(&self, cell: &Cell, record: &Record) -> Judged {
        let workflow = &self.workflows[cell.index];
        let plan = &self.plan.workflows[workflow];
        match record {
            Record::RolledBack { residue, accepted: false, .. }
                if residue.is_empty() && !cell.is_clean() =>
            {
                let text = format!("{workflow} says it is rolled back and holds {:?}", cell.held);
                Err(Violation::of(crate::sim::Invariant::AbortIsUndone, text))
            }
            Record::Finalized { degraded: None, .. } => {
                let missing = plan.steps.iter().zip(&cell.held).find(|(step, held)| {
                    let command = matches!(step.action, lockstep_shared::plan::Action::Run(_));
                    command && !step.tolerated && **held != Held::Whole
                });
                match missing {
                    None => Ok(()),
                    Some((step, _)) => {
                        let text = format!("{workflow} is finalized without {}", step.name);
                        Err(Violation::of(crate::sim::Invariant::CommitIsWhole, text))
                    }
                }
            }
            _ => Ok(()),
        }
    }
}

/// What an agent's clock shows after its pauses.
fn now(pauses: u8) -> Timestamp {
    NOW.after(Span(u64::from(pauses) * PAUSE.0))
}
