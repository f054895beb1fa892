//! What a reading has to ask for, and whether one answered all of it (PROTOCOL section 5).

use std::collections::BTreeSet;

use lockstep_shared::{
    id::{BarrierId, PartyName, Sequence},
    subject::Family,
};

use crate::{
    agent::Agent,
    decision::UndoMark,
    event::{Reading, Watched},
    setup::PlanFound,
    view::{EndedSeen, View},
};

impl Agent {
    /// What the next reading has to ask for: admission, verdict, closed and the own outcome; of
    /// `_prepare`, `_commit` and the barrier that the workflow stands at or reaches next the
    /// verdict and the own party slots; the next few own workflow slots; with an open debt also
    /// the requests.
    pub fn filter(&self) -> Vec<Watched> {
        let mut families = self.needed(&self.view);
        families.extend(self.needed(&self.heard));
        let mut filter: Vec<Watched> = families.into_iter().map(Watched::Family).collect();
        let workflow = Family::Workflow(self.setup.workflow.clone());
        let next = self.view.own.taken.next();
        let slots = (next..next.saturating_add(self.contact.window()))
            .map(|number| Watched::Slot(workflow.clone().slot(number)));
        filter.extend(slots);
        filter
    }

    /// The position below which a reading does not count: the greatest of this agent's own last
    /// stored record, the bell's, and any position it has had; 0 while nothing is expected.
    pub fn floor(&self) -> Sequence {
        self.contact.floor()
    }

    /// The families whose republished copies to listen to; changes as the workflow goes on.
    pub fn bell(&self) -> BTreeSet<Family> {
        let mut families = self.needed(&self.view);
        families.extend(self.needed(&self.heard));
        families.insert(Family::Workflow(self.setup.workflow.clone()));
        families
    }

    /// The whole families that a view's place in the run needs.
    fn needed(&self, log: &View) -> BTreeSet<Family> {
        let own = PartyName::from(&self.setup.workflow);
        let mut families = BTreeSet::from([
            Family::Admission,
            Family::Verdict,
            Family::Closed,
            Family::Outcome(self.setup.workflow.clone()),
        ]);
        if self.plan().is_some() {
            let barriers = [Some(BarrierId::prepare()), self.next_barrier(log)];
            for barrier in barriers.into_iter().flatten() {
                families.insert(Family::Party(barrier.clone(), own.clone()));
                families.insert(Family::BarrierVerdict(barrier));
            }
        }
        if self.has_commit() {
            // Its verdict is the run's.
            families.insert(Family::Party(BarrierId::commit(), own));
        }
        if self.has_open_debt(log) {
            families.insert(Family::Request);
        }
        families
    }

    /// Whether something may be left at the target that an operator has a say in.
    fn has_open_debt(&self, log: &View) -> bool {
        let failed = matches!(log.own.ended, Some((_, EndedSeen::RollbackFailed { .. })));
        let missing = matches!(self.setup.plan, PlanFound::Missing { .. });
        let owes = self.mark == Some(UndoMark::Started);
        (failed && self.mark != Some(UndoMark::Settled))
            || (owes && (log.closed.is_some() || missing))
    }

    /// Whether a reading that has been taken in answered everything that the place it led to
    /// needs, and whether the own slots went on where it ended.
    pub(crate) fn answered(&self, reading: &Reading) -> (bool, bool) {
        let asked: BTreeSet<&Watched> = reading.asked.iter().collect();
        let next = Family::Workflow(self.setup.workflow.clone()).slot(self.view.own.taken.next());
        let slots = asked.contains(&Watched::Slot(next));
        let needed = self.needed(&self.view).into_iter().map(Watched::Family);
        let families = needed.into_iter().all(|family| asked.contains(&family));
        (families && slots, !slots)
    }

    /// What a reading should have shown and did not, as a sentence: the log lost records.
    pub(crate) fn lost_by(&self, reading: &Reading) -> Option<String> {
        if self.view.closed.is_some() {
            // The records of a closed run expire while its debt is waited for.
            return None;
        }
        let shown: BTreeSet<Sequence> = reading.entries.iter().map(|entry| entry.seq).collect();
        let vanished = self.view.landmarks().find(|(family, seq)| {
            let asked = reading.asked.contains(&Watched::Family(family.clone()));
            asked && !shown.contains(seq)
        });
        if let Some((family, seq)) = vanished {
            return Some(format!("the record #{seq} in {family} is gone"));
        }
        let unsaid = self.lanes.stored().find(|(slot, seq)| {
            let asked = reading.asked.contains(&Watched::Slot((*slot).clone()))
                || reading.asked.contains(&Watched::Family(slot.family.clone()));
            asked && *seq <= reading.upto && !shown.contains(seq)
        });
        unsaid.map(|(slot, seq)| format!("our own record #{seq} in {slot} is gone"))
    }
}
