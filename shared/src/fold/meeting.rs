//! Who stands at which barrier, and what follows when the last party arrives.

use std::collections::BTreeSet;

use super::{
    Arrival, BarrierFate, Decision, Here, Judged, RunFold, cause, causes::Scope, deadlock,
};
use crate::{
    id::{BarrierId, PartyName, Sequence},
    record::{CauseSort, Record},
};

impl RunFold {
    /// A party's Arrived. The first one counts, by whatever incarnation it was written.
    pub(super) fn arrived(
        &mut self,
        here: Here,
        barrier: &BarrierId,
        party: &PartyName,
        record: &Record,
    ) -> Judged {
        let is_workflow = self.workflow_named(party.as_str()).is_some();
        let Some(state) = self.barriers.get_mut(barrier) else {
            return Err(format!("the plan has no barrier {barrier}").into());
        };
        if !state.parties.contains(party) {
            return Err(format!("{party} is no party of {barrier}").into());
        }
        if let Some(earlier) = state.arrivals.get(party) {
            return Err(format!("it arrived at #{}", earlier.moment.seq).into());
        }
        let Record::Arrived { view, by, message, link, .. } = record else {
            return Err("it is no arrival".into());
        };
        let arrival = Arrival {
            moment: here.moment,
            by: by.clone(),
            message: message.clone(),
            link: link.clone(),
            view: view.clone(),
        };
        state.arrivals.insert(party.clone(), arrival);
        if is_workflow && state.clock.is_none() {
            state.clock = Some(here.moment);
        }
        if !state.is_open() || self.decision != Decision::Open {
            return Err("the barrier is not open any more".into());
        }
        // Only parties arrive, each once.
        if state.arrivals.len() == state.parties.len() {
            state.fate = BarrierFate::Complete { at: here.moment.seq };
            self.completed(here.moment.seq, barrier);
        } else if is_workflow {
            self.notice_deadlock(here.moment.seq, party);
        }
        Ok(())
    }

    /// What follows from a complete barrier.
    fn completed(&mut self, at: Sequence, barrier: &BarrierId) {
        let plan_only = self.plan().is_some_and(|plan| plan.plan_only);
        if barrier.is_commit() {
            self.decision = Decision::Committed { at };
        } else if barrier.is_prepare() && plan_only {
            self.decision = Decision::Planned { at };
        } else {
            self.notice_last_barrier(at, barrier);
        }
    }

    fn notice_deadlock(&mut self, at: Sequence, party: &PartyName) {
        // A circle needs two barriers at which somebody stands.
        let waited_at =
            self.barriers.values().filter(|state| state.is_open() && !state.arrivals.is_empty());
        if waited_at.count() < 2 {
            return;
        }
        let workflows: BTreeSet<PartyName> = self.workflows.keys().map(PartyName::from).collect();
        let Some(circle) = deadlock::circle(&self.barriers, &workflows, party) else { return };
        let waiting: BTreeSet<&PartyName> = circle.iter().map(|wait| &wait.waiter).collect();
        let members = self
            .workflows
            .keys()
            .filter(|name| waiting.contains(&PartyName::from(*name)))
            .cloned()
            .collect();
        let text = deadlock::describe(&circle);
        let cause = cause::new(at, CauseSort::Deadlock, &text, "");
        // An arrival at an open barrier of an undecided run: there is somebody to blame it on.
        let _ = self.blame(Scope::Workflows(members), cause);
    }

    pub(super) fn party_failed(
        &mut self,
        here: Here,
        barrier: &BarrierId,
        party: &PartyName,
        by: &str,
        message: &str,
    ) -> Judged {
        let declared = self.plan().and_then(|plan| plan.barriers.get(barrier));
        if !declared.is_some_and(|declared| declared.foreign.contains(party)) {
            return Err(format!("{party} is no foreign party of {barrier}").into());
        }
        match self.barriers.get(barrier).map(|state| &state.fate) {
            Some(BarrierFate::Open) => {
                let cause = self.party_failed_cause(here.moment.seq, barrier, party, by, message);
                self.blame(Scope::Barrier(barrier.clone()), cause)
            }
            Some(BarrierFate::Complete { .. }) => {
                let run = &self.key.run;
                Err(format!("already released; use `lockstep abort {run} --reason TEXT`").into())
            }
            _ => Err("the barrier is aborted already".into()),
        }
    }
}
